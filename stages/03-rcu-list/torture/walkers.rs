// SPDX-License-Identifier: GPL-2.0

//! Those who walk along the lists, for as long as it may take.

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
        Failure, //
    },
    guard::{
        rcu_read,
        RcuReadGuard,
        ReadSide, //
    },
    kthread::StopToken,
    list::Iter,
    lists::{
        Lists,
        Tagged, //
    },
    random::Random,
};

/// A walk that is longer has no end: there are never so many nodes.
const LONGEST: u64 = 4096;

// --- What they have seen ------------------------------------------------------------------------

/// What walkers have seen. Each counts for itself, and adds it to the total when it leaves.
#[derive(Default)]
struct Tally {
    /// Nodes by their age when they were left. The last are those that are failures.
    ages: [u64; 3],
    /// Walks that came to the end.
    walks: u64,
    /// Those that found no node at all.
    empty: u64,
    /// Lists that were dropped by a reader, in its section, while it was at a node.
    outlived: u64,
}

/// What all walkers have seen.
pub(crate) struct Total {
    /// As in [`Tally`].
    pub(crate) ages: [Atomic<u64>; 3],
    pub(crate) walks: Atomic<u64>,
    pub(crate) empty: Atomic<u64>,
    pub(crate) outlived: Atomic<u64>,
}

/// What all walkers have seen.
pub(crate) static TOTAL: Total = Total {
    ages: [const { Atomic::new(0) }; 3],
    walks: Atomic::new(0),
    empty: Atomic::new(0),
    outlived: Atomic::new(0),
};

impl Tally {
    fn add_to_total(&self) {
        for (total, mine) in TOTAL.ages.iter().zip(self.ages) {
            total.add(mine, Relaxed);
        }
        TOTAL.walks.add(self.walks, Relaxed);
        TOTAL.empty.add(self.empty, Relaxed);
        TOTAL.outlived.add(self.outlived, Relaxed);
    }
}

// --- A walker -----------------------------------------------------------------------------------

/// A reader.
pub(crate) struct Walker {
    number: usize,
    lists: Arc<Lists>,
    random: Random,
    tally: Tally,
}

impl Walker {
    pub(crate) fn new(number: usize, lists: Arc<Lists>) -> Self {
        Self {
            number,
            lists,
            random: Random::new(number),
            tally: Tally::default(),
        }
    }

    /// Walks, as a thread of its own, until it is to stop.
    pub(crate) fn run(mut self, stop: &StopToken) -> Result {
        while !stop.should_stop() {
            match self.random.below(8) {
                0 => self.read(&rcu::read_lock()),
                1 => self.outlive(),
                _ => rcu_read(|guard| self.read(guard)),
            }
        }
        self.tally.add_to_total();
        Ok(())
    }

    /// Walks along one of the lists.
    fn read(&mut self, guard: &impl ReadSide) {
        let lists = self.lists.clone();
        let [one, other] = &lists.moved;
        let (name, list) = match self.random.below(4) {
            0 => ("changed", &lists.changed),
            1 => ("moved", one),
            2 => ("moved", other),
            _ => match lists.renewed.read(guard) {
                Some(list) => ("renewed", list),
                None => return,
            },
        };
        self.walk(name, list.tag, list.list.iter(guard));
    }

    // ANCHOR: outlive
    /// Takes a reference to a list, and drops it while it is at a node: if it was the last one,
    /// the list is gone, and the node still there.
    fn outlive(&mut self) {
        let list = self.lists.counted.lock().clone();
        let guard = RcuReadGuard::new();

        // Some way along the list.
        let steps = self.random.below(4) as usize;
        let found = list.list.iter(&guard).nth(steps);
        let tag = list.tag;
        // Long enough that the list is another one meanwhile, now and then.
        spin(Delta::from_micros(1 + i64::from(self.random.below(60))));
        // ANCHOR: outlive-drops
        let last = Arc::into_unique_or_drop(list);
        self.tally.outlived += u64::from(last.is_some());
        drop(last);
        // ANCHOR_END: outlive-drops
        if let Some(node) = found {
            self.look("counted", tag, node);
        }
    }
    // ANCHOR_END: outlive

    // ANCHOR: walk
    /// Walks to the end; each node must be of this list, and whole.
    fn walk(&mut self, name: &str, tag: u64, walk: Iter<'_, '_, Tagged>) {
        let mut steps = 0;
        let mut first = None;
        for node in walk {
            self.look(name, tag, node);
            first = first.or(Some(node));
            steps += 1;
            if steps > LONGEST {
                Failure::Endless.report("walker", self.number, name, node.mark());
                break;
            }
        }
        // It was found in this section, so it is there still.
        if let Some(node) = first {
            self.look(name, tag, node);
        }
        self.tally.walks += 1;
        self.tally.empty += u64::from(steps == 0);
    }
    // ANCHOR_END: walk

    // ANCHOR: look
    /// Looks at a node when it was found, and once more after some time.
    fn look(&mut self, name: &str, tag: u64, node: &Tagged) {
        let (content, mark) = (node.element.content(), node.mark());
        let is_there = || {
            content.look(mark)?;
            match node.tag.load(Relaxed) == tag {
                true => Ok(()),
                false => Err(Failure::Astray),
            }
        };

        let mut seen = is_there();
        if self.stay() {
            seen = seen.and_then(|()| is_there());
        }
        // Last of all the age. A grace period that ends now has to wait for us, so this element
        // is not older than 1.
        let age = match seen.and_then(|()| mark.age()) {
            Ok(age @ 0..=1) => age as usize,
            old => {
                let failure = old.err().unwrap_or(Failure::Old);
                failure.report("walker", self.number, name, mark);
                2
            }
        };
        if let Some(count) = self.tally.ages.get_mut(age) {
            *count += 1;
        }
    }
    // ANCHOR_END: look

    /// Stays for a while, or not: often not, sometimes for some microseconds, now and then for a
    /// jiffy or two. All of it in a section, so it spins.
    fn stay(&mut self) -> bool {
        let span = match self.random.below(4096) {
            0 => 1000 + self.random.below(8000),
            1..=64 => 1 + self.random.below(50),
            _ => return false,
        };
        spin(Delta::from_micros(span.into()));
        true
    }
}
