// SPDX-License-Identifier: GPL-2.0

//! A list that readers walk while updaters change it.
//!
//! | who       | has                              | can                                        |
//! |-----------|----------------------------------|--------------------------------------------|
//! | a reader  | `&RcuList` and a [guard]         | walk: [`RcuList::iter`]                    |
//! | an updater| the lock: a [`Writer`]           | walk, link, replace, remove                |
//! | an owner  | a [`NewNode`]                    | whatever it wants with the value           |
//!
//! # The life of a node
//!
//! ```text
//!   NewNode  -- push, insert, replace -->  Linked  -- remove, replace -->  RetiredNode
//!   (owned)                                (found with a cursor)           (nobody's)
//!      ^                                                                       |
//!      |                                                                       v
//!      +------------------  Reclaimed  <------- a grace period ----------------+
//! ```
//!
//! Each state is a type, and each step takes the old one away. So it does not compile to link a
//! node twice, nor to free one that is linked (nobody owns it then), nor to link one again before
//! a grace period has passed: readers at it would walk on in the other list, or, in the same one,
//! for ever in a circle.
//!
//! # Examples
//!
//! ```ignore
//! let table = Arc::pin_init(RcuList::<Route>::new(None), GFP_KERNEL)?;
//!
//! let node = NewNode::new(route, GFP_KERNEL)?;
//! table.lock().push_back(node);
//!
//! let via = rcu_read(|guard| table.iter(guard).find(|r| r.matches(address)).map(|r| r.via));
//!
//! let mut writer = table.lock();
//! let mut cursor = writer.cursor();
//! while let Some(linked) = cursor.next() {
//!     if linked.via == broken {
//!         linked.remove().map_err(|_| EAGAIN)?.defer();
//!     }
//! }
//! ```
//!
//! # What a reader can rely on
//!
//! That each value it finds is whole, does not change, and is not freed before its section ends;
//! that what was in the list all the time is found, once, and in order; and that it walks to an
//! end, unless nodes are added there as fast as it walks. *Not* that what it finds is in the list
//! still, nor that it finds what was added meanwhile: two changes that an updater made one after
//! the other may be seen as the second without the first.
//!
//! # What there is not, and why
//!
//! - **A walk backwards.** `prev` of a removed node is poison, and while a node is being added
//!   `next` leads to it and `prev` does not yet.
//! - **`is_empty()`.** Between that answer and the first node the list may have changed. What
//!   would be asked is asked with [`RcuList::first`], by one load.
//! - **`len()`**, for the same reason; the number is an updater's to know.
//! - **To hold two writers at once.** The locks of all lists are of one class, and lockdep takes
//!   the second for a deadlock. A node moves from list to list without: it has to wait for a grace
//!   period on its way.
//!
//! # What the types do not catch
//!
//! This is sound except for the holes named in [`guard`](super::guard), and for a module that is
//! unloaded without an [`RcuBarrier`](super::retired::RcuBarrier). And it can be used wrongly:
//!
//! - **A value behind a value.** If a value refers to something by a number, or by a pointer of its
//!   own, that something has to wait for the grace period, too. It does if it is given back where
//!   the value is dropped. To give it back where the node is removed compiles
//!   (`break B=value-behind-a-value`).
//! - **A comparison of addresses.** What is read through a pointer comes after the load of that
//!   pointer, because it depends on it. If code compares a reference that it was given with the
//!   address of some other value, and finds them equal, the compiler may read through the other
//!   one, on which nothing depends. Here a pointer that was loaded is compared with the head only,
//!   through which nothing is read. What is done with the `&T` is the caller's business
//!   (`break B=address-compared`).
//! - **A node that is forgotten**, with `mem::forget`, is leaked, and so is one that is retired,
//!   which goes on owing its credit. A writer that is forgotten never releases the lock: readers
//!   walk on, updaters wait for ever. A cursor, or a node that it has found, has nothing to do when
//!   it is dropped, and so nothing is missed if it is not.
//!
//! [guard]: super::guard::ReadSide

use core::{
    cell::UnsafeCell,
    marker::{
        PhantomData,
        PhantomPinned, //
    },
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::{
        self,
        NonNull, //
    },
};

use kernel::{
    alloc::Flags,
    bindings,
    container_of, //
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        MutexGuard, //
    },
};

use super::{
    guard::ReadSide,
    links::Links,
    retired::{
        CallbackDrop,
        Cap,
        DropContext,
        InProcess,
        Node,
        RcuRetired,
        Reclaimed, //
    },
};

// --- A node -------------------------------------------------------------------------------------

// ANCHOR: entry
/// A value with the links of a list.
#[repr(C)]
pub struct Entry<T> {
    links: Links,
    value: T,
}
// ANCHOR_END: entry

impl<T> Entry<T> {
    /// Returns the entry around some links.
    ///
    /// # Safety
    ///
    /// They must be those of an `Entry<T>`.
    #[inline]
    unsafe fn of(links: *mut Links) -> *mut Self {
        // SAFETY: By the safety requirements.
        unsafe { container_of!(links, Self, links) }
    }

    /// Returns the node around some links, with which it is retired.
    ///
    /// # Safety
    ///
    /// They must be those of an entry in a `Node`, and the pointer must be from that node.
    unsafe fn node(links: *mut Links) -> NonNull<Node<Self>> {
        // SAFETY: By the safety requirements; the node is not null.
        unsafe { NonNull::new_unchecked(container_of!(Self::of(links), Node<Self>, value)) }
    }
}

impl<T> Deref for Entry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Entry<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

// SAFETY: There is nothing to drop but the value.
unsafe impl<T: CallbackDrop> CallbackDrop for Entry<T> {}

// ANCHOR: new-node
/// A node that is in no list, and that no reader is at: it has an owner.
///
/// It is new; or it was in a list, and a grace period has passed, which is the same.
pub struct NewNode<T>(KBox<Node<Entry<T>>>);

impl<T> NewNode<T> {
    /// Allocates a node. [`ENOMEM`] drops the value. May sleep, as `flags` say.
    pub fn new(value: T, flags: Flags) -> Result<Self> {
        let links = Links::new();
        let node = Node::new(Entry { links, value }, None, flags).map_err(|_| ENOMEM)?;
        // SAFETY: It was just made, and is ours alone.
        Ok(Self(unsafe { Node::reclaim(node) }))
    }

    /// Takes the value out of its node, which is freed.
    pub fn into_inner(self) -> T {
        // SAFETY: It is ours alone, and nothing is owed for it.
        unsafe { Node::take_back(NonNull::from(KBox::leak(self.0))) }.value
    }

    /// Gives the node away, to a list. Its credit will be owed to `cap` when it is retired.
    fn into_links(mut self, cap: Option<Arc<Cap>>) -> *mut Links {
        self.0.cap = cap;
        let node: *mut Node<Entry<T>> = KBox::leak(self.0);
        // SAFETY: It is valid. The pointer is made of that to the node, so it leads back there.
        unsafe { &raw mut (*node).value.links }
    }
}

// SAFETY: It is a `T` in memory that belongs to nobody else, and to no thread.
unsafe impl<T: Send> Send for NewNode<T> {}

// SAFETY: By shared reference there is nothing but `&T` to be had.
unsafe impl<T: Sync> Sync for NewNode<T> {}

impl<T> From<Reclaimed<Entry<T>>> for NewNode<T> {
    /// A grace period has passed, so the node is as good as new: it can be linked again, in any
    /// list, and nothing has to be allocated.
    fn from(node: Reclaimed<Entry<T>>) -> Self {
        Self(node.0)
    }
}
// ANCHOR_END: new-node

impl<T> Deref for NewNode<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value.value
    }
}

impl<T> DerefMut for NewNode<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.value.value
    }
}

// ANCHOR: retired-node
/// A node that was unlinked, and that readers may still be at.
///
/// There is nothing special about it: [`RcuRetired::synchronize`] and the others give it back.
pub type RetiredNode<T, D = InProcess> = RcuRetired<Entry<T>, D>;
// ANCHOR_END: retired-node

/// A node that was not linked, since too many wait for their reclaim; here it is back.
pub struct NotLinked<T>(
    /// The node.
    pub NewNode<T>,
);

impl<T> From<NotLinked<T>> for Error {
    fn from(_: NotLinked<T>) -> Self {
        EAGAIN
    }
}

// --- The list -----------------------------------------------------------------------------------

// ANCHOR: list
/// A list that readers walk without a lock, and that is changed by those who have the lock.
///
/// When it is dropped, its nodes are retired: a reader may still have what it found, though not
/// walk on. It may be dropped in any context but NMI.
///
/// # Invariants
///
/// The ring of `head` is of links in nodes that were made by [`NewNode::new`] and that nobody
/// owns, and is changed with the lock held. A node that was in it is freed, or linked again, only
/// when a grace period has passed since it was unlinked.
#[pin_data(PinnedDrop)]
pub struct RcuList<T, D = InProcess>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    #[pin]
    head: Head,
    cap: Option<Arc<Cap>>,
    #[pin]
    lock: Mutex<()>,
    /// Nodes are put in by shared reference, so this is like a cell: a list of one type does not
    /// pass for a list of another, not even where a value of the one passes for one of the other.
    nodes: PhantomData<(UnsafeCell<T>, D)>,
}

/// The head of a list, which the first and the last node point to.
#[pin_data]
struct Head {
    links: Links,
    #[pin]
    _pin: PhantomPinned,
}
// ANCHOR_END: list

// SAFETY: Who has it can drop it, and a `T` with it, in any thread: `T` is `Send`. Readers may be
// at a `T` then: `T` is `Sync`.
unsafe impl<T, D> Send for RcuList<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
}

// SAFETY: 1. `iter()` gives `&T` to any number of threads: `T` is `Sync`. 2. A writer takes a `T`
// from one thread, and another may take it out: `T` is `Send`.
unsafe impl<T, D> Sync for RcuList<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
}

impl<T, D> RcuList<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    /// Makes a list without nodes. If there is a cap, nodes can be removed and replaced only as
    /// long as no more than that wait for their reclaim.
    pub fn new(cap: Option<Arc<Cap>>) -> impl PinInit<Self> {
        let head = pin_init!(Head {
            links: Links::new(),
            _pin: PhantomPinned,
        })
        .pin_chain(|head| {
            // SAFETY: It is pinned, and new.
            unsafe { Links::init(head.as_ref().get_ref().as_ptr()) };
            Ok(())
        });
        pin_init!(Self {
            // INVARIANT: There is no node.
            head <- head,
            cap,
            lock <- new_mutex!((), "RcuList"),
            nodes: PhantomData,
        })
    }

    // ANCHOR: iter
    /// Returns an iterator over the values, for a reader. Any context; does not sleep.
    ///
    /// The walk needs list and guard. What it finds needs the guard alone: as any value that was
    /// found, it outlives its removal, and the list's own end.
    #[doc(alias = "list_for_each_entry_rcu")]
    #[inline]
    pub fn iter<'l, 'g>(&'l self, _guard: &'g impl ReadSide) -> Iter<'l, 'g, T> {
        Iter {
            head: &self.head,
            at: self.head.as_ptr(),
            section: PhantomData,
        }
    }
    // ANCHOR_END: iter

    /// Returns the first value. Any context; does not sleep.
    ///
    /// This is the question that [`is_empty()`](self) would be asked for.
    #[doc(alias = "list_first_or_null_rcu")]
    #[inline]
    pub fn first<'g>(&self, guard: &'g impl ReadSide) -> Option<&'g T> {
        self.iter(guard).next()
    }

    /// Takes the lock. Sleeps.
    ///
    /// Must not be called in a read-side critical section, as anything that sleeps.
    pub fn lock(&self) -> Writer<'_, T, D> {
        Writer {
            list: self,
            // ANCHOR: lock
            _lock: self.lock.lock(),
            // ANCHOR_END: lock
        }
    }
}

impl Head {
    /// Returns the links, as the neighbours have them.
    fn as_ptr(&self) -> *mut Links {
        (&raw const self.links).cast_mut()
    }
}

// ANCHOR: list-drop
#[pinned_drop]
impl<T, D> PinnedDrop for RcuList<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    fn drop(self: Pin<&mut Self>) {
        let head = self.head.as_ptr();
        // SAFETY: Nobody else has the list, neither reader nor updater.
        let mut at = unsafe { Links::next(head) };
        while at != head {
            // SAFETY: As above. Once `at` is retired, it may be freed: so we ask it first.
            let next = unsafe { Links::next(at) };
            if let Some(cap) = &self.cap {
                cap.take_anyway();
            }
            // SAFETY: By the type invariants it is such a node, and nobody's. Readers do not find
            // it any more, as nobody has the list. It was charged for.
            unsafe { RetiredNode::<T, D>::new(Entry::node(at)) }.defer();
            at = next;
        }
    }
}
// ANCHOR_END: list-drop

// ANCHOR: iterator
/// The walk of a reader.
///
/// # Invariants
///
/// `at` is the head; or a node that was found in the critical section that the borrow of the guard
/// stands for. (Or for `'g` nobody changes the list.)
pub struct Iter<'l, 'g, T> {
    /// Borrowed, so that the list is not dropped: else its last node would lead nowhere.
    head: &'l Head,
    at: *mut Links,
    section: PhantomData<&'g T>,
}

impl<'g, T: 'static> Iterator for Iter<'_, 'g, T> {
    type Item = &'g T;

    #[inline]
    fn next(&mut self) -> Option<&'g T> {
        // ANCHOR: iterator-next
        // SAFETY: By the type invariants it is the head of a list that is there, or was found in
        // this section.
        let next = unsafe { Links::next(self.at) };

        // Compared with the head, and used only if it is not: see `Links::next()`. At the end we
        // stay at the last node, and who asks again may find that it is not the last any more: to
        // remember the end would be one more test for each node.
        if ptr::eq(next, self.head.as_ptr()) {
            return None;
        }
        // INVARIANT: It was just found.
        self.at = next;
        // SAFETY: It is not the head, so it is a node's. It was found in a section that lasts for
        // `'g`, so it was not freed before, and is not while `'g` lasts:
        //
        //   CPU 0: reader                        CPU 1: updater
        //   -----------------------------        ------------------------------
        //   rcu_read_lock()
        //   finds `a`                            unlinks `a`
        //   at = a.next, that is `b`             unlinks `b`; `a.next` is still `b`
        //   ... b.value ...                      a grace period begins for `b`
        //   rcu_read_unlock()  ------------->    it ends
        //
        // A removed node leads to nodes that were removed *after* it, if at all. Their grace
        // periods began when we were inside.
        Some(unsafe { &(*Entry::<T>::of(next)).value })
        // ANCHOR_END: iterator-next
    }
}
// ANCHOR_END: iterator

// --- Those who change it ------------------------------------------------------------------------

// ANCHOR: writer
/// Evidence that this thread has the lock of an [`RcuList`]: it can change the list.
#[must_use = "the lock is released at once if nobody keeps the writer"]
pub struct Writer<'a, T, D = InProcess>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    list: &'a RcuList<T, D>,
    // ANCHOR: writer-lock
    _lock: MutexGuard<'a, ()>,
    // ANCHOR_END: writer-lock
}

impl<T, D> Writer<'_, T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    /// Links a node at the front.
    #[doc(alias = "list_add_rcu")]
    pub fn push_front(&mut self, node: NewNode<T>) {
        // SAFETY: The head is of this list, of which we have the lock.
        unsafe { self.list.link(node, self.list.head.as_ptr()) };
    }

    /// Links a node at the end.
    #[doc(alias = "list_add_tail_rcu")]
    pub fn push_back(&mut self, node: NewNode<T>) {
        // SAFETY: The head is of this list, of which we have the lock; and so is what is before it.
        unsafe { self.list.link(node, Links::prev(self.list.head.as_ptr())) };
    }

    /// Returns an iterator over the values. No guard is needed: as long as this is borrowed,
    /// nobody changes the list.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        Iter {
            head: &self.list.head,
            at: self.list.head.as_ptr(),
            section: PhantomData,
        }
    }

    /// Returns the head, for C code that walks the ring as long as this is borrowed.
    pub fn as_list_head(&self) -> *mut bindings::list_head {
        self.list.head.as_ptr().cast()
    }

    /// Returns a cursor, with which nodes can be removed and others put beside them.
    pub fn cursor(&mut self) -> Cursor<'_, T, D> {
        // INVARIANT: We have the lock, and are borrowed mutably.
        Cursor {
            list: self.list,
            at: self.list.head.as_ptr(),
        }
    }
}
// ANCHOR_END: writer

impl<T, D> RcuList<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    /// Links a node behind `prev`.
    ///
    /// # Safety
    ///
    /// The caller must have the lock. `prev` must be the head or in the list.
    unsafe fn link(&self, node: NewNode<T>, prev: *mut Links) {
        // SAFETY: The node is initialised, and nobody else's any more. The rest is the caller's to
        // see to.
        // INVARIANT: It was made by `NewNode::new`.
        unsafe { Links::publish(node.into_links(self.cap.clone()), prev) };
    }

    /// Takes the credit for a node that is about to be retired, if one is needed.
    fn charge(&self) -> bool {
        // ANCHOR: before-unlink
        // (Nothing needs to be waited for here: see `RetiredNode`.)
        // ANCHOR_END: before-unlink
        self.cap.as_ref().is_none_or(|cap| cap.take())
    }
}

// ANCHOR: cursor
/// A place in a list that nobody else changes: before a node, or at the end.
///
/// # Invariants
///
/// For as long as it exists the lock is held, and it is the only one to change the list. `at` is
/// in the list, or is its head; what is behind that comes next.
pub struct Cursor<'w, T, D = InProcess>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    list: &'w RcuList<T, D>,
    at: *mut Links,
}

impl<T, D> Cursor<'_, T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    /// Goes to the next node, and returns it. At the end it returns `None`, and would begin again.
    #[expect(clippy::should_implement_trait, reason = "a node borrows the cursor")]
    pub fn next(&mut self) -> Option<Linked<'_, T, D>> {
        self.find(|_| true)
    }

    /// Goes to the next node that is `wanted`, and returns it; or to the end.
    pub fn find(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Option<Linked<'_, T, D>> {
        loop {
            // SAFETY: By the type invariants it is in the list, and nobody else changes that.
            let next = unsafe { Links::next(self.at) };
            // INVARIANT: It is in the list, or is its head.
            self.at = next;
            if ptr::eq(next, self.list.head.as_ptr()) {
                return None;
            }
            // SAFETY: It is not the head, so it is a node's; and it is not taken out meanwhile.
            if wanted(unsafe { &(*Entry::<T>::of(next)).value }) {
                // INVARIANT: It is in the list, and not the head.
                return Some(Linked {
                    list: self.list,
                    links: next,
                    cursor: &mut self.at,
                });
            }
        }
    }
}
// ANCHOR_END: cursor

// ANCHOR: linked
/// A node that is in a list, found with a [`Cursor`].
///
/// # Invariants
///
/// Those of the cursor, which is borrowed mutably. `links` is in the list, is not its head, and is
/// where the cursor is.
pub struct Linked<'c, T, D = InProcess>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    list: &'c RcuList<T, D>,
    links: *mut Links,
    cursor: &'c mut *mut Links,
}

impl<T, D> Linked<'_, T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    /// Links a node before this one. The cursor does not come to it.
    pub fn insert_before(&mut self, node: NewNode<T>) {
        // ANCHOR: insert-before
        // SAFETY: By the type invariants we have the lock, and are in the list; and so is what is
        // before us.
        unsafe { self.list.link(node, Links::prev(self.links)) };
        // ANCHOR_END: insert-before
    }

    // ANCHOR: remove
    /// Unlinks the node, and retires it. If too many wait already, nothing has changed.
    ///
    /// The cursor goes on with what was behind it.
    #[doc(alias = "list_del_rcu")]
    pub fn remove(self) -> core::result::Result<RetiredNode<T, D>, Self> {
        // ANCHOR: remove-body
        if !self.list.charge() {
            return Err(self);
        }
        // INVARIANT: What is before us is in the list, or the head.
        // SAFETY: By the type invariants.
        *self.cursor = unsafe { Links::prev(self.links) };
        // SAFETY: By the type invariants it is in the list, is not its head, and only we change
        // the list. It is retired here, so nobody can free it, or link it, too soon.
        unsafe { Links::unlink(self.links) };
        // SAFETY: By the invariants of the list it is such a node. Readers do not find it any
        // more, and it was charged for.
        Ok(unsafe { RetiredNode::new(Entry::node(self.links)) })
        // ANCHOR_END: remove-body
    }
    // ANCHOR_END: remove

    // ANCHOR: replace
    /// Puts `new` in the place of this node, and retires this. Readers find the one or the other.
    ///
    /// The cursor goes on with what is behind it. If too many wait already, nothing has changed.
    #[doc(alias = "list_replace_rcu")]
    pub fn replace(self, new: NewNode<T>) -> core::result::Result<RetiredNode<T, D>, NotLinked<T>> {
        if !self.list.charge() {
            return Err(NotLinked(new));
        }
        let new = new.into_links(self.list.cap.clone());
        // SAFETY: As in `remove()`; and `new` is initialised, and nobody else's.
        // INVARIANT: `new` was made by `NewNode::new`.
        unsafe { Links::replace(self.links, new) };
        // INVARIANT: `new` is in the list now.
        *self.cursor = new;
        // SAFETY: As in `remove()`.
        Ok(unsafe { RetiredNode::new(Entry::node(self.links)) })
    }
    // ANCHOR_END: replace
}

impl<T, D> Deref for Linked<'_, T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<Entry<T>>,
{
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariants it is in the list, and is not taken out while we are
        // borrowed.
        &unsafe { Node::<Entry<T>>::value(Entry::node(self.links)) }.value
    }
}
// ANCHOR_END: linked
