// SPDX-License-Identifier: GPL-2.0

//! Coming to each element of a table, without a reader who stays for as long as that takes.
//!
//! What is to be done with each element may sleep, may take its time, and may change the table. So
//! it must not be done in a critical section. And it must not be done *between* two sections with
//! the next entry in hand either: that may be removed and freed meanwhile (the break
//! `saved-next-pointer`).
//!
//! So a walk goes in batches. In a section it copies some elements; then it leaves the section, and
//! gives the copies away one by one; then it begins another section, and takes up where it was. And
//! *where it was* is no pointer but two numbers: that of the bucket, and that of the last entry.
//!
//! ```text
//!    bucket 3:   no. 9   no. 7   no. 4   no. 2
//!                \_____________/
//!                 a batch of three; the last one is no. 4
//!
//!    meanwhile no. 4 and no. 7 are removed, and no. 10 is inserted:
//!
//!    bucket 3:   no. 10  no. 9   no. 2
//!                                \___/
//!                                 the next batch: what is below 4
//! ```
//!
//! # What it promises
//!
//! - **What is there throughout is seen, and seen once**, with the value that it had at some moment
//!   of the walk. An entry keeps its bucket, its number, and its place among the others, also when
//!   it is replaced.
//! - **No key is seen twice.** If it is removed and inserted again, it gets a greater number than
//!   those that are still to come.
//! - **It ends**, whatever updaters do meanwhile: new entries of the bucket that it is in have
//!   numbers above those that are still to come.
//! - **It takes a fixed amount of memory**, however many elements there are in one bucket. What it
//!   takes instead is time: each batch passes by what comes before its place. With all elements in
//!   one bucket that is quadratic; it is for the number of buckets to see to it that it is not.

use core::ops::ControlFlow;

use kernel::{
    alloc::Flags,
    prelude::*, //
};

use super::{
    guard::rcu_read,
    hash::{
        KeyHash,
        MAX_KEY, //
    },
    retired::DropContext,
    table::RcuTable,
    value::Value,
};

// ANCHOR: elements
/// How many elements a batch has at most.
const ELEMENTS: usize = 32;
// ANCHOR_END: elements

/// How many bytes the keys of a batch have at most, together.
const BYTES: usize = 4096;

// Else a walk might come to an element that no batch has room for.
const _: () = assert!(MAX_KEY <= BYTES);

// ANCHOR: cursor
/// Where a walk is: before the elements of a bucket with numbers below `below`.
pub struct Cursor {
    pub(crate) bucket: usize,
    pub(crate) below: u64,
    // ANCHOR: cursor-fields
    // (No pointer.)
    // ANCHOR_END: cursor-fields
}

impl Cursor {
    /// Begins a walk.
    pub fn new() -> Self {
        Self {
            bucket: 0,
            below: u64::MAX,
            // ANCHOR: cursor-new
            // ANCHOR_END: cursor-new
        }
    }

    /// Goes on to the next bucket.
    pub(crate) fn next_bucket(&mut self) {
        self.bucket += 1;
        self.below = u64::MAX;
    }
}

impl Default for Cursor {
    fn default() -> Self {
        Self::new()
    }
}
// ANCHOR_END: cursor

// ANCHOR: walk
/// A walk through all elements of a table: see [`RcuTable::walk`].
pub struct Walk<'t, V, D, H, C, F>
where
    V: Value,
    D: DropContext<V>,
    H: KeyHash,
    F: FnMut(&V) -> C,
{
    table: &'t RcuTable<V, D, H>,
    copy: F,
    at: Cursor,
    /// Whether there may be more behind the batch.
    more: bool,
    batch: Batch<C>,
}

impl<V, D, H> RcuTable<V, D, H>
where
    V: Value,
    D: DropContext<V>,
    H: KeyHash,
{
    /// Begins a walk. May sleep, as `flags` say.
    ///
    /// `copy` makes of a value what is to be kept of it: a copy, or a reference that is counted. It
    /// is called in a critical section, and must not sleep.
    pub fn walk<C, F>(&self, flags: Flags, copy: F) -> Result<Walk<'_, V, D, H, C, F>>
    where
        F: FnMut(&V) -> C,
    {
        Ok(Walk {
            table: self,
            copy,
            at: Cursor::new(),
            more: true,
            batch: Batch::new(flags)?,
        })
    }
}

impl<V, D, H, C, F> Walk<'_, V, D, H, C, F>
where
    V: Value,
    D: DropContext<V>,
    H: KeyHash,
    F: FnMut(&V) -> C,
{
    /// Returns the next element: the bytes of its key, and what was kept of its value.
    ///
    /// Must be called outside of critical sections, where what it returns is good for as long as
    /// one likes. Does not sleep.
    #[expect(clippy::should_implement_trait, reason = "the key borrows the walk")]
    pub fn next(&mut self) -> Option<(&[u8], C)> {
        // ANCHOR: walk-next-body
        while self.batch.is_empty() && self.more {
            let Self {
                table,
                copy,
                at,
                batch,
                ..
            } = self;
            batch.clear();
            // ANCHOR: between-batches
            // (No reader is inside here, however long it takes.)
            // ANCHOR_END: between-batches
            self.more = rcu_read(|guard| {
                table.visit(guard, at, |key, value| batch.push(key, || copy(value)))
            });
        }
        self.batch.pop()
        // ANCHOR_END: walk-next-body
    }
}
// ANCHOR_END: walk

// ANCHOR: batch
/// Copies of some elements. All its memory is allocated with it.
struct Batch<C> {
    /// The bytes of the keys, one behind the other.
    bytes: KVec<u8>,
    /// How many of them are in use, and how many of these were given away.
    end: usize,
    begin: usize,
    /// Values and the lengths of their keys; `None` where it was given away.
    elements: KVec<Option<(usize, C)>>,
    next: usize,
}

impl<C> Batch<C> {
    fn new(flags: Flags) -> Result<Self> {
        Ok(Self {
            bytes: KVec::from_elem(0, BYTES, flags)?,
            end: 0,
            begin: 0,
            elements: KVec::with_capacity(ELEMENTS, flags)?,
            next: 0,
        })
    }

    fn is_empty(&self) -> bool {
        self.next == self.elements.len()
    }

    /// Makes room. What is left in it is dropped.
    fn clear(&mut self) {
        self.elements.clear();
        (self.begin, self.end, self.next) = (0, 0, 0);
    }

    /// Takes an element, or breaks if there is no room for it. Does not allocate.
    fn push(&mut self, key: &[u8], value: impl FnOnce() -> C) -> ControlFlow<()> {
        let end = self.end + key.len();
        let Some(place) = self.bytes.get_mut(self.end..end) else {
            return ControlFlow::Break(());
        };
        if self.elements.len() == ELEMENTS {
            return ControlFlow::Break(());
        }
        place.copy_from_slice(key);
        match self
            .elements
            .push_within_capacity(Some((key.len(), value())))
        {
            Ok(()) => {
                self.end = end;
                ControlFlow::Continue(())
            }
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Gives the next element away.
    fn pop(&mut self) -> Option<(&[u8], C)> {
        let (len, value) = self.elements.get_mut(self.next)?.take()?;
        let begin = self.begin;
        self.begin += len;
        self.next += 1;
        Some((self.bytes.get(begin..self.begin)?, value))
    }
}
// ANCHOR_END: batch
