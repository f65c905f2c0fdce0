// SPDX-License-Identifier: GPL-2.0

//! Evidence of the other two flavours of reader: bottom halves or preemption are disabled.
//!
//! Once each flavour had grace periods of its own, and waiting for those of the wrong one was a
//! use after free with a CVE number. Since Linux 4.20 they are one: `synchronize_rcu()` and
//! `call_rcu()` wait for readers of each flavour, so that here each is a [`ReadSide`] like
//! [`RcuReadGuard`](super::guard::RcuReadGuard).
//!
//! What is said about holes there holds here as well, and to sleep inside is worse: a context
//! switch ends these sections on every kernel, also where RCU is preemptible. And there is one more
//! hole: to drop a [`BhReadGuard`] may run the bottom halves that have piled up, and enables
//! interrupts for them. Where interrupts are to stay disabled it must not be dropped; no type
//! catches that, and lockdep reports it.
//!
//! They are for code that has to disable the one or the other anyway, and for what is shared with
//! C code that does.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use kernel::types::NotThreadSafe;

use super::guard::{
    sealed,
    ReadSide, //
};

// In C they are inline functions: `helpers.c` calls them.
extern "C" {
    /// Begins an RCU read-side critical section by disabling bottom halves. Any context.
    fn helper_rcu_read_lock_bh();

    /// Ends it, on the CPU that began it.
    fn helper_rcu_read_unlock_bh();

    /// Begins an RCU read-side critical section by disabling preemption. Any context.
    fn helper_rcu_read_lock_sched();

    /// Ends it, on the CPU that began it.
    fn helper_rcu_read_unlock_sched();
}

// ANCHOR: bh
/// Evidence that bottom halves are disabled on this CPU, which makes the current thread a reader.
///
/// # Invariants
///
/// `rcu_read_lock_bh()` was called on this thread, and the `rcu_read_unlock_bh()` that goes with
/// it was not.
#[must_use = "the critical section ends at once if nobody keeps the guard"]
pub struct BhReadGuard(NotThreadSafe);

impl BhReadGuard {
    /// Begins a read-side critical section. Not in hard interrupts, nor with interrupts disabled
    /// (see the [module](self)); does not sleep.
    #[doc(alias = "rcu_read_lock_bh")]
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        // SAFETY: It may be called here; `drop` calls what has to follow.
        unsafe { helper_rcu_read_lock_bh() };
        // INVARIANT: It was just called, and this thread cannot give the guard to another.
        Self(NotThreadSafe)
    }
}

impl Drop for BhReadGuard {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, it goes with an `rcu_read_lock_bh()` of this thread.
        unsafe { helper_rcu_read_unlock_bh() };
    }
}
// ANCHOR_END: bh

impl sealed::Sealed for BhReadGuard {}

// SAFETY: By the type invariants bottom halves are disabled, which `synchronize_rcu()` and
// `call_rcu()` wait for, too; and the type has a `NotThreadSafe`.
unsafe impl ReadSide for BhReadGuard {}

/// Evidence that preemption is disabled on this CPU, which makes the current thread a reader.
///
/// # Invariants
///
/// `rcu_read_lock_sched()` was called on this thread, and the `rcu_read_unlock_sched()` that goes
/// with it was not.
#[must_use = "the critical section ends at once if nobody keeps the guard"]
pub struct SchedReadGuard(NotThreadSafe);

impl SchedReadGuard {
    /// Begins a read-side critical section. Any context; does not sleep.
    #[doc(alias = "rcu_read_lock_sched")]
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        // SAFETY: It may be called anywhere; `drop` calls what has to follow.
        unsafe { helper_rcu_read_lock_sched() };
        // INVARIANT: It was just called, and this thread cannot give the guard to another.
        Self(NotThreadSafe)
    }
}

impl Drop for SchedReadGuard {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, it goes with an `rcu_read_lock_sched()` of this thread.
        unsafe { helper_rcu_read_unlock_sched() };
    }
}

impl sealed::Sealed for SchedReadGuard {}

// SAFETY: By the type invariants preemption is disabled, which `synchronize_rcu()` and
// `call_rcu()` wait for, too; and the type has a `NotThreadSafe`.
unsafe impl ReadSide for SchedReadGuard {}
