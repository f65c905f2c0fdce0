// SPDX-License-Identifier: GPL-2.0

//! Those who change the lists, each in another way.
//!
//! Each is a thread, and returns when it is to stop.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu::synchronize_rcu,
        Arc, //
    },
    time::Delta,
};

use super::{
    busy::spin,
    element::{
        Element,
        Failure,
        Mark,
        Quick,
        Slots,
        PIPE_LEN, //
    },
    kthread::StopToken,
    list::{
        NewNode,
        RetiredNode, //
    },
    lists::{
        Lists,
        Tagged,
        TaggedList, //
    },
    random::Random,
    rcu::RcuWrite,
    retired::InCallback,
};

// --- What they have done ------------------------------------------------------------------------

/// What updaters have done, and how often.
pub(crate) struct Done {
    pub(crate) added: Atomic<u64>,
    pub(crate) replaced: Atomic<u64>,
    pub(crate) removed: Atomic<u64>,
    /// Nodes that went to the other list.
    pub(crate) moved: Atomic<u64>,
    /// Nodes got back when they were [`PIPE_LEN`] grace periods old.
    pub(crate) aged: Atomic<u64>,
    /// Lists that were dropped with their nodes.
    pub(crate) dropped: Atomic<u64>,
    /// Changes that were refused by a cap, and for lack of memory or of slots.
    pub(crate) refused: Atomic<u64>,
    pub(crate) no_memory: Atomic<u64>,
}

/// What updaters have done.
pub(crate) static DONE: Done = Done {
    added: Atomic::new(0),
    replaced: Atomic::new(0),
    removed: Atomic::new(0),
    moved: Atomic::new(0),
    aged: Atomic::new(0),
    dropped: Atomic::new(0),
    refused: Atomic::new(0),
    no_memory: Atomic::new(0),
};

fn count(of: &Atomic<u64>) {
    of.add(1, Relaxed);
}

/// A retired node, and what its element is known by.
struct Old {
    node: RetiredNode<Tagged, InCallback>,
    mark: Mark,
}

// --- Two who add, replace and remove ------------------------------------------------------------

/// How many nodes a list has at most, about.
const LENGTH: u32 = 16;

// ANCHOR: changing
/// One of several updaters of a list: takes the lock, changes some things, and defers.
pub(crate) fn changing(
    list: &TaggedList,
    mut slots: Slots,
    seed: usize,
    stop: &StopToken,
) -> Result {
    let mut random = Random::new(seed);

    while !stop.should_stop() {
        let mut writer = list.list.lock();
        let length = writer.iter().count() as u32;
        for _ in 0..4 {
            let Some(new) = Tagged::node(&mut slots, list.tag) else {
                count(&DONE.no_memory);
                break;
            };
            // The longer the list is, the likelier it is that something is removed.
            let grow = random.below(2 * LENGTH) >= length;
            let mut skip = random.below(LENGTH);
            let mut cursor = writer.cursor();
            let place = cursor.find(|_| {
                skip = skip.saturating_sub(1);
                skip == 0
            });
            // Now and then it stays at its place, so that who is not kept out by the lock gets in.
            if random.below(8) == 0 {
                spin(Delta::from_micros(random.below(100).into()));
            }
            match (place, random.below(3)) {
                (None, 0) => writer.push_front(new),
                (None, _) => writer.push_back(new),
                (Some(node), 0) => {
                    let mark = node.mark();
                    match node.replace(new) {
                        Ok(node) => {
                            Quick::retire(mark);
                            node.defer();
                            count(&DONE.replaced);
                        }
                        Err(_) => count(&DONE.refused),
                    }
                    continue;
                }
                (Some(mut node), _) if grow => node.insert_before(new),
                (Some(node), _) => {
                    let mark = node.mark();
                    match node.remove() {
                        Ok(node) => {
                            Quick::retire(mark);
                            // ANCHOR: changing-retires
                            // The same as `defer()`.
                            drop(node);
                            // ANCHOR_END: changing-retires
                            count(&DONE.removed);
                        }
                        Err(_) => count(&DONE.refused),
                    }
                    continue;
                }
            }
            count(&DONE.added);
        }
        drop(writer);
        // In bursts, with some time between them in which grace periods can end.
        if random.below(32) == 0 {
            stop.sleep(Delta::from_millis(10))?;
        }
    }
    Ok(())
}
// ANCHOR_END: changing

// --- One who lets nodes grow old ----------------------------------------------------------------

// ANCHOR: ageing
/// Lets removed nodes grow older, by one with each grace period, and reclaims them when they are
/// [`PIPE_LEN`] old.
pub(crate) fn ageing(list: &TaggedList, stop: &StopToken) -> Result {
    // As many as there are ages between 1 and `PIPE_LEN`.
    let mut pipe: [Option<(Old, u64)>; PIPE_LEN as usize - 1] = [const { None }; _];

    while !stop.should_stop() {
        for place in &mut pipe {
            *place = match place.take() {
                None => remove_one(list).and_then(|old| begin(old).map(|old| (old, 1))),
                Some((old, age)) if age < PIPE_LEN => Some((old, age)),
                Some((old, _)) => {
                    end(old);
                    None
                }
            };
        }

        synchronize_rcu();

        // Readers of that time have left. If one can see what comes now, it was not waited for.
        for (old, age) in pipe.iter_mut().flatten() {
            *age += 1;
            old.mark.set_age(*age);
        }
    }
    Ok(())
}

/// Removes the first node of a list.
fn remove_one(list: &TaggedList) -> Option<Old> {
    let mut writer = list.list.lock();
    let mut cursor = writer.cursor();
    let linked = cursor.next()?;
    let mark = linked.mark();
    let node = linked.remove().ok()?;
    Quick::retire(mark);
    count(&DONE.removed);
    Some(Old { node, mark })
}

/// Starts the grace period of a node that will be polled only when it is old.
fn begin(Old { node, mark }: Old) -> Option<Old> {
    match node.try_reclaim() {
        Err(node) => Some(Old { node, mark }),
        Ok(_) => {
            // The first call cannot know of a grace period that is over.
            Failure::Lost.report("updater", 0, "changed", mark);
            None
        }
    }
}

/// Takes a node back after so many grace periods that its own must be over.
fn end(Old { node, mark }: Old) {
    match node.try_reclaim() {
        Ok(node) => {
            if let Err(failure) = node.element.content().look(mark) {
                failure.report("updater", 0, "changed", mark);
            }
            count(&DONE.aged);
        }
        Err(node) => {
            Failure::Late.report("updater", 0, "changed", mark);
            node.defer();
        }
    }
}
// ANCHOR_END: ageing

// --- One who moves nodes ------------------------------------------------------------------------

/// How many nodes go from list to list.
const TRAVELLERS: usize = 12;

// ANCHOR: moving
/// Moves nodes from list to list, each through a grace period: the memory is the same, and so is
/// the element.
pub(crate) fn moving(lists: &[Arc<TaggedList>; 2], mut slots: Slots, stop: &StopToken) -> Result {
    let mut random = Random::new(200);
    let [one, other] = lists;

    for _ in 0..TRAVELLERS {
        match Tagged::node(&mut slots, one.tag) {
            Some(node) => one.list.lock().push_back(node),
            None => count(&DONE.no_memory),
        }
    }

    while !stop.should_stop() {
        let (from, to) = match random.below(2) {
            0 => (one, other),
            _ => (other, one),
        };
        let mut skip = random.below(TRAVELLERS as u32);
        let mut writer = from.list.lock();
        let mut cursor = writer.cursor();
        let wanted = cursor.find(|_| {
            skip = skip.saturating_sub(1);
            skip == 0
        });
        let Some(linked) = wanted else {
            continue;
        };
        let mark = linked.mark();
        let Ok(old) = linked.remove() else {
            continue;
        };
        drop(writer);
        mark.set_age(1);

        let Some(node) = old.synchronize() else {
            Failure::Lost.report("updater", 0, "moved", mark);
            continue;
        };
        if let Err(failure) = node.element.content().look(mark) {
            failure.report("updater", 0, "moved", mark);
        }
        let node = NewNode::from(node);
        node.tag.store(to.tag, Relaxed);
        mark.set_age(0);
        let mut writer = to.list.lock();
        match random.below(2) {
            0 => writer.push_front(node),
            _ => writer.push_back(node),
        }
        drop(writer);
        count(&DONE.moved);
    }
    Ok(())
}
// ANCHOR_END: moving

/// Returns whether all nodes are there that go from list to list.
pub(crate) fn all_are_there(lists: &[Arc<TaggedList>; 2]) -> bool {
    let found: usize = lists.iter().map(|l| l.list.lock().iter().count()).sum();
    found == TRAVELLERS
}

// --- One who drops lists ------------------------------------------------------------------------

/// Makes a list with some nodes.
fn full_list(slots: &mut Slots, length: u32) -> Result<Arc<TaggedList>> {
    let list = TaggedList::new(None)?;
    let mut writer = list.list.lock();
    for _ in 0..length {
        match Tagged::node(slots, list.tag) {
            Some(node) => writer.push_back(node),
            None => count(&DONE.no_memory),
        }
    }
    drop(writer);
    Ok(list)
}

/// Makes the list that is the first to be dropped.
pub(crate) fn first_list(slots: &mut Slots) -> Result<Arc<TaggedList>> {
    full_list(slots, 4)
}

// ANCHOR: renewing
/// Drops lists, and has others in their place: one that readers find by RCU, and one that they
/// have a reference to.
pub(crate) fn renewing(
    lists: &Lists,
    mut place: RcuWrite<Arc<TaggedList>>,
    mut slots: Slots,
    stop: &StopToken,
) -> Result {
    let mut random = Random::new(201);

    loop {
        stop.sleep(Delta::from_millis(random.below(4).into()))?;

        if let Ok(new) = full_list(&mut slots, random.below(8)) {
            match place.update(new, GFP_KERNEL) {
                Ok(old) => {
                    old.defer();
                    count(&DONE.dropped);
                }
                Err(_) => count(&DONE.no_memory),
            }
        }
        if let Ok(new) = full_list(&mut slots, 1 + random.below(8)) {
            let old = core::mem::replace(&mut *lists.counted.lock(), new);
            // If readers have it, it is one of them who drops it.
            drop(old);
            count(&DONE.dropped);
        }
    }
}
// ANCHOR_END: renewing
