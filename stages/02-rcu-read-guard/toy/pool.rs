// SPDX-License-Identifier: GPL-2.0

//! What the toys protect: a pool of elements, one of which is current.
//!
//! Readers find the current element through a [`ToyGuard`]. The updater fills another one, makes
//! it current, and may use the old one again when no reader is at it any more.
//!
//! No memory is ever freed, so that all of this is safe Rust, and a reader who was not waited for
//! survives to tell: an element knows its age, and its content shows whether it is whole.

use core::array;

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    },
};

use super::guard::ToyGuard;

/// The age at which an element may be used again.
#[doc(alias = "RCU_TORTURE_PIPE_LEN")]
pub const PIPE_LEN: u32 = 10;

/// One is current, one is for each age from 1 to below [`PIPE_LEN`], and one is free.
const ELEMENTS: usize = PIPE_LEN as usize + 1;

const WORDS: usize = 4;
const POISON: u32 = 0x6b6b_6b6b;

// ANCHOR: element
/// Something to read: a version in several words, with a checksum.
pub struct Element {
    words: [Atomic<u32>; WORDS],
    checksum: Atomic<u32>,
    /// 0 while it is current, 1 from the moment it is retired, and one more with each grace
    /// period after that. So a reader that sees 2 has not been waited for.
    #[doc(alias = "rtort_pipe_count")]
    age: Atomic<u32>,
}

/// What a reader finds in an element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// All words are of this version.
    Whole(u32),
    /// Somebody writes to it.
    Torn,
    /// It is free.
    Poisoned,
}
// ANCHOR_END: element

impl Element {
    fn free() -> Self {
        Self {
            words: array::from_fn(|_| Atomic::new(POISON)),
            checksum: Atomic::new(0),
            age: Atomic::new(PIPE_LEN),
        }
    }

    fn fill(&self, version: u32) {
        let mut sum = 0u32;
        for (word, factor) in self.words.iter().zip(1u32..) {
            let value = version.wrapping_mul(factor);
            word.store(value, Relaxed);
            sum = sum.wrapping_add(value);
        }
        self.checksum.store(sum, Relaxed);
    }

    /// Makes the element unfit for reading, as freed memory would be.
    fn poison(&self) {
        for word in &self.words {
            word.store(POISON, Relaxed);
        }
    }

    /// Reads the content.
    pub fn content(&self) -> Content {
        let words: [u32; WORDS] = array::from_fn(|i| self.words[i].load(Relaxed));
        let sum = words.iter().fold(0u32, |sum, word| sum.wrapping_add(*word));
        match words[0] {
            POISON => Content::Poisoned,
            version if sum == self.checksum.load(Relaxed) => Content::Whole(version),
            _ => Content::Torn,
        }
    }

    /// Reads the age.
    pub fn age(&self) -> u32 {
        self.age.load(Relaxed)
    }
}

impl Content {
    /// It in a word, for the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole(_) => "whole",
            Self::Torn => "torn",
            Self::Poisoned => "poisoned",
        }
    }
}

// ANCHOR: pool
/// The elements.
///
/// # Invariants
///
/// `current` is an index of `elements`.
pub struct Pool {
    elements: [Element; ELEMENTS],
    current: Atomic<usize>,
}

impl Pool {
    /// Makes a pool, and the one who may update it.
    pub fn new() -> Result<(Arc<Self>, Updater)> {
        let pool = Self {
            elements: array::from_fn(|_| Element::free()),
            current: Atomic::new(0),
        };
        pool.elements[0].fill(1);
        pool.elements[0].age.store(0, Relaxed);

        let pool = Arc::new(pool, GFP_KERNEL)?;
        let updater = Updater {
            pool: pool.clone(),
            version: 1,
        };
        Ok((pool, updater))
    }

    // ANCHOR: pool-current
    /// Finds the current element, which may be read until the guard is dropped.
    ///
    /// Only a guard of the toys will do: what the kernel's RCU waits for is none of theirs.
    ///
    /// Ordering: the index is read `Relaxed`, and the element by way of it: an address dependency,
    /// as with `rcu_dereference()`. It pairs with the `Release` in [`Updater::replace`].
    #[doc(alias = "rcu_dereference")]
    pub fn current<'g>(&'g self, _guard: &'g ToyGuard) -> &'g Element {
        &self.elements[self.current.load(Relaxed)]
    }
    // ANCHOR_END: pool-current

    /// Makes an element unfit for reading: what the updater does with it when nobody reads it.
    pub fn reclaim(&self, element: usize) {
        self.elements[element].poison();
    }
}
// ANCHOR_END: pool

// ANCHOR: updater
/// The right to update a [`Pool`]. There is one.
pub struct Updater {
    pool: Arc<Pool>,
    version: u32,
}

impl Updater {
    /// Makes a new element current, and retires the old one, whose index this returns.
    ///
    /// [`EBUSY`] if no element is free: [`Updater::grace_period_is_over`] is to be called after
    /// each.
    #[doc(alias = "rcu_assign_pointer")]
    pub fn replace(&mut self) -> Result<usize> {
        let elements = &self.pool.elements;
        let free = elements
            .iter()
            .position(|element| element.age() == PIPE_LEN);
        let new = free.ok_or(EBUSY)?;
        self.version = self.version.wrapping_add(1);
        elements[new].fill(self.version);
        elements[new].age.store(0, Relaxed);

        // Ordering: who finds the new element finds it filled.
        // INVARIANT: It is the index of an element.
        let old = self.pool.current.load(Relaxed);
        self.pool.current.store(new, Release);
        elements[old].age.store(1, Relaxed);
        Ok(old)
    }

    /// A grace period is over that began after the last [`Updater::replace`]: all that is retired
    /// gets older, and what is old enough is free again.
    ///
    /// Ordering: none. A reader who sees what is stored here was not waited for.
    pub fn grace_period_is_over(&mut self) {
        for element in &self.pool.elements {
            match element.age() {
                0 | PIPE_LEN => (),
                age => {
                    if age + 1 == PIPE_LEN {
                        element.poison();
                    }
                    element.age.store(age + 1, Relaxed);
                }
            }
        }
    }
}
// ANCHOR_END: updater
