// SPDX-License-Identifier: GPL-2.0

//! What is tortured: elements that show when they are freed, changed, or used for too long.
//!
//! An element shows it in two ways.
//!
//! - Its *content* is made of its version, with a checksum over it. Whoever drops an element
//!   overwrites its content with poison.
//! - Its *age* stands in a table that outlives it: 0 while it is published, 1 when it is retired,
//!   and one more with each grace period after that. So a reader can ask how old its element is
//!   without looking at it, and a grace period that was too short shows even if the memory of
//!   the element was not touched yet.
//!
//! A reader that has found an element may see it at the age of 0 or 1, until its section ends. If
//! it sees it older, a grace period has ended that did not wait for this reader.

#![allow(dead_code, reason = "no torture uses all of it")]

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    task::might_sleep,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    kthread::StopToken,
    retired::CallbackDrop, //
};

/// The age at which an element that ages is reclaimed.
pub(crate) const PIPE_LEN: u64 = 10;

/// How many lines of the log failures may take; there may be very many of them.
const LINES: u64 = 8;

// --- Failures -----------------------------------------------------------------------------------

/// How an element was found that must not be found so.
#[derive(Clone, Copy)]
pub(crate) enum Failure {
    /// Its content is poison: it was dropped.
    Poison,
    /// Its version is another one: its memory is in use again.
    Changed,
    /// Its checksum is wrong: something was written to it.
    Torn,
    /// The table says that it was freed, or that its slot is another's.
    Freed,
    /// It is older than it may be.
    Old,
    /// Who retired it did not get back what was published.
    Lost,
    /// Its grace period is not over, although later ones are.
    Late,
    /// It is another list's.
    Astray,
    /// The walk that came to it has no end.
    Endless,
}

/// How many failures there were.
static FAILURES: Atomic<u64> = Atomic::new(0);

/// Returns how many failures there were.
pub(crate) fn failures() -> u64 {
    FAILURES.load(Relaxed)
}

impl Failure {
    /// Counts the failure. The first ones are written to the log.
    pub(crate) fn report(self, who: &str, number: usize, cell: &str, mark: Mark) {
        let kind = match self {
            Self::Poison => "poison",
            Self::Changed => "changed",
            Self::Torn => "torn",
            Self::Freed => "freed",
            Self::Old => "old",
            Self::Lost => "lost",
            Self::Late => "late",
            Self::Astray => "astray",
            Self::Endless => "endless",
        };
        if FAILURES.fetch_add(1, Relaxed) < LINES {
            let version = mark.version;
            pr_err!("[{who}{number}] failure: kind={kind} cell={cell} version={version}\n");
        }
    }
}

// --- The table of ages --------------------------------------------------------------------------

// ANCHOR: slots
/// An entry of the table: the version of the element that has it, and its age in the lowest byte.
///
/// All accesses are `Relaxed`. A reader gets the number of a slot out of an element, so it sees
/// what was written to the slot before the element was published. And it does not see what was
/// written after the grace period that waits for it: that is what is put to the test here.
struct Slot(Atomic<u64>);

const AGE_BITS: u32 = 8;
/// Instead of an age: nobody has the slot.
const FREE: u64 = (1 << AGE_BITS) - 1;

const SLOTS: usize = 4096;
static TABLE: [Slot; SLOTS] = [const { Slot(Atomic::new(FREE)) }; SLOTS];

/// What an element is known by: its slot and its version, which no other has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    slot: usize,
    version: u64,
}

impl Mark {
    /// Returns the age. [`Failure::Freed`] if the slot is not this element's any more.
    pub(crate) fn age(self) -> core::result::Result<u64, Failure> {
        let entry = TABLE.get(self.slot).ok_or(Failure::Torn)?.0.load(Relaxed);
        if entry >> AGE_BITS != self.version || entry & FREE == FREE {
            return Err(Failure::Freed);
        }
        Ok(entry & FREE)
    }

    /// Writes down an age: 1 when it is retired, then one more with each grace period.
    pub(crate) fn set_age(self, age: u64) {
        if let Some(slot) = TABLE.get(self.slot) {
            let age = age.min(PIPE_LEN);
            slot.0.store(self.version << AGE_BITS | age, Relaxed);
        }
    }

    /// Lets go of the slot: no reader may be at the element any more.
    pub(crate) fn free(self) {
        if let Some(slot) = TABLE.get(self.slot) {
            slot.0.store(self.version << AGE_BITS | FREE, Relaxed);
        }
    }
}

/// Returns how many slots are in use: how many elements there are.
pub(crate) fn in_use() -> usize {
    let is_free = |slot: &Slot| slot.0.load(Relaxed) & FREE == FREE;
    SLOTS - TABLE.iter().filter(|slot| is_free(slot)).count()
}

/// Some slots, and the right to give them to elements: an updater's.
///
/// It has no more elements in flight than slots, and so there is a limit to all of them.
pub(crate) struct Slots {
    first: usize,
    len: usize,
    next: usize,
}

impl Slots {
    /// Takes `len` slots of the table; `taken` says how many are taken.
    pub(crate) fn new(taken: &mut usize, len: usize) -> Result<Self> {
        let first = *taken;
        if len > SLOTS - first {
            return Err(ENOSPC);
        }
        *taken += len;
        Ok(Self {
            first,
            len,
            next: 0,
        })
    }

    /// Makes an element, unless all slots are in use.
    pub(crate) fn make<T: Element>(&mut self) -> Option<T> {
        /// Versions begin at 1, and 56 bits of them last.
        static VERSION: Atomic<u64> = Atomic::new(1);

        for _ in 0..self.len {
            let slot = self.first + self.next;
            self.next = (self.next + 1) % self.len;
            if TABLE.get(slot)?.0.load(Relaxed) & FREE == FREE {
                let version = VERSION.fetch_add(1, Relaxed);
                // ANCHOR: element-made
                // ANCHOR_END: element-made
                let mark = Mark { slot, version };
                mark.set_age(0);
                return Some(T::new(Content::new(mark)));
            }
        }
        None
    }
}
// ANCHOR_END: slots

// --- The content --------------------------------------------------------------------------------

const WORDS: usize = 10;
const POISON: u64 = 0x6b6b_6b6b_dead_dead;

// ANCHOR: content
/// What elements of all kinds are made of. With a node's own 24 bytes it is 128 bytes.
///
/// It is never changed as long as anybody can look at it. Its parts are atomic nevertheless: a
/// reader that is not protected is to *see* poison, which would otherwise be a data race.
pub(crate) struct Content {
    slot: Atomic<u64>,
    version: Atomic<u64>,
    words: [Atomic<u64>; WORDS],
    sum: Atomic<u64>,
}

impl Content {
    fn new(mark: Mark) -> Self {
        let slot = mark.slot as u64;
        let word = |i: usize| {
            let seed = mark.version.wrapping_add(i as u64);
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let words = core::array::from_fn(word);
        Self {
            sum: Atomic::new(words.iter().fold(slot, Self::add)),
            slot: Atomic::new(slot),
            version: Atomic::new(mark.version),
            words: words.map(Atomic::new),
        }
    }

    fn add(sum: u64, word: &u64) -> u64 {
        sum.rotate_left(7) ^ word
    }

    /// Returns what the element is known by.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            slot: self.slot.load(Relaxed) as usize,
            version: self.version.load(Relaxed),
        }
    }

    /// Looks whether the content is whole, and that of the element with this mark.
    pub(crate) fn look(&self, mark: Mark) -> core::result::Result<(), Failure> {
        let words = self.words.each_ref().map(|word| word.load(Relaxed));
        let now = self.mark();
        let sum = words.iter().fold(now.slot as u64, Self::add);

        if now.version == POISON || words.contains(&POISON) {
            Err(Failure::Poison)
        } else if now != mark {
            Err(Failure::Changed)
        } else if sum != self.sum.load(Relaxed) {
            Err(Failure::Torn)
        } else {
            Ok(())
        }
    }

    /// The end of an element: counts it if it was retired, overwrites it, lets go of its slot.
    fn end(&self) {
        let mark = self.mark();
        if mark.age().is_ok_and(|age| age > 0) {
            FREED.add(1, Relaxed);
        }
        for word in &self.words {
            word.store(POISON, Relaxed);
        }
        self.version.store(POISON, Relaxed);
        mark.free();
    }
}
// ANCHOR_END: content

/// Elements that were retired, of the kinds that count their end; and those that came to it.
static RETIRED: Atomic<u64> = Atomic::new(0);
static FREED: Atomic<u64> = Atomic::new(0);

/// Returns how many elements were retired, and how many of them were freed.
pub(crate) fn retired_and_freed() -> (u64, u64) {
    (RETIRED.load(Relaxed), FREED.load(Relaxed))
}

/// Waits until each retired element is freed, for as long as that may take.
///
/// It is a matter of a grace period and of the worker's sleeps. Those that are freed by
/// `kfree_rcu()` are not counted; they may wait for seconds, for company.
pub(crate) fn all_are_freed(stop: &StopToken) -> Result {
    let begin = Instant::<Monotonic>::now();
    stop.wait_until(|| {
        let (retired, freed) = retired_and_freed();
        retired == freed || begin.elapsed() > Delta::from_secs(10)
    })
}

// --- The kinds ----------------------------------------------------------------------------------

/// A kind of element.
pub(crate) trait Element: Send + Sync + Sized + 'static {
    /// Makes an element of its content.
    fn new(content: Content) -> Self;

    /// Returns the content.
    fn content(&self) -> &Content;

    /// Returns what the element is known by.
    fn mark(&self) -> Mark {
        self.content().mark()
    }

    /// Writes down that the element is, or is about to be, retired.
    fn retire(mark: Mark) {
        mark.set_age(1);
        if core::mem::needs_drop::<Self>() {
            RETIRED.add(1, Relaxed);
        }
    }
}

// ANCHOR: kinds
/// The kind without anything to drop: `kfree_rcu()`. So nobody poisons it.
pub(crate) struct Plain(Content);

/// The kind that may be dropped in the callback.
pub(crate) struct Quick(Content);

impl Drop for Quick {
    fn drop(&mut self) {
        // ANCHOR: quick-drop
        self.0.end();
        // ANCHOR_END: quick-drop
    }
}

// SAFETY: Dropping one writes to some atomics. It does not sleep, and takes no lock.
unsafe impl CallbackDrop for Quick {}

/// The ordinary kind: where it is dropped, one may sleep, and it does so now and then.
pub(crate) struct Ordinary(Content);

impl Drop for Ordinary {
    fn drop(&mut self) {
        might_sleep();
        if self.mark().version % 64 == 0 {
            fsleep(Delta::from_micros(500));
        }
        self.0.end();
    }
}
// ANCHOR_END: kinds

impl Element for Plain {
    fn new(content: Content) -> Self {
        Self(content)
    }

    fn content(&self) -> &Content {
        &self.0
    }
}

impl Element for Quick {
    fn new(content: Content) -> Self {
        Self(content)
    }

    fn content(&self) -> &Content {
        &self.0
    }
}

impl Element for Ordinary {
    fn new(content: Content) -> Self {
        Self(content)
    }

    fn content(&self) -> &Content {
        &self.0
    }
}
