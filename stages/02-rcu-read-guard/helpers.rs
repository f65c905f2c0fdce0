// SPDX-License-Identifier: GPL-2.0

//! What reclaiming needs of the kernel, and the kernel has only as macros and inline functions.
//!
//! The other half is `helpers.c`, which also has what `flavours` and `tasks` need; they declare it
//! themselves. (For its own such needs the kernel crate has `rust/helpers/`.)

use kernel::bindings::callback_head;

extern "C" {
    /// Returns whether the caller may sleep for a grace period: whether it is in process context,
    /// and, as far as this kernel counts them, in no critical section of any kind. Any context.
    pub(crate) fn helper_may_wait() -> bool;

    /// Has a worker call `reclaim(head)` in process context. Any context.
    ///
    /// `head` must be valid and unused until then.
    pub(crate) fn helper_reclaim_in_process(
        head: *mut callback_head,
        reclaim: Option<unsafe extern "C" fn(*mut callback_head)>,
    );

    /// Waits until the worker has nothing to do for what was given to it before. Sleeps.
    pub(crate) fn helper_reclaim_flush();
}
