// SPDX-License-Identifier: GPL-2.0

//! What links.rs needs of `kernel::sync::atomic`, made of loom's atomics.
//!
//! loom has the memory model of C11, the kernel has its own. Two things differ here.
//!
//! - **A load that carries a dependency.** In the kernel's model what is read through a pointer
//!   comes after the load of the pointer, for a relaxed load too. C11 has no such thing that works,
//!   so here a relaxed load is an acquire load. That is stronger: the model does not show that the
//!   dependency is there, it takes it for granted. Where a reader throws it away, the model has to
//!   be told: [`forget_dependencies`].
//! - **A release** is a release in both.
//!
//! So what is put to the test are the stores.

use std::sync::atomic::{
    AtomicBool,
    AtomicUsize,
    Ordering, //
};

/// What the kernel's configuration says on x86-64.
pub(crate) const CONFIG_ILLEGAL_POINTER_VALUE: i64 = 0xdead_0000_0000_0000_u64 as i64;

pub(crate) struct Relaxed;
pub(crate) struct Release;

/// An ordering that a store may have.
pub(crate) trait StoreOrdering {
    fn store() -> Ordering;
}

impl StoreOrdering for Relaxed {
    fn store() -> Ordering {
        Ordering::Relaxed
    }
}

impl StoreOrdering for Release {
    fn store() -> Ordering {
        let number = RELEASES.fetch_add(1, Ordering::SeqCst);
        if number == WEAK.load(Ordering::SeqCst) {
            return Ordering::Relaxed;
        }
        Ordering::Release
    }
}

/// How many release stores there were in this execution; and which of them is none.
static RELEASES: AtomicUsize = AtomicUsize::new(0);
static WEAK: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Whether what is read through a pointer comes after the load of that pointer.
static DEPENDENCIES: AtomicBool = AtomicBool::new(true);

/// Begins an execution, in which the release store with this number, from 0, is a relaxed one.
pub(crate) fn weaken(store: Option<usize>) {
    RELEASES.store(0, Ordering::SeqCst);
    WEAK.store(store.unwrap_or(usize::MAX), Ordering::SeqCst);
    DEPENDENCIES.store(true, Ordering::SeqCst);
}

/// For the rest of the execution a relaxed load is no more than that.
pub(crate) fn forget_dependencies() {
    DEPENDENCIES.store(false, Ordering::SeqCst);
}

pub(crate) struct Atomic<T>(loom::sync::atomic::AtomicPtr<<T as Pointer>::To>)
where
    T: Pointer;

/// A raw pointer.
pub(crate) trait Pointer {
    type To;
}

impl<T> Pointer for *mut T {
    type To = T;
}

impl<T> Atomic<*mut T> {
    pub(crate) fn new(value: *mut T) -> Self {
        Self(loom::sync::atomic::AtomicPtr::new(value))
    }

    // ANCHOR: load
    pub(crate) fn load(&self, _: Relaxed) -> *mut T {
        self.0.load(match DEPENDENCIES.load(Ordering::SeqCst) {
            true => Ordering::Acquire,
            false => Ordering::Relaxed,
        })
    }
    // ANCHOR_END: load

    pub(crate) fn store<O: StoreOrdering>(&self, value: *mut T, _: O) {
        self.0.store(value, O::store());
    }
}
