// SPDX-License-Identifier: GPL-2.0

//! Makes an allocation of the current thread fail, for the checks named `fail-nth`.
//!
//! The kernel can do this for each thread by itself (`CONFIG_FAILSLAB`): as long as `fail_nth` is
//! not 0, each allocation takes one off, and the one that takes the last fails.
//!
//! C header: [`include/linux/fault-inject.h`](srctree/include/linux/fault-inject.h)

use kernel::{
    prelude::*,
    sync::atomic::{
        atomic_load,
        atomic_store,
        Relaxed, //
    },
    task::Task, //
};

/// Returns where the current thread counts.
fn counter() -> *mut u32 {
    // SAFETY: The current task is valid.
    unsafe { &raw mut (*Task::current_raw()).fail_nth }
}

/// The `nth` allocation of the current thread from now on fails; none, if that is 0.
pub(crate) fn fail(nth: u32) {
    // SAFETY: The pointer is valid, and C accesses it by `READ_ONCE()` and `WRITE_ONCE()`.
    unsafe { atomic_store(counter(), nth, Relaxed) };
}

/// As long as this is there, one allocation of the thread that made it fails.
#[must_use = "nothing fails when it is gone"]
pub(crate) struct FailNth {
    what: &'static str,
    nth: u32,
}

impl FailNth {
    /// The `nth` allocation from now on fails; none, if that is 0.
    pub(crate) fn new(what: &'static str, nth: u32) -> Self {
        fail(nth);
        Self { what, nth }
    }
}

impl Drop for FailNth {
    /// Says how many allocations more it would have taken: 0 if one has failed.
    fn drop(&mut self) {
        let Self { what, nth } = self;
        // SAFETY: As in `fail()`.
        let left = unsafe { atomic_load(counter(), Relaxed) };
        fail(0);
        if *nth != 0 {
            pr_info!("[check] fail-nth: {what}={nth} left={left}\n");
        }
    }
}
