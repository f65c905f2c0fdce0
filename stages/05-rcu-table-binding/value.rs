// SPDX-License-Identifier: GPL-2.0

//! What a table holds, and what can be changed without replacing it.
//!
//! RCU's way to change a value is to publish another one in its place. That takes memory, and a
//! grace period before the old one can be freed. For a number that is more than it needs: a number
//! fits into a machine word, and a word is written in one go. A reader who is there meanwhile sees
//! the old number or the new one.
//!
//! This works for one word at a time. If what a reader has to know is in two, such as *that* it is
//! a number and *which*, then only one of them may ever change; else a reader could take the bits
//! of the one for what is said by the other. Here it is a rule of the language: a table gives `&V`
//! to whoever stores, so that of an `enum` nobody can change the variant, but only what is in a
//! [`Word`].

use kernel::{
    sync::atomic::{
        Atomic,
        AtomicType,
        Relaxed, //
    },
    types::NotThreadSafe,
};

// ANCHOR: under-lock
/// Evidence that a value is in a table, and that this thread has the lock of its bucket.
///
/// It is made by the table, which lends it to [`Value::store`].
///
/// # Invariants
///
/// While it exists the lock is held, and the entry that it was made for is linked.
pub struct UnderLock(NotThreadSafe);

impl UnderLock {
    /// Makes evidence.
    ///
    /// # Safety
    ///
    /// For as long as it exists the lock of a bucket must be held, and the value that it is lent
    /// for must be in that bucket.
    #[inline]
    pub(crate) unsafe fn new() -> Self {
        // INVARIANT: By the safety requirements.
        Self(NotThreadSafe)
    }
}
// ANCHOR_END: under-lock

// ANCHOR: value
/// What a table can hold.
///
/// Readers have it by shared reference, on any number of CPUs: `Sync`. Who drops it in the end is
/// not who made it, and it is dropped whenever a grace period is over: `Send` and `'static`.
///
/// The methods are for values that can take over another one in place. Without them all are
/// replaced.
pub trait Value: Send + Sync + Sized + 'static {
    /// Returns whether it is of a kind that is stored in place. If so, a table first tries that,
    /// and allocates an entry only if it has to.
    #[inline]
    fn in_place(&self) -> bool {
        false
    }

    /// Takes over `new`, or gives it back if it has to be published in an entry of its own.
    ///
    /// Readers are there meanwhile. It is called with a spinlock held and interrupts disabled: it
    /// must not sleep, and what it replaces must need no drop.
    #[inline]
    fn store(&self, new: Self, _locked: &UnderLock) -> Result<(), Self> {
        Err(new)
    }
}
// ANCHOR_END: value

// ANCHOR: word
/// A number, or a truth value, that is stored in place.
///
/// Two that were stored one after the other may be seen in the other order: this promises nothing
/// about anything but itself.
pub struct Word<T: AtomicType>(Atomic<T>);

impl<T: AtomicType> Word<T> {
    /// Makes one.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self(Atomic::new(value))
    }
}

/// The types that are loaded and stored by themselves.
macro_rules! words {
    ($($t:ty),*) => {$(
        impl Word<$t> {
            /// Returns the value, which may be out of date at once. Any context.
            #[doc(alias = "READ_ONCE")]
            #[inline]
            pub fn get(&self) -> $t {
                // Ordering: none, it is one word. That what it is in was initialised, a reader
                // knows by the way that it came here.
                self.0.load(Relaxed)
            }

            /// Stores another value, in the place of what was there.
            #[doc(alias = "WRITE_ONCE")]
            #[inline]
            pub fn store(&self, value: $t, _locked: &UnderLock) {
                // Ordering: as above. Who updates it next has the lock, and sees it.
                self.0.store(value, Relaxed);
            }
        }

        impl Value for Word<$t> {
            // ANCHOR: word-value
            #[inline]
            fn in_place(&self) -> bool {
                true
            }

            #[inline]
            fn store(&self, new: Self, locked: &UnderLock) -> Result<(), Self> {
                Word::<$t>::store(self, new.get(), locked);
                Ok(())
            }
            // ANCHOR_END: word-value
        }
    )*};
}

words!(i32, i64, u32, u64, bool);
// ANCHOR_END: word
