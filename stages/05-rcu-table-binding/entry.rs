// SPDX-License-Identifier: GPL-2.0

//! An entry: a key and its value, in one piece of memory, with what links it into a bucket.
//!
//! ```text
//!    +------+-------------+-------+--------+----------+-----+---------------------+
//!    | next | hash,length | value | number | RCU head | cap | the bytes of the key|
//!    +------+-------------+-------+--------+----------+-----+---------------------+
//!      what a lookup reads          walks    for those who retire it, only
//! ```
//!
//! | state             | whose it is                  | type                         |
//! |-------------------|------------------------------|------------------------------|
//! | without a value   | an updater's, before the lock| [`NewEntry`]                 |
//! | linked            | nobody's                     | found in a [bucket]          |
//! | unlinked          | nobody's, readers are at it  | [`RetiredEntry`]             |
//!
//! [bucket]: super::bucket

use core::{
    alloc::Layout,
    marker::PhantomData,
    mem::{
        needs_drop,
        offset_of,
        ManuallyDrop, //
    },
    ptr::{
        self,
        NonNull, //
    },
    slice,
};

use kernel::{
    alloc::{
        allocator::Kmalloc,
        Allocator,
        Flags,
        NumaNode, //
    },
    bindings, container_of,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    types::Opaque,
};

use super::{
    guard::ReadSide,
    hash::{
        len_of,
        Key,
        MAX_KEY, //
    },
    retired::{
        give_to_rcu,
        Cap,
        DropContext,
        Garbage, //
    },
    value::Value,
};

// ANCHOR: link
/// Where an entry is linked: what leads to it, or null. A bucket has one, and so has each entry.
pub(crate) type Link<V> = Atomic<*mut Entry<V>>;
// ANCHOR_END: link

// ANCHOR: entry
/// An entry. The bytes of the key are behind it, in the same allocation.
///
/// Only raw pointers lead to it, never a reference to the whole of it: it ends where the key
/// begins; and as soon as it is retired, `head` is written to while readers are at the rest.
///
/// # Invariants
///
/// - As many bytes as `id` says are initialised, from `bytes` on, and belong to the allocation,
///   which is one of [`layout`].
/// - While it is linked, `next`, and what is atomic in `value`, change under the lock of its bucket,
///   and nothing else does. Once it is unlinked, they do not change any more; `head` and `cap` are
///   for who retires it, then.
#[repr(C)]
pub(crate) struct Entry<V> {
    next: Link<V>,
    /// The [`id`](Key::id) of the key: its hash and its length.
    id: u64,
    value: V,
    /// How many were inserted into this bucket before, and this one. An entry that replaces
    /// another has the number of that.
    number: u64,
    head: Opaque<bindings::callback_head>,
    /// Owes a credit, once it is retired.
    cap: Option<Arc<Cap>>,
    bytes: [u8; 0],
}
// ANCHOR_END: entry

/// Returns the layout of an entry whose key has `len` bytes.
fn layout<V>(len: usize) -> Result<Layout> {
    let size = offset_of!(Entry<V>, bytes)
        .checked_add(len)
        .ok_or(EOVERFLOW)?;
    let size = size.max(size_of::<Entry<V>>());
    Layout::from_size_align(size, align_of::<Entry<V>>()).map_err(|_| EOVERFLOW)
}

// --- Before it is linked ------------------------------------------------------------------------

// ANCHOR: new-entry
/// An entry with a key and without a value, that nobody has seen.
///
/// It is made before the lock of its bucket is taken, as that takes memory; its value may come when
/// the lock is held, as it may depend on the old one.
///
/// # Invariants
///
/// It is an allocation of [`layout`], ours alone, whose `id`, `cap` and bytes are initialised.
pub(crate) struct NewEntry<V>(NonNull<Entry<V>>);

impl<V> NewEntry<V> {
    /// Allocates an entry. [`ENAMETOOLONG`] if the key is longer than [`MAX_KEY`]. May sleep, as
    /// `flags` say.
    pub(crate) fn new(key: Key<'_>, flags: Flags) -> Result<Self> {
        let bytes = key.bytes();
        if bytes.len() > MAX_KEY {
            return Err(ENAMETOOLONG);
        }
        // ANCHOR: entry-allocates
        let memory = Kmalloc::alloc(layout::<V>(bytes.len())?, flags, NumaNode::NO_NODE)?;
        // ANCHOR_END: entry-allocates
        let entry = memory.cast::<Entry<V>>();
        let at = entry.as_ptr();
        // SAFETY: The memory is ours, and has room for the entry and behind it for the bytes; the
        // pointer is that of the whole allocation.
        unsafe {
            (&raw mut (*at).id).write(key.id());
            (&raw mut (*at).cap).write(None);
            ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                (&raw mut (*at).bytes).cast::<u8>(),
                bytes.len(),
            );
        }
        // INVARIANT: It was just allocated, and the key is not longer than `MAX_KEY`, so that its
        // `id` has its length.
        Ok(Self(entry))
    }

    /// Makes it whole: after that it can be published.
    #[inline]
    pub(crate) fn fill(self, value: V, number: u64, next: *mut Entry<V>) -> NonNull<Entry<V>> {
        let entry = ManuallyDrop::new(self).0;
        let at = entry.as_ptr();
        // SAFETY: By the type invariants the memory is ours, and has room for the entry.
        unsafe {
            (&raw mut (*at).next).write(Atomic::new(next));
            (&raw mut (*at).value).write(value);
            (&raw mut (*at).number).write(number);
        }
        entry
    }
}

impl<V> Drop for NewEntry<V> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is ours alone, and `cap` is `None`; there is no value.
        unsafe { free(self.0) };
    }
}
// ANCHOR_END: new-entry

/// Frees an entry's memory.
///
/// # Safety
///
/// It must be an allocation of [`layout`] whose `id` is initialised, and be the caller's alone.
unsafe fn free<V>(entry: NonNull<Entry<V>>) {
    // SAFETY: By the safety requirements.
    let len = len_of(unsafe { (*entry.as_ptr()).id });
    // This was good when it was allocated, so it is now.
    if let Ok(layout) = layout::<V>(len) {
        // SAFETY: By the safety requirements it was allocated so, and nobody uses it any more.
        unsafe { Kmalloc::free(entry.cast(), layout) };
    }
}

// --- While it is linked -------------------------------------------------------------------------

// ANCHOR: accessors
impl<V> Entry<V> {
    /// Returns where the next entry is linked.
    ///
    /// # Safety
    ///
    /// For `'a` the entry must be linked; or have been found in a section which lasts for `'a`.
    #[inline]
    pub(crate) unsafe fn next<'a>(this: NonNull<Self>) -> &'a Link<V> {
        // SAFETY: It is initialised, and is not freed for `'a`; and it is atomic.
        unsafe { &(*this.as_ptr()).next }
    }

    /// Returns the value.
    ///
    /// # Safety
    ///
    /// As for [`Entry::next`].
    #[inline]
    pub(crate) unsafe fn value<'a>(this: NonNull<Self>) -> &'a V {
        // SAFETY: It is initialised, and is not freed for `'a`. Nobody writes to it, but to what is
        // atomic in it.
        unsafe { &(*this.as_ptr()).value }
    }

    /// Returns the number.
    ///
    /// # Safety
    ///
    /// As for [`Entry::next`].
    #[inline]
    pub(crate) unsafe fn number(this: NonNull<Self>) -> u64 {
        // SAFETY: It is initialised, and does not change.
        unsafe { (*this.as_ptr()).number }
    }

    /// Returns the bytes of the key.
    ///
    /// # Safety
    ///
    /// As for [`Entry::next`].
    #[inline]
    pub(crate) unsafe fn key<'a>(this: NonNull<Self>) -> &'a [u8] {
        // SAFETY: By the type invariants so many bytes are there, and they do not change. The
        // pointer is that of the whole allocation.
        unsafe {
            let at = this.as_ptr();
            slice::from_raw_parts((&raw const (*at).bytes).cast(), len_of((*at).id))
        }
    }

    // ANCHOR: entry-is
    /// Returns whether it is the entry of a key.
    ///
    /// # Safety
    ///
    /// As for [`Entry::next`].
    #[inline]
    pub(crate) unsafe fn is(this: NonNull<Self>, key: Key<'_>) -> bool {
        // ANCHOR: is-body
        // First what is in this cache line, and in one comparison: hash *and* length. Only keys
        // for which both are equal are compared byte by byte, and they are equally long.
        // SAFETY: By the safety requirements it is initialised.
        if unsafe { (*this.as_ptr()).id } != key.id() {
            return false;
        }
        let len = key.bytes().len();
        // SAFETY: The `id` of a linked entry has the length of its key. That of `key` is the same,
        // so by the invariants of `Key` it has the same length; by those of the entry so many bytes
        // are there.
        let bytes =
            unsafe { slice::from_raw_parts((&raw const (*this.as_ptr()).bytes).cast::<u8>(), len) };
        bytes == key.bytes()
        // ANCHOR_END: is-body
    }
    // ANCHOR_END: entry-is
}
// ANCHOR_END: accessors

// ANCHOR: found
/// An entry that a reader has found.
///
/// # Invariants
///
/// It was linked when it was found, in a section that lasts for `'g`.
pub(crate) struct Found<'g, V> {
    entry: NonNull<Entry<V>>,
    section: PhantomData<&'g V>,
}

impl<'g, V: Value> Found<'g, V> {
    /// Follows a link.
    ///
    /// # Safety
    ///
    /// The link must be that of a bucket; or of an entry that was found in the same section.
    #[inline]
    pub(crate) unsafe fn follow(link: &Link<V>, _guard: &'g impl ReadSide) -> Option<Self> {
        // SAFETY: By the safety requirements.
        unsafe { Self::follow_in_section(link) }
    }

    /// As [`Found::follow`].
    ///
    /// # Safety
    ///
    /// As for that; and this thread must be in a section which lasts for `'g`.
    #[inline]
    unsafe fn follow_in_section(link: &Link<V>) -> Option<Self> {
        // Ordering: `Relaxed` is `READ_ONCE()`, and a pointer that was read so carries a
        // dependency: what is read through it comes later. It pairs with the releases of `bucket`.
        // It is compared with nothing but null.
        let entry = NonNull::new(link.load(Relaxed))?;
        // INVARIANT: The link led to it, in the section; or, if the link is that of an entry which
        // was unlinked meanwhile, it was linked when that was. Then it is retired later than that
        // entry was found:
        //
        //   CPU 0: reader                        CPU 1: updater
        //   -----------------------------        ------------------------------
        //   rcu_read_lock()
        //   finds `a`                            unlinks `a`
        //   follows a.next, finds `b`            unlinks `b`; `a.next` is still `b`
        //   ... b.value ...                      a grace period begins for `b`
        //   rcu_read_unlock()  ------------->    it ends
        Some(Self {
            entry,
            section: PhantomData,
        })
    }

    // ANCHOR: found-pointer
    // (Where it is, is nobody's business.)
    // ANCHOR_END: found-pointer

    /// Goes to the next entry, if there is one.
    #[inline]
    pub(crate) fn next(&self) -> Option<Self> {
        // SAFETY: By the type invariants it was found in the section that lasts for `'g`.
        unsafe { Self::follow_in_section(Entry::next(self.entry)) }
    }

    /// Returns whether it is the entry of a key.
    #[inline]
    pub(crate) fn is(&self, key: Key<'_>) -> bool {
        // SAFETY: As above.
        unsafe { Entry::is(self.entry, key) }
    }

    /// Returns the value, for as long as the section lasts.
    #[inline]
    pub(crate) fn value(&self) -> &'g V {
        // SAFETY: As above.
        unsafe { Entry::value(self.entry) }
    }

    /// Returns the bytes of the key, for as long as the section lasts.
    #[inline]
    pub(crate) fn key(&self) -> &'g [u8] {
        // SAFETY: As above.
        unsafe { Entry::key(self.entry) }
    }

    /// Returns the number.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        // SAFETY: As above.
        unsafe { Entry::number(self.entry) }
    }
}
// ANCHOR_END: found

// --- When it is unlinked ------------------------------------------------------------------------

/// Takes a credit for an entry whose removal cannot be refused. Returns whether there was one.
pub(crate) fn charge(cap: &Cap) -> bool {
    let charged = cap.take();
    if !charged {
        cap.take_anyway();
    }
    charged
}

// ANCHOR: retired-entry
/// An entry that was unlinked, and that readers may still be at.
///
/// When this is dropped, which must be after the lock of the bucket was released, it is given to
/// RCU: the value is dropped after a grace period. Dropping it does not sleep. Any context but NMI.
///
/// # Invariants
///
/// It was unlinked, is ours to retire, and its `cap` was charged for it.
#[must_use = "it is to be dropped after the lock"]
pub(crate) struct RetiredEntry<V: Value, D: DropContext<V>> {
    entry: NonNull<Entry<V>>,
    drop_context: PhantomData<D>,
}

impl<V: Value, D: DropContext<V>> RetiredEntry<V, D> {
    /// Takes over what was just unlinked, and owes a credit to `cap`.
    ///
    /// # Safety
    ///
    /// The entry must have been unlinked, and the caller must have the right to retire it, and
    /// give that away. A credit must have been taken from `cap` for it.
    #[inline]
    pub(crate) unsafe fn new(entry: NonNull<Entry<V>>, cap: &Arc<Cap>) -> Self {
        // SAFETY: The entry is not freed before it is retired; `cap` is ours, and readers do not
        // look at it. What was there is `None`.
        unsafe { (&raw mut (*entry.as_ptr()).cap).write(Some(cap.clone())) };
        // INVARIANT: By the safety requirements.
        Self {
            entry,
            drop_context: PhantomData,
        }
    }
}

impl<V: Value, D: DropContext<V>> Drop for RetiredEntry<V, D> {
    fn drop(&mut self) {
        // SAFETY: The entry is valid until it is given to RCU. No reference is made to it.
        let head = unsafe { Opaque::cast_into(&raw const (*self.entry.as_ptr()).head) };
        // SAFETY: By the type invariants it was unlinked, and is ours to retire. A `Value` is
        // `Send` and `'static`; and it may be dropped in the callback if `D` says so, or if there is
        // nothing to drop.
        unsafe { give_to_rcu::<Entry<V>>(head, D::IN_CALLBACK || !needs_drop::<V>()) };
    }
}

impl<V> Garbage for Entry<V> {
    unsafe fn free(head: *mut bindings::callback_head) {
        // SAFETY: By the safety requirements it is the head of an entry.
        let entry = unsafe { container_of!(Opaque::cast_from(head).cast_mut(), Self, head) };
        // SAFETY: As above; and a grace period has passed, so it is ours alone. The value is
        // dropped where it is, and the cap taken out.
        let cap = unsafe {
            ptr::drop_in_place(&raw mut (*entry).value);
            (*entry).cap.take()
        };
        // SAFETY: It is not null, was allocated by `NewEntry::new`, and nothing is left in it.
        unsafe { free(NonNull::new_unchecked(entry)) };
        if let Some(cap) = cap {
            cap.give_back();
        }
    }
}
// ANCHOR_END: retired-entry
