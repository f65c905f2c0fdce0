// SPDX-License-Identifier: GPL-2.0

//! What a reader is given, and for how long.
//!
//! The module shows four things, one after the other, in the thread of a director:
//!
//! 1. `lister`: the processes of the machine, which RCU protects, under a read guard;
//! 2. `story`: a published pointer, that is updated while somebody is reading;
//! 3. `srcu_example`: readers that sleep, and a grace period of their own (advanced);
//! 4. `load`: readers and an updater at work as fast as they can.
//!
//! What it is built of:
//!
//! | file         | what is in it                                                   |
//! |--------------|-----------------------------------------------------------------|
//! | `guard`      | evidence that the current thread is a reader                    |
//! | `flavours`   | the same, of the other two flavours of reader (advanced)        |
//! | `tasks`      | processes and threads, under such evidence                      |
//! | `rcu`        | a pointer, split into who reads it and who updates it           |
//! | `retired`    | what was unpublished: how it is reclaimed, a cap, and a barrier |
//! | `prices`     | what is published here                                          |

// What an update gives back must not be overlooked.
#![deny(unused_must_use)]

use kernel::{
    prelude::*,
    time::Delta, //
};

use kthread::{
    outcome,
    KThread,
    StopToken, //
};
use parameter::checked;

pub mod flavours;
pub mod guard;
mod helpers;
mod lister;
mod load;
pub mod parameter;
pub mod prices;
pub mod rcu;
pub mod retired;
pub mod seal;
pub mod spin;
mod srcu_example;
mod story;
pub mod tasks;

#[path = "../01-phased-state/cpus.rs"]
pub mod cpus;
#[path = "../01-phased-state/event.rs"]
pub mod event;
#[path = "../01-phased-state/kthread.rs"]
pub mod kthread;

module! {
    type: RcuGuard,
    name: "rcu_guard",
    authors: ["The RCU workshop"],
    description: "A read guard, the processes under it, and a published pointer",
    license: "GPL",
    params: {
        gap_ms: u32 {
            default: 400,
            description: "How long things of the story overlap at least, in ms",
        },
        readers: u32 {
            default: 2,
            description: "How many readers the load has",
        },
        // ANCHOR: param-ms
        ms: u32 {
            default: 1000,
            description: "How long the load lasts, in ms",
        },
        // ANCHOR_END: param-ms
    },
}

/// What the parameters say.
struct Params {
    gap: Delta,
    readers: u32,
    load: Delta,
}

impl Params {
    fn get() -> Result<Self> {
        // The till is inside for three of them, and must not lose its patience, nor stall RCU.
        let gap = checked("gap_ms", module_parameters::gap_ms.value(), 10, 3_000)?;
        let ms = checked("ms", module_parameters::ms.value(), 10, 60_000)?;
        Ok(Self {
            gap: Delta::from_millis(gap.into()),
            readers: checked("readers", module_parameters::readers.value(), 1, 64)?,
            load: Delta::from_millis(ms.into()),
        })
    }
}

/// The director, as a thread of its own.
fn director(params: &Params, stop: &StopToken) -> Result {
    lister::list();
    // ANCHOR: director-tells
    let result = story::tell(params.gap, stop)
        .and_then(|()| srcu_example::show(stop))
        .and_then(|()| load::run(params.readers, params.load, stop));
    // ANCHOR_END: director-tells
    match result {
        Ok(()) => pr_info!("[director] end story\n"),
        Err(EINTR) => pr_info!("[director] stopped\n"),
        Err(e) => pr_err!("[director] gave up: errno={}\n", e.to_errno()),
    }
    result
}

// ANCHOR: checks
// (Here a test puts what makes allocations fail.)
// ANCHOR_END: checks

// ANCHOR: module
/// The module. The order of the fields is the order in which they are dropped: first the director,
/// and with it all that publishes something; last the barrier, which waits for what they retired.
struct RcuGuard {
    director: Option<KThread>,
    _barrier: retired::RcuBarrier,
}

impl kernel::Module for RcuGuard {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // ANCHOR: init-begins
        // First, so that it is dropped last if something below fails.
        let barrier = retired::RcuBarrier::new();
        // ANCHOR_END: init-begins
        cpus::refuse_lone_cpu()?;
        // ANCHOR: director-made
        let params = Params::get()?;
        let director = KThread::create(c"director", move |stop| director(&params, stop))
            .inspect_err(|e| pr_err!("[init] no director: errno={}\n", e.to_errno()))?;
        // ANCHOR_END: director-made

        pr_info!("[init] init\n");
        director.start();
        Ok(Self {
            director: Some(director),
            _barrier: barrier,
        })
    }
}

impl Drop for RcuGuard {
    fn drop(&mut self) {
        // The director ends the others. When this returns, no thread is left in our code.
        if let Some(director) = self.director.take() {
            pr_info!("[exit] exit: director={}\n", outcome(director.join()));
        }
    }
}
// ANCHOR_END: module
