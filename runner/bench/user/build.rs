// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compiles the half in C, and links liburcu, all of it into the program.

use std::path::Path;
use std::process::Command;

fn main() {
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let object = Path::new(&out).join("urcu.o");
    let archive = Path::new(&out).join("liburculoops.a");
    run(Command::new("cc").args(["-O2", "-Wall", "-Werror", "-c", "urcu.c", "-o"]).arg(&object));
    run(Command::new("ar").arg("crs").arg(&archive).arg(&object));
    println!("cargo::rerun-if-changed=urcu.c");
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-search=native=/usr/lib/x86_64-linux-gnu");
    for library in ["urculoops", "urcu-memb", "urcu-common"] {
        println!("cargo::rustc-link-lib=static={library}");
    }
}

fn run(command: &mut Command) {
    let status = command.status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
}
