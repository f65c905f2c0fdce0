// SPDX-License-Identifier: GPL-2.0

//! A notice board: all read the notice that is up, and somebody puts up another now and then.
//!
//! An old notice is kept until no reader can be at it. Nobody waits for that: each new notice
//! looks whether there are old ones whose time has come.

use kernel::{
    bindings, new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        Mutex, //
    },
};

use crate::guard::rcu_read;

/// A notice, with its number.
pub struct Notice<T> {
    /// Counts the notices, from 1.
    pub number: u64,
    /// What it says.
    pub text: T,
}

/// A notice that was taken down, and the grace period that it waits for.
struct Old<T> {
    notice: *mut Notice<T>,
    cookie: c_ulong,
}

/// So many old notices may wait.
const MAX_OLD: usize = 64;

/// The board. There is always a notice on it.
#[pin_data(PinnedDrop)]
pub struct Board<T> {
    current: Atomic<*mut Notice<T>>,
    #[pin]
    old: Mutex<KVec<Old<T>>>,
}

// ANCHOR: bounds
// SAFETY: What is up is an atomic pointer, and what was taken down is behind a lock: any thread
// may use the board, and several at a time.
unsafe impl<T> Send for Board<T> {}
unsafe impl<T> Sync for Board<T> {}
// ANCHOR_END: bounds

impl<T> Board<T> {
    /// Makes a board with its first notice.
    pub fn new(text: T) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            old <- new_mutex!(KVec::new(), "Board"),
            current: Atomic::new(KBox::into_raw(KBox::new(Notice { number: 1, text }, GFP_KERNEL)?)),
        })
    }

    /// Calls `f` with the notice that is up, in a read-side critical section.
    pub fn look<R>(&self, f: impl FnOnce(&Notice<T>) -> R) -> R {
        rcu_read(|_| {
            // ANCHOR: load
            let notice = self.current.load(Relaxed);
            // ANCHOR_END: load
            // SAFETY: It is not null, and is not freed before this section is over.
            f(unsafe { &*notice })
        })
    }

    /// Returns a copy of the text, for who wants to keep it.
    pub fn copy(&self) -> Result<KBox<T>>
    where
        T: Clone,
    {
        // ANCHOR: allocation
        self.look(|notice| Ok(KBox::new(notice.text.clone(), GFP_KERNEL)?))
        // ANCHOR_END: allocation
    }

    /// Puts up another notice. If it fails, the old one is still up: [`EAGAIN`] if too many old ones
    /// wait.
    pub fn post(&self, text: T) -> Result {
        let mut old = self.old.lock();

        old.retain(|old| {
            // SAFETY: It may be called anywhere, and takes any number.
            let is_over = unsafe { bindings::poll_state_synchronize_rcu(old.cookie) };
            if is_over {
                // SAFETY: It was a `KBox`, and its readers have left.
                drop(unsafe { KBox::from_raw(old.notice) });
            }
            !is_over
        });
        if old.len() >= MAX_OLD {
            return Err(EAGAIN);
        }

        // ANCHOR: all-memory-first
        old.reserve(1, GFP_KERNEL)?;
        let before = self.current.load(Relaxed);
        // SAFETY: We have the lock, so nobody takes it down.
        let number = unsafe { (*before).number } + 1;
        // ANCHOR_END: all-memory-first
        let notice = KBox::new(Notice { number, text }, GFP_KERNEL)?;

        // ANCHOR: order
        // SAFETY: It may be called anywhere but in an NMI.
        let cookie = unsafe { bindings::start_poll_synchronize_rcu() };
        self.current.store(KBox::into_raw(notice), Release);
        // ANCHOR_END: order
        let before = Old {
            notice: before,
            cookie,
        };
        // There is room for it.
        let _ = old.push_within_capacity(before);
        Ok(())
    }
}

#[pinned_drop]
impl<T> PinnedDrop for Board<T> {
    fn drop(self: Pin<&mut Self>) {
        // ANCHOR: drop
        // SAFETY: It was a `KBox`.
        drop(unsafe { KBox::from_raw(self.current.load(Relaxed)) });
        for old in self.old.lock().drain_all() {
            // SAFETY: So was this.
            drop(unsafe { KBox::from_raw(old.notice) });
        }
        // ANCHOR_END: drop
    }
}
