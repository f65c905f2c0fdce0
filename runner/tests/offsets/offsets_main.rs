// SPDX-License-Identifier: GPL-2.0

//! Compares where Rust and C find the fields of `task_struct`: bindgen can get it wrong.

use core::mem::offset_of;
use kernel::{
    bindings::task_struct,
    prelude::*, //
};

module! {
    type: Offsets,
    name: "offsets",
    authors: ["The RCU workshop"],
    description: "Compares the layout of task_struct in Rust and in C",
    license: "GPL",
}

extern "C" {
    static offsets_c: [usize; 9];
}

static RUST: [usize; 9] = [
    offset_of!(task_struct, tasks),
    offset_of!(task_struct, pid),
    offset_of!(task_struct, tgid),
    offset_of!(task_struct, real_parent),
    offset_of!(task_struct, group_leader),
    offset_of!(task_struct, thread_node),
    offset_of!(task_struct, comm),
    offset_of!(task_struct, signal),
    size_of::<task_struct>(),
];

struct Offsets;

impl kernel::Module for Offsets {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: It is a constant of the other half of this module, which asserts its length.
        let c = unsafe { offsets_c };
        if c != RUST {
            pr_err!("[init] layouts differ: rust={RUST:?} c={c:?}\n");
            return Err(EINVAL);
        }
        pr_info!("[init] layouts agree\n");
        Ok(Self)
    }
}
