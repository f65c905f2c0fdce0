// SPDX-License-Identifier: GPL-2.0

//! What the lab holds tasks.rs against.

use core::ptr;

use kernel::{
    bindings,
    prelude::*,
    sync::rcu,
    task::Pid, //
};

use probe::yes;
use tasks::for_each_process;

#[path = "../guard.rs"]
pub mod guard;
mod probe;
#[path = "../tasks.rs"]
pub mod tasks;

module! {
    type: LabTasks,
    name: "lab_tasks",
    authors: ["The RCU workshop"],
    description: "What the lab holds tasks.rs against",
    license: "GPL",
    params: {
        pid: i32 {
            default: 0,
            description: "A process that is there all the time",
        },
        n: u32 {
            default: 0,
            description: "The run's number",
        },
    },
}

/// A walk is taken for endless when it is so long.
const ENDLESS: usize = 20_000;

/// What a walk has found.
#[derive(Default)]
struct Found {
    processes: usize,
    first: Pid,
    idle: usize,
    me: usize,
    waiting: usize,
    /// Processes that came when the walk was over.
    more: usize,
}

/// Walks as the learner does.
fn walk(guard: &rcu::Guard, waiting: Pid) -> Found {
    let me = current!().tgid();
    let mut found = Found::default();
    let mut processes = for_each_process(guard);
    for process in processes.by_ref().take(ENDLESS) {
        let pid = process.tgid();
        if found.processes == 0 {
            found.first = pid;
        }
        found.processes += 1;
        found.idle += usize::from(pid == 0);
        found.me += usize::from(pid == me);
        found.waiting += usize::from(pid == waiting);
    }
    if found.processes < ENDLESS {
        found.more = (0..3).filter(|_| processes.next().is_some()).count();
    }
    found
}

/// How many there are, as C would count them.
fn count(_guard: &rcu::Guard) -> usize {
    let head = &raw mut bindings::init_task;
    // SAFETY: It is a static.
    let head = unsafe { &raw mut (*head).tasks };
    let mut processes = 0;
    // SAFETY: The list is never empty of its head, and the guard keeps its nodes.
    let mut at = unsafe { ptr::read_volatile(&raw const (*head).next) };
    while !ptr::eq(at, head) {
        processes += 1;
        // SAFETY: As above.
        at = unsafe { ptr::read_volatile(&raw const (*at).next) };
    }
    processes
}

struct LabTasks;

impl kernel::Module for LabTasks {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let (n, waiting) = (module_parameters::n.value(), module_parameters::pid.value());

        // Somebody may come or go in between: then it is done once more.
        let (mut found, mut there) = (Found::default(), 0);
        for _ in 0..20 {
            // The kernel crate's guard: what this holds to a test is the walk.
            let guard = rcu::read_lock();
            found = walk(&guard, waiting);
            there = count(&guard);
            drop(guard);
            if found.processes == there {
                break;
            }
        }
        pr_info!(
            "[probe] walk: all={} first={} waiting={} me={} n={n}\n",
            yes(found.processes == there),
            found.first,
            found.waiting,
            found.me
        );
        pr_info!(
            "[probe] end: came={} idle={} more={} n={n}\n",
            yes((1..ENDLESS).contains(&found.processes)),
            found.idle,
            found.more
        );
        Ok(Self)
    }
}
