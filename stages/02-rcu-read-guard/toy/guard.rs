// SPDX-License-Identifier: GPL-2.0

//! The readers of the toys, and what a toy can do.
//!
//! A reader disables preemption, and that is all. It is how `rcu_read_lock()` began, and what it
//! still comes down to where the kernel's RCU is not preemptible. Nobody is told of a reader: who
//! wants to know that it has left has to conclude that from what the CPU does next.
//!
//! The guard is a type of its own. The kernel's own guards say that the kernel's RCU waits for
//! this thread; nothing follows from that for the toys, nor the other way round.

use kernel::{
    prelude::*,
    types::NotThreadSafe, //
};

use super::helpers;

// ANCHOR: guard
/// Evidence that the current thread is a reader of the toys: preemption is disabled, so this CPU
/// runs nothing else until the guard is dropped.
///
/// Both toys wait for it. What no guard catches is not caught here either: a thread that sleeps
/// inside, or leaks its guard and then sleeps, is a reader that nobody waits for.
///
/// # Invariants
///
/// Preemption was disabled by this thread, on the CPU on which it still is, and the call that
/// enables it again has not been made.
#[must_use = "the critical section ends at once if nobody keeps the guard"]
pub struct ToyGuard(NotThreadSafe);

impl ToyGuard {
    /// Begins a read-side critical section. Any context; does not sleep.
    #[doc(alias = "preempt_disable")]
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        // ANCHOR: enter
        // SAFETY: It may be called anywhere; `drop` calls what has to follow.
        unsafe { helpers::helper_preempt_disable() };
        // ANCHOR_END: enter

        // INVARIANT: It was just called, and this thread cannot give the guard to another.
        Self(NotThreadSafe)
    }
}

impl Drop for ToyGuard {
    fn drop(&mut self) {
        // ANCHOR: leave
        // SAFETY: By the type invariants, it goes with the call in `new`, and on the same CPU.
        unsafe { helpers::helper_preempt_enable() };
        // ANCHOR_END: leave
    }
}
// ANCHOR_END: guard

// ANCHOR: toy-rcu
/// A toy RCU: what the torture wants of one.
pub trait ToyRcu: Send + Sync + 'static {
    /// Its name, for the log.
    const NAME: &'static str;

    /// Begins a read-side critical section, which ends when the guard is dropped.
    #[doc(alias = "rcu_read_lock")]
    fn read(&self) -> ToyGuard {
        ToyGuard::new()
    }

    /// Waits for a grace period: until each critical section is over that had begun before the
    /// call.
    ///
    /// If it fails, it has not waited. Sleeps, so it must not be called in a critical section.
    #[doc(alias = "synchronize_rcu")]
    #[doc(alias = "synchronize_kernel")]
    fn synchronize(&self) -> Result;
}
// ANCHOR_END: toy-rcu
