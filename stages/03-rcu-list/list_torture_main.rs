// SPDX-License-Identifier: GPL-2.0

//! Torture for the list: walkers that stay as long as they may, updaters that take nodes out and
//! reclaim them as soon as they may, and nodes that know which list they are in.
//!
//! - [`lists`]: what is tortured.
//! - [`walkers`]: those who read.
//! - [`updaters`]: those who add, replace, remove, move, and drop whole lists.
//!
//! What is in a node, and how it shows that it was freed too early, is that of stage 2's torture:
//! [`element`]. What a machine that orders stores by itself cannot show, as x86 does, is left to
//! the model.

use kernel::{
    new_spinlock,
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

use element::Slots;
use kthread::{
    outcome,
    KThread,
    StopToken, //
};
use lists::{
    Lists,
    TaggedList, //
};
use parameter::checked;
use rcu::RcuWrite;
use retired::{
    Cap,
    RcuBarrier, //
};
use threads::Threads;
use updaters::DONE;
use walkers::{
    Walker,
    TOTAL, //
};

mod links;
pub mod list;

#[path = "../02-rcu-read-guard/guard.rs"]
pub mod guard;
#[path = "../02-rcu-read-guard/helpers.rs"]
mod helpers;
#[path = "../01-phased-state/kthread.rs"]
pub mod kthread;
#[path = "../02-rcu-read-guard/parameter.rs"]
pub mod parameter;
#[path = "../02-rcu-read-guard/random.rs"]
pub mod random;
#[path = "../02-rcu-read-guard/rcu.rs"]
pub mod rcu;
#[path = "../02-rcu-read-guard/retired.rs"]
pub mod retired;

#[path = "../02-rcu-read-guard/torture/busy.rs"]
mod busy;
#[path = "../02-rcu-read-guard/torture/element.rs"]
mod element;
#[path = "torture/lists.rs"]
mod lists;
#[path = "../02-rcu-read-guard/torture/threads.rs"]
mod threads;
#[path = "torture/updaters.rs"]
mod updaters;
#[path = "torture/walkers.rs"]
mod walkers;

module! {
    type: ListTorture,
    name: "list_torture",
    authors: ["The RCU workshop"],
    description: "Torture for the RCU-protected list",
    license: "GPL",
    params: {
        seconds: u32 {
            default: 10,
            description: "How long it lasts, in s",
        },
        readers: u32 {
            default: 4,
            description: "How many threads walk",
        },
    },
}

/// All that is made before the first thread.
struct Torture {
    span: Delta,
    readers: usize,
    lists: Arc<Lists>,
    place: RcuWrite<Arc<TaggedList>>,
    changing: [Slots; 2],
    moving: Slots,
    renewing: Slots,
}

impl Torture {
    fn new() -> Result<Self> {
        let seconds = checked("seconds", module_parameters::seconds.value(), 1, 3600)?;
        let readers = checked("readers", module_parameters::readers.value(), 1, 64)?;

        let mut taken = 0;
        let mut slots = |len| Slots::new(&mut taken, len);
        let (changing, moving) = ([slots(512)?, slots(512)?], slots(32)?);
        let mut renewing = slots(2048)?;

        let place = RcuWrite::new(updaters::first_list(&mut renewing)?, GFP_KERNEL)?;
        let counted = updaters::first_list(&mut renewing)?;
        let cap = Cap::new(256, GFP_KERNEL)?;
        let changed = TaggedList::new(Some(cap))?;
        let moved = [TaggedList::new(None)?, TaggedList::new(None)?];
        let renewed = place.reader();
        let lists = Arc::pin_init(
            pin_init!(Lists {
                changed,
                moved,
                renewed,
                counted <- new_spinlock!(counted),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            span: Delta::from_secs(seconds.into()),
            readers: readers as usize,
            lists,
            place,
            changing,
            moving,
            renewing,
        })
    }

    /// Creates the threads; none runs yet. If one cannot be had, those before it are dropped.
    fn threads(self) -> Result<Threads> {
        let mut threads = Threads::new();

        for number in 0..self.readers {
            let walker = Walker::new(number, self.lists.clone());
            threads.add(c"walker", move |stop| walker.run(stop))?;
        }
        threads.add(c"hog", busy::hog)?;

        for (seed, slots) in self.changing.into_iter().enumerate() {
            let lists = self.lists.clone();
            threads.add(c"changing", move |stop| {
                updaters::changing(&lists.changed, slots, seed, stop)
            })?;
        }
        let lists = self.lists.clone();
        threads.add(c"ageing", move |stop| {
            updaters::ageing(&lists.changed, stop)
        })?;
        let (lists, slots) = (self.lists.clone(), self.moving);
        threads.add(c"moving", move |stop| {
            updaters::moving(&lists.moved, slots, stop)
        })?;
        let (lists, place, slots) = (self.lists, self.place, self.renewing);
        threads.add(c"renewing", move |stop| {
            updaters::renewing(&lists, place, slots, stop)
        })?;
        Ok(threads)
    }
}

/// The director, as a thread of its own: it has the others, and no thread outlives it.
fn director(torture: Torture, stop: &StopToken) -> Result {
    let (span, readers, lists) = (torture.span, torture.readers, torture.lists.clone());

    let threads = torture
        .threads()
        .inspect_err(|e| pr_err!("[director] no threads: errno={}\n", e.to_errno()))?;

    let seconds = span.as_millis() / 1000;
    pr_info!("[director] start torture: seconds={seconds} readers={readers}\n");
    threads.start();
    let slept = stop.sleep(span);

    // Stops each and waits for its end. No one waits for another for longer than a section.
    drop(threads);

    let all_are_there = updaters::all_are_there(&lists.moved);
    // The lists, and what is in them.
    drop(lists);

    if let Err(e) = slept.and_then(|()| element::all_are_freed(stop)) {
        pr_info!("[director] stopped\n");
        return Err(e);
    }
    report(all_are_there);
    pr_info!("[director] end story\n");
    Ok(())
}

/// Writes down how it went.
fn report(all_are_there: bool) {
    let get = |count: &Atomic<u64>| count.load(Relaxed);

    let [age0, age1, older] = TOTAL.ages.each_ref().map(get);
    pr_info!("[director] histogram: age0={age0} age1={age1} older={older}\n");

    let seen = [&TOTAL.walks, &TOTAL.empty, &TOTAL.outlived].map(get);
    let [walks, empty, outlived] = seen;
    pr_info!("[director] walks: walks={walks} empty={empty} outlived={outlived}\n");

    let ways = [
        &DONE.added,
        &DONE.replaced,
        &DONE.removed,
        &DONE.moved,
        &DONE.aged,
        &DONE.dropped,
    ]
    .map(get);
    let [added, replaced, removed, moved, aged, dropped] = ways;
    let (refused, no_memory) = (get(&DONE.refused), get(&DONE.no_memory));
    pr_info!(
        "[director] changes: added={added} replaced={replaced} removed={removed} moved={moved} \
         aged={aged} dropped={dropped} refused={refused} no_memory={no_memory}\n"
    );

    let (retired, freed) = element::retired_and_freed();
    pr_info!("[director] freed: retired={retired} freed={freed}\n");

    // What was not tried proves nothing. Without a walker that was at a node when it was retired,
    // nothing was.
    let proven = !seen.contains(&0) && !ways.contains(&0) && age1 > 0;
    let failures = element::failures() + u64::from(!all_are_there);
    let verdict = match (failures, retired == freed) {
        (0, true) if proven => "held",
        (0, true) => "unproven",
        (0, false) => "NOT FREED",
        _ => "VIOLATED",
    };
    pr_info!("[director] verdict: failures={failures} {verdict}\n");
}

// ANCHOR: checks
// (Here a test puts what makes allocations fail.)
// ANCHOR_END: checks

// ANCHOR: module
/// The module. The order of its fields is the order in which they are dropped.
struct ListTorture {
    director: Option<KThread>,
    _barrier: RcuBarrier,
}

impl kernel::Module for ListTorture {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // First of all: if something fails below, it waits for what was made before.
        let barrier = RcuBarrier::new();
        // ANCHOR: director-made
        let torture = Torture::new()?;
        let director = KThread::create(c"director", move |stop| director(torture, stop))
            .inspect_err(|e| pr_err!("[init] no director: errno={}\n", e.to_errno()))?;
        // ANCHOR_END: director-made

        pr_info!("[init] init\n");
        director.start();
        Ok(Self {
            director: Some(director),
            _barrier: barrier,
        })
    }
}

impl Drop for ListTorture {
    fn drop(&mut self) {
        // The director ends the others.
        if let Some(director) = self.director.take() {
            pr_info!("[exit] exit: director={}\n", outcome(director.join()));
        }
    }
}
// ANCHOR_END: module
