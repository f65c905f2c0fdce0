// SPDX-License-Identifier: GPL-2.0

//! Readers and an updater at work, as fast as they can.
//!
//! The list has routes that are always there, though each is replaced again and again, and others
//! that come and go between them. So much can be known of each walk: it comes to each of the first
//! kind exactly once, in order, and to no value that is not whole.

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
    list::{
        NewNode,
        RcuList,
        Writer, //
    },
    random::Random,
    retired::{
        Cap,
        InCallback, //
    },
    route::{
        insert,
        Address,
        Route,
        RoutingTable, //
    },
};

/// How many routes of this part were dropped, since the module was loaded.
static DROPPED: Atomic<u64> = Atomic::new(0);

/// How many routes may wait for their reclaim.
const MAX_WAITING: u32 = 500;

/// How many routes are always there: their prefixes are 1 to so many bits long.
const FIXED: u32 = 8;

/// Where the routes go that come and go.
const PASSING: u32 = 100;

/// How many of them there are at most.
const MAX_PASSING: u64 = 16;

/// How long callbacks may take that are on their way, before we say that they did not come.
const PATIENCE: Delta = Delta::from_secs(10);

fn route(len: u32, via: u32) -> Route {
    Route::new(via, (Address::new([0; 4]), len), via, &DROPPED)
}

/// What was counted by the readers.
#[derive(Default)]
struct Seen {
    walks: u64,
    found: u64,
    /// Fixed routes that were not found; or twice, or not in order; and values not whole.
    missing: u64,
    astray: u64,
    broken: u64,
}

/// The sum of it.
struct Counts {
    over: Event,
    walks: Atomic<u64>,
    found: Atomic<u64>,
    missing: Atomic<u64>,
    astray: Atomic<u64>,
    broken: Atomic<u64>,
}

// ANCHOR: walk
impl Seen {
    /// Walks through the table once.
    fn walk<'a>(&mut self, table: impl Iterator<Item = &'a Route>) {
        // Those with long prefixes come first.
        let mut expected = FIXED;
        for route in table {
            self.found += 1;
            self.broken += u64::from(!route.seal.is_intact() || route.node != route.via);
            if route.via == PASSING {
                continue;
            }
            match route.len {
                len if len == expected => {}
                len if len < expected => self.missing += u64::from(expected - len),
                _ => self.astray += 1,
            }
            expected = route.len.saturating_sub(1);
        }
        self.missing += u64::from(expected);
        self.walks += 1;
    }
}
// ANCHOR_END: walk

/// A reader, as a thread of its own.
fn reader(table: &RoutingTable, counts: &Counts, stop: &StopToken) -> Result {
    let mut seen = Seen::default();
    while !counts.over.reached() && !stop.should_stop() {
        rcu_read(|guard| seen.walk(table.iter(guard)));
    }
    counts.walks.add(seen.walks, Relaxed);
    counts.found.add(seen.found, Relaxed);
    counts.missing.add(seen.missing, Relaxed);
    counts.astray.add(seen.astray, Relaxed);
    counts.broken.add(seen.broken, Relaxed);
    Ok(())
}

/// What the updater has done.
#[derive(Default)]
struct Done {
    added: u64,
    replaced: u64,
    removed: u64,
    refused: u64,
    no_memory: u64,
    /// Routes that were made and not linked: they were dropped at once.
    unused: u64,
}

impl Done {
    /// How many routes are in the table that come and go.
    fn passing(&self) -> u64 {
        self.added - self.removed
    }

    /// Counts the outcome of a change. [`EAGAIN`] is the cap's.
    fn count(&mut self, which: fn(&mut Self) -> &mut u64, result: Result) -> Result {
        match result {
            Ok(()) => *which(self) += 1,
            Err(EAGAIN) => self.refused += 1,
            Err(_) => self.no_memory += 1,
        }
        result
    }
}

// ANCHOR: changes
/// Adds a route somewhere.
fn add(table: &mut Writer<'_, Route, InCallback>, len: u32) -> Result {
    insert(table, NewNode::new(route(len, PASSING), GFP_KERNEL)?);
    Ok(())
}

/// Replaces a route that is always there.
fn replace(table: &mut Writer<'_, Route, InCallback>, len: u32) -> Result {
    let new = NewNode::new(route(len, len), GFP_KERNEL)?;
    let mut cursor = table.cursor();
    let old = cursor.find(|r| r.via == len).ok_or(ENOENT)?;
    old.replace(new)?.defer();
    Ok(())
}

/// Removes a route of those that come and go: the first that has no longer a prefix.
fn remove(table: &mut Writer<'_, Route, InCallback>, len: u32) -> Result {
    let mut cursor = table.cursor();
    let old = cursor.find(|r| r.via == PASSING && r.len <= len);
    let old = old.ok_or(ENOENT)?;
    old.remove().map_err(|_| EAGAIN)?.defer();
    Ok(())
}
// ANCHOR_END: changes

/// Changes the table until the time is over.
fn update(table: &RoutingTable, ms: Delta, stop: &StopToken) -> Result<Done> {
    let begin = Instant::<Monotonic>::now();
    let mut random = Random::new(0);
    let mut done = Done::default();

    while begin.elapsed() < ms {
        let len = 1 + random.below(FIXED);
        let mut table = table.lock();
        let result = match random.below(3) {
            0 if done.passing() < MAX_PASSING => {
                let result = add(&mut table, len);
                done.unused += u64::from(result.is_err());
                done.count(|done| &mut done.added, result)
            }
            1 if done.passing() > 0 => match remove(&mut table, len) {
                // There is one, but with a longer prefix.
                Err(ENOENT) => Ok(()),
                result => done.count(|done| &mut done.removed, result),
            },
            _ => {
                let result = replace(&mut table, len);
                done.unused += u64::from(result.is_err());
                done.count(|done| &mut done.replaced, result)
            }
        };
        drop(table);

        if result == Err(EAGAIN) {
            // It will take a grace period, so there is no hurry.
            stop.sleep(Delta::from_millis(1))?;
        }
        if stop.should_stop() {
            return Err(EINTR);
        }
    }
    Ok(done)
}

/// Runs `readers` readers and an updater, the current thread, for `ms`, and reports.
pub(crate) fn run(readers: u32, ms: Delta, stop: &StopToken) -> Result {
    let dropped_before = DROPPED.load(Relaxed);
    let cap = Cap::new(MAX_WAITING, GFP_KERNEL)?;
    let table: Arc<RoutingTable> = Arc::pin_init(RcuList::new(Some(cap.clone())), GFP_KERNEL)?;
    for len in 1..=FIXED {
        insert(
            &mut table.lock(),
            NewNode::new(route(len, len), GFP_KERNEL)?,
        );
    }
    let counts = Arc::new(
        Counts {
            over: Event::new(),
            walks: Atomic::new(0),
            found: Atomic::new(0),
            missing: Atomic::new(0),
            astray: Atomic::new(0),
            broken: Atomic::new(0),
        },
        GFP_KERNEL,
    )?;

    let mut threads = KVec::new();
    for _ in 0..readers {
        let (table, counts) = (table.clone(), counts.clone());
        let thread = KThread::spawn(c"reader", move |stop| reader(&table, &counts, stop))?;
        threads.push(thread, GFP_KERNEL)?;
    }

    let ms_wanted = ms.as_millis();
    pr_info!("[director] traffic: readers={readers} ms={ms_wanted}\n");
    let done = update(&table, ms, stop)?;
    counts.over.set();
    drop(threads);

    let in_table = table.lock().iter().count() as u64;
    let expected = u64::from(FIXED) + done.passing();
    drop(table);

    // Of what was made, all is dropped that was not freed before.
    let made = u64::from(FIXED) + done.added + done.replaced;
    let begin = Instant::<Monotonic>::now();
    let freed = || DROPPED.load(Relaxed) - dropped_before - done.unused;
    stop.wait_until(|| freed() == made || begin.elapsed() > PATIENCE)?;

    let get = |count: &Atomic<u64>| count.load(Relaxed);
    let (walks, found) = (get(&counts.walks), get(&counts.found));
    let (missing, astray, broken) = (
        get(&counts.missing),
        get(&counts.astray),
        get(&counts.broken),
    );
    let held = missing + astray + broken == 0
        && in_table == expected
        && freed() == made
        && cap.waiting() == 0;
    let proven = [walks, done.added, done.replaced, done.removed]
        .iter()
        .all(|count| *count > 0);
    let verdict = match (held, proven) {
        (true, true) => "held",
        (true, false) => "unproven",
        (false, _) => "VIOLATED",
    };

    pr_info!(
        "[director] walks: walks={walks} found={found} missing={missing} astray={astray} \
         broken={broken}\n"
    );
    let Done {
        added,
        replaced,
        removed,
        refused,
        no_memory,
        ..
    } = done;
    pr_info!(
        "[director] changes: added={added} replaced={replaced} removed={removed} \
         refused={refused} no_memory={no_memory}\n"
    );
    let freed = freed();
    pr_info!(
        "[director] reclaim: in_table={in_table} expected={expected} made={made} freed={freed} \
         verdict={verdict}\n"
    );
    Ok(())
}
