// SPDX-License-Identifier: GPL-2.0

//! Readers on 1 to N CPUs: how many operations they get done together; or, if somebody counts, how
//! many cache lines go from CPU to CPU meanwhile.

use kernel::{
    cpu::CpuId,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    event::Event,
    kthread::{
        KThread,
        StopToken, //
    },
    measure::report,
    toy::cpus,
    world::{
        Operation,
        Side, //
    },
};

/// How often each is measured.
const ROUNDS: usize = 9;

/// How long each time.
const SPAN: Delta = Delta::from_millis(150);

/// The operations that are about sharing.
const SHARED: [&str; 6] = ["section", "deref", "walk", "refcount", "spinlock", "rwlock"];

/// What the readers of a round share.
struct Round {
    go: Event,
    over: Event,
    /// Operations in a millisecond, of all readers together.
    rate: Atomic<u64>,
    ready: Atomic<u64>,
    done: Atomic<u64>,
}

impl Round {
    fn new() -> Result<Arc<Self>> {
        let round = Self {
            go: Event::new(),
            over: Event::new(),
            rate: Atomic::new(0),
            ready: Atomic::new(0),
            done: Atomic::new(0),
        };
        Ok(Arc::new(round, GFP_KERNEL)?)
    }
}

/// A side of an operation, for another thread.
#[derive(Clone, Copy)]
struct Shared(super::bodies::Body, *const kernel::ffi::c_void);

// SAFETY: What these loops are of is shared by all of them: it is `Sync`.
unsafe impl Send for Shared {}

impl Shared {
    fn run(self, n: u64) {
        // SAFETY: As in `measure`.
        unsafe { (self.0)(self.1, n) };
    }
}

/// A reader, as a thread of its own.
fn reader(shared: Shared, cpu: CpuId, round: &Round, stop: &StopToken) -> Result {
    const TURNS: u64 = 256;

    cpus::go_to(cpu)?;
    shared.run(TURNS);
    round.ready.add(1, Relaxed);
    stop.wait_until(|| round.go.reached())?;
    let begin = Instant::<Monotonic>::now();
    let mut turns = 0;
    while !round.over.reached() && !stop.should_stop() {
        shared.run(TURNS);
        turns += TURNS;
    }
    let ns = begin.elapsed().as_nanos().max(1) as u64;
    round.rate.add(turns * 1_000_000 / ns, Relaxed);
    Ok(())
}

/// Starts a reader on each of the CPUs.
fn start(
    side: &Side,
    cpus: impl Iterator<Item = CpuId>,
    round: &Arc<Round>,
) -> Result<KVec<KThread>> {
    let mut threads = KVec::new();
    for cpu in cpus {
        let (shared, round) = (Shared(side.body, side.of), round.clone());
        let thread = KThread::spawn(c"reader", move |stop| reader(shared, cpu, &round, stop))?;
        threads.push(thread, GFP_KERNEL)?;
    }
    Ok(threads)
}

/// Runs `count` readers for a while; returns their operations in a millisecond.
fn once(side: &Side, count: usize) -> Result<u64> {
    let round = Round::new()?;
    let threads = start(side, cpus::online().take(count), &round)?;
    while round.ready.load(Relaxed) < count as u64 {
        fsleep(Delta::from_millis(1));
    }
    round.go.set();
    fsleep(SPAN);
    round.over.set();
    for thread in threads {
        thread.join()?;
    }
    Ok(round.rate.load(Relaxed))
}

/// Measures each operation that is about sharing, on 1 to N CPUs.
pub fn scale(operations: &[Operation]) -> Result {
    let online = cpus::online().count();
    for operation in operations.iter().filter(|o| SHARED.contains(&o.name)) {
        for side in &operation.sides {
            for count in 1..=online {
                let mut samples = KVec::with_capacity(ROUNDS, GFP_KERNEL)?;
                for _ in 0..ROUNDS {
                    samples.push(once(side, count)?, GFP_KERNEL)?;
                }
                report("scale", operation.name, side.name, count as u64, &samples)?;
            }
        }
    }
    Ok(())
}

// --- Cache lines --------------------------------------------------------------------------------

/// A NOP that `lines.c`, a plugin for QEMU, takes for a mark.
fn mark() {
    // SAFETY: It does nothing.
    unsafe { core::arch::asm!(".byte 0x0f,0x1f,0x84,0x00,0x01,0x42,0x52,0x00") };
}

/// A reader with a number of turns, between two marks. `all` is how many readers there are.
fn marked(shared: Shared, cpu: CpuId, turns: u64, all: u64, round: &Round) -> Result {
    cpus::go_to(cpu)?;
    shared.run(256);
    // All begin at once, which with a sleep they would not.
    round.ready.add(1, Relaxed);
    while round.ready.load(Relaxed) < all {
        core::hint::spin_loop();
    }
    mark();
    shared.run(turns);
    mark();
    round.done.add(1, Relaxed);
    Ok(())
}

/// Marks each operation that is about sharing, on all CPUs. A sample is the turns of one reader.
pub fn lines(operations: &[Operation]) -> Result {
    const ROUNDS: usize = 3;

    let online = cpus::online().count() as u64;
    for operation in operations.iter().filter(|o| SHARED.contains(&o.name)) {
        let turns = match operation.name {
            "walk" => 1 << 15,
            _ => 1 << 17,
        };
        for side in &operation.sides {
            for _ in 0..ROUNDS {
                let round = Round::new()?;
                let mut threads = KVec::new();
                for cpu in cpus::online() {
                    let (shared, round) = (Shared(side.body, side.of), round.clone());
                    let run = move |_: &StopToken| marked(shared, cpu, turns, online, &round);
                    threads.push(KThread::create(c"reader", run)?, GFP_KERNEL)?;
                }
                threads.iter().for_each(KThread::start);
                while round.done.load(Relaxed) < online {
                    fsleep(Delta::from_millis(1));
                }
            }
            report("lines", operation.name, side.name, online, &[turns; ROUNDS])?;
        }
    }
    Ok(())
}

/// Calls `work` while there are readers on each CPU but the first.
pub fn beside<R>(operations: &[Operation], work: impl FnOnce() -> Result<R>) -> Result<R> {
    let walk = operations.iter().find(|o| o.name == "walk").ok_or(EINVAL)?;
    let side = walk.sides.iter().find(|s| s.name == "rust").ok_or(EINVAL)?;
    let round = Round::new()?;
    let threads = start(side, cpus::online().skip(1), &round)?;
    round.go.set();
    let result = work();
    round.over.set();
    drop(threads);
    result
}
