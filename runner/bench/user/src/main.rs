// SPDX-License-Identifier: MIT OR Apache-2.0

//! Relatives of RCU in user space: liburcu, and crossbeam-epoch.
//!
//! `user count` counts instructions, where the guest's clock does; `user time` takes times. Both
//! print samples as the module does.

use std::hint::black_box;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::{Duration, Instant};

use crossbeam_epoch::{Atomic, Owned, pin};

/// What is read.
struct Value {
    #[expect(dead_code, reason = "the others have it, too")]
    key: u64,
    number: u64,
}

type Loop = fn(&Atomic<Value>, u64) -> u64;

// liburcu's loops; the last four do not care how often they are called, nor when.
unsafe extern "C" {
    /// Registers this thread as a reader. Once, before all others.
    fn urcu_begin();
    safe fn urcu_section(n: u64) -> u64;
    safe fn urcu_deref(n: u64) -> u64;
    safe fn urcu_update(n: u64) -> u64;
    safe fn urcu_settle();
}

fn epoch_section(_: &Atomic<Value>, n: u64) -> u64 {
    for _ in 0..n {
        drop(black_box(pin()));
    }
    0
}

fn epoch_deref(shared: &Atomic<Value>, n: u64) -> u64 {
    let mut sum = 0;
    for _ in 0..n {
        let guard = pin();
        // SAFETY: What is there was initialised before, and is freed only after the last guard of
        // its time.
        if let Some(value) = unsafe { shared.load(Acquire, &guard).as_ref() } {
            sum += value.number;
        }
    }
    sum
}

fn epoch_update(shared: &Atomic<Value>, n: u64) -> u64 {
    for number in 0..n {
        let guard = pin();
        let old = shared.swap(Owned::new(Value { key: number, number }), AcqRel, &guard);
        // SAFETY: It was just taken out, by us alone.
        unsafe { guard.defer_destroy(old) };
    }
    n
}

fn epoch_settle() {
    for _ in 0..16 {
        pin().flush();
    }
}

const ROUNDS: usize = 11;

fn main() {
    // SAFETY: It is the first call.
    unsafe { urcu_begin() };
    let count = match std::env::args().nth(1).as_deref() {
        Some("count") => true,
        Some("time") => false,
        _ => return eprintln!("user count | user time"),
    };
    let shared = Atomic::new(Value { key: 1, number: 1 });
    let all: [(&str, u64, [Loop; 2]); 3] = [
        ("user-section", 1024, [|_, n| urcu_section(n), epoch_section]),
        ("user-deref", 1024, [|_, n| urcu_deref(n), epoch_deref]),
        ("user-update", 128, [|_, n| urcu_update(n), epoch_update]),
    ];
    for (name, n, loops) in all {
        let n = if count || name == "user-update" { n } else { 200 * n };
        let mut samples: [Vec<u64>; 2] = Default::default();
        for round in 0..ROUNDS {
            for turn in 0..2 {
                let side = (round + turn) % 2;
                let once = |n| black_box(loops[side](&shared, n));
                samples[side].push(if count { counted(once, n) } else { timed(once, n) });
                urcu_settle();
                epoch_settle();
            }
        }
        let what = if count { "count" } else { "time" };
        report(what, name, "liburcu-memb", n, &samples[0]);
        report(what, name, "crossbeam-epoch", n, &samples[1]);
    }
}

/// Ticks of `n` more turns. Interrupts cannot be disabled here: where one came, the sample is
/// larger than the others, and the median is not it.
fn counted(once: impl Fn(u64) -> u64, n: u64) -> u64 {
    let ticks = || {
        // SAFETY: Every x86-64 has both.
        unsafe {
            core::arch::x86_64::_mm_lfence();
            core::arch::x86_64::_rdtsc()
        }
    };
    once(16);
    let begin = ticks();
    once(n);
    let middle = ticks();
    once(2 * n);
    let end = ticks();
    (end - middle).saturating_sub(middle - begin)
}

/// Nanoseconds of `n` turns.
fn timed(once: impl Fn(u64) -> u64, n: u64) -> u64 {
    let begin = Instant::now();
    once(n);
    let took: Duration = begin.elapsed();
    took.as_nanos() as u64
}

fn report(what: &str, name: &str, side: &str, n: u64, samples: &[u64]) {
    let values: Vec<_> = samples.iter().map(u64::to_string).collect();
    let values = values.join(",");
    println!("[{what}] sample: op={name} side={side} n={n} values={values}");
}
