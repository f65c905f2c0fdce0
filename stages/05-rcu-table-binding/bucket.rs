// SPDX-License-Identifier: GPL-2.0

//! A bucket: a chain of entries, and the lock of those who change it.
//!
//! ```text
//!    bucket
//!    +-------+      +--------+      +--------+      +--------+
//!    | first | ---> | no. 9  | ---> | no. 7  | ---> | no. 2  | ---> null
//!    | lock  |      +--------+      +--------+      +--------+
//!    +-------+
//! ```
//!
//! The chain has one pointer for each entry. An updater has walked along it from its beginning
//! before it changes anything, as a key must not be in it twice; so it knows which link leads to
//! the entry, and needs no pointer back.
//!
//! New entries come first, each with the next number, and who replaces an entry gets its number.
//! So **the numbers along a chain go down**. By that a walk can be left and taken up again: see
//! [`RcuTable::visit`](super::table::RcuTable::visit).
//!
//! | what is done | in C                    | the one store that readers see  |
//! |--------------|-------------------------|---------------------------------|
//! | insert       | `hlist_add_head_rcu()`  | `first = new`                   |
//! | replace      | `hlist_replace_rcu()`   | `link = new`                    |
//! | remove       | `hlist_del_rcu()`       | `link = entry.next`             |
//! | remove all   | (nothing)               | `first = null`                  |
//!
//! In none of them `next` of an entry that readers can be at is cleared. (This is a chain of its
//! own, and not stage 3's list: a ring needs two words in each bucket, one more pointer in each
//! entry, and a comparison with the head in each step.)

use core::{
    iter,
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};

use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        Arc,
        SpinLockIrq,
        SpinLockIrqGuard, //
    },
};

use super::{
    entry::{
        charge,
        Entry,
        Found,
        Link,
        NewEntry,
        RetiredEntry, //
    },
    guard::ReadSide,
    hash::Key,
    retired::{
        Cap,
        DropContext, //
    },
    value::{
        UnderLock,
        Value, //
    },
};

// ANCHOR: bucket
/// A bucket.
///
/// Its lock is taken with interrupts disabled, so that a table can be changed in any context but
/// NMI. All these locks are of one class for lockdep, which is right: nobody takes two.
///
/// # Invariants
///
/// - The chain from `first` on is of entries that were made by [`NewEntry::fill`] and belong to
///   nobody. It ends with null. It is changed with the lock held, by the stores of this file.
/// - No key is in it twice. The numbers go down along it, and are not greater than what the lock
///   protects: how many entries were ever inserted.
/// - What was unlinked is freed only when a grace period has passed since then.
#[pin_data]
pub(crate) struct Bucket<V> {
    first: Link<V>,
    #[pin]
    lock: SpinLockIrq<u64>,
}
// ANCHOR_END: bucket

// SAFETY: Who has a bucket can have its values dropped, on any thread, while readers are at them:
// a `Value` is `Send` and `Sync`.
unsafe impl<V: Value> Send for Bucket<V> {}

// SAFETY: 1. `entries()` gives `&V` to any number of threads: a `Value` is `Sync`. 2. An updater
// takes a `V` from one thread, and another may take it out: it is `Send`.
unsafe impl<V: Value> Sync for Bucket<V> {}

impl<V: Value> Bucket<V> {
    /// Makes an empty one.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            first: Atomic::new(ptr::null_mut()),
            lock <- new_spinlock_irq!(0, "RcuTable"),
        })
    }

    // ANCHOR: find
    /// Returns the value of a key, for as long as the critical section lasts. Any context; does not
    /// sleep.
    #[inline]
    pub(crate) fn find<'g>(&self, guard: &'g impl ReadSide, key: Key<'_>) -> Option<&'g V> {
        // ANCHOR: find-body
        // SAFETY: It is the link of a bucket.
        let mut at = unsafe { Found::follow(&self.first, guard) };
        while let Some(entry) = at {
            if entry.is(key) {
                return Some(entry.value());
            }
            at = entry.next();
        }
        None
        // ANCHOR_END: find-body
    }
    // ANCHOR_END: find

    // ANCHOR: entries
    /// Returns the entries, to a reader. Any context; does not sleep.
    ///
    /// What was linked throughout the walk is found, once; what was linked or unlinked meanwhile is
    /// found or not. The walk ends with null, and so it does not need the bucket any more.
    #[doc(alias = "hlist_for_each_entry_rcu")]
    #[inline]
    pub(crate) fn entries<'g>(
        &self,
        guard: &'g impl ReadSide,
    ) -> impl Iterator<Item = Found<'g, V>> {
        // SAFETY: It is the link of a bucket.
        let first = unsafe { Found::follow(&self.first, guard) };
        iter::successors(first, Found::next)
    }
    // ANCHOR_END: entries

    /// Takes the lock. Any context but NMI; does not sleep.
    #[inline]
    pub(crate) fn lock(&self) -> LockedBucket<'_, V> {
        // ANCHOR: lock
        let inserted = self.lock.lock();
        // ANCHOR_END: lock
        // INVARIANT: It is the lock of `self`.
        LockedBucket {
            bucket: self,
            inserted,
        }
    }

    // ANCHOR: take-all
    /// Unlinks all entries at once.
    ///
    /// Readers who are in the chain walk on, to its end. Nobody else finds it any more.
    pub(crate) fn take_all<D: DropContext<V>>(&self) -> Unlinked<V, D> {
        // ANCHOR: take-all-body
        let locked = self.lock();
        let first = self.first.load(Relaxed);
        // Ordering: none is needed, as nothing is read through null.
        self.first.store(ptr::null_mut(), Relaxed);
        drop(locked);
        // INVARIANT: They were unlinked just now.
        Unlinked {
            first,
            is_over: false,
            drop_context: PhantomData,
        }
        // ANCHOR_END: take-all-body
    }
    // ANCHOR_END: take-all
}

// --- A chain that was unlinked ------------------------------------------------------------------

/// What is left of a chain that was unlinked as a whole.
///
/// # Invariants
///
/// All entries from `first` on were unlinked, and are ours to retire.
pub(crate) struct Unlinked<V: Value, D: DropContext<V>> {
    first: *mut Entry<V>,
    /// Whether there was no credit for one of those that were retired.
    pub(crate) is_over: bool,
    drop_context: PhantomData<D>,
}

impl<V: Value, D: DropContext<V>> Unlinked<V, D> {
    /// Returns the next entry, which will owe a credit to `cap`. There need not be one.
    pub(crate) fn retire_one(&mut self, cap: &Arc<Cap>) -> Option<RetiredEntry<V, D>> {
        let entry = NonNull::new(self.first)?;
        // SAFETY: It is not freed before it is retired. After that it may be: so its `next` is
        // read now.
        self.first = unsafe { Entry::next(entry) }.load(Relaxed);
        self.is_over |= !charge(cap);
        // SAFETY: By the type invariants; and the credit was just taken.
        Some(unsafe { RetiredEntry::new(entry, cap) })
    }
}

// --- Those who change it ------------------------------------------------------------------------

// ANCHOR: locked-bucket
/// Evidence that this thread has the lock of a bucket.
///
/// # Invariants
///
/// `inserted` is the guard of the lock of `bucket`.
pub(crate) struct LockedBucket<'b, V: Value> {
    bucket: &'b Bucket<V>,
    inserted: SpinLockIrqGuard<'b, u64>,
}

impl<V: Value> LockedBucket<'_, V> {
    // ANCHOR: another
    // ANCHOR_END: another
    /// Returns the place of a key.
    #[inline]
    pub(crate) fn place(&mut self, key: Key<'_>) -> Place<'_, V> {
        let bucket = self.bucket;
        let mut link = &bucket.first;
        // Ordering: `Relaxed`, as nobody but us changes it.
        while let Some(entry) = NonNull::new(link.load(Relaxed)) {
            // SAFETY: It is linked, and we have the lock, so it stays so for as long as `self` is
            // borrowed; or until `Place` unlinks it, and is gone.
            if unsafe { Entry::is(entry, key) } {
                // INVARIANT: The link leads to the entry of the key.
                return Place::Taken(Taken { link, entry });
            }
            // SAFETY: As above.
            link = unsafe { Entry::next(entry) };
        }
        Place::Vacant(Vacant {
            first: &bucket.first,
            inserted: &mut self.inserted,
        })
    }
}
// ANCHOR_END: locked-bucket

/// Where a key is in a bucket that is locked, or that it is not there.
pub(crate) enum Place<'l, V: Value> {
    /// There is an entry.
    Taken(Taken<'l, V>),
    /// There is none.
    Vacant(Vacant<'l, V>),
}

// ANCHOR: vacant
/// A bucket that is locked, and that does not have a key.
///
/// # Invariants
///
/// For `'l` the lock is held. `first` and `inserted` are of the same bucket.
pub(crate) struct Vacant<'l, V: Value> {
    first: &'l Link<V>,
    inserted: &'l mut u64,
}

impl<V: Value> Vacant<'_, V> {
    /// Inserts an entry, which must be of the key that is not there.
    pub(crate) fn insert(self, new: NewEntry<V>, value: V) {
        // INVARIANT: The new number is greater than all in the chain.
        *self.inserted += 1;
        let new = new.fill(value, *self.inserted, self.first.load(Relaxed));

        // Ordering: `Release`, so that who finds the entry finds it initialised. This is
        // `rcu_assign_pointer()`; it pairs with `Found::follow()`.
        //
        //   CPU 0: reader                        CPU 1: updater
        //   -----------------------------        ------------------------------
        //                                        new.id, new.value, new.next = ...
        //   at = first          (relaxed)        first = new          (release)
        //   ... at.id, at.value, at.next ...
        self.first.store(new.as_ptr(), Release);
    }
}
// ANCHOR_END: vacant

// ANCHOR: taken
/// An entry that is linked, in a bucket that is locked.
///
/// # Invariants
///
/// For `'l` the lock is held. `entry` is in its bucket, and `link` leads to it.
pub(crate) struct Taken<'l, V: Value> {
    link: &'l Link<V>,
    entry: NonNull<Entry<V>>,
}

impl<V: Value> Taken<'_, V> {
    /// Returns the value.
    #[inline]
    pub(crate) fn value(&self) -> &V {
        // SAFETY: By the type invariants it is linked, and that does not change while we are
        // borrowed.
        unsafe { Entry::value(self.entry) }
    }

    /// Has the value take over `new`, or gives it back.
    #[inline]
    pub(crate) fn store(&self, new: V) -> Result<(), V> {
        // ANCHOR: taken-store-body
        // SAFETY: By the type invariants, while we are borrowed.
        let locked = unsafe { UnderLock::new() };
        self.value().store(new, &locked)
        // ANCHOR_END: taken-store-body
    }

    /// Puts a new entry in the place of this one. It must be of the same key. The caller must have
    /// taken a credit from `cap`.
    pub(crate) fn replace<D: DropContext<V>>(
        self,
        new: NewEntry<V>,
        value: V,
        cap: &Arc<Cap>,
    ) -> RetiredEntry<V, D> {
        // SAFETY: By the type invariants it is linked.
        let (number, next) = unsafe {
            let next = Entry::next(self.entry).load(Relaxed);
            (Entry::number(self.entry), next)
        };
        // ANCHOR: number-kept
        // INVARIANT: It has the same number, at the same place.
        let new = new.fill(value, number, next);
        // ANCHOR_END: number-kept
        // Ordering: `Release`, as in `Vacant::insert()`. Readers find the old entry or the new one,
        // never both, and never neither: there is one store.
        self.link.store(new.as_ptr(), Release);
        // SAFETY: It was just unlinked, by us who have the lock; and the caller has the credit.
        unsafe { RetiredEntry::new(self.entry, cap) }
    }

    /// Removes the entry. The caller must have taken a credit from `cap`.
    pub(crate) fn remove<D: DropContext<V>>(self, cap: &Arc<Cap>) -> RetiredEntry<V, D> {
        // SAFETY: By the type invariants it is linked.
        let next = unsafe { Entry::next(self.entry) }.load(Relaxed);
        // Ordering: `Release`, since readers find `next` by this, and it may have been published a
        // moment before by the same updater, with a release of another link: see `links` of stage
        // 3. What it has to be ordered behind is what that was.
        self.link.store(next, Release);
        // Our own `next` stays: to readers who are here the chain goes on.
        // SAFETY: As in `replace()`.
        unsafe { RetiredEntry::new(self.entry, cap) }
    }
}
// ANCHOR_END: taken
