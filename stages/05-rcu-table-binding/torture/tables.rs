// SPDX-License-Identifier: GPL-2.0

//! What is tortured: tables, whose values know which key they are of.
//!
//! Keys have roles, by their numbers. *Counters* are always there, and are only ever added to.
//! *Fixed* ones are always there, and are replaced again and again. *Passing* ones come and go.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
};

use super::{
    element::{
        Element,
        Mark,
        Ordinary,
        Slots, //
    },
    hash::SipHash,
    keys::{
        self,
        Spread,
        KEYS, //
    },
    random::Random,
    retired::{
        Cap,
        InProcess, //
    },
    table::{
        Options,
        RcuTable, //
    },
    value::{
        UnderLock,
        Value,
        Word, //
    },
};

// --- Values -------------------------------------------------------------------------------------

const COUNT_BITS: u32 = 48;

// ANCHOR: item
/// A value: the number of its key, and a count.
///
/// It is of one of two kinds. A reader that takes the one for the other, or one key's for another
/// key's, sees it by the key.
pub(crate) enum Item {
    /// Both in a word, that is stored in place.
    Number(Word<u64>),
    /// Replaced each time, and dropped where one may sleep.
    Element {
        key: usize,
        count: u64,
        element: Ordinary,
    },
}

impl Item {
    /// Makes the first kind.
    pub(crate) fn number(key: usize, count: u64) -> Self {
        Self::Number(Word::new((key as u64) << COUNT_BITS | count))
    }

    /// Makes the second kind, if there is a slot for it; else the first.
    pub(crate) fn element(key: usize, count: u64, slots: &mut Slots) -> Self {
        match slots.make() {
            Some(element) => Self::Element {
                key,
                count,
                element,
            },
            None => Self::number(key, count),
        }
    }

    /// Makes one of either kind.
    pub(crate) fn any(key: usize, count: u64, slots: &mut Slots, random: &mut Random) -> Self {
        match random.below(2) {
            0 => Self::number(key, count),
            _ => Self::element(key, count, slots),
        }
    }

    /// Returns the number of the key, and the count.
    pub(crate) fn get(&self) -> (usize, u64) {
        match self {
            Self::Number(word) => {
                let word = word.get();
                let count = word & ((1 << COUNT_BITS) - 1);
                ((word >> COUNT_BITS) as usize, count)
            }
            Self::Element { key, count, .. } => (*key, *count),
        }
    }

    /// Returns what the element is known by, if there is one.
    pub(crate) fn mark(&self) -> Option<Mark> {
        match self {
            Self::Number(_) => None,
            Self::Element { element, .. } => Some(element.mark()),
        }
    }

    /// Writes down that it is about to be retired.
    pub(crate) fn retire(&self) {
        if let Some(mark) = self.mark() {
            mark.set_age(1);
        }
    }
}

impl Value for Item {
    fn in_place(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    fn store(&self, new: Self, locked: &UnderLock) -> Result<(), Self> {
        match (self, new) {
            (Self::Number(now), Self::Number(new)) => now.store(new.get(), locked),
            (_, new) => return Err(new),
        }
        Ok(())
    }
}
// ANCHOR_END: item

// --- Keys ---------------------------------------------------------------------------------------

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Role {
    Counter,
    Fixed,
    Passing,
}

/// Returns the role of a key.
pub(crate) fn role(key: usize) -> Role {
    match key % 4 {
        0 => Role::Counter,
        3 => Role::Passing,
        _ => Role::Fixed,
    }
}

/// Chooses a key with a role.
pub(crate) fn choose(wanted: Role, random: &mut Random) -> usize {
    loop {
        let key = random.below(KEYS as u32) as usize;
        if role(key) == wanted {
            return key;
        }
    }
}

// --- Failures -----------------------------------------------------------------------------------

/// How many failures there were, besides those of elements.
static FAILURES: Atomic<u64> = Atomic::new(0);

/// Returns how many.
pub(crate) fn failures() -> u64 {
    FAILURES.load(Relaxed)
}

/// Counts a failure. The first ones are written to the log.
///
/// `astray`: a key has the value of another. `backwards`: a count is less than it was. `missing`,
/// `twice`: a walk has not come to a key that is always there, or has come to one again. `lost`: an
/// addition.
pub(crate) fn fail(who: &str, number: usize, kind: &str, table: &str, key: usize) {
    if FAILURES.fetch_add(1, Relaxed) < 8 {
        pr_err!("[{who}{number}] failure: kind={kind} table={table} key={key}\n");
    }
}

// --- Tables -------------------------------------------------------------------------------------

/// A table that is tortured.
pub(crate) type Table = RcuTable<Item, InProcess, Spread>;

/// How many entries of a table may wait for their reclaim.
const MAX_WAITING: u32 = 256;

/// How many tables there are all the time.
pub(crate) const TABLES: usize = 4;

/// What they are called.
pub(crate) const NAMES: [&str; TABLES + 1] = ["one", "eight", "many", "equal", "renewed"];

// ANCHOR: tables
/// The tables.
#[pin_data]
pub(crate) struct Tables {
    /// With one bucket, with 8, with 256; and with 8 and one hash for all keys.
    pub(crate) all: [Table; TABLES],
    /// How often each counter was added to.
    pub(crate) added: [[Atomic<u64>; KEYS]; TABLES],
    /// A table that is replaced by another; who has a reference to it may be the last.
    #[pin]
    pub(crate) renewed: SpinLock<Arc<Table>>,
}
// ANCHOR_END: tables

/// Makes a table in which all keys are that are always there.
pub(crate) fn new_table(buckets: usize, hash: Spread, slots: &mut Slots) -> Result<Table> {
    let options = Options {
        buckets,
        ..Options::with_cap(Cap::new(MAX_WAITING, GFP_KERNEL)?)
    };
    let table = Table::new(options, hash, GFP_KERNEL)?;
    for key in (0..KEYS).filter(|key| role(*key) != Role::Passing) {
        let item = match role(key) {
            Role::Counter => Item::number(key, 0),
            _ => Item::element(key, 0, slots),
        };
        let mut room = [0; 8];
        table.set(table.key(keys::bytes(key, &mut room)), item, GFP_KERNEL)?;
    }
    Ok(table)
}

/// Makes one that is soon to be replaced by another.
pub(crate) fn new_renewed(random: &mut Random, slots: &mut Slots) -> Result<Arc<Table>> {
    let (buckets, hash) = match random.below(3) {
        0 => (1, Spread::Equal),
        1 => (8, Spread::Sip(SipHash::new())),
        _ => (256, Spread::Sip(SipHash::new())),
    };
    Ok(Arc::new(new_table(buckets, hash, slots)?, GFP_KERNEL)?)
}
