// SPDX-License-Identifier: GPL-2.0

//! What the modules need of the kernel, and the kernel has only as macros and inline functions.
//!
//! The other half is `helpers.c`. (For its own such needs the kernel crate has `rust/helpers/`.)

use kernel::{
    bindings::callback_head,
    ffi::{
        c_char,
        c_void, //
    },
};

extern "C" {
    /// Begins an RCU read-side critical section by disabling bottom halves. Any context.
    pub(crate) fn helper_rcu_read_lock_bh();

    /// Ends it, on the CPU that began it.
    pub(crate) fn helper_rcu_read_unlock_bh();

    /// Begins an RCU read-side critical section by disabling preemption. Any context.
    pub(crate) fn helper_rcu_read_lock_sched();

    /// Ends it, on the CPU that began it.
    pub(crate) fn helper_rcu_read_unlock_sched();

    /// Returns whether the caller may sleep for a grace period: whether it is in process context,
    /// and, as far as this kernel counts them, in no critical section of any kind. Any context.
    pub(crate) fn helper_may_wait() -> bool;

    /// Returns the letter that stands for the state of a task. Any context.
    ///
    /// `task` must be a valid `task_struct`. (It is opaque here: the real type has parts that
    /// rustc does not trust with C.)
    pub(crate) fn helper_task_state(task: *mut c_void) -> c_char;

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
