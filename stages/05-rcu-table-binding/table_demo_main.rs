// SPDX-License-Identifier: GPL-2.0

//! A hash table for readers without locks, and what it does.
//!
//! This is the table by itself, without Lua: who needs such a table in a module of his own finds
//! here how it is used.
//!
//! | file     | what is in it                                                                |
//! |----------|------------------------------------------------------------------------------|
//! | `table`  | the table: look up, set, remove, update                                      |
//! | `walk`   | coming to each element, in batches                                           |
//! | `bucket` | a chain of entries, its lock, and the stores that readers see                |
//! | `entry`  | a key and its value in one allocation, and how it is reclaimed               |
//! | `value`  | what values are, and which are stored in place                               |
//! | `hash`   | keys and their hashes                                                        |
//! | `unload` | what comes before a module goes, in order                                    |
//! | `datum`  | the values of this module                                                    |
//!
//! The module shows two things, in the thread of a director: `suite`, what the operations do; and
//! `story`, what readers see of it.

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
use unload::Unload;

mod bucket;
pub mod datum;
mod entry;
pub mod hash;
mod keys;
mod story;
mod suite;
pub mod table;
pub mod unload;
pub mod value;
pub mod walk;

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
#[path = "../02-rcu-read-guard/spin.rs"]
pub mod spin;

module! {
    type: TableDemo,
    name: "table_demo",
    authors: ["The RCU workshop"],
    description: "A hash table for readers without locks",
    license: "GPL",
    params: {
        buckets: u32 {
            default: 256,
            description: "How many buckets the table of the story has, a power of two",
        },
        gap_ms: u32 {
            default: 400,
            description: "How long things of the story overlap at least, in ms",
        },
    },
}

/// What the parameters say.
struct Params {
    buckets: usize,
    gap: Delta,
}

impl Params {
    fn get() -> Result<Self> {
        let max = table::MAX_BUCKETS as u32;
        let buckets = checked("buckets", module_parameters::buckets.value(), 1, max)?;
        if !buckets.is_power_of_two() {
            pr_err!("[init] refused: param=buckets value={buckets} power_of_two=no\n");
            return Err(EINVAL);
        }
        let gap = checked("gap_ms", module_parameters::gap_ms.value(), 10, 10_000)?;
        Ok(Self {
            buckets: buckets as usize,
            gap: Delta::from_millis(gap.into()),
        })
    }
}

/// The director, as a thread of its own.
fn director(params: &Params, stop: &StopToken) -> Result {
    // ANCHOR: director-begins
    let result = suite::run(stop).and_then(|()| story::tell(params.buckets, params.gap, stop));
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
/// The module: its users, and what comes after them.
struct TableDemo(Unload<Option<KThread>>);

impl kernel::Module for TableDemo {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // ANCHOR: init-begins
        // ANCHOR_END: init-begins
        cpus::refuse_lone_cpu()?;
        let users = Unload::after(|| {
            let params = Params::get()?;
            let director = KThread::create(c"director", move |stop| director(&params, stop))
                .inspect_err(|e| pr_err!("[init] no director: errno={}\n", e.to_errno()))?;

            pr_info!("[init] init\n");
            director.start();
            Ok(Some(director))
        })?;
        Ok(Self(users))
    }
}

impl Drop for TableDemo {
    fn drop(&mut self) {
        // The director ends the others. When this returns, no thread is left in our code; then
        // comes what `Unload` does.
        if let Some(director) = self.0.users().take() {
            pr_info!("[exit] exit: director={}\n", outcome(director.join()));
        }
    }
}
// ANCHOR_END: module
