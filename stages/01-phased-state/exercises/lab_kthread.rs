// SPDX-License-Identifier: GPL-2.0

//! What the lab holds a `kthread.rs` against: threads, and what becomes of their closures.
//!
//! A closure captures a [`Capture`], which counts how often it is dropped and by whom: that is how
//! a closure shows that was forgotten, or dropped twice, or by the wrong thread. Each line has the
//! run's number in it, which nobody knows beforehand.

use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    task::Task,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
};

use kthread::KThread;

#[path = "../kthread.rs"]
pub mod kthread;

module! {
    type: LabKthread,
    name: "lab_kthread",
    authors: ["The RCU workshop"],
    description: "What the lab holds kthread.rs against",
    license: "GPL",
    params: {
        step: u32 {
            default: 0,
            description: "The step of the lab",
        },
        n: u32 {
            default: 0,
            description: "The run's number",
        },
    },
}

/// What was seen of a thread and of its closure.
struct Facts {
    runs: Atomic<u32>,
    /// Who ran the closure, and who dropped it.
    ran_by: Atomic<i32>,
    dropped_by: Atomic<i32>,
    drops: Atomic<u32>,
    /// The value that it had captured.
    got: Atomic<u32>,
    ended: Atomic<bool>,
    /// The thread, as an address; 0 if it was not seen.
    task: Atomic<usize>,
}

/// What a closure owns.
struct Capture {
    facts: Arc<Facts>,
    value: u32,
}

impl Facts {
    fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                runs: Atomic::new(0),
                ran_by: Atomic::new(0),
                dropped_by: Atomic::new(0),
                drops: Atomic::new(0),
                got: Atomic::new(0),
                ended: Atomic::new(false),
                task: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    fn capture(self: &Arc<Self>, value: u32) -> Capture {
        Capture {
            facts: self.clone(),
            value,
        }
    }

    fn ran(&self) -> bool {
        self.runs.load(Relaxed) > 0
    }
}

impl Capture {
    /// The closure runs.
    fn run(&self) {
        self.facts.got.store(self.value, Relaxed);
        self.facts.ran_by.store(current!().pid(), Relaxed);
        self.facts.task.store(Task::current_raw() as usize, Relaxed);
        self.facts.runs.add(1, Relaxed);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.facts.dropped_by.store(current!().pid(), Relaxed);
        self.facts.drops.add(1, Relaxed);
    }
}

/// Waits for something, for two seconds at most, longer on a slow machine.
fn until(condition: impl Fn() -> bool) -> bool {
    for _ in 0..400 {
        if condition() {
            return true;
        }
        fsleep(Delta::from_millis(5));
    }
    condition()
}

fn number(result: Result) -> i32 {
    result.err().map_or(0, |e| e.to_errno())
}

fn yes(what: bool) -> &'static str {
    if what {
        "yes"
    } else {
        "no"
    }
}

/// Step 1: a thread is made, and sleeps.
fn create(n: u32) -> Result<KThread> {
    let facts = Facts::new()?;
    let capture = facts.capture(n);

    // A name with a percent sign, which is no format.
    let thread = KThread::create(c"lab%%sleeper", move |_| {
        capture.run();
        Ok(())
    })?;
    fsleep(Delta::from_millis(100));
    pr_info!(
        "[probe] created: runs={} drops={} n={}\n",
        facts.runs.load(Relaxed),
        facts.drops.load(Relaxed),
        n,
    );
    Ok(thread)
}

/// Step 2: the closure runs, in its thread, and its result becomes the thread's.
fn trampoline(n: u32) -> Result {
    let facts = Facts::new()?;
    let capture = facts.capture(n);
    let thread = KThread::create(c"lab-runner", move |stop| {
        capture.run();
        while !stop.should_stop() {
            fsleep(Delta::from_millis(5));
        }
        Ok(())
    })?;
    thread.start();
    until(|| facts.ran());
    fsleep(Delta::from_millis(50));
    let ran_by = facts.ran_by.load(Relaxed);
    pr_info!(
        "[probe] ran: times={} elsewhere={} captured={}\n",
        facts.runs.load(Relaxed),
        yes(ran_by != 0 && ran_by != current!().pid()),
        facts.got.load(Relaxed),
    );
    drop(thread);
    pr_info!(
        "[probe] ended: drops={} by_its_thread={} n={}\n",
        facts.drops.load(Relaxed),
        yes(facts.drops.load(Relaxed) > 0 && facts.dropped_by.load(Relaxed) == ran_by),
        n,
    );

    if ran_by == 0 {
        return Ok(());
    }
    pr_info!(
        "[probe] results: ok={:?} eio={:?} n={}\n",
        result_of(Ok(()))?,
        result_of(Err(EIO))?,
        n,
    );
    Ok(())
}

/// What the kernel gets as the result of a thread whose closure returns `result`; [`None`] if the
/// closure did not run.
fn result_of(result: Result) -> Result<Option<i32>> {
    let facts = Facts::new()?;
    let capture = facts.capture(0);
    let thread = KThread::create(c"lab-result", move |stop| {
        capture.run();
        while !stop.should_stop() {
            fsleep(Delta::from_millis(5));
        }
        result
    })?;
    thread.start();
    if !until(|| facts.ran()) {
        return Ok(None);
    }
    // Asked from the kernel itself, and not from the handle: that is for another step.
    core::mem::forget(thread);
    let task = facts.task.load(Relaxed) as *mut bindings::task_struct;
    // SAFETY: The handle was forgotten, and with it its reference: the task is valid, and nobody
    // else stops it. It is a kernel thread, as it has run the closure.
    Ok(Some(unsafe { bindings::kthread_stop(task) }))
}

/// Step 3: the end of a thread.
fn end(n: u32) -> Result {
    let unborn = || -> Result<(Arc<Facts>, KThread)> {
        let facts = Facts::new()?;
        let capture = facts.capture(n);
        let thread = KThread::create(c"lab-unborn", move |_| {
            capture.run();
            Ok(())
        })?;
        Ok((facts, thread))
    };

    let (facts, thread) = unborn()?;
    let joined = number(thread.join());
    pr_info!(
        "[probe] unborn joined: result={} runs={} drops={} n={}\n",
        joined,
        facts.runs.load(Relaxed),
        facts.drops.load(Relaxed),
        n,
    );

    let (facts, thread) = unborn()?;
    drop(thread);
    pr_info!(
        "[probe] unborn dropped: runs={} drops={} n={}\n",
        facts.runs.load(Relaxed),
        facts.drops.load(Relaxed),
        n,
    );

    let facts = Facts::new()?;
    let capture = facts.capture(n);
    let thread = KThread::spawn(c"lab-failing", move |_| {
        capture.run();
        Err(EIO)
    })?;
    until(|| facts.ran());
    let joined_failing = number(thread.join());
    pr_info!(
        "[probe] failing joined: result={} drops={} n={}\n",
        joined_failing,
        facts.drops.load(Relaxed),
        n,
    );

    let facts = Facts::new()?;
    let capture = facts.capture(n);
    let thread = KThread::spawn(c"lab-slow", move |stop| {
        capture.run();
        while !stop.should_stop() {
            fsleep(Delta::from_millis(5));
        }
        // What is dropped waits for this, too.
        fsleep(Delta::from_millis(100));
        capture.facts.ended.store(true, Relaxed);
        Ok(())
    })?;
    until(|| facts.ran());
    drop(thread);
    pr_info!(
        "[probe] slow dropped: waited={} drops={} n={}\n",
        yes(facts.ended.load(Relaxed)),
        facts.drops.load(Relaxed),
        n,
    );

    // A thread that waits for itself is lost for this boot: only if all is well so far.
    if joined == EINTR.to_errno() && joined_failing == EIO.to_errno() {
        own_handle(n)?;
    }
    Ok(())
}

/// Step 3, too: a thread that has its own handle joins it, and another drops it.
fn own_handle(n: u32) -> Result {
    for by_drop in [false, true] {
        let handle = Arc::pin_init(kernel::new_mutex!(None::<KThread>), GFP_KERNEL)?;
        let facts = Facts::new()?;
        let (own, capture) = (handle.clone(), facts.capture(n));
        let thread = KThread::spawn(c"lab-self", move |_| {
            until(|| own.lock().is_some());
            let me = own.lock().take().ok_or(EINVAL)?;
            capture.run();
            if by_drop {
                drop(me);
                capture.facts.got.store(0, Relaxed);
            } else {
                let got = number(me.join()).unsigned_abs();
                capture.facts.got.store(got, Relaxed);
            }
            capture.facts.ended.store(true, Relaxed);
            Ok(())
        })?;
        *handle.lock() = Some(thread);
        until(|| facts.ended.load(Relaxed));
        pr_info!(
            "[probe] own handle {}: returned={} errno={} n={}\n",
            if by_drop { "dropped" } else { "joined" },
            yes(facts.ended.load(Relaxed)),
            facts.got.load(Relaxed),
            n,
        );
        // A thread that waits for itself may still look into it: it keeps it.
        core::mem::forget(handle.clone());
        if !facts.ended.load(Relaxed) {
            break;
        }
    }
    Ok(())
}

/// Step 4: a thread sleeps for as long as it should, and not longer. Gives one that is at it.
fn sleep(n: u32) -> Result<KThread> {
    let nap = Delta::from_millis(300);
    let facts = Facts::new()?;
    let capture = facts.capture(n);
    let thread = KThread::spawn(c"lab-woken", move |stop| {
        let begin = Instant::<Monotonic>::now();
        let result = stop.sleep(nap);
        pr_info!(
            "[probe] woken: result={} early={} n={}\n",
            number(result),
            yes(begin.elapsed() < nap),
            n,
        );
        capture.run();
        Ok(())
    })?;
    // Wakes it again and again, as anybody may.
    for _ in 0..10 {
        fsleep(Delta::from_millis(10));
        thread.start();
    }
    until(|| facts.ran());
    drop(thread);

    let facts = Facts::new()?;
    let capture = facts.capture(n);
    let thread = KThread::spawn(c"lab-late", move |stop| {
        capture.run();
        while !stop.should_stop() {
            fsleep(Delta::from_millis(5));
        }
        let begin = Instant::<Monotonic>::now();
        let result = stop.sleep(Delta::from_secs(20));
        pr_info!(
            "[probe] stopped before: result={} at_once={} n={}\n",
            number(result),
            yes(begin.elapsed() < Delta::from_secs(10)),
            n,
        );
        Ok(())
    })?;
    until(|| facts.ran());
    drop(thread);

    let facts = Facts::new()?;
    let capture = facts.capture(n);
    let thread = KThread::spawn(c"lab-napper", move |stop| {
        capture.run();
        let begin = Instant::<Monotonic>::now();
        let result = stop.sleep(Delta::from_secs(40));
        pr_info!(
            "[probe] stopped: result={} at_once={} n={}\n",
            number(result),
            yes(begin.elapsed() < Delta::from_secs(30)),
            n,
        );
        Ok(())
    })?;
    until(|| facts.ran());
    Ok(thread)
}

/// The module; it may have a thread that is looked at from outside.
struct LabKthread {
    thread: Option<KThread>,
}

impl kernel::Module for LabKthread {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let n = module_parameters::n.value();
        let thread = match module_parameters::step.value() {
            1 => Some(create(n)?),
            2 => {
                trampoline(n)?;
                None
            }
            3 => {
                end(n)?;
                None
            }
            4 => Some(sleep(n)?),
            _ => return Err(EINVAL),
        };
        Ok(Self { thread })
    }
}

impl Drop for LabKthread {
    fn drop(&mut self) {
        drop(self.thread.take());
    }
}
