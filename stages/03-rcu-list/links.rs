// SPDX-License-Identifier: GPL-2.0

//! The two pointers by which a node is in a list, and the stores that put it in and take it out.
//!
//! This is all of the list that is about memory order. Everything here is `unsafe`, knows nothing
//! of what a node holds, and leaves locks and grace periods to its caller: see [`list`].
//!
//! | here                | in C                   | the store that readers see      |
//! |---------------------|------------------------|---------------------------------|
//! | [`Links::init`]     | `INIT_LIST_HEAD_RCU()` | (none: nobody knows it yet)     |
//! | [`Links::publish`]  | `__list_add_rcu()`     | `prev.next = new`               |
//! | [`Links::replace`]  | `list_replace_rcu()`   | `prev.next = new`               |
//! | [`Links::unlink`]   | `list_del_rcu()`       | `prev.next = next`              |
//!
//! Each has exactly one store that readers see. Before it the list is as it was, after it the list
//! is as it will be, and there is nothing in between: that is why readers need no lock.
//!
//! It is also what the model check of the host tries in all orders (with `cfg(model)`).
//!
//! [`list`]: super::list
//!
//! C header: [`include/linux/rculist.h`](srctree/include/linux/rculist.h)

use core::ptr;

#[cfg(not(model))]
use kernel::{
    bindings::CONFIG_ILLEGAL_POINTER_VALUE,
    sync::atomic::{
        Atomic,
        Relaxed,
        Release, //
    },
};

#[cfg(model)]
use super::atomic::{
    Atomic,
    Relaxed,
    Release,
    CONFIG_ILLEGAL_POINTER_VALUE, //
};

// ANCHOR: links
/// The two pointers, as in the kernel's `struct list_head`. A list is a ring of them; one, the
/// head, has no node around it.
///
/// Readers use `next` only. `prev` is for updaters, who take turns.
///
/// # Invariants
///
/// If it is in a list, or is a head, then for updaters `self.next.prev` and `self.prev.next` are
/// itself. If it was taken out, `next` is what it was then, and `prev` is [`POISON`].
#[repr(C)]
pub(crate) struct Links {
    next: Atomic<*mut Links>,
    prev: Atomic<*mut Links>,
}
// ANCHOR_END: links

/// What `prev` is set to when a node is unlinked, as C's `LIST_POISON2`: an address that nothing
/// is at. Who unlinks a node twice gets there.
pub(crate) const POISON: *mut Links =
    ptr::without_provenance_mut(CONFIG_ILLEGAL_POINTER_VALUE as usize + 0x122);

#[cfg(not(model))]
const _: () = {
    use core::mem::offset_of;
    use kernel::bindings::list_head;

    assert!(size_of::<Links>() == size_of::<list_head>());
    assert!(offset_of!(Links, next) == offset_of!(list_head, next));
    assert!(offset_of!(Links, prev) == offset_of!(list_head, prev));
};

impl Links {
    /// Makes links that are in no list.
    pub(crate) fn new() -> Self {
        Self {
            next: Atomic::new(ptr::null_mut()),
            prev: Atomic::new(ptr::null_mut()),
        }
    }

    // ANCHOR: init
    /// Makes a head of a list without nodes: the ring is the head alone.
    ///
    /// # Safety
    ///
    /// `head` must be valid, stay where it is from here on, and be in no list.
    pub(crate) unsafe fn init(head: *mut Links) {
        // SAFETY: It is valid, and only accessed by shared reference.
        let this = unsafe { &*head };
        // Ordering: none is needed, nobody else knows it.
        this.next.store(head, Relaxed);
        this.prev.store(head, Relaxed);
    }
    // ANCHOR_END: init

    // ANCHOR: publish
    /// Puts `new` into the list, behind `prev`.
    ///
    /// # Safety
    ///
    /// - `prev` must be in a list or be a head, and no other call may run for that list.
    /// - `new` must be valid, and be the caller's alone: nobody has found it, or a grace period
    ///   has passed since it was unlinked. What it holds must be initialised.
    pub(crate) unsafe fn publish(new: *mut Links, prev: *mut Links) {
        // ANCHOR: publish-body
        // SAFETY: They are valid by the safety requirements, and so is what is behind `prev`, by
        // the type invariants.
        let (this, before) = unsafe { (&*new, &*prev) };
        let next = before.next.load(Relaxed);

        // ANCHOR: publish-stores
        // First the new node, which readers do not know.
        this.next.store(next, Relaxed);
        this.prev.store(prev, Relaxed);

        // Ordering: `Release`. All that was stored before, in `new` and by whoever filled it, is
        // there for a reader who finds `new` by this. This is `rcu_assign_pointer()`; it pairs
        // with the load in `next()`.
        //
        //   CPU 0: reader                        CPU 1: updater
        //   -----------------------------        ------------------------------
        //                                        new.value = ...
        //                                        new.next = next
        //   at = prev.next      (relaxed)        prev.next = new    (release)
        //   ... at.value ...                     next.prev = new
        //   at = at.next        (relaxed)
        //
        // If `at` is `new`, then its value and its `next` are those that were stored: what is read
        // through a pointer comes after the load of that pointer. Else `at` is the old `next`.
        before.next.store(new, Release);
        // ANCHOR_END: publish-stores

        // Readers never use it.
        // SAFETY: As above.
        unsafe { &*next }.prev.store(new, Relaxed);
        // ANCHOR_END: publish-body
    }
    // ANCHOR_END: publish

    // ANCHOR: unlink
    /// Takes `this` out of its list. Readers who are at it can go on: it still has its `next`.
    ///
    /// # Safety
    ///
    /// `this` must be in a list, not be its head, and no other call may run for that list. It must
    /// not be freed, nor be linked again, before a grace period has passed.
    pub(crate) unsafe fn unlink(this: *mut Links) {
        // ANCHOR: unlink-body
        // SAFETY: It is valid, and so are its neighbours, by the type invariants.
        let node = unsafe { &*this };
        let (next, prev) = (node.next.load(Relaxed), node.prev.load(Relaxed));
        // SAFETY: As above.
        let (behind, before) = unsafe { (&*next, &*prev) };

        behind.prev.store(prev, Relaxed);

        // ANCHOR: unlink-stores
        // Ordering: `Release`, since readers find `next` by this. It was published long ago, as a
        // rule; but the same updater may have published it a moment before, with a release of
        // *another* pointer:
        //
        //   CPU 0: reader                        CPU 1: updater, without letting the lock go
        //   -----------------------------        ------------------------------
        //                                        next.value = ...
        //                                        this.next = next   (release)
        //   at = prev.next      (relaxed)        prev.next = next   (this store)
        //   ... at.value ...
        //
        // A release orders what comes before it, and not what comes behind it. If this store were
        // relaxed, it could be seen before all the others, and `at` would be a node without a
        // value. (C has `WRITE_ONCE()` here. It relies on the lock having been released between
        // the two, which orders them for readers as well.)
        before.next.store(next, Release);

        // What readers at `this` need is left alone; to them the list goes on.
        //
        //   CPU 0: reader                        CPU 1: updater
        //   -----------------------------        ------------------------------
        //   rcu_read_lock()
        //   at = prev.next, that is `this`
        //                                        prev.next = next
        //   ... at.value ...
        //   at = at.next, that is `next`
        //   rcu_read_unlock()  ------------->    a grace period after that ends
        //                                        frees `this`, or links it again
        node.prev.store(POISON, Relaxed);
        // ANCHOR_END: unlink-stores
        // ANCHOR_END: unlink-body
    }
    // ANCHOR_END: unlink

    // ANCHOR: replace
    /// Puts `new` in the place of `old`. Readers find the one or the other, never both, and never
    /// neither.
    ///
    /// # Safety
    ///
    /// As for [`Links::unlink`] of `old` and [`Links::publish`] of `new`.
    pub(crate) unsafe fn replace(old: *mut Links, new: *mut Links) {
        // ANCHOR: replace-body
        // SAFETY: They are valid by the safety requirements, and the neighbours of `old` by the
        // type invariants.
        let (gone, this) = unsafe { (&*old, &*new) };
        let (next, prev) = (gone.next.load(Relaxed), gone.prev.load(Relaxed));
        // SAFETY: As above.
        let (behind, before) = unsafe { (&*next, &*prev) };

        // ANCHOR: replace-stores
        this.next.store(next, Relaxed);
        this.prev.store(prev, Relaxed);

        // Ordering: `Release`, as in `publish()`; and this is the one store that readers see. It
        // takes `old` out and puts `new` in.
        before.next.store(new, Release);
        // ANCHOR_END: replace-stores

        behind.prev.store(new, Relaxed);
        // As in `unlink()`: `old` still leads to `next`.
        gone.prev.store(POISON, Relaxed);
        // ANCHOR_END: replace-body
    }
    // ANCHOR_END: replace

    // ANCHOR: next
    /// Returns what is behind `this`: the head, if it is the last one.
    ///
    /// # Safety
    ///
    /// `this` must be a head, or have been found in the critical section that this thread is still
    /// in; or no other call may run for its list.
    #[inline]
    pub(crate) unsafe fn next(this: *const Links) -> *mut Links {
        // Ordering: `Relaxed` is `READ_ONCE()`: a pointer that was read so carries a dependency,
        // and what is read through it comes later. It pairs with the releases of this file. The
        // result may be compared with the head, to know the end: that is the one pointer through
        // which nothing is read then.
        // SAFETY: It is valid: a head, or a node that is not freed before the section ends.
        unsafe { &*this }.next.load(Relaxed)
    }
    // ANCHOR_END: next

    /// Returns what is before `this`. Only for updaters; there is no such thing for readers, who
    /// would find poison, or a node whose `next` does not lead to them.
    ///
    /// # Safety
    ///
    /// `this` must be in a list or be a head, and no other call may run for that list.
    pub(crate) unsafe fn prev(this: *const Links) -> *mut Links {
        // SAFETY: It is valid by the safety requirements.
        unsafe { &*this }.prev.load(Relaxed)
    }
}
