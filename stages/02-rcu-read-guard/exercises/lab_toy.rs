// SPDX-License-Identifier: GPL-2.0

//! What the lab holds the classroom toy against.

use kernel::{
    cpu::CpuId,
    cpumask::Cpumask,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc, //
    },
    time::Delta,
};

use kthread::KThread;
use probe::{
    spin,
    until,
    yes, //
};
use toy::{
    cpus,
    every_cpu::EveryCpu,
    guard::{
        ToyGuard,
        ToyRcu, //
    },
};

#[path = "../../01-phased-state/kthread.rs"]
pub mod kthread;
mod probe;

/// The classroom toy.
#[path = "../toy"]
pub mod toy {
    pub mod cpus;
    pub mod every_cpu;
    pub mod guard;
    pub(crate) mod helpers;
}

module! {
    type: LabToy,
    name: "lab_toy",
    authors: ["The RCU workshop"],
    description: "What the lab holds the classroom toy against",
    license: "GPL",
    params: {
        n: u32 {
            default: 0,
            description: "The run's number",
        },
    },
}

extern "C" {
    /// See `toy/helpers.rs`.
    fn helper_mask_of_current() -> *const kernel::bindings::cpumask;
}

/// On how many CPUs this thread may run.
fn allowed() -> u32 {
    // SAFETY: The mask is the current thread's own.
    unsafe { Cpumask::from_raw(helper_mask_of_current()) }.weight()
}

/// Who is where when.
fn visits(n: u32) -> Result {
    let before = allowed();
    let mut visited = KVec::new();
    let mut elsewhere = 0;
    for cpu in cpus::online() {
        visited.push((cpu, 0), GFP_KERNEL)?;
    }
    let result = EveryCpu.visit_all(|cpu| {
        elsewhere += u32::from(CpuId::current() != cpu);
        for (of, times) in visited.iter_mut() {
            *times += u32::from(*of == cpu);
        }
    });
    pr_info!(
        "[probe] visits: errno={} missed={} twice={} elsewhere={elsewhere} n={n}\n",
        result.err().map_or(0, |e| e.to_errno()),
        visited.iter().filter(|(_, times)| *times == 0).count(),
        visited.iter().filter(|(_, times)| *times > 1).count()
    );
    pr_info!(
        "[probe] home: allowed_as_before={} n={n}\n",
        yes(allowed() == before)
    );
    Ok(())
}

/// A reader is waited for.
fn waits(n: u32) -> Result {
    let inside = Arc::new(Atomic::new(false), GFP_KERNEL)?;
    let left = Arc::new(Atomic::new(false), GFP_KERNEL)?;
    let (i, l) = (inside.clone(), left.clone());
    let reader = KThread::spawn(c"lab-reader", move |_| {
        let guard = ToyGuard::new();
        i.store(true, Release);
        spin(Delta::from_millis(300), || false);
        l.store(true, Release);
        drop(guard);
        Ok(())
    })?;
    until(|| inside.load(Acquire));
    let result = EveryCpu.synchronize();
    pr_info!(
        "[probe] waited: errno={} reader_left={} n={n}\n",
        result.err().map_or(0, |e| e.to_errno()),
        yes(left.load(Acquire))
    );
    drop(reader);
    Ok(())
}

struct LabToy;

impl kernel::Module for LabToy {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let n = module_parameters::n.value();
        visits(n)?;
        waits(n)?;
        Ok(Self)
    }
}
