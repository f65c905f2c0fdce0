// SPDX-License-Identifier: GPL-2.0

//! Readers and an updater at work, as fast as they can.
//!
//! The readers do not wait for the updater, nor the updater for the readers. What it cannot do is
//! to retire lists without end: grace periods take milliseconds, updates microseconds. So there is
//! a cap on the lists that wait for their reclaim, and an update that would go beyond it fails.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    event::Event,
    guard::rcu_read,
    kthread::{
        KThread,
        StopToken, //
    },
    prices::PriceList,
    rcu::{
        Rcu,
        RcuWrite, //
    },
    retired::{
        Cap,
        InCallback, //
    },
};

/// How many lists of this part were dropped, since the module was loaded.
static DROPPED: Atomic<u64> = Atomic::new(0);

/// How many lists may wait for their reclaim.
const MAX_WAITING: u32 = 500;

/// How long callbacks may take that are on their way, before we say that they did not come.
const PATIENCE: Delta = Delta::from_secs(10);

/// What was counted.
struct Counts {
    over: Event,
    reads: Atomic<u64>,
    failures: Atomic<u64>,
}

// ANCHOR: load-reader
/// A reader, as a thread of its own.
fn reader(prices: &Rcu<PriceList, InCallback>, counts: &Counts, stop: &StopToken) -> Result {
    let (mut reads, mut failures) = (0, 0);
    while !counts.over.reached() && !stop.should_stop() {
        rcu_read(|guard| {
            if let Some(list) = prices.read(guard) {
                reads += 1;
                // It says so in each list, so a list that says otherwise is none.
                let whole = list.seal.is_intact() && list.price == list.version;
                failures += u64::from(!whole);
            }
        });
    }
    counts.reads.add(reads, Relaxed);
    counts.failures.add(failures, Relaxed);
    Ok(())
}
// ANCHOR_END: load-reader

/// What the updater has done.
#[derive(Default)]
struct Done {
    updates: u64,
    refused: u64,
    no_memory: u64,
}

// ANCHOR: load-updater
/// Updates until the time is over.
fn update(
    prices: &mut RcuWrite<PriceList, InCallback>,
    ms: Delta,
    stop: &StopToken,
) -> Result<Done> {
    let begin = Instant::<Monotonic>::now();
    let mut done = Done::default();

    while begin.elapsed() < ms {
        let version = prices.get().version.wrapping_add(1);
        match prices.update(PriceList::new(version, version, &DROPPED), GFP_KERNEL) {
            Ok(old) => {
                old.defer();
                done.updates += 1;
            }
            Err(new) if new.error == EAGAIN => {
                done.refused += 1;
                // It will take a grace period, so there is no hurry.
                stop.sleep(Delta::from_millis(1))?;
            }
            Err(_) => done.no_memory += 1,
        }
        if stop.should_stop() {
            return Err(EINTR);
        }
    }
    Ok(done)
}
// ANCHOR_END: load-updater

/// Runs `readers` readers and an updater, the current thread, for `ms`, and reports.
pub(crate) fn run(readers: u32, ms: Delta, stop: &StopToken) -> Result {
    let dropped_before = DROPPED.load(Relaxed);
    let cap = Cap::new(MAX_WAITING, GFP_KERNEL)?;
    let mut prices = RcuWrite::capped(PriceList::new(1, 1, &DROPPED), cap.clone(), GFP_KERNEL)?;
    let counts = Arc::new(
        Counts {
            over: Event::new(),
            reads: Atomic::new(0),
            failures: Atomic::new(0),
        },
        GFP_KERNEL,
    )?;

    let mut threads = KVec::new();
    for _ in 0..readers {
        let (prices, counts) = (prices.reader(), counts.clone());
        let thread = KThread::spawn(c"reader", move |stop| reader(&prices, &counts, stop))?;
        threads.push(thread, GFP_KERNEL)?;
    }

    let ms_wanted = ms.as_millis();
    pr_info!("[director] load: readers={readers} ms={ms_wanted}\n");
    let done = update(&mut prices, ms, stop)?;
    counts.over.set();
    drop(threads);

    // Each update retired a list, and so does this.
    drop(prices);
    let retired = done.updates + 1;

    // Lists that were not published were dropped as well, and are not those that we wait for.
    let dropped_before = dropped_before + done.refused + done.no_memory;
    // ANCHOR: load-freed
    let begin = Instant::<Monotonic>::now();
    let freed = || DROPPED.load(Relaxed) - dropped_before;
    // A credit comes back a moment after its list was dropped.
    let done_with = || freed() == retired && cap.waiting() == 0;
    stop.wait_until(|| done_with() || begin.elapsed() > PATIENCE)?;
    // ANCHOR_END: load-freed

    let (reads, failures) = (counts.reads.load(Relaxed), counts.failures.load(Relaxed));
    let held = failures == 0 && done_with();
    let verdict = match (held, reads.min(done.updates)) {
        (true, 0) => "unproven",
        (true, _) => "held",
        (false, _) => "VIOLATED",
    };
    let Done {
        updates,
        refused,
        no_memory,
    } = done;
    let freed = freed();
    pr_info!("[director] report: reads={reads} failures={failures} updates={updates} refused={refused} no_memory={no_memory}\n");
    pr_info!("[director] reclaim: retired={retired} freed={freed} verdict={verdict}\n");
    Ok(())
}
