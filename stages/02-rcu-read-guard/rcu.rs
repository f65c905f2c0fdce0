// SPDX-License-Identifier: GPL-2.0

//! A published pointer: readers find the current value, an updater puts another in its place.
//!
//! RCU separates two abilities, and so do the types here, which are two over one pointer. Who
//! has an [`Rcu<T>`] can read; there may be many. Who has the [`RcuWrite<T>`] can update; there is
//! one. Where there have to be several updaters, [`RcuLock<T>`] has them take turns.
//!
//! # Examples
//!
//! ```ignore
//! let mut config = RcuWrite::new(Config { port: 80 }, GFP_KERNEL)?;
//! let reader = config.reader(); // For as many threads as there are.
//!
//! let port = rcu_read(|guard| reader.read(guard).map(|config| config.port));
//!
//! let old = config.update(Config { port: 443 }, GFP_KERNEL)?;
//! old.defer(); // Readers may still be at it: see `RcuRetired` for what can be done.
//! ```
//!
//! # What a reader can rely on
//!
//! That the value it has been given is whole, does not change, and is not freed before its section
//! ends. *Not* that it is the latest: it may be out of date at once.
//!
//! This is sound except for the holes named in [`guard`](super::guard), and for a module that is
//! unloaded without an [`RcuBarrier`](super::retired::RcuBarrier).
//!
//! And except for one that C has, too. That a reader sees a value initialised rests on a
//! dependency: the value is read through the pointer that was loaded. Whoever keeps an address from
//! an earlier section, finds that the new one equals it, and reads on, lets the compiler use the
//! old one, on which nothing depends; and the memory may be another value's by now. So tell values
//! from each other by what is in them, not by where they are.

use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};

use kernel::{
    alloc::Flags,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex,
        MutexGuard, //
    },
};

use super::{
    guard::ReadSide,
    retired::{
        Cap,
        DropContext,
        InProcess,
        Node,
        RcuRetired, //
    },
};

/// A new value that was not published; here it is back.
///
/// [`ENOMEM`] if there was no memory, [`EAGAIN`] if too many values wait for their reclaim.
pub struct NotPublished<T> {
    /// The value.
    pub value: T,
    /// Why.
    pub error: Error,
}

impl<T> From<NotPublished<T>> for Error {
    fn from(refused: NotPublished<T>) -> Self {
        refused.error
    }
}

/// What an update gives: the value that was current before; or the new one back, if it failed.
pub type Updated<T, D> = core::result::Result<RcuRetired<T, D>, NotPublished<T>>;

// --- The pointer --------------------------------------------------------------------------------

// ANCHOR: cell
/// The pointer that readers and updaters share.
///
/// # Invariants
///
/// `current` is null, or a node that was initialised before it was stored there. A node that was
/// there is freed only when a grace period has passed since it was replaced.
struct Cell<T, D> {
    current: Atomic<*mut Node<T>>,
    owner: PhantomData<(T, D)>,
}
// ANCHOR_END: cell

// SAFETY: Any thread that has a cell can unpublish the value, which is dropped elsewhere, or update
// it: `T` is `Send`. It can read it, too: `T` is `Sync`.
unsafe impl<T: Send + Sync, D> Send for Cell<T, D> {}

// SAFETY: 1. `read()` gives `&T` to any number of threads: `T` is `Sync`. 2. `replace()` takes a
// `T` from one thread and gives the old one, which may be another's, away: `T` is `Send`.
unsafe impl<T: Send + Sync, D> Sync for Cell<T, D> {}

impl<T, D> Cell<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    fn new(node: NonNull<Node<T>>) -> Self {
        // INVARIANT: `node` is initialised, and nothing was there before.
        Self {
            current: Atomic::new(node.as_ptr()),
            owner: PhantomData,
        }
    }

    // ANCHOR: read
    /// Returns the current value, for as long as the critical section lasts.
    #[inline]
    fn read<'g>(&self, _guard: &'g impl ReadSide) -> Option<&'g T> {
        // ANCHOR: read-body
        // Ordering: `Relaxed` is `READ_ONCE()`, and a pointer that was read so carries a
        // dependency: what is read through it comes later. It pairs with `Release` in
        // `replace()`. The pointer is compared with nothing but null: had it been found equal to
        // some other pointer, the compiler might use that, on which nothing depends.
        let node = NonNull::new(self.current.load(Relaxed))?;

        // SAFETY: By the type invariants the node was initialised, and this sees it so:
        //
        //   CPU 0: reader                    CPU 1: updater
        //   -------------------------        -----------------------------
        //                                    node.value = ...
        //   rcu_read_lock()                  current = node    (release)
        //   node = current    (relaxed)
        //   ... node.value ...               current = other   (release)
        //   rcu_read_unlock()  ----------->  a grace period after that ends
        //                                    frees the node
        //
        // The guard is evidence of the critical section, which lasts for `'g` at least; and for
        // that long the node is not freed.
        Some(unsafe { Node::value(node) })
        // ANCHOR_END: read-body
    }
    // ANCHOR_END: read

    // ANCHOR: replace
    /// Publishes `new`, or nothing, in the place of the current node, which is returned.
    ///
    /// # Safety
    ///
    /// No other call may run at the same time. `new` must be null, or be initialised and nobody
    /// else's. What is returned must be freed only when a grace period has passed.
    unsafe fn replace(&self, new: *mut Node<T>) -> *mut Node<T> {
        // ANCHOR: replace-body
        // Ordering: `Relaxed`, as nobody but us writes it.
        let old = self.current.load(Relaxed);
        // Ordering: `Release`, so that who sees the node sees it initialised. This is
        // `rcu_assign_pointer()`.
        // INVARIANT: By the safety requirements.
        self.current.store(new, Release);
        old
        // ANCHOR_END: replace-body
    }
    // ANCHOR_END: replace

    /// Returns the current value to an updater, for which it does not change.
    ///
    /// # Safety
    ///
    /// There must be a current value. For `'a` there must be no call to `replace()`.
    unsafe fn get<'a>(&self) -> &'a T {
        // SAFETY: There is a value, and it is not unpublished as long as it is not replaced.
        unsafe { Node::value(NonNull::new_unchecked(self.current.load(Relaxed))) }
    }

    /// Publishes `value`, and retires the old one.
    ///
    /// # Safety
    ///
    /// As for [`Cell::replace`]; and there must be a current value, whose node has this `cap`.
    unsafe fn update(&self, value: T, cap: Option<&Arc<Cap>>, flags: Flags) -> Updated<T, D> {
        // ANCHOR: update-body
        let node = match Node::new(value, cap.cloned(), flags) {
            Ok(node) => node,
            Err(value) => {
                let error = ENOMEM;
                return Err(NotPublished { value, error });
            }
        };
        // The credit is for the old value. It is taken while all can still be taken back.
        if cap.is_some_and(|cap| !cap.take()) {
            // SAFETY: The new node was not published.
            let value = unsafe { Node::take_back(node) };
            let error = EAGAIN;
            return Err(NotPublished { value, error });
        }
        // SAFETY: The new node was just made, and the old one is retired, just below; the rest is
        // the caller's to see to.
        let old = unsafe { self.replace(node.as_ptr()) };
        // SAFETY: Readers do not find it any more, and it was charged for. There was a current
        // value, so it is not null.
        Ok(unsafe { RcuRetired::new(NonNull::new_unchecked(old)) })
        // ANCHOR_END: update-body
    }

    /// Unpublishes the current value, if there is one, and has it reclaimed. Any context.
    ///
    /// # Safety
    ///
    /// As for [`Cell::replace`]; and if there is a current value, its node must have this `cap`.
    unsafe fn clear(&self, cap: Option<&Arc<Cap>>) {
        // SAFETY: By the safety requirements; null is always fine. What was there is retired below.
        let old = unsafe { self.replace(ptr::null_mut()) };
        let Some(old) = NonNull::new(old) else { return };
        if let Some(cap) = cap {
            cap.take_anyway();
        }
        // SAFETY: Readers do not find it any more, and it was charged for.
        unsafe { RcuRetired::<T, D>::new(old) }.defer();
    }
}

// --- One updater --------------------------------------------------------------------------------

// ANCHOR: rcu
/// Read access to a published value. Clones are to the same one.
pub struct Rcu<T, D = InProcess>(Arc<Cell<T, D>>)
where
    T: Send + Sync + 'static,
    D: DropContext<T>;

impl<T, D> Rcu<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    /// Returns the current value, or `None` if its [`RcuWrite`] is gone.
    ///
    /// The value lives as long as the guard is borrowed, whatever becomes of this `Rcu` and of
    /// its `RcuWrite`: an update meanwhile unpublishes it, but does not free it. That is why `T`
    /// is `'static`: the last to use it is not who made it. Any context; does not sleep.
    #[doc(alias = "rcu_dereference")]
    #[inline]
    pub fn read<'g>(&self, guard: &'g impl ReadSide) -> Option<&'g T> {
        self.0.read(guard)
    }
}
// ANCHOR_END: rcu

impl<T, D> Clone for Rcu<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

// ANCHOR: rcu-write
/// The one who can update a published value.
///
/// When it is dropped, the value is unpublished and reclaimed after a grace period; readers see
/// `None` from then on. It may be dropped in any context but NMI.
///
/// # Invariants
///
/// There is no other for the same cell, and the cell is not null. Each node in it has this `cap`.
pub struct RcuWrite<T, D = InProcess>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    cell: Arc<Cell<T, D>>,
    cap: Option<Arc<Cap>>,
}

impl<T, D> RcuWrite<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    /// Publishes a first value. [`ENOMEM`] drops it. May sleep, as `flags` say.
    pub fn new(value: T, flags: Flags) -> Result<Self> {
        Self::with_cap(value, None, flags)
    }

    /// As [`RcuWrite::new`], for a cell whose updates fail when too many old values wait.
    pub fn capped(value: T, cap: Arc<Cap>, flags: Flags) -> Result<Self> {
        Self::with_cap(value, Some(cap), flags)
    }

    fn with_cap(value: T, cap: Option<Arc<Cap>>, flags: Flags) -> Result<Self> {
        let node = Node::new(value, cap.clone(), flags).map_err(|_| ENOMEM)?;
        let cell = match Arc::new(Cell::new(node), flags) {
            Ok(cell) => cell,
            Err(e) => {
                // SAFETY: It was not published.
                drop(unsafe { Node::take_back(node) });
                return Err(e.into());
            }
        };
        // INVARIANT: The cell was just made, with a value, whose node has a clone of `cap`.
        Ok(Self { cell, cap })
    }

    /// Gives read access, for any number of readers. Any context; does not sleep.
    pub fn reader(&self) -> Rcu<T, D> {
        Rcu(self.cell.clone())
    }

    /// Returns the current value. No guard is needed: as long as this is borrowed, nobody updates.
    #[doc(alias = "rcu_dereference_protected")]
    pub fn get(&self) -> &T {
        // SAFETY: By the type invariants there is a value, and nobody else replaces it; for that
        // we would have to be borrowed mutably.
        unsafe { self.cell.get() }
    }

    /// Publishes `value`, and returns the one before. May sleep, as `flags` say.
    ///
    /// Readers see the old value or the new one. If it fails, nothing has changed.
    #[doc(alias = "rcu_assign_pointer")]
    pub fn update(&mut self, value: T, flags: Flags) -> Updated<T, D> {
        // SAFETY: We are borrowed mutably, and there is no other; by the type invariants there is
        // a value, whose node has our cap.
        unsafe { self.cell.update(value, self.cap.as_ref(), flags) }
    }
}

impl<T, D> Drop for RcuWrite<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    fn drop(&mut self) {
        // SAFETY: There is no other, and this one is not used any more; by the type invariants the
        // cap is the node's.
        unsafe { self.cell.clear(self.cap.as_ref()) };
    }
}
// ANCHOR_END: rcu-write

// --- Several updaters ---------------------------------------------------------------------------

// ANCHOR: rcu-lock
/// A published value with several updaters, of which one at a time has the lock.
///
/// Readers do not take it, nor wait for it. When this is dropped, the value is reclaimed after a
/// grace period. It may be dropped in any context but NMI.
///
/// # Invariants
///
/// `cell` is updated with the lock held, and is not null. Each node in it has this `cap`.
#[pin_data(PinnedDrop)]
pub struct RcuLock<T, D = InProcess>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    cell: Cell<T, D>,
    cap: Option<Arc<Cap>>,
    #[pin]
    lock: Mutex<()>,
}

impl<T, D> RcuLock<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    /// Publishes a first value. [`ENOMEM`] drops it. May sleep, as `flags` say.
    pub fn new(value: T, cap: Option<Arc<Cap>>, flags: Flags) -> impl PinInit<Self, Error> {
        // Nothing fails after the cell: nobody would take the node out of it.
        // INVARIANT: The cell has a value, whose node has a clone of `cap`.
        try_pin_init!(Self {
            lock <- new_mutex!((), "RcuLock"),
            cell: Cell::new(Node::new(value, cap.clone(), flags).map_err(|_| ENOMEM)?),
            cap,
        })
    }

    /// Returns the current value. Any context; does not sleep.
    #[inline]
    pub fn read<'g>(&self, guard: &'g impl ReadSide) -> &'g T {
        // SAFETY: By the type invariants there is a value, as long as we are.
        unsafe { self.cell.read(guard).unwrap_unchecked() }
    }

    /// Takes the lock. Sleeps.
    ///
    /// Must not be called in a read-side critical section, as anything that sleeps.
    pub fn lock(&self) -> Updater<'_, T, D> {
        // INVARIANT: It is the lock of `self`.
        Updater {
            of: self,
            _lock: self.lock.lock(),
        }
    }
}

#[pinned_drop]
impl<T, D> PinnedDrop for RcuLock<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Nobody else has it any more; the cap is the node's by the type invariants.
        unsafe { self.cell.clear(self.cap.as_ref()) };
    }
}

/// Evidence that this thread has the lock of an [`RcuLock`]: it can update.
///
/// # Invariants
///
/// `_lock` is the guard of `of.lock`.
#[must_use = "the lock is released at once if nobody keeps the updater"]
pub struct Updater<'a, T, D = InProcess>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    of: &'a RcuLock<T, D>,
    _lock: MutexGuard<'a, ()>,
}

impl<T, D> Updater<'_, T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    /// Returns the current value, until it is updated. In C, that the lock is held would be a
    /// condition that lockdep checks; here it is this value.
    #[doc(alias = "rcu_dereference_protected")]
    pub fn get(&self) -> &T {
        // SAFETY: There is a value. By the type invariants we have the lock, and to replace the
        // value we have to be borrowed mutably.
        unsafe { self.of.cell.get() }
    }

    /// As [`RcuWrite::update`].
    pub fn update(&mut self, value: T, flags: Flags) -> Updated<T, D> {
        // SAFETY: By the type invariants we have the lock, and we are borrowed mutably; by those of
        // `RcuLock` there is a value, whose node has the cap.
        unsafe { self.of.cell.update(value, self.of.cap.as_ref(), flags) }
    }
}
// ANCHOR_END: rcu-lock
