// SPDX-License-Identifier: GPL-2.0

//! What RCU costs, in Rust and in C.
//!
//! The module measures when it is loaded, and writes every sample into the log:
//!
//! | `mode` | what                                                                     |
//! |--------|--------------------------------------------------------------------------|
//! | 0      | ticks of the TSC, which are instructions where QEMU counts those         |
//! | 1      | nanoseconds                                                              |
//! | 2      | how long grace periods take                                              |
//! | 3      | readers on 1 to N CPUs                                                   |
//! | 4      | the same, for a plugin of QEMU that counts transfers of cache lines      |
//!
//! It is not for a kernel that checks: with interrupts disabled it does what such a kernel would
//! complain about.

use kernel::prelude::*;

pub mod bodies;
pub mod measure;
pub mod readers;
pub mod waits;
pub mod world;

#[path = "../../../stages/01-phased-state/event.rs"]
pub mod event;
#[path = "../../../stages/02-rcu-read-guard/guard.rs"]
pub mod guard;
#[path = "../../../stages/02-rcu-read-guard/helpers.rs"]
mod helpers;
#[path = "../../../stages/01-phased-state/kthread.rs"]
pub mod kthread;
#[path = "../../../stages/03-rcu-list/links.rs"]
mod links;
#[path = "../../../stages/03-rcu-list/list.rs"]
pub mod list;
#[path = "../../../stages/02-rcu-read-guard/rcu.rs"]
pub mod rcu;
#[path = "../../../stages/02-rcu-read-guard/retired.rs"]
pub mod retired;

/// The toys.
#[path = "../../../stages/02-rcu-read-guard/toy"]
pub mod toy {
    pub mod batches;
    pub mod callback;
    pub mod cpus;
    pub mod every_cpu;
    pub mod guard;
    mod helpers;
    mod tick;
}

module! {
    type: RcuBench,
    name: "rcu_bench",
    authors: ["The RCU workshop"],
    description: "What RCU costs, in Rust and in C",
    license: "GPL",
    params: {
        mode: u32 {
            default: 0,
            description: "0: instructions, 1: time, 2: grace periods, 3 and 4: several CPUs",
        },
    },
}

struct RcuBench {
    _barrier: retired::RcuBarrier,
}

impl kernel::Module for RcuBench {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let barrier = retired::RcuBarrier::new();
        let mut world = world::World::new()?;
        let operations = world.operations()?;
        let mode = module_parameters::mode.value();

        pr_info!(
            "[bench] begin: mode={mode} cpus={}\n",
            toy::cpus::online().count()
        );
        // Threads go where they are told to; this one stays.
        let first = toy::cpus::online().next().ok_or(ENODEV)?;
        let journey = toy::cpus::Journey::begin()?;
        journey.visit(first)?;
        match mode {
            0 => measure::count(&operations)?,
            1 => measure::time(&operations)?,
            2 => {
                waits::all(world.cell(), "idle")?;
                readers::beside(&operations, || waits::all(world.cell(), "readers"))?;
            }
            3 => readers::scale(&operations)?,
            4 => readers::lines(&operations)?,
            _ => return Err(EINVAL),
        }
        pr_info!("[bench] end: mode={mode}\n");
        Ok(Self { _barrier: barrier })
    }
}
