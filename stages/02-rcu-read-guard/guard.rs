// SPDX-License-Identifier: GPL-2.0

//! Evidence that the current thread is in an RCU read-side critical section.
//!
//! [`rcu_read`] is the form to begin with: it calls a closure inside a section. Where a section
//! has to begin and end in different places, [`RcuReadGuard`] is one that lasts until it is
//! dropped. Both are a [`ReadSide`], and that is what a function asks for that reads what RCU
//! protects.
//!
//! # Examples
//!
//! ```ignore
//! let port = rcu_read(|guard| config.read(guard).map(|config| config.port));
//! ```
//!
//! # What the types do not catch
//!
//! This is sound except for three holes. Each is safe Rust, and each has a break that shows it.
//!
//! - **Sleeping inside.** Where RCU is not preemptible, a context switch is a quiescent state: it
//!   says that this CPU has no reader. A thread that sleeps in its section is not waited for, and
//!   what it reads is freed under it. Where RCU is preemptible, updaters wait for as long as the
//!   thread sleeps. `CONFIG_DEBUG_ATOMIC_SLEEP` reports it on both.
//! - **Waiting for a grace period inside.** A thread that waits for all readers waits for itself.
//!   Where RCU is preemptible, that is for ever. Where it is not, it is a sleep like any other:
//!   the wait comes to an end, and so does the life of what is being read.
//! - **Leaking a guard**, with `mem::forget`, or with `KBox::leak`, which makes of it evidence
//!   for ever. The section is never left, and no grace period ends; until the thread sleeps
//!   (non-preemptible RCU), or until it exits (preemptible RCU, which tidies up then): after that
//!   everything that was read through such a guard may be freed, and no lifetime says so.
//!   [`rcu_read`] has no such hole, for its closure only gets a reference.
//!
//! And one of numbers, which no break shows: the sections that a thread is in are counted. Where
//! RCU is not preemptible, 8 bits of the preemption count are for that. The 256th section at once
//! goes beyond them, and the kernel takes the thread for a softirq. After some billions, the count
//! of either kernel is back at zero, and nobody waits for that thread.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use kernel::{
    bindings,
    sync::rcu,
    types::NotThreadSafe, //
};

// ANCHOR: read-side
/// Evidence that the current thread is in an RCU read-side critical section.
///
/// What a reader is given lives as long as the borrow of such a value. The kernel crate's own
/// [`rcu::Guard`] is one, too.
///
/// The trait is sealed: evidence can be taken from those who have it, and not be made up.
///
/// # Safety
///
/// - While a value of the type exists, the thread that has it is in a critical section that
///   `synchronize_rcu()` and `call_rcu()` wait for (except for the holes of the [module](self)).
/// - The type is neither [`Send`] nor [`Sync`]: another thread that had it, or a reference to it,
///   would take that for evidence about itself.
pub unsafe trait ReadSide: sealed::Sealed {}
// ANCHOR_END: read-side

pub(crate) mod sealed {
    /// Keeps [`ReadSide`](super::ReadSide) to the types of this folder.
    pub trait Sealed {}
}

impl sealed::Sealed for rcu::Guard {}

// SAFETY: By its invariants the read side lock is held; and it has a `NotThreadSafe`.
unsafe impl ReadSide for rcu::Guard {}

// ANCHOR: guard
/// Evidence that the current thread is in an RCU read-side critical section, which ends when this
/// is dropped.
///
/// Prefer [`rcu_read`]: this can be leaked, and then it is evidence of nothing (see the
/// [module](self)). Guards may nest and may be dropped in any order; the section ends with the
/// last.
///
/// # Invariants
///
/// `rcu_read_lock()` was called on this thread, and the `rcu_read_unlock()` that goes with it was
/// not.
#[must_use = "the critical section ends at once if nobody keeps the guard"]
// ANCHOR: guard-parts
pub struct RcuReadGuard(NotThreadSafe);

impl RcuReadGuard {
    /// Begins a read-side critical section. Any context; does not sleep.
    #[doc(alias = "rcu_read_lock")]
    #[inline]
    pub fn new() -> Self {
        // SAFETY: It may be called anywhere; `drop` calls what has to follow.
        unsafe { bindings::rcu_read_lock() };
        // INVARIANT: It was just called, and this thread cannot give the guard to another.
        Self(NotThreadSafe)
    }
}

impl Default for RcuReadGuard {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for RcuReadGuard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants, it goes with an `rcu_read_lock()` of this thread.
        unsafe { bindings::rcu_read_unlock() };
    }
}
// ANCHOR_END: guard-parts
// ANCHOR_END: guard

impl sealed::Sealed for RcuReadGuard {}

// SAFETY: By the type invariants this thread is in a critical section, of the flavour that
// `synchronize_rcu()` is named after; and the type has a `NotThreadSafe`.
unsafe impl ReadSide for RcuReadGuard {}

// ANCHOR: rcu-read
/// Calls `f` inside an RCU read-side critical section.
///
/// What `f` returns cannot refer to anything that RCU protects. The evidence cannot be kept, nor
/// be leaked. Any context; `f` must not sleep, nor wait for a grace period.
#[doc(alias = "rcu_read_lock")]
#[inline]
pub fn rcu_read<R>(f: impl FnOnce(&RcuReadGuard) -> R) -> R {
    f(&RcuReadGuard::new())
}
// ANCHOR_END: rcu-read
