// SPDX-License-Identifier: GPL-2.0

//! Measuring: all ways to do an operation by turns, and every sample goes into the log. Medians
//! and the like are for the host.

use kernel::{
    ffi::c_void,
    prelude::*,
    str::CString,
    sync::rcu::rcu_barrier,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    bodies::Body,
    world::{
        Kind,
        Operation,
        Side, //
    },
};

extern "C" {
    /// Returns how many ticks of the TSC `n` more turns of the loop take; with interrupts disabled
    /// if not `irqs`.
    ///
    /// As for [`Body`], and the loop must not sleep if not `irqs`.
    fn bench_count(body: Body, of: *const c_void, n: u64, irqs: bool) -> u64;
}

/// How often everything is measured.
const ROUNDS: usize = 11;

/// How long a sample of time takes at least.
const SAMPLE: Delta = Delta::from_millis(8);

/// Turns of a loop that is counted.
const COUNTED: u64 = 1024;

/// Turns of a loop that leaves something to be reclaimed: not so many that the kernel becomes
/// anxious, nor that the slabs have to get pages all the time.
const UPDATES: u64 = 128;

impl Side {
    /// Runs the loop.
    fn run(&self, n: u64) -> u64 {
        // SAFETY: `World` has put together what belongs together, and outlives this.
        unsafe { (self.body)(self.of, n) }
    }
}

/// What a measurement gave, for all sides of an operation.
pub struct Samples<'a> {
    operation: &'a Operation,
    of: KVec<KVec<u64>>,
}

impl<'a> Samples<'a> {
    /// Measures each side in each round, in turn first and last.
    fn take(operation: &'a Operation, mut measure: impl FnMut(&Side) -> u64) -> Result<Self> {
        let sides = &operation.sides;
        let mut of = KVec::new();
        for _ in sides {
            of.push(KVec::with_capacity(ROUNDS, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        for round in 0..ROUNDS {
            for turn in 0..sides.len() {
                let at = match round % 2 {
                    0 => turn,
                    _ => sides.len() - 1 - turn,
                };
                let sample = measure(&sides[at]);
                of[at].push(sample, GFP_KERNEL)?;
                if operation.kind == Kind::Updates {
                    // What was left is not to be done while the next is measured.
                    rcu_barrier();
                }
            }
        }
        Ok(Self { operation, of })
    }

    /// Writes them into the log.
    fn report(&self, what: &str, n: u64) -> Result {
        for (side, samples) in self.operation.sides.iter().zip(&self.of) {
            report(what, self.operation.name, side.name, n, samples)?;
        }
        Ok(())
    }
}

/// Writes samples into the log, those of one side in a line.
pub fn report(what: &str, operation: &str, side: &str, n: u64, samples: &[u64]) -> Result {
    let mut values = KVec::new();
    for sample in samples {
        let comma = if values.is_empty() { "" } else { "," };
        let text = CString::try_from_fmt(fmt!("{comma}{sample}"))?;
        values.extend_from_slice(text.to_bytes(), GFP_KERNEL)?;
    }
    let values = core::str::from_utf8(&values).map_err(|_| EINVAL)?;
    pr_info!("[{what}] sample: op={operation} side={side} n={n} values={values}\n");
    Ok(())
}

/// All sides read the same, or they are not sides of one operation.
fn agree(operation: &Operation) -> Result {
    if operation.kind == Kind::Updates {
        return Ok(());
    }
    let mut results = operation.sides.iter().map(|side| side.run(200));
    let first = results.next();
    if results.any(|result| Some(result) != first) {
        pr_err!("[bench] refused: op={} sides differ\n", operation.name);
        return Err(EINVAL);
    }
    Ok(())
}

/// Counts instructions, where the TSC does.
pub fn count(operations: &[Operation]) -> Result {
    for operation in operations {
        agree(operation)?;
        let n = match operation.kind {
            Kind::Updates => UPDATES,
            _ => COUNTED,
        };
        let irqs = operation.kind == Kind::ReadsAndSleeps;
        let samples = Samples::take(operation, |side| {
            // SAFETY: As in `Side::run()`; and it does not sleep, if its kind does not say so.
            unsafe { bench_count(side.body, side.of, n, irqs) }
        })?;
        samples.report("count", n)?;
    }
    Ok(())
}

/// Measures time, in nanoseconds.
pub fn time(operations: &[Operation]) -> Result {
    for operation in operations {
        agree(operation)?;
        let Some(first) = operation.sides.iter().next() else {
            continue;
        };
        let mut n = UPDATES;
        while operation.kind != Kind::Updates && n < 1 << 28 && timed(first, n) < SAMPLE {
            n *= 2;
        }
        let samples = Samples::take(operation, |side| timed(side, n).as_nanos() as u64)?;
        samples.report("time", n)?;
    }
    Ok(())
}

/// Runs a loop, and returns how long it took.
fn timed(side: &Side, n: u64) -> Delta {
    let begin = Instant::<Monotonic>::now();
    side.run(n);
    begin.elapsed()
}
