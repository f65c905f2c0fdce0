// SPDX-License-Identifier: GPL-2.0

//! A disk in memory, whose pages are looked up under RCU.
//!
//! | file         | what is in it                                                       |
//! |--------------|---------------------------------------------------------------------|
//! | `mybrd_pages`| the pages, in a radix tree: lookup, insertion, discard              |
//! | `mybrd_disk` | the disk, and what the kernel crate lacks for it; half of it is C   |

#![deny(unused_must_use)]

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

use mybrd_disk::Disk;
use mybrd_pages::{
    Pages,
    COUNTS, //
};
use parameter::checked;
use retired::RcuBarrier;

pub mod mybrd_disk;
pub mod mybrd_pages;

#[path = "../02-rcu-read-guard/guard.rs"]
pub mod guard;
#[path = "../02-rcu-read-guard/helpers.rs"]
mod helpers;
#[path = "../02-rcu-read-guard/parameter.rs"]
pub mod parameter;
#[path = "../02-rcu-read-guard/retired.rs"]
pub mod retired;

module! {
    type: MyBrd,
    name: "mybrd",
    authors: ["The RCU workshop"],
    description: "A disk in memory, whose pages are looked up under RCU",
    license: "GPL",
    params: {
        mib: u32 {
            default: 16,
            description: "How large the disk is, in MiB",
        },
        lines: u32 {
            default: 10,
            description: "How many lookups, insertions and discards are written to the log",
        },
    },
}

/// Adds a disk of so many MiB, all zeros. Sleeps.
fn disk(mib: u32) -> Result<Disk<Pages>> {
    let pages = Arc::pin_init(Pages::new(module_parameters::lines.value()), GFP_KERNEL)?;
    Disk::add(pages, u64::from(mib) << (20 - mybrd_disk::SECTOR_SHIFT))
}

// ANCHOR: checks
// (Here a test puts what makes allocations fail.)
// ANCHOR_END: checks

// ANCHOR: module
/// The module. The order of its fields is the order in which they are dropped: first the disk, and
/// with it the pages; last the barrier, which waits for what was retired.
struct MyBrd {
    disk: Option<Disk<Pages>>,
    _barrier: RcuBarrier,
}

impl kernel::Module for MyBrd {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // First of all: if something fails below, it waits for what was made before.
        let barrier = RcuBarrier::new();
        let mib = checked("mib", module_parameters::mib.value(), 1, 1024)?;

        pr_info!("[init] init: mib={mib}\n");
        // ANCHOR: disk-made
        let disk =
            disk(mib).inspect_err(|e| pr_err!("[init] no disk: errno={}\n", e.to_errno()))?;
        // ANCHOR_END: disk-made
        Ok(Self {
            disk: Some(disk),
            _barrier: barrier,
        })
    }
}

impl Drop for MyBrd {
    fn drop(&mut self) {
        // Nobody has the disk open, else the module were in use. When this returns, nobody reads.
        drop(self.disk.take());
        // Only for the figures: see the field.
        drop(RcuBarrier::new());

        let get = |count: &Atomic<u64>| count.load(Relaxed);
        let [lookups, inserts, duplicates, discards, made, freed] = [
            &COUNTS.lookups,
            &COUNTS.inserts,
            &COUNTS.duplicates,
            &COUNTS.discards,
            &COUNTS.made,
            &COUNTS.freed,
        ]
        .map(get);
        pr_info!(
            "[exit] report: lookups={lookups} inserts={inserts} duplicates={duplicates} \
             discards={discards}\n"
        );
        let verdict = if made == freed { "balanced" } else { "LEAKED" };
        pr_info!("[exit] exit: made={made} freed={freed} {verdict}\n");
    }
}
// ANCHOR_END: module
