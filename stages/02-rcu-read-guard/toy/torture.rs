// SPDX-License-Identifier: GPL-2.0

//! A small torture, in the manner of the kernel's rcutorture.
//!
//! Readers on each CPU read the current element, take their time, and read it once more. The
//! updater replaces it as fast as grace periods allow. If a grace period ends too early, some
//! reader sees that what it reads has grown too old in its hands.
//!
//! A test that finds nothing proves little, unless it is known to find something: the breaks of
//! this stage run this very torture on toys that are wrong.

use kernel::{
    bindings,
    cpu::CpuId,
    prelude::*,
    processor::cpu_relax,
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
    cpus,
    guard::ToyRcu,
    pool::{
        Content,
        Pool,
        Updater, //
    },
};
use crate::kthread::{
    KThread,
    StopToken, //
};

/// How many sections have to meet an update.
const ENOUGH: u64 = 5;

/// How long to wait for them.
const PATIENCE: Delta = Delta::from_secs(20);

/// What all threads of a torture share.
struct Torture<R> {
    toy: Arc<R>,
    pool: Arc<Pool>,
    tally: Tally,
}

// ANCHOR: torture
/// Tortures a toy for `span`, and longer if that was not enough to see anything (the machine may
/// be slow); writes into the log what was seen.
///
/// From here on the current thread runs before ordinary ones: who is to end this must not queue
/// up behind those who are there to be in the way.
pub fn torture<R: ToyRcu>(toy: &Arc<R>, span: Delta, stop: &StopToken) -> Result {
    cpus::run_first();
    let (pool, updater) = Pool::new()?;
    let torture = Torture {
        toy: toy.clone(),
        pool,
        tally: Tally::new(),
    };
    let torture = Arc::new(torture, GFP_KERNEL)?;

    // If one cannot be had, those before it are dropped, which stops them.
    let t = torture.clone();
    let updater = KThread::create(c"toy_updater", move |stop| update(&t, updater, stop))?;
    let mut others = KVec::new();
    for cpu in cpus::online() {
        let t = torture.clone();
        let reader = KThread::create(c"toy_reader", move |stop| read(&t, cpu, stop))?;
        others.push(reader, GFP_KERNEL)?;
        let hog = KThread::create(c"toy_hog", move |stop| hog(cpu, stop))?;
        others.push(hog, GFP_KERNEL)?;
    }
    // Not before all are there: who makes threads is an ordinary thread, too.
    others.iter().for_each(KThread::start);
    updater.start();

    let begin = Instant::<Monotonic>::now();
    let slept = stop.sleep(span).and_then(|()| {
        let last = span + PATIENCE;
        stop.wait_until(|| torture.tally.is_enough() || begin.elapsed() > last)
    });

    // The updater first, since it keeps the others from their CPUs. It waits for no more than the
    // sections that are open, and those end by themselves.
    let updated = updater.join();
    drop(others);
    updated.and(slept)?;
    torture.tally.report(R::NAME);
    Ok(())
}
// ANCHOR_END: torture

// ANCHOR: torture-reader
/// A reader: critical sections, one after the other, most of them short.
fn read<R: ToyRcu>(torture: &Torture<R>, cpu: CpuId, stop: &StopToken) -> Result {
    cpus::go_to(cpu)?;
    let mut random = Random::new();

    while !stop.should_stop() {
        let guard = torture.toy.read();
        let element = torture.pool.current(&guard);
        let before = element.content();
        spin(match random.below(32) {
            // Most are short ...
            5.. => Delta::from_micros(random.below(200).into()),
            // ... some last for a few ticks, so that others want this CPU meanwhile, ...
            1.. => Delta::from_millis(random.below(16).into()),
            // ... and a few for longer than it takes to end a grace period without them.
            0 => Delta::from_millis((30 + random.below(30)).into()),
        });
        let after = element.content();
        let age = element.age();
        drop(guard);

        torture.tally.count(before, after, age);
        // Others are not kept from this CPU by sections alone.
        if random.below(8) == 0 && stop.sleep(Delta::from_millis(1)).is_err() {
            break;
        }
    }
    Ok(())
}
// ANCHOR_END: torture-reader

// ANCHOR: torture-updater
/// The updater: one update after the other, with a grace period after each.
///
/// It does not queue up for a CPU: if a grace period ends too early, it is to say so while the
/// readers that were forgotten are still inside.
fn update<R: ToyRcu>(torture: &Torture<R>, mut updater: Updater, stop: &StopToken) -> Result {
    cpus::run_first();
    let mut random = Random::new();

    while !stop.should_stop() {
        updater.replace()?;
        torture.toy.synchronize()?;
        updater.grace_period_is_over();
        torture.tally.updates.add(1, Relaxed);

        if random.below(8) == 0 && stop.sleep(Delta::from_millis(1)).is_err() {
            break;
        }
    }
    Ok(())
}
// ANCHOR_END: torture-updater

/// Keeps a CPU busy, so that the others have to share what is left.
fn hog(cpu: CpuId, stop: &StopToken) -> Result {
    cpus::go_to(cpu)?;
    let mut random = Random::new();

    while !stop.should_stop() {
        spin(Delta::from_millis(random.below(10).into()));
        if stop
            .sleep(Delta::from_millis(random.below(10).into()))
            .is_err()
        {
            break;
        }
    }
    Ok(())
}

/// Spends time without giving the CPU away.
fn spin(span: Delta) {
    let begin = Instant::<Monotonic>::now();
    while begin.elapsed() < span {
        cpu_relax();
    }
}

// --- What was seen ------------------------------------------------------------------------------

// ANCHOR: tally
/// What the readers have seen.
///
/// Its accesses are `Relaxed`: it is read when those who write to it are joined.
struct Tally {
    reads: Atomic<u64>,
    updates: Atomic<u64>,
    failures: Atomic<u64>,
    /// How old the element was when its reader was about to leave.
    age0: Atomic<u64>,
    age1: Atomic<u64>,
    older: Atomic<u64>,
}

impl Tally {
    fn new() -> Self {
        Self {
            reads: Atomic::new(0),
            updates: Atomic::new(0),
            failures: Atomic::new(0),
            age0: Atomic::new(0),
            age1: Atomic::new(0),
            older: Atomic::new(0),
        }
    }

    /// Counts a critical section.
    fn count(&self, before: Content, after: Content, age: u32) {
        let ages = match age {
            // It is still current ...
            0 => &self.age0,
            // ... or was retired meanwhile, and the updater waits for this reader, ...
            1 => &self.age1,
            // ... or was retired, and the updater did not wait.
            _ => &self.older,
        };
        ages.add(1, Relaxed);

        let whole = matches!(before, Content::Whole(_)) && before == after;
        if age > 1 || !whole {
            self.failures.add(1, Relaxed);
        }
        self.reads.add(1, Relaxed);
    }

    /// Whether grace periods had something to prove: sections that met an update.
    fn is_enough(&self) -> bool {
        self.age1.load(Relaxed) + self.older.load(Relaxed) >= ENOUGH
    }

    fn report(&self, toy: &str) {
        let [reads, updates, failures, age0, age1, older] = [
            &self.reads,
            &self.updates,
            &self.failures,
            &self.age0,
            &self.age1,
            &self.older,
        ]
        .map(|count| count.load(Relaxed));

        // If no reader met an update, no grace period had anything to prove.
        let verdict = match (failures, age1) {
            (0, 0) => "unproven",
            (0, _) => "held",
            _ => "FAILED",
        };
        pr_info!("[director] histogram: toy={toy} age0={age0} age1={age1} older={older}\n");
        pr_info!(
            "[director] torture: toy={toy} reads={reads} updates={updates} failures={failures} verdict={verdict}\n"
        );
    }
}
// ANCHOR_END: tally

/// Random numbers, good enough to spread delays: a xorshift.
struct Random(u32);

impl Random {
    fn new() -> Self {
        // SAFETY: It may be called in any context.
        let seed = unsafe { bindings::get_random_u32() };
        Self(seed | 1)
    }

    /// A number below `end`, which must not be 0.
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % end
    }
}
