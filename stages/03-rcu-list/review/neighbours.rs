// SPDX-License-Identifier: GPL-2.0

//! Which neighbours are up: packets ask, and somebody adds or removes one now and then.
//!
//! There is one pointer for each neighbour. Who changes them has walked along them before, so he
//! knows the link that leads to it.

use core::ptr;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        rcu::synchronize_rcu,
        Mutex, //
    },
};

use crate::guard::rcu_read;

/// What leads to a neighbour, or null.
type Link<T> = Atomic<*mut Neighbour<T>>;

/// A neighbour.
struct Neighbour<T> {
    next: Link<T>,
    number: u32,
    state: T,
}

/// The neighbours. Each number is there once.
#[pin_data(PinnedDrop)]
pub struct Neighbours<T> {
    first: Link<T>,
    #[pin]
    lock: Mutex<()>,
}

// ANCHOR: bounds
// SAFETY: Who has the table can free what any thread has put into it, and look at it.
unsafe impl<T: Send + Sync> Send for Neighbours<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Neighbours<T> {}
// ANCHOR_END: bounds

impl<T: Send + Sync> Neighbours<T> {
    /// Makes a table without neighbours.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            first: Atomic::new(ptr::null_mut()),
            lock <- new_mutex!((), "Neighbours"),
        })
    }

    /// Returns the link to a neighbour; if it is not there, the last one, which is null.
    ///
    /// # Safety
    ///
    /// The caller must have the lock, or be in a read-side critical section.
    unsafe fn find(&self, number: u32) -> &Link<T> {
        let mut link = &self.first;
        // ANCHOR: walk
        // SAFETY: It is null, or is not freed as long as the caller has what he must have.
        while let Some(node) = unsafe { link.load(Relaxed).as_ref() } {
            // ANCHOR_END: walk
            if node.number == number {
                break;
            }
            link = &node.next;
        }
        link
    }

    /// Calls `f` with the state of a neighbour, in a read-side critical section.
    pub fn look<R>(&self, number: u32, f: impl FnOnce(&T) -> R) -> Option<R> {
        rcu_read(|_| {
            // SAFETY: We are in a read-side critical section, also when `f` is called.
            let found = unsafe { self.find(number).load(Relaxed).as_ref() };
            found.map(|node| f(&node.state))
        })
    }

    /// Adds a neighbour. [`EEXIST`] if it is there.
    pub fn add(&self, number: u32, state: T) -> Result {
        let next = Atomic::new(ptr::null_mut());
        let new = Neighbour {
            next,
            number,
            state,
        };
        let new = KBox::new(new, GFP_KERNEL)?;

        let _lock = self.lock.lock();
        // SAFETY: We have the lock.
        let link = unsafe { self.find(number) };
        if !link.load(Relaxed).is_null() {
            return Err(EEXIST);
        }
        // ANCHOR: publish
        // It comes last, so its `next` is null, as it should be. The lock orders us with others.
        link.store(KBox::into_raw(new), Relaxed);
        // ANCHOR_END: publish
        Ok(())
    }

    /// Gives a neighbour another state. [`ENOENT`] if it is not there.
    pub fn update(&self, number: u32, state: T) -> Result {
        let next = Atomic::new(ptr::null_mut());
        let new = Neighbour {
            next,
            number,
            state,
        };
        let new = KBox::new(new, GFP_KERNEL)?;

        let _lock = self.lock.lock();
        // SAFETY: We have the lock.
        let link = unsafe { self.find(number) };
        let old = link.load(Relaxed);
        // SAFETY: It is null, or linked, and we have the lock.
        let Some(node) = (unsafe { old.as_ref() }) else {
            return Err(ENOENT);
        };
        // ANCHOR: private
        new.next.store(node.next.load(Relaxed), Relaxed);
        // ANCHOR_END: private
        link.store(KBox::into_raw(new), Release);

        // ANCHOR: free
        // SAFETY: It was a `KBox`. The one link to it leads to the new one now, so nobody can find
        // it any more.
        drop(unsafe { KBox::from_raw(old) });
        // ANCHOR_END: free
        Ok(())
    }

    /// Removes a neighbour. [`ENOENT`] if it is not there. Sleeps for a grace period.
    pub fn remove(&self, number: u32) -> Result {
        // ANCHOR: place
        // There may be many neighbours, so others are not kept out while we look for it.
        // SAFETY: We are in a read-side critical section.
        let link = rcu_read(|_| unsafe { self.find(number) });
        let lock = self.lock.lock();
        // ANCHOR_END: place
        let gone = link.load(Relaxed);
        // SAFETY: It is null, or linked, and we have the lock.
        let Some(node) = (unsafe { gone.as_ref() }) else {
            return Err(ENOENT);
        };
        // ANCHOR: unlink
        link.store(node.next.load(Relaxed), Release);
        // ANCHOR_END: unlink

        // ANCHOR: unlocked
        drop(lock);
        synchronize_rcu();
        // ANCHOR_END: unlocked
        // SAFETY: It was a `KBox`. It was unlinked, and after that a grace period has passed.
        drop(unsafe { KBox::from_raw(gone) });
        Ok(())
    }
}

#[pinned_drop]
impl<T> PinnedDrop for Neighbours<T> {
    fn drop(self: Pin<&mut Self>) {
        let mut at = self.first.load(Relaxed);
        // ANCHOR: drop
        while !at.is_null() {
            // SAFETY: It was a `KBox`, and nobody else has the table.
            let node = unsafe { KBox::from_raw(at) };
            at = node.next.load(Relaxed);
        }
        // ANCHOR_END: drop
    }
}
