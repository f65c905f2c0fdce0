// SPDX-License-Identifier: GPL-2.0

//! Torture for the published pointer: readers that stay as long as they may, updaters that reclaim
//! as soon as they may, and elements that show it if a reader was not waited for.
//!
//! A test that finds nothing proves little, unless it is known what it would find. So the breaks
//! of this module each take one safety step away, and it has to find that within seconds. And a
//! verdict is `unproven`, and not `held`, if something of what was to be tried was not.
//!
//! - [`element`]: what is published, and how it shows that it was freed too early.
//! - [`reader`]: those who read.
//! - [`updaters`]: those who update, each with another way to reclaim.

use kernel::{
    fmt,
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

use element::{
    Element,
    Ordinary,
    Slots, //
};
use kthread::{
    outcome,
    KThread,
    StopToken, //
};
use parameter::checked;
use rcu::{
    RcuLock,
    RcuWrite, //
};
use reader::{
    Cells,
    Reader,
    CLASSES,
    TOTAL, //
};
use retired::{
    CallbackDrop,
    Cap,
    InCallback,
    RcuBarrier, //
};
use threads::Threads;
use updaters::{
    Deferred,
    Publisher,
    DONE, //
};

pub mod flavours;
pub mod guard;
mod helpers;
pub mod parameter;
pub mod random;
pub mod rcu;
pub mod retired;

#[path = "../01-phased-state/kthread.rs"]
pub mod kthread;

#[path = "torture/busy.rs"]
mod busy;
#[path = "torture/element.rs"]
mod element;
#[path = "torture/reader.rs"]
mod reader;
#[path = "torture/threads.rs"]
mod threads;
#[path = "torture/updaters.rs"]
mod updaters;

module! {
    type: PointerTorture,
    name: "pointer_torture",
    authors: ["The RCU workshop"],
    description: "Torture for the RCU-protected pointer",
    license: "GPL",
    params: {
        seconds: u32 {
            default: 10,
            description: "How long it lasts, in s",
        },
        readers: u32 {
            default: 4,
            description: "How many threads read",
        },
    },
}

// --- The cast -----------------------------------------------------------------------------------

/// All that is made before the first thread.
struct Torture {
    span: Delta,
    readers: usize,
    cells: Arc<Cells>,
    aged: Publisher<Ordinary>,
    waited: Publisher<Ordinary>,
    polled: Publisher<element::Quick, InCallback>,
    deferred: Deferred,
    locking: [Slots; 2],
    place: RcuWrite<rcu::Rcu<Ordinary>>,
    renewed: Publisher<Ordinary>,
}

impl Torture {
    fn new() -> Result<Self> {
        let seconds = checked("seconds", module_parameters::seconds.value(), 1, 86_400)?;
        let readers = checked("readers", module_parameters::readers.value(), 1, 64)?;

        let mut taken = 0;
        let mut slots = |len| Slots::new(&mut taken, len);

        let aged = Publisher::new(slots(16)?)?;
        let waited = Publisher::new(slots(64)?)?;
        let polled = Publisher::new(slots(16)?)?;
        let deferred = Deferred {
            plain: Publisher::new(slots(256)?)?,
            quick: Publisher::new(slots(512)?)?,
            ordinary: Publisher::new(slots(512)?)?,
        };
        let mut own = slots(1)?;
        let cap = Cap::new(64, GFP_KERNEL)?;
        let first = own.make().ok_or(EAGAIN)?;
        let locked = Arc::pin_init(RcuLock::new(first, Some(cap), GFP_KERNEL), GFP_KERNEL)?;
        let locking = [slots(128)?, slots(128)?];
        let renewed = Publisher::new(slots(512)?)?;
        let place = RcuWrite::new(renewed.reader(), GFP_KERNEL)?;

        let cells = Cells {
            aged: aged.reader(),
            waited: waited.reader(),
            polled: polled.reader(),
            plain: deferred.plain.reader(),
            quick: deferred.quick.reader(),
            ordinary: deferred.ordinary.reader(),
            locked,
            renewed: place.reader(),
        };
        Ok(Self {
            span: Delta::from_secs(seconds.into()),
            readers: readers as usize,
            cells: Arc::new(cells, GFP_KERNEL)?,
            aged,
            waited,
            polled,
            deferred,
            locking,
            place,
            renewed,
        })
    }

    /// Creates the threads; none runs yet. If one cannot be had, those before it are dropped.
    fn threads(self) -> Result<Threads> {
        let mut threads = Threads::new();

        for number in 0..self.readers {
            let reader = Reader::new(number, self.cells.clone());
            threads.add(c"reader", move |stop| reader.run(stop))?;
        }
        threads.add(c"hog", busy::hog)?;

        let cell = self.aged;
        threads.add(c"ageing", move |stop| updaters::ageing(cell, stop))?;
        let cell = self.waited;
        threads.add(c"waiting", move |stop| updaters::waiting(cell, stop))?;
        let cell = self.polled;
        threads.add(c"polling", move |stop| updaters::polling(cell, stop))?;
        let cells = self.deferred;
        threads.add(c"deferring", move |stop| updaters::deferring(cells, stop))?;
        for slots in self.locking {
            let cells = self.cells.clone();
            threads.add(c"locking", move |stop| {
                updaters::locking(&cells.locked, slots, stop)
            })?;
        }
        let (place, cell) = (self.place, self.renewed);
        threads.add(c"renewing", move |stop| {
            updaters::renewing(place, cell, stop)
        })?;
        Ok(threads)
    }
}

// --- The director -------------------------------------------------------------------------------

// ANCHOR: director
/// The director, as a thread of its own: it has the others, and no thread outlives it.
fn director(torture: Torture, stop: &StopToken) -> Result {
    // ANCHOR: director-begins
    // ANCHOR_END: director-begins
    let (span, readers, cells) = (torture.span, torture.readers, torture.cells.clone());

    let threads = torture
        .threads()
        .inspect_err(|e| pr_err!("[director] no threads: errno={}\n", e.to_errno()))?;

    let seconds = span.as_millis() / 1000;
    pr_info!("[director] start torture: seconds={seconds} readers={readers}\n");
    threads.start();
    let slept = stop.sleep(span);

    // Stops each and waits for its end. No one waits for another for longer than a section.
    drop(threads);

    // The last element of a cell that nobody else has any more.
    let updater = cells.locked.lock();
    Ordinary::retire(updater.get().mark());
    drop(updater);
    drop(cells);

    if let Err(e) = slept.and_then(|()| element::all_are_freed(stop)) {
        pr_info!("[director] stopped\n");
        return Err(e);
    }
    report();
    pr_info!("[director] end story\n");
    Ok(())
}
// ANCHOR_END: director

// ANCHOR: histogram
/// How many reads ended with an element of each age, for a line of the log.
struct Histogram([u64; CLASSES]);

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ages @ .., gone] = &self.0;
        for (age, reads) in ages.iter().enumerate() {
            write!(f, "age{age}={reads} ")?;
        }
        write!(f, "gone={gone}")
    }
}
// ANCHOR_END: histogram

/// Writes down how it went.
fn report() {
    let get = |count: &Atomic<u64>| count.load(Relaxed);

    let ages = TOTAL.ages.each_ref().map(get);
    pr_info!("[director] histogram: {}\n", Histogram(ages));

    let reads: u64 = ages.iter().sum();
    let age1 = ages[1];
    let none = get(&TOTAL.none);
    let sections = [
        &TOTAL.closure,
        &TOTAL.nested,
        &TOTAL.kernel,
        &TOTAL.bh,
        &TOTAL.sched,
    ]
    .map(get);
    let [closure, nested, kernel, bh, sched] = sections;
    pr_info!(
        "[director] reads: reads={reads} none={none} closure={closure} nested={nested} \
         kernel={kernel} bh={bh} sched={sched}\n"
    );

    let ways = [
        &DONE.synchronized,
        &DONE.polled,
        &DONE.aged,
        &DONE.plain,
        &DONE.quick,
        &DONE.ordinary,
        &DONE.dropped,
        &DONE.renewed,
        &DONE.refused,
    ]
    .map(get);
    let [synchronized, polled, aged, plain, quick, ordinary, dropped, renewed, refused] = ways;
    let deferred = plain + quick + ordinary;
    let updates = get(&DONE.updates);
    let no_memory = get(&DONE.no_memory);
    pr_info!(
        "[director] updates: updates={updates} synchronized={synchronized} polled={polled} \
         aged={aged} deferred={deferred} dropped={dropped} renewed={renewed} refused={refused} \
         no_memory={no_memory}\n"
    );

    let (retired, freed) = element::retired_and_freed();
    pr_info!("[director] freed: retired={retired} freed={freed} uncounted={plain}\n");

    // What was not tried proves nothing. Without a reader that held an element when it was
    // retired, nothing was.
    let proven = !sections.contains(&0) && !ways.contains(&0) && age1 > 0 && none > 0;
    let failures = element::failures();
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

// --- The module ---------------------------------------------------------------------------------

// ANCHOR: link
/// A value with a cell in it, whose value has a cell in it, and so on.
///
/// When one is dropped, in its callback, it retires the next, which waits for a grace period of
/// its own. So a chain is reclaimed for as long as it has links: that is what an [`RcuBarrier`]
/// has to wait for, and what would outlive the module otherwise.
struct Link {
    _next: Option<RcuWrite<Link, InCallback>>,
}

// SAFETY: Dropping one drops a cell, which may be done in any context.
unsafe impl CallbackDrop for Link {}

impl Link {
    /// Makes a chain with `len` links.
    fn chain(len: usize) -> Result<Self> {
        let mut next = None;
        for _ in 1..len {
            next = Some(RcuWrite::new(Self { _next: next }, GFP_KERNEL)?);
        }
        Ok(Self { _next: next })
    }
}
// ANCHOR_END: link

// ANCHOR: module
/// The module. The order of its fields is the order in which they are dropped.
struct PointerTorture {
    director: Option<KThread>,
    /// Retires its first link when it is dropped.
    _chain: Link,
    // ANCHOR: barrier-field
    /// The last field: waits for all callbacks, also for those of the chain.
    _barrier: RcuBarrier,
    // ANCHOR_END: barrier-field
}

impl kernel::Module for PointerTorture {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // ANCHOR: barrier-made
        // First of all: if something fails below, it waits for what was made before.
        let barrier = RcuBarrier::new();
        // ANCHOR_END: barrier-made
        // ANCHOR: chain-made
        let chain = Link::chain(16)?;
        // ANCHOR_END: chain-made
        // ANCHOR: director-made
        let torture = Torture::new()?;
        let director = KThread::create(c"director", move |stop| director(torture, stop))
            .inspect_err(|e| pr_err!("[init] no director: errno={}\n", e.to_errno()))?;
        // ANCHOR_END: director-made

        pr_info!("[init] init\n");
        director.start();
        Ok(Self {
            director: Some(director),
            _chain: chain,
            // ANCHOR: barrier-kept
            _barrier: barrier,
            // ANCHOR_END: barrier-kept
        })
    }
}

impl Drop for PointerTorture {
    fn drop(&mut self) {
        // The director ends the others.
        if let Some(director) = self.director.take() {
            pr_info!("[exit] exit: director={}\n", outcome(director.join()));
        }
        // ANCHOR: module-drop-end
        // Now the fields, and the barrier last.
        // ANCHOR_END: module-drop-end
    }
}
// ANCHOR_END: module
