// SPDX-License-Identifier: GPL-2.0

//! A list for readers without locks: publish, replace, unlink, reclaim.
//!
//! The module shows three things, one after the other, in the thread of a director:
//!
//! 1. `suite`: what the operations do, on our list and on the same one in C;
//! 2. `story`: a routing table that is changed while somebody is on his way through it;
//! 3. `traffic`: readers and an updater at work as fast as they can.
//!
//! What it is built of:
//!
//! | file      | what is in it                                                          |
//! |-----------|------------------------------------------------------------------------|
//! | `links`   | the two pointers of a node, and the order of their stores              |
//! | `list`    | the list: nodes in their states, readers, a writer with a cursor       |
//! | `route`   | what is in it here                                                     |
//! | `c_table` | a list in C, by the kernel's inlines                                   |
//!
//! and of stage 2's guard and retired values, and stage 1's threads.

// What is retired must not be overlooked.
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

pub mod c_table;
mod links;
pub mod list;
pub mod route;
mod story;
mod suite;
mod traffic;

#[path = "../01-phased-state/cpus.rs"]
pub mod cpus;
#[path = "../01-phased-state/event.rs"]
pub mod event;
#[path = "../02-rcu-read-guard/guard.rs"]
pub mod guard;
#[path = "../02-rcu-read-guard/helpers.rs"]
mod helpers;
#[path = "../01-phased-state/kthread.rs"]
pub mod kthread;
#[path = "../02-rcu-read-guard/parameter.rs"]
pub mod parameter;
#[path = "../02-rcu-read-guard/random.rs"]
pub mod random;
#[path = "../02-rcu-read-guard/retired.rs"]
pub mod retired;
#[path = "../02-rcu-read-guard/seal.rs"]
pub mod seal;
#[path = "../02-rcu-read-guard/spin.rs"]
pub mod spin;

module! {
    type: RcuListModule,
    name: "rcu_list",
    authors: ["The RCU workshop"],
    description: "A list for readers without locks",
    license: "GPL",
    params: {
        gap_ms: u32 {
            default: 400,
            description: "How long things of the story overlap at least, in ms",
        },
        readers: u32 {
            default: 2,
            description: "How many readers the traffic has",
        },
        // ANCHOR: param-ms
        ms: u32 {
            default: 1000,
            description: "How long the traffic lasts, in ms",
        },
        // ANCHOR_END: param-ms
    },
}

/// What the parameters say.
struct Params {
    gap: Delta,
    readers: u32,
    traffic: Delta,
}

impl Params {
    fn get() -> Result<Self> {
        let gap = checked("gap_ms", module_parameters::gap_ms.value(), 10, 10_000)?;
        let ms = checked("ms", module_parameters::ms.value(), 10, 60_000)?;
        Ok(Self {
            gap: Delta::from_millis(gap.into()),
            readers: checked("readers", module_parameters::readers.value(), 1, 64)?,
            traffic: Delta::from_millis(ms.into()),
        })
    }
}

/// The director, as a thread of its own.
fn director(params: &Params, stop: &StopToken) -> Result {
    // ANCHOR: director-begins
    let result = suite::run(stop)
        .and_then(|()| story::tell(params.gap, stop))
        .and_then(|()| traffic::run(params.readers, params.traffic, stop));
    // ANCHOR_END: director-begins
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
/// and with it all that has lists; last the barrier, which waits for what they retired.
struct RcuListModule {
    director: Option<KThread>,
    _barrier: retired::RcuBarrier,
}

impl kernel::Module for RcuListModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // ANCHOR: init-begins
        // First, so that it is dropped last if something below fails.
        let barrier = retired::RcuBarrier::new();
        // ANCHOR_END: init-begins
        cpus::refuse_lone_cpu()?;
        let params = Params::get()?;
        // ANCHOR: director-made
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

impl Drop for RcuListModule {
    fn drop(&mut self) {
        // The director ends the others. When this returns, no thread is left in our code.
        if let Some(director) = self.director.take() {
            pr_info!("[exit] exit: director={}\n", outcome(director.join()));
        }
    }
}
// ANCHOR_END: module
