// SPDX-License-Identifier: GPL-2.0

//! Makes allocations of the current thread fail, for the check named `fail-nth`.
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

/// Calls `f` again and again: the first time its first allocation fails, then its second, and so
/// on, until nothing fails any more. Returns what `f` returns then.
///
/// Before that, `f` has to return [`ENOMEM`]. It need not do so each time: what is freed is kept in
/// arrays by the allocator, which allocates those itself, and does without if it has to. But if it
/// returns [`Ok`] for the `counted`-th time in a row, it counts failures, and that is the end, too.
pub(crate) fn each<T>(what: &str, counted: u32, mut f: impl FnMut() -> Result<T>) -> Result<T> {
    let mut failed = 0;
    let mut in_a_row = 0;

    for nth in 1..500 {
        fail(nth);
        let result = f();
        // SAFETY: As in `fail()`.
        let left = unsafe { atomic_load(counter(), Relaxed) };
        fail(0);

        let last = match (left, &result) {
            (0, Err(e)) if *e == ENOMEM => {
                failed += 1;
                in_a_row = 0;
                continue;
            }
            (0, Ok(_)) => {
                in_a_row += 1;
                if in_a_row < counted {
                    continue;
                }
                "counted"
            }
            (0, Err(_)) => "other",
            (_, _) => "none",
        };
        pr_info!("[check] fail-nth: what={what} failed={failed} last={last}\n");
        return result;
    }
    Err(EOVERFLOW)
}
