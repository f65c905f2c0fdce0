// SPDX-License-Identifier: GPL-2.0

//! Those who read: some look keys up, some come to each element.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::Delta,
};

use super::{
    busy::spin,
    element::{
        Element,
        Failure, //
    },
    guard::RcuReadGuard,
    keys::{
        self,
        KEYS, //
    },
    kthread::StopToken,
    random::Random,
    tables::{
        fail,
        role,
        Item,
        Role,
        Table,
        Tables,
        NAMES,
        TABLES, //
    },
};

// --- What they have seen ------------------------------------------------------------------------

/// What readers have seen. Each counts for itself, and adds it to the total when it leaves.
pub(crate) struct Total {
    /// Elements by their age when they were left. The last are those that are failures.
    pub(crate) ages: [Atomic<u64>; 3],
    pub(crate) numbers: Atomic<u64>,
    pub(crate) none: Atomic<u64>,
    /// Tables that were dropped by a reader, in its section, while it had an element of them.
    pub(crate) outlived: Atomic<u64>,
    pub(crate) walks: Atomic<u64>,
    /// Tables that were gone, but for the one who walked along them.
    pub(crate) last_walks: Atomic<u64>,
}

/// What all have seen.
pub(crate) static TOTAL: Total = Total {
    ages: [const { Atomic::new(0) }; 3],
    numbers: Atomic::new(0),
    none: Atomic::new(0),
    outlived: Atomic::new(0),
    walks: Atomic::new(0),
    last_walks: Atomic::new(0),
};

// --- Those who look keys up ---------------------------------------------------------------------

/// A reader.
pub(crate) struct Reader {
    number: usize,
    tables: Arc<Tables>,
    random: Random,
    /// The counts that it has seen.
    seen: [[u64; KEYS]; TABLES],
    ages: [u64; 3],
    numbers: u64,
    none: u64,
    outlived: u64,
}

impl Reader {
    pub(crate) fn new(number: usize, tables: Arc<Tables>) -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                number,
                tables,
                random: Random::new(number),
                seen: [[0; KEYS]; TABLES],
                ages: [0; 3],
                numbers: 0,
                none: 0,
                outlived: 0,
            },
            GFP_KERNEL,
        )?)
    }

    /// Reads, as a thread of its own, until it is to stop.
    pub(crate) fn run(&mut self, stop: &StopToken) -> Result {
        while !stop.should_stop() {
            let key = self.random.below(KEYS as u32) as usize;
            match self.random.below(TABLES as u32 * 4 + 1) as usize {
                0 => self.outlive(key),
                table => self.read(table % TABLES, key),
            }
        }
        for (total, mine) in TOTAL.ages.iter().zip(self.ages) {
            total.add(mine, Relaxed);
        }
        TOTAL.numbers.add(self.numbers, Relaxed);
        TOTAL.none.add(self.none, Relaxed);
        TOTAL.outlived.add(self.outlived, Relaxed);
        Ok(())
    }

    // ANCHOR: read
    /// Looks a key up, and looks at what it has found.
    fn read(&mut self, index: usize, key: usize) {
        let (tables, mut room) = (self.tables.clone(), [0; 8]);
        let table = &tables.all[index];
        let name = NAMES[index];
        let hashed = table.key(keys::bytes(key, &mut room));

        let guard = RcuReadGuard::new();
        let Some(item) = table.get(&guard, hashed) else {
            drop(guard);
            self.none += 1;
            if role(key) != Role::Passing {
                fail("reader", self.number, "missing", name, key);
            }
            return;
        };
        let first = self.look(name, key, item);
        if role(key) == Role::Counter {
            let count = item.get().1;
            let seen = &mut self.seen[index][key];
            if first < *seen || count < first {
                fail("reader", self.number, "backwards", name, key);
            }
            *seen = count.max(*seen);
        }
    }
    // ANCHOR_END: read

    // ANCHOR: outlive
    /// Takes a reference to a table, and drops it while it has an element of it: if it was the last
    /// one, the table is gone, and the element still there.
    fn outlive(&mut self, key: usize) {
        let table = self.tables.renewed.lock().clone();
        let mut room = [0; 8];
        let hashed = table.key(keys::bytes(key, &mut room));

        let guard = RcuReadGuard::new();
        let found = table.get(&guard, hashed);
        self.stay();
        let last = Arc::into_unique_or_drop(table);
        self.outlived += u64::from(last.is_some());
        drop(last);
        if let Some(item) = found {
            self.look("renewed", key, item);
        }
    }
    // ANCHOR_END: outlive

    // ANCHOR: look
    /// Looks at a value when it was found, and once more after some time. Returns the count.
    fn look(&mut self, table: &str, key: usize, item: &Item) -> u64 {
        let (is_of, count) = item.get();
        if is_of != key {
            fail("reader", self.number, "astray", table, key);
        }
        let Item::Element { element, .. } = item else {
            self.numbers += 1;
            self.stay();
            return count;
        };
        let (content, mark) = (element.content(), element.mark());
        let mut seen = content.look(mark);
        if self.stay() {
            seen = seen.and_then(|()| content.look(mark));
        }
        // Last of all the age. Who drops the element gives its slot back, so whoever was not waited
        // for sees that.
        let age = match seen.and_then(|()| mark.age()) {
            Ok(age @ 0..=1) => age as usize,
            old => {
                let failure = old.err().unwrap_or(Failure::Old);
                failure.report("reader", self.number, table, mark);
                2
            }
        };
        self.ages[age] += 1;
        count
    }
    // ANCHOR_END: look

    /// Stays for a while, or not: often not, sometimes for some microseconds, now and then for a
    /// jiffy or two. All of it in a section, so it spins.
    fn stay(&mut self) -> bool {
        let span = match self.random.below(2048) {
            0 => 1000 + self.random.below(8000),
            1..=128 => 1 + self.random.below(50),
            _ => return false,
        };
        spin(Delta::from_micros(span.into()));
        true
    }
}

// --- Those who come to each element -------------------------------------------------------------

// ANCHOR: walker
/// Walks, as a thread of its own, until it is to stop.
pub(crate) fn walker(number: usize, tables: &Tables, stop: &StopToken) -> Result {
    let mut random = Random::new(number + 300);

    while !stop.should_stop() {
        let index = random.below(TABLES as u32 + 1) as usize;
        let result = match tables.all.get(index) {
            Some(table) => walk(number, index, table, &mut random, stop),
            None => {
                // Of this table we may soon be the only one to have it.
                let table = tables.renewed.lock().clone();
                let result = walk(number, index, &table, &mut random, stop);
                let last = Arc::into_unique_or_drop(table);
                TOTAL.last_walks.add(u64::from(last.is_some()), Relaxed);
                result
            }
        };
        match result {
            // There may be no memory for a batch.
            Err(e) if e != ENOMEM => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Comes to each element of a table, and changes things on the way.
fn walk(
    number: usize,
    index: usize,
    table: &Table,
    random: &mut Random,
    stop: &StopToken,
) -> Result {
    let name = NAMES[index];
    let mut seen = [false; KEYS];
    let mut walk = table.walk(GFP_KERNEL, |item| {
        if let Item::Element { element, .. } = item {
            let (content, mark) = (element.content(), element.mark());
            if let Err(failure) = content.look(mark).and_then(|()| mark.age()) {
                failure.report("walker", number, name, mark);
            }
        }
        item.get().0
    })?;

    while let Some((bytes, is_of)) = walk.next() {
        // ANCHOR: walker-found
        let Some(key) = keys::number_of(bytes).filter(|key| *key == is_of) else {
            fail("walker", number, "astray", name, is_of);
            continue;
        };
        // ANCHOR_END: walker-found
        if core::mem::replace(&mut seen[key], true) {
            fail("walker", number, "twice", name, key);
        }
        if stop.should_stop() {
            return Err(EINTR);
        }
        // No section here: the table can be changed, and one can sleep.
        match random.below(64) {
            0 => stop.sleep(Delta::from_millis((1 + random.below(8)).into()))?,
            1..=16 if role(key) == Role::Passing => {
                table.remove(table.key(bytes));
            }
            17..=32 if role(key) == Role::Passing => {
                let again = Item::number(key, 0);
                table.remove(table.key(bytes));
                // If it fails, it is gone for now.
                let _ = table.set(table.key(bytes), again, GFP_KERNEL);
            }
            _ => {}
        }
    }
    for key in (0..KEYS).filter(|key| role(*key) != Role::Passing) {
        if !seen[key] {
            fail("walker", number, "missing", name, key);
        }
    }
    TOTAL.walks.add(1, Relaxed);
    Ok(())
}
// ANCHOR_END: walker
