// SPDX-License-Identifier: GPL-2.0

//! A hash table that readers look into while updaters change it.
//!
//! | who        | has                          | can                                           |
//! |------------|------------------------------|-----------------------------------------------|
//! | a reader   | `&RcuTable` and a [guard]    | look a key up: [`RcuTable::get`]              |
//! | an updater | `&RcuTable`                  | [`set`], [`insert`], [`replace`], [`remove`], |
//! |            |                              | [`update`], [`clear`]                         |
//! | a walker   | `&RcuTable`                  | come to each element: [`RcuTable::walk`]      |
//!
//! Keys are bytes, any bytes, up to [`MAX_KEY`](super::hash::MAX_KEY). A key and its value are in
//! one allocation. What values may be is said in [`value`](super::value).
//!
//! # Examples
//!
//! ```ignore
//! let table = RcuTable::<Word<i64>>::new(Options::with_cap(cap), SipHash::new(), GFP_KERNEL)?;
//! let port = table.key(b"port");
//!
//! table.set(port, Word::new(80), GFP_KERNEL)?;
//! let now = rcu_read(|guard| table.get(guard, port).map(|port| port.get()));
//!
//! // Reads and writes, and nobody else does in between.
//! let (old, new) = table.update(port, GFP_KERNEL, |port| {
//!     let old = port.map_or(0, |port| port.get());
//!     (Change::Put(Word::new(old + 1)), (old, old + 1))
//! })?;
//! table.remove(port);
//! ```
//!
//! # What waits for what
//!
//! - Readers wait for nobody.
//! - Updaters of the same bucket take turns, for as long as it takes to walk along its chain. Those
//!   of different buckets do not meet. What takes memory is done before the lock, what drops values
//!   after it.
//! - No update waits for a grace period, as long as there is room in the [`Cap`]. When there is
//!   none, an update that has to retire an entry waits if it may sleep, without the lock; if it may
//!   not, it is [`EAGAIN`]. What is stored in place retires nothing, and never waits.
//! - To remove always succeeds. When the cap is full, who removes and may sleep waits afterwards.
//!
//! # What a reader can rely on
//!
//! That the value it has found is whole, is not replaced by another under its eyes (a
//! [`Word`](super::value::Word) in it may change), and is not freed before its section ends. That a
//! key which is there throughout a lookup is found. *Not* that what it has found is in the table
//! still; and two changes of different keys may be seen in either order.
//!
//! # What the types do not catch
//!
//! This is sound except for the holes named in [`guard`](super::guard), and for a module that is
//! unloaded without a barrier, for which there is [`unload`](super::unload). And it can be used
//! wrongly:
//!
//! - **The table inside [`update`].** The closure runs with the lock of a bucket held. If it changes
//!   the same table it may wait for itself, and lockdep says so, whichever bucket it is. Nor must
//!   it sleep, nor drop what sleeps. To look a key up is fine.
//! - **The table in a value's `drop`.** Values are dropped by the one worker that all tables of the
//!   module share. To change a table there is fine; but if its cap is full, the worker waits for
//!   what it has to do itself, for as long as [`PATIENCE`] says, and then there is [`EAGAIN`].
//! - **Some kernels cannot tell** whether a thread may sleep: without `CONFIG_PREEMPT_COUNT` nobody
//!   counts spinlocks. There `flags` have to say it, and who removes with a lock held may sleep.
//!
//! [guard]: super::guard::ReadSide
//! [`set`]: RcuTable::set
//! [`insert`]: RcuTable::insert
//! [`replace`]: RcuTable::replace
//! [`remove`]: RcuTable::remove
//! [`update`]: RcuTable::update
//! [`clear`]: RcuTable::clear

use core::{
    marker::PhantomData,
    ops::ControlFlow,
    ptr::NonNull, //
};

use kernel::{
    alloc::{
        Flags,
        KVBox, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu::synchronize_rcu,
        Arc, //
    },
};

use super::{
    bucket::{
        Bucket,
        Place, //
    },
    entry::{
        charge,
        NewEntry,
        RetiredEntry, //
    },
    guard::{
        rcu_read,
        ReadSide, //
    },
    hash::{
        Key,
        KeyHash,
        SipHash, //
    },
    helpers,
    retired::{
        Cap,
        DropContext,
        InProcess,
        Node,
        RcuRetired, //
    },
    value::Value,
    walk::Cursor,
};

/// How many buckets a table has, unless somebody says otherwise.
pub const BUCKETS: usize = 256;

/// How many buckets a table has at most.
pub const MAX_BUCKETS: usize = 1 << 20;

/// How many grace periods an updater waits for room in a full [`Cap`], before it is [`EAGAIN`].
pub const PATIENCE: u32 = 100;

/// How many buckets a section of a walk goes through at most.
const BUCKETS_AT_ONCE: usize = 1024;

// ANCHOR: options
/// What a table is like.
#[derive(Clone)]
pub struct Options {
    /// How many buckets it has: a power of two, up to [`MAX_BUCKETS`]. It stays with that.
    pub buckets: usize,
    /// How many elements it has at most.
    pub elements: usize,
    /// How many entries may wait for their reclaim. Tables may share it.
    pub cap: Arc<Cap>,
}

impl Options {
    /// Makes those of a table with [`BUCKETS`] and as many elements as one likes.
    pub fn with_cap(cap: Arc<Cap>) -> Self {
        Self {
            buckets: BUCKETS,
            elements: usize::MAX,
            cap,
        }
    }
}
// ANCHOR_END: options

// ANCHOR: change
/// What an update does.
pub enum Change<V> {
    /// Nothing.
    Keep,
    /// Puts a value in the place of the old one, or inserts it.
    Put(V),
    /// Removes the element, if there is one.
    Remove,
}

/// A value that was not stored; here it is back.
pub struct NotStored<V> {
    /// The value.
    pub value: V,
    /// Why: see [`RcuTable::set`].
    pub error: Error,
}

impl<V> From<NotStored<V>> for Error {
    fn from(refused: NotStored<V>) -> Self {
        refused.error
    }
}
// ANCHOR_END: change

// ANCHOR: table
/// A hash table for readers without locks.
///
/// When it is dropped, all values are reclaimed after a grace period: who found one may use it until
/// its section ends. It may be dropped in any context but NMI; it takes some time for each element.
///
/// # Invariants
///
/// - The number of buckets is a power of two. An element is in the bucket that the lower bits of
///   its key's hash say.
/// - `node` was made by [`Node::new`], is ours, and has nothing to owe. `buckets` are what is in it.
pub struct RcuTable<V, D = InProcess, H = SipHash>
where
    V: Value,
    D: DropContext<V>,
    H: KeyHash,
{
    hash: H,
    buckets: NonNull<[Bucket<V>]>,
    /// What they are in.
    node: NonNull<Node<Buckets<V>>>,
    cap: Arc<Cap>,
    max: usize,
    counts: Counts,
    drop_context: PhantomData<D>,
}

/// The buckets, in memory that cannot be freed in each context: it is left to the worker.
type Buckets<V> = Pin<KVBox<[Bucket<V>]>>;

/// What changes with each element that comes or goes: in a cache line of its own, since readers
/// need the others.
#[repr(align(64))]
struct Counts {
    elements: Atomic<usize>,
    /// How often an updater had to wait for a grace period.
    waits: Atomic<u64>,
}
// ANCHOR_END: table

// SAFETY: Any thread may drop it, and the values with it, while readers are at them: a `Value` is
// `Send` and `Sync`. The hash is `Send`.
unsafe impl<V, D, H> Send for RcuTable<V, D, H>
where
    V: Value,
    D: DropContext<V>,
    H: KeyHash,
{
}

// SAFETY: 1. `get()` gives `&V` to any number of threads: a `Value` is `Sync`; and so is the hash,
// which all of them use. 2. `set()` takes a `V` from one thread, and another may have it dropped:
// it is `Send`. What else there is, is atomic, or behind the locks of the buckets.
unsafe impl<V, D, H> Sync for RcuTable<V, D, H>
where
    V: Value,
    D: DropContext<V>,
    H: KeyHash,
{
}

impl<V, D, H> RcuTable<V, D, H>
where
    V: Value,
    D: DropContext<V>,
    H: KeyHash,
{
    /// Makes a table without elements. [`EINVAL`] if its number of buckets is no power of two, or
    /// too large. May sleep, as `flags` say.
    pub fn new(options: Options, hash: H, flags: Flags) -> Result<Self> {
        let Options {
            buckets,
            elements,
            cap,
        } = options;
        if !buckets.is_power_of_two() || buckets > MAX_BUCKETS {
            return Err(EINVAL);
        }
        let boxed: Buckets<V> = KVBox::pin_slice(|_| Bucket::new(), buckets, flags)?;
        let node = Node::new(boxed, None, flags).map_err(|_| ENOMEM)?;
        // SAFETY: The node was just made, and is not retired before we are dropped.
        let buckets = NonNull::from(unsafe { Node::value(node) }.as_ref().get_ref());
        // INVARIANT: It is a power of two.
        Ok(Self {
            hash,
            buckets,
            node,
            cap,
            max: elements,
            counts: Counts {
                elements: Atomic::new(0),
                waits: Atomic::new(0),
            },
            drop_context: PhantomData,
        })
    }

    /// Hashes a key. Any context.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key::with_hash(bytes, self.hash.hash(bytes))
    }

    /// Returns the buckets.
    #[inline]
    fn buckets(&self) -> &[Bucket<V>] {
        // SAFETY: By the type invariants they are there as long as we are.
        unsafe { self.buckets.as_ref() }
    }

    /// Returns the bucket of a key.
    #[inline]
    fn bucket(&self, key: Key<'_>) -> &Bucket<V> {
        let index = key.hash() as usize & (self.buckets.len() - 1);
        // SAFETY: By the type invariants the number of buckets is a power of two, so it is not 0,
        // and what is left of the hash is less.
        unsafe { self.buckets().get_unchecked(index) }
    }

    // --- Readers --------------------------------------------------------------------------------

    // ANCHOR: get
    /// Returns the value of a key, for as long as the critical section lasts. Any context; does not
    /// sleep.
    ///
    /// What was found needs the guard and not the table: it outlives its removal, and the table's
    /// own end.
    #[inline]
    pub fn get<'g>(&self, guard: &'g impl ReadSide, key: Key<'_>) -> Option<&'g V> {
        self.bucket(key).find(guard, key)
    }

    /// Calls `f` with the value of a key, in a critical section of its own. `f` must not sleep.
    #[inline]
    pub fn with<R>(&self, key: Key<'_>, f: impl FnOnce(&V) -> R) -> Option<R> {
        rcu_read(|guard| self.get(guard, key).map(f))
    }
    // ANCHOR_END: get

    /// Returns how many elements there are, which may be out of date at once.
    pub fn len(&self) -> usize {
        self.counts.elements.load(Relaxed)
    }

    /// Returns whether there is no element, which may be out of date at once.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how often an updater had to wait for a grace period.
    pub fn waits(&self) -> u64 {
        self.counts.waits.load(Relaxed)
    }

    // --- Updaters -------------------------------------------------------------------------------

    // ANCHOR: set
    /// Gives a key a value, whether it has one or not.
    ///
    /// May sleep, as `flags` say; in atomic context with flags that do not sleep. If it fails,
    /// nothing has changed:
    ///
    /// - [`ENAMETOOLONG`]: the key is too long;
    /// - [`ENOMEM`]: there is no memory for an entry;
    /// - [`ENOSPC`]: there are as many elements as there may be, and the key is not among them;
    /// - [`EAGAIN`]: too many entries wait for their reclaim, and this may not wait.
    pub fn set(&self, key: Key<'_>, value: V, flags: Flags) -> Result<(), NotStored<V>> {
        self.store(key, value, flags, |_| None)
    }

    /// Gives a key a value, if it has none: else [`EEXIST`]. As [`RcuTable::set`].
    pub fn insert(&self, key: Key<'_>, value: V, flags: Flags) -> Result<(), NotStored<V>> {
        self.store(key, value, flags, |found| found.then_some(EEXIST))
    }

    /// Gives a key another value, if it has one: else [`ENOENT`]. As [`RcuTable::set`].
    pub fn replace(&self, key: Key<'_>, value: V, flags: Flags) -> Result<(), NotStored<V>> {
        self.store(key, value, flags, |found| (!found).then_some(ENOENT))
    }

    fn store(
        &self,
        key: Key<'_>,
        mut value: V,
        flags: Flags,
        refuse: impl Fn(bool) -> Option<Error>,
    ) -> Result<(), NotStored<V>> {
        // ANCHOR: store-body
        let mut attempts = Attempts::new(key, flags);
        // Whether an entry will be needed: a good guess saves an attempt, and a bad one some memory
        // for a moment. Nothing depends on it.
        if !value.in_place() || self.with(key, |_| ()).is_none() {
            if let Err(error) = attempts.allocate() {
                return Err(NotStored { value, error });
            }
        }
        loop {
            let tried = self.attempt(&mut attempts, |old| match refuse(old.is_some()) {
                None => (Change::Put(value), None),
                Some(error) => (Change::Keep, Some(NotStored { value, error })),
            });
            match tried {
                Ok(None) => return Ok(()),
                Ok(Some(refused)) => return Err(refused),
                Err(refused) => {
                    if let Err(error) = self.help(&mut attempts, refused.error) {
                        let value = refused.value;
                        return Err(NotStored { value, error });
                    }
                    value = refused.value;
                }
            }
        }
        // ANCHOR_END: store-body
    }
    // ANCHOR_END: set

    // ANCHOR: update
    /// Reads the value of a key and changes it, and nobody else changes it in between. Returns what
    /// else `f` returns.
    ///
    /// `f` gets the value, if there is one. It is called with the lock of the bucket held and
    /// interrupts disabled: it must not sleep, must not change a table, and should be short. It may
    /// be called more than once; what counts is what it returns the last time. Errors are those of
    /// [`RcuTable::set`].
    pub fn update<R>(
        &self,
        key: Key<'_>,
        flags: Flags,
        mut f: impl FnMut(Option<&V>) -> (Change<V>, R),
    ) -> Result<R> {
        // ANCHOR: update-begins
        // (There is no way around the lock: see `UnderLock`.)
        // ANCHOR_END: update-begins
        let mut attempts = Attempts::new(key, flags);
        loop {
            match self.attempt(&mut attempts, &mut f) {
                Ok(result) => return Ok(result),
                Err(NotStored { value, error }) => {
                    // Here the lock is released. What comes next may be another value.
                    drop(value);
                    self.help(&mut attempts, error)?;
                }
            }
        }
    }
    // ANCHOR_END: update

    // ANCHOR: remove
    /// Removes an element. Returns whether there was one.
    ///
    /// This always succeeds, in any context but NMI. Where it may sleep, and too many entries wait
    /// already, it waits for a grace period when it is done.
    pub fn remove(&self, key: Key<'_>) -> bool {
        // ANCHOR: remove-body
        let (retired, is_over) = {
            let mut bucket = self.bucket(key).lock();
            match bucket.place(key) {
                Place::Taken(place) => {
                    let is_over = !charge(&self.cap);
                    (place.remove::<D>(&self.cap), is_over)
                }
                Place::Vacant(_) => return false,
            }
        };
        let _ = self.counts.elements.fetch_sub(1, Relaxed);
        drop(retired);
        if is_over {
            self.throttle();
        }
        true
        // ANCHOR_END: remove-body
    }
    // ANCHOR_END: remove

    /// Removes all elements, one bucket after the other: what is inserted meanwhile may stay. As
    /// [`RcuTable::remove`].
    pub fn clear(&self) {
        for bucket in self.buckets() {
            let mut unlinked = bucket.take_all::<D>();
            while let Some(retired) = unlinked.retire_one(&self.cap) {
                let _ = self.counts.elements.fetch_sub(1, Relaxed);
                drop(retired);
            }
            if unlinked.is_over {
                self.throttle();
            }
        }
    }

    // --- How an update is done ------------------------------------------------------------------

    // ANCHOR: attempt
    /// Tries an update. All that can be waited for, and all that can be dropped, is outside: what
    /// is lacking is said by the error, and the value is given back.
    fn attempt<R>(
        &self,
        attempts: &mut Attempts<'_, V>,
        f: impl FnOnce(Option<&V>) -> (Change<V>, R),
    ) -> Result<R, NotStored<V>> {
        let key = attempts.key;
        let (result, done) = {
            // ANCHOR: attempt-locks
            let mut bucket = self.bucket(key).lock();
            // ANCHOR_END: attempt-locks
            let place = bucket.place(key);
            let (change, result) = f(match &place {
                Place::Taken(place) => Some(place.value()),
                Place::Vacant(_) => None,
            });
            let done = match (change, place) {
                (Change::Put(value), place) => self.put(place, value, &mut attempts.spare),
                (Change::Remove, Place::Taken(place)) => {
                    attempts.is_over |= !charge(&self.cap);
                    let _ = self.counts.elements.fetch_sub(1, Relaxed);
                    Ok(Some(place.remove(&self.cap)))
                }
                (Change::Keep | Change::Remove, _) => Ok(None),
            };
            (result, done)
        };
        // The lock is released: now entries can be retired, and values dropped.
        drop(done?);
        if attempts.is_over {
            self.throttle();
        }
        Ok(result)
    }

    /// Puts a value at its place: in place, if it can be; else in an entry of its own, for which
    /// there must be a spare one.
    #[inline]
    fn put(
        &self,
        place: Place<'_, V>,
        value: V,
        spare: &mut Option<NewEntry<V>>,
    ) -> Result<Option<RetiredEntry<V, D>>, NotStored<V>> {
        let refused = |value, error| Err(NotStored { value, error });
        match place {
            Place::Taken(place) => {
                // ANCHOR: in-place
                let value = match place.store(value) {
                    Ok(()) => return Ok(None),
                    Err(value) => value,
                };
                // ANCHOR_END: in-place
                let Some(new) = spare.take() else {
                    return refused(value, ENOMEM);
                };
                if !self.cap.take() {
                    *spare = Some(new);
                    return refused(value, EAGAIN);
                }
                Ok(Some(place.replace(new, value, &self.cap)))
            }
            Place::Vacant(place) => {
                let Some(new) = spare.take() else {
                    return refused(value, ENOMEM);
                };
                if self.counts.elements.fetch_add(1, Relaxed) >= self.max {
                    let _ = self.counts.elements.fetch_sub(1, Relaxed);
                    *spare = Some(new);
                    return refused(value, ENOSPC);
                }
                place.insert(new, value);
                Ok(None)
            }
        }
    }
    // ANCHOR_END: attempt

    // ANCHOR: help
    /// Sees to it that an attempt can be made again: to what it lacked. The lock is not held here.
    fn help(&self, attempts: &mut Attempts<'_, V>, lacking: Error) -> Result {
        match lacking {
            ENOMEM => attempts.allocate(),
            EAGAIN if attempts.may_sleep && attempts.patience > 0 => {
                attempts.patience -= 1;
                self.wait()
            }
            error => Err(error),
        }
    }

    /// Waits until a grace period is over, and with it what some of the waiting entries wait for.
    /// [`EAGAIN`] where one must not.
    fn wait(&self) -> Result {
        // SAFETY: It only looks at the state of this thread.
        if !unsafe { helpers::helper_may_wait() } {
            return Err(EAGAIN);
        }
        self.counts.waits.add(1, Relaxed);
        let waiting = self.cap.waiting();
        kernel::pr_warn_once!("[table] full: waiting={waiting}\n");
        synchronize_rcu();
        Ok(())
    }

    /// Makes who removes too fast wait, if it may.
    fn throttle(&self) {
        // Where it may not wait, all is done nevertheless.
        let _ = self.wait();
    }
    // ANCHOR_END: help

    // --- Walkers --------------------------------------------------------------------------------

    // ANCHOR: visit
    /// Calls `f` with elements from `at` on, in the critical section of the guard, until it breaks
    /// or has had enough for one section. Returns whether there may be more.
    ///
    /// `at` is moved behind each element for which `f` did not break, so that the walk can be taken
    /// up there, in another section: see [`walk`](super::walk) for what that promises. `f` must not
    /// sleep.
    pub fn visit<'g>(
        &self,
        guard: &'g impl ReadSide,
        at: &mut Cursor,
        mut f: impl FnMut(&'g [u8], &'g V) -> ControlFlow<()>,
    ) -> bool {
        // ANCHOR: visit-body
        for _ in 0..BUCKETS_AT_ONCE {
            let Some(bucket) = self.buckets().get(at.bucket) else {
                return false;
            };
            // ANCHOR: visit-bucket
            for entry in bucket.entries(guard) {
                // Numbers go down along the chain: those before the place where we were come
                // first. What was inserted meanwhile is among them.
                if entry.number() >= at.below {
                    continue;
                }
                if f(entry.key(), entry.value()).is_break() {
                    return true;
                }
                at.below = entry.number();
            }
            // ANCHOR_END: visit-bucket
            at.next_bucket();
        }
        true
        // ANCHOR_END: visit-body
    }
    // ANCHOR_END: visit
}

// ANCHOR: attempts
/// What an update has brought along, and what it may do to get there.
struct Attempts<'k, V> {
    key: Key<'k>,
    flags: Flags,
    may_sleep: bool,
    /// How many more grace periods it waits for.
    patience: u32,
    /// An entry that is needed if the value cannot be stored in place.
    spare: Option<NewEntry<V>>,
    /// Whether it has removed an element when the cap was full.
    is_over: bool,
}

impl<'k, V> Attempts<'k, V> {
    #[inline]
    fn new(key: Key<'k>, flags: Flags) -> Self {
        Self {
            key,
            flags,
            may_sleep: flags.contains(GFP_KERNEL),
            patience: PATIENCE,
            spare: None,
            is_over: false,
        }
    }

    fn allocate(&mut self) -> Result {
        self.spare = Some(NewEntry::new(self.key, self.flags)?);
        Ok(())
    }
}
// ANCHOR_END: attempts

// ANCHOR: table-drop
impl<V, D, H> Drop for RcuTable<V, D, H>
where
    V: Value,
    D: DropContext<V>,
    H: KeyHash,
{
    fn drop(&mut self) {
        // Nobody else has the table. Readers may be at what they have found, and at no bucket.
        for bucket in self.buckets() {
            let mut unlinked = bucket.take_all::<D>();
            while let Some(retired) = unlinked.retire_one(&self.cap) {
                drop(retired);
            }
        }
        // SAFETY: By the type invariants it is ours, owes nothing, and is not used any more.
        unsafe { RcuRetired::<_, InProcess>::new(self.node) }.defer();
    }
}
// ANCHOR_END: table-drop
