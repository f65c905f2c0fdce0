// SPDX-License-Identifier: GPL-2.0

//! How long a grace period takes, by each way to wait for one.
//!
//! There is no C side: Rust calls the kernel's own functions, and what is measured is theirs.

use kernel::{
    bindings,
    prelude::*,
    sync::rcu::synchronize_rcu,
    time::{
        Instant,
        Monotonic, //
    },
};

use super::{
    bodies::Value,
    measure::report,
    rcu::RcuWrite,
    toy::{
        batches::Batches,
        every_cpu::EveryCpu,
        guard::ToyRcu, //
    },
};

/// How often each is waited for.
const WAITS: usize = 31;

/// Waits again and again, and writes into the log how long it took, in nanoseconds.
fn waits(name: &str, side: &str, mut wait: impl FnMut() -> Result) -> Result {
    let mut samples = KVec::with_capacity(WAITS, GFP_KERNEL)?;
    for _ in 0..WAITS {
        let begin = Instant::<Monotonic>::now();
        wait()?;
        samples.push(begin.elapsed().as_nanos() as u64, GFP_KERNEL)?;
    }
    report("wait", name, side, 1, &samples)
}

/// All of them. `load` is what else is going on, for the log.
pub fn all(cell: &mut RcuWrite<Value>, load: &str) -> Result {
    waits("synchronize", load, || {
        synchronize_rcu();
        Ok(())
    })?;
    waits("expedited", load, || {
        // SAFETY: We may sleep, and are in no section.
        unsafe { bindings::synchronize_rcu_expedited() };
        Ok(())
    })?;
    waits("update-synchronize", load, || {
        let old = cell.update(Value::new(1), GFP_KERNEL)?;
        let old = old.synchronize();
        old.map(|_| ()).ok_or(EINVAL)
    })?;
    waits("toy-every-cpu", load, || EveryCpu.synchronize())?;
    let batches = Batches::new()?;
    waits("toy-batches", load, || batches.synchronize())
}
