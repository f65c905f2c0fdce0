// SPDX-License-Identifier: GPL-2.0

//! Those who update, each with another way to reclaim what it retires.
//!
//! Each is a thread, and returns when it is to stop; what it has then is deferred.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu::synchronize_rcu, //
    },
    time::Delta,
};

use super::{
    element::{
        Element,
        Failure,
        Mark,
        Ordinary,
        Plain,
        Quick,
        Slots,
        PIPE_LEN, //
    },
    kthread::StopToken,
    random::Random,
    rcu::{
        NotPublished,
        Rcu,
        RcuLock,
        RcuWrite, //
    },
    retired::{
        DropContext,
        InCallback,
        InProcess,
        RcuRetired,
        Reclaimed, //
    },
};

// --- What they have done ------------------------------------------------------------------------

/// What updaters have done, and how often.
pub(crate) struct Done {
    /// Values published in the place of others.
    pub(crate) updates: Atomic<u64>,
    /// Values got back, after a wait, a poll, and [`PIPE_LEN`] grace periods.
    pub(crate) synchronized: Atomic<u64>,
    pub(crate) polled: Atomic<u64>,
    pub(crate) aged: Atomic<u64>,
    /// Values deferred, by kind.
    pub(crate) plain: Atomic<u64>,
    pub(crate) quick: Atomic<u64>,
    pub(crate) ordinary: Atomic<u64>,
    /// Retired values that were just dropped.
    pub(crate) dropped: Atomic<u64>,
    /// Cells that were dropped.
    pub(crate) renewed: Atomic<u64>,
    /// Updates that were refused by a cap, and for lack of memory.
    pub(crate) refused: Atomic<u64>,
    pub(crate) no_memory: Atomic<u64>,
}

/// What updaters have done.
pub(crate) static DONE: Done = Done {
    updates: Atomic::new(0),
    synchronized: Atomic::new(0),
    polled: Atomic::new(0),
    aged: Atomic::new(0),
    plain: Atomic::new(0),
    quick: Atomic::new(0),
    ordinary: Atomic::new(0),
    dropped: Atomic::new(0),
    renewed: Atomic::new(0),
    refused: Atomic::new(0),
    no_memory: Atomic::new(0),
};

// --- A cell and its elements --------------------------------------------------------------------

/// A cell's only updater, and the slots of its elements.
pub(crate) struct Publisher<T, D = InProcess>
where
    T: Element,
    D: DropContext<T>,
{
    writer: RcuWrite<T, D>,
    slots: Slots,
}

/// A retired element, and what it is known by.
struct Old<T, D = InProcess>
where
    T: Element,
    D: DropContext<T>,
{
    retired: RcuRetired<T, D>,
    mark: Mark,
}

impl<T, D> Publisher<T, D>
where
    T: Element,
    D: DropContext<T>,
{
    /// Makes a cell with a first element.
    pub(crate) fn new(mut slots: Slots) -> Result<Self> {
        let writer = RcuWrite::new(slots.make().ok_or(EAGAIN)?, GFP_KERNEL)?;
        Ok(Self { writer, slots })
    }

    /// Gives read access.
    pub(crate) fn reader(&self) -> Rcu<T, D> {
        self.writer.reader()
    }

    /// Publishes a new element, and retires the old one. `None` if it cannot be had just now.
    fn publish(&mut self) -> Option<Old<T, D>> {
        let new: T = self.slots.make()?;
        let (mark, new_mark) = (self.writer.get().mark(), new.mark());
        match self.writer.update(new, GFP_KERNEL) {
            Ok(retired) => {
                T::retire(mark);
                DONE.updates.add(1, Relaxed);
                Some(Old { retired, mark })
            }
            Err(refused) => {
                given_back(refused, new_mark);
                None
            }
        }
    }
}

impl<T, D> Drop for Publisher<T, D>
where
    T: Element,
    D: DropContext<T>,
{
    fn drop(&mut self) {
        // The cell retires its last element when it is dropped, which comes next.
        T::retire(self.writer.get().mark());
    }
}

/// Counts an update that did not come about.
fn count(error: Error) {
    match error {
        EAGAIN => DONE.refused.add(1, Relaxed),
        _ => DONE.no_memory.add(1, Relaxed),
    }
}

/// Takes back an element that was not published.
fn given_back<T: Element>(refused: NotPublished<T>, mark: Mark) {
    if let Err(failure) = refused.value.content().look(mark) {
        failure.report("updater", 0, "given back", mark);
    }
    count(refused.error);
    drop(refused.value);
    // Not each kind does it.
    mark.free();
}

/// Takes back an element that was retired: it must be that one, and whole.
fn reclaimed<T: Element>(value: Reclaimed<T>, mark: Mark, cell: &str, count: &Atomic<u64>) {
    if let Err(failure) = value.content().look(mark) {
        failure.report("updater", 0, cell, mark);
    }
    count.add(1, Relaxed);
    drop(value);
}

// --- By waiting ---------------------------------------------------------------------------------

// ANCHOR: waiting
/// Waits for a grace period after each update.
pub(crate) fn waiting(mut cell: Publisher<Ordinary>, stop: &StopToken) -> Result {
    while !stop.should_stop() {
        let Some(Old { retired, mark }) = cell.publish() else {
            stop.sleep(Delta::from_millis(1))?;
            continue;
        };
        match retired.synchronize() {
            Some(value) => reclaimed(value, mark, "waited", &DONE.synchronized),
            None => Failure::Lost.report("updater", 0, "waited", mark),
        }
    }
    Ok(())
}
// ANCHOR_END: waiting

// --- By polling ---------------------------------------------------------------------------------

// ANCHOR: polling
/// Has some retired elements at hand, and takes each back as soon as it can.
pub(crate) fn polling(mut cell: Publisher<Quick, InCallback>, stop: &StopToken) -> Result {
    let mut random = Random::new(100);
    let mut pending = [const { None }; 8];

    while !stop.should_stop() {
        let mut progress = false;
        for place in &mut pending {
            *place = match place.take() {
                None => cell.publish(),
                Some(Old { retired, mark }) => match retired.try_reclaim() {
                    Err(retired) => Some(Old { retired, mark }),
                    Ok(value) => {
                        reclaimed(value, mark, "polled", &DONE.polled);
                        progress = true;
                        None
                    }
                },
            };
        }
        // Now and then it is in a hurry.
        if !progress && random.below(16) != 0 {
            stop.sleep(Delta::from_millis(1))?;
        }
    }
    Ok(())
}
// ANCHOR_END: polling

// --- By ageing ----------------------------------------------------------------------------------

// ANCHOR: ageing
/// Lets retired elements grow older, by one with each grace period, and reclaims them when they
/// are [`PIPE_LEN`] old.
pub(crate) fn ageing(mut cell: Publisher<Ordinary>, stop: &StopToken) -> Result {
    // As many as there are ages between 1 and `PIPE_LEN`.
    let mut pipe: [Option<(Old<Ordinary>, u64)>; PIPE_LEN as usize - 1] = [const { None }; _];

    while !stop.should_stop() {
        for place in &mut pipe {
            *place = match place.take() {
                Some((old, PIPE_LEN)) => {
                    end(old);
                    None
                }
                young => young,
            };
        }
        // One goes in with each grace period, and so one comes out with each.
        if let Some(place) = pipe.iter_mut().find(|place| place.is_none()) {
            *place = cell.publish().and_then(begin).map(|old| (old, 1));
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

/// Starts the grace period of an element that will be polled only when it is old.
fn begin(Old { retired, mark }: Old<Ordinary>) -> Option<Old<Ordinary>> {
    match retired.try_reclaim() {
        Err(retired) => Some(Old { retired, mark }),
        Ok(value) => {
            // The first call cannot know of a grace period that is over.
            Failure::Lost.report("updater", 0, "aged", mark);
            drop(value);
            None
        }
    }
}

/// Takes an element back after so many grace periods that its own must be over.
fn end(Old { retired, mark }: Old<Ordinary>) {
    match retired.try_reclaim() {
        Ok(value) => reclaimed(value, mark, "aged", &DONE.aged),
        Err(retired) => {
            Failure::Late.report("updater", 0, "aged", mark);
            retired.defer();
        }
    }
}
// ANCHOR_END: ageing

// --- By deferring -------------------------------------------------------------------------------

/// The cells whose updater defers: one for each way to do so.
pub(crate) struct Deferred {
    pub(crate) plain: Publisher<Plain>,
    pub(crate) quick: Publisher<Quick, InCallback>,
    pub(crate) ordinary: Publisher<Ordinary>,
}

// ANCHOR: deferring
/// Defers, in bursts, an element of each kind.
pub(crate) fn deferring(mut cells: Deferred, stop: &StopToken) -> Result {
    const BURST: usize = 32;
    let mut random = Random::new(101);

    while !stop.should_stop() {
        let mut plain = [None; BURST];
        for mark in &mut plain {
            if let Some(old) = cells.plain.publish() {
                *mark = Some(old.mark);
                old.retired.defer();
                DONE.plain.add(1, Relaxed);
            }
            if let Some(old) = cells.quick.publish() {
                old.retired.defer();
                DONE.quick.add(1, Relaxed);
            }
            if let Some(old) = cells.ordinary.publish() {
                old.retired.defer();
                DONE.ordinary.add(1, Relaxed);
            }
        }

        // A plain element does not say when it is freed. But after a grace period it may be.
        synchronize_rcu();
        for mark in plain.into_iter().flatten() {
            mark.free();
        }
        stop.sleep(Delta::from_millis(random.below(3).into()))?;
    }
    Ok(())
}
// ANCHOR_END: deferring

// --- Two of them, and a cap ---------------------------------------------------------------------

// ANCHOR: locking
/// One of several updaters: takes the lock, updates until the cap says no, drops what it retires.
pub(crate) fn locking(cell: &RcuLock<Ordinary>, mut slots: Slots, stop: &StopToken) -> Result {
    const BURST: usize = 16;

    loop {
        let mut updater = cell.lock();
        for _ in 0..BURST {
            let Some(new) = slots.make::<Ordinary>() else {
                break;
            };
            let (mark, new_mark) = (updater.get().mark(), new.mark());
            match updater.update(new, GFP_KERNEL) {
                Ok(retired) => {
                    Ordinary::retire(mark);
                    drop(retired);
                    DONE.updates.add(1, Relaxed);
                    DONE.dropped.add(1, Relaxed);
                }
                Err(refused) => {
                    given_back(refused, new_mark);
                    break;
                }
            }
        }
        drop(updater);
        stop.sleep(Delta::from_millis(1))?;
    }
}
// ANCHOR_END: locking

// --- The cell itself ----------------------------------------------------------------------------

impl<T, D> Publisher<T, D>
where
    T: Element,
    D: DropContext<T>,
{
    /// Drops the cell, and has another from now on. Who reads the old one finds nothing. Does
    /// nothing while all slots are in use.
    fn renew(&mut self) -> Result {
        let Some(first) = self.slots.make() else {
            return Ok(());
        };
        let other = RcuWrite::new(first, GFP_KERNEL)?;
        T::retire(self.writer.get().mark());
        self.writer = other;
        DONE.renewed.add(1, Relaxed);
        Ok(())
    }
}

// ANCHOR: renewing
/// Drops its cell now and then. Where the next one is, readers learn from a second cell, in which
/// it publishes the read access to the first: that is a value like any other.
pub(crate) fn renewing(
    mut place: RcuWrite<Rcu<Ordinary>>,
    mut cell: Publisher<Ordinary>,
    stop: &StopToken,
) -> Result {
    let mut random = Random::new(102);

    loop {
        for _ in 0..random.below(8) {
            if let Some(old) = cell.publish() {
                old.retired.defer();
                DONE.ordinary.add(1, Relaxed);
            }
        }
        stop.sleep(Delta::from_millis(random.below(8).into()))?;

        // Readers see `None` from here on; those who have found an element may keep it.
        if let Err(error) = cell.renew() {
            count(error);
        }
        stop.sleep(Delta::from_millis(random.below(4).into()))?;

        // If this fails, they see `None` for another round.
        match place.update(cell.reader(), GFP_KERNEL) {
            Ok(old) => old.defer(),
            Err(refused) => count(refused.error),
        }
    }
}
// ANCHOR_END: renewing
