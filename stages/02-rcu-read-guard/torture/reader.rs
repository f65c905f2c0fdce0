// SPDX-License-Identifier: GPL-2.0

//! Those who read, in each way that there is, for as long as it may take.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu,
        Arc, //
    },
    time::Delta,
};

use super::{
    busy::spin,
    element::{
        Element,
        Failure,
        Ordinary,
        Plain,
        Quick,
        PIPE_LEN, //
    },
    flavours::{
        BhReadGuard,
        SchedReadGuard, //
    },
    guard::{
        rcu_read,
        RcuReadGuard,
        ReadSide, //
    },
    kthread::StopToken,
    random::Random,
    rcu::{
        Rcu,
        RcuLock, //
    },
    retired::InCallback,
};

/// The cells that are tortured, each named after what its updater does with what it retires.
pub(crate) struct Cells {
    /// Lets it grow old first.
    pub(crate) aged: Rcu<Ordinary>,
    /// Waits, with `synchronize()`.
    pub(crate) waited: Rcu<Ordinary>,
    /// Polls, with `try_reclaim()`.
    pub(crate) polled: Rcu<Quick, InCallback>,
    /// Defers it: `kfree_rcu()`.
    pub(crate) plain: Rcu<Plain>,
    /// Defers it: dropped in the callback.
    pub(crate) quick: Rcu<Quick, InCallback>,
    /// Defers it: dropped by the worker.
    pub(crate) ordinary: Rcu<Ordinary>,
    /// Two updaters, who take turns, under a cap.
    pub(crate) locked: Arc<RcuLock<Ordinary>>,
    /// The cell itself is dropped, and made anew: what is published is where to read.
    pub(crate) renewed: Rcu<Rcu<Ordinary>>,
}

// --- What they have seen ------------------------------------------------------------------------

/// In a histogram: after the ages, those elements that were there no more.
const GONE: u64 = PIPE_LEN + 1;

/// How many classes a histogram has.
pub(crate) const CLASSES: usize = GONE as usize + 1;

/// What readers have seen. Each counts for itself, and adds it to the total when it leaves.
#[derive(Default)]
struct Tally {
    /// Reads, by the age that the element had at their end.
    ages: [u64; CLASSES],
    /// No value was published.
    none: u64,
    closure: u64,
    nested: u64,
    kernel: u64,
    bh: u64,
    sched: u64,
}

/// What all readers have seen.
pub(crate) struct Total {
    /// As in [`Tally`].
    pub(crate) ages: [Atomic<u64>; CLASSES],
    pub(crate) none: Atomic<u64>,
    pub(crate) closure: Atomic<u64>,
    pub(crate) nested: Atomic<u64>,
    pub(crate) kernel: Atomic<u64>,
    pub(crate) bh: Atomic<u64>,
    pub(crate) sched: Atomic<u64>,
}

/// What all readers have seen.
pub(crate) static TOTAL: Total = Total {
    ages: [const { Atomic::new(0) }; CLASSES],
    none: Atomic::new(0),
    closure: Atomic::new(0),
    nested: Atomic::new(0),
    kernel: Atomic::new(0),
    bh: Atomic::new(0),
    sched: Atomic::new(0),
};

impl Tally {
    fn add_to_total(&self) {
        for (total, mine) in TOTAL.ages.iter().zip(self.ages) {
            total.add(mine, Relaxed);
        }
        TOTAL.none.add(self.none, Relaxed);
        TOTAL.closure.add(self.closure, Relaxed);
        TOTAL.nested.add(self.nested, Relaxed);
        TOTAL.kernel.add(self.kernel, Relaxed);
        TOTAL.bh.add(self.bh, Relaxed);
        TOTAL.sched.add(self.sched, Relaxed);
    }
}

// --- A reader -----------------------------------------------------------------------------------

/// A reader.
pub(crate) struct Reader {
    number: usize,
    cells: Arc<Cells>,
    random: Random,
    tally: Tally,
}

impl Reader {
    pub(crate) fn new(number: usize, cells: Arc<Cells>) -> Self {
        Self {
            number,
            cells,
            random: Random::new(number),
            tally: Tally::default(),
        }
    }

    /// Reads, as a thread of its own, until it is to stop.
    pub(crate) fn run(mut self, stop: &StopToken) -> Result {
        while !stop.should_stop() {
            self.section();
        }
        self.tally.add_to_total();
        Ok(())
    }

    // ANCHOR: section
    /// One read-side critical section, of some kind.
    fn section(&mut self) {
        match self.random.below(8) {
            0 => {
                // Two at once, of which the first ends first.
                let first = RcuReadGuard::new();
                let second = RcuReadGuard::new();
                self.read(&first);
                drop(first);
                self.read(&second);
                self.tally.nested += 1;
            }
            1 => {
                self.read(&rcu::read_lock());
                self.tally.kernel += 1;
            }
            2 => {
                self.read(&BhReadGuard::new());
                self.tally.bh += 1;
            }
            3 => {
                self.read(&SchedReadGuard::new());
                self.tally.sched += 1;
            }
            _ => {
                rcu_read(|guard| self.read(guard));
                self.tally.closure += 1;
            }
        }
    }
    // ANCHOR_END: section

    /// Reads one of the cells.
    fn read(&mut self, guard: &impl ReadSide) {
        match self.random.below(8) {
            0 => self.watch("aged", self.cells.aged.read(guard)),
            1 => self.watch("waited", self.cells.waited.read(guard)),
            2 => self.watch("polled", self.cells.polled.read(guard)),
            3 => self.watch("plain", self.cells.plain.read(guard)),
            4 => self.watch("quick", self.cells.quick.read(guard)),
            5 => self.watch("ordinary", self.cells.ordinary.read(guard)),
            6 => self.watch("locked", Some(self.cells.locked.read(guard))),
            _ => {
                let cell = self.cells.renewed.read(guard);
                self.watch("renewed", cell.and_then(|cell| cell.read(guard)));
            }
        }
    }

    // ANCHOR: watch
    /// Looks at an element when it was found, and once more after some time.
    fn watch<T: Element>(&mut self, cell: &str, found: Option<&T>) {
        let Some(element) = found else {
            self.tally.none += 1;
            return;
        };
        let content = element.content();
        let mark = content.mark();

        let mut seen = content.look(mark);
        if self.delay() {
            seen = seen.and_then(|()| content.look(mark));
        }
        // Last of all the age. A grace period that ends now has to wait for us, so this element
        // is not older than 1.
        let age = seen.and_then(|()| mark.age());
        let failure = match age {
            Ok(0..=1) => None,
            Ok(_) => Some(Failure::Old),
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            failure.report("reader", self.number, cell, mark);
        }
        if let Some(count) = self.tally.ages.get_mut(age.unwrap_or(GONE) as usize) {
            *count += 1;
        }
    }
    // ANCHOR_END: watch

    /// Stays for a while, or not: often not, sometimes for some microseconds, now and then for a
    /// jiffy or two, and once in a while for longer than a grace period takes without us. All of
    /// it in a section, so it spins.
    fn delay(&mut self) -> bool {
        let span = match self.random.below(32_768) {
            0 => 10_000 + self.random.below(40_000),
            1..=16 => 1000 + self.random.below(8000),
            17..=528 => 1 + self.random.below(50),
            _ => return false,
        };
        spin(Delta::from_micros(span.into()));
        true
    }
}
