// SPDX-License-Identifier: GPL-2.0

//! Says that this is the model: links.rs takes its atomics from here then.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=model");
}
