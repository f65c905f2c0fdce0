// SPDX-License-Identifier: GPL-2.0

//! How a grace period ends: two toy RCUs that share nothing with the kernel's own.
//!
//! For each, the module tells a short story in the log, in which one reader is waited for, and
//! then tortures it for a while. The toys are in `toy/`, best read in this order:
//!
//! - [`guard`](toy::guard): what a reader is;
//! - [`every_cpu`](toy::every_cpu): the classroom toy, whose updater visits every CPU;
//! - [`batches`](toy::batches): 2.6.11's scheme, in which CPUs report;
//! - [`pool`](toy::pool) and [`torture`](toy::torture): how one finds out that a toy is broken.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use kthread::{
    outcome,
    KThread,
    StopToken, //
};
use toy::{
    batches::Batches,
    cpus,
    every_cpu::EveryCpu,
    story,
    torture::torture, //
};

/// The toys, and what tries them out.
pub mod toy {
    pub mod batches;
    pub mod callback;
    pub mod cpus;
    pub mod every_cpu;
    pub mod guard;
    mod helpers;
    pub mod pool;
    pub mod story;
    mod tick;
    pub mod torture;
}

#[path = "../01-phased-state/event.rs"]
pub mod event;
#[path = "../01-phased-state/kthread.rs"]
pub mod kthread;

module! {
    type: ToyRcuModule,
    name: "toy_rcu",
    authors: ["The RCU workshop"],
    description: "Two toy RCUs, with a story and a torture for each",
    license: "GPL",
    params: {
        seconds: u32 {
            default: 2,
            description: "How long the torture takes, in seconds; each toy gets half",
        },
    },
}

// ANCHOR: director
/// The director, as a thread of its own: tells the stories, then tortures the toys.
fn director(span: Delta, stop: &StopToken) -> Result {
    let result = direct(span, stop);
    match result {
        Ok(()) => pr_info!("[director] end story\n"),
        Err(EINTR) => pr_info!("[director] stopped\n"),
        Err(e) => pr_err!("[director] gave up: errno={}\n", e.to_errno()),
    }
    result
}

/// When this returns, however it does, its threads are gone, and so are the toys.
fn direct(span: Delta, stop: &StopToken) -> Result {
    let every_cpu = Arc::new(EveryCpu, GFP_KERNEL)?;
    let batches = Batches::new()?;

    story::every_cpu(&every_cpu, stop)?;
    story::batches(&batches, stop)?;

    torture(&every_cpu, span, stop)?;
    torture(&batches, span, stop)
}
// ANCHOR_END: director

struct ToyRcuModule {
    director: Option<KThread>,
}

impl kernel::Module for ToyRcuModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let seconds = torture_seconds()?;
        refuse_lone_cpu()?;
        let span = Delta::from_millis(i64::from(seconds) * 1000 / 2);
        let director = KThread::create(c"director", move |stop| director(span, stop))
            .inspect_err(|e| pr_err!("[init] no director: errno={}\n", e.to_errno()))?;

        pr_info!("[init] init: seconds={seconds}\n");
        director.start();
        Ok(Self {
            director: Some(director),
        })
    }
}

impl Drop for ToyRcuModule {
    fn drop(&mut self) {
        // The director ends the others. When this returns, no thread is left in our code.
        if let Some(director) = self.director.take() {
            pr_info!("[exit] exit: director={}\n", outcome(director.join()));
        }
    }
}

/// The parameter, or in the log what is wrong with it.
fn torture_seconds() -> Result<u32> {
    const MIN: u32 = 1;
    const MAX: u32 = 86_400;

    let value = module_parameters::seconds.value();
    if !(MIN..=MAX).contains(&value) {
        pr_err!("[init] refused: param=seconds value={value} min={MIN} max={MAX}\n");
        return Err(EINVAL);
    }
    Ok(value)
}

/// Refuses a machine on which the stories cannot be told: a reader keeps its CPU, and waits
/// inside for what happens on another.
fn refuse_lone_cpu() -> Result {
    let online = cpus::online().count();
    if online < 2 {
        pr_err!("[init] refused: online_cpus={online} min=2\n");
        return Err(EOPNOTSUPP);
    }
    Ok(())
}
