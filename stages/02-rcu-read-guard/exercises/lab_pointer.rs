// SPDX-License-Identifier: GPL-2.0

//! What the lab holds rcu.rs and retired.rs against.
//!
//! Each value counts when it is dropped, and where. After a mistake things are forgotten rather
//! than freed a second time: the machine is to live on, and to tell.

use core::mem;

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        rcu::{
            self as kernel_rcu,
            rcu_barrier, //
        },
        Arc, //
    },
    time::Delta,
};

use kthread::KThread;
use probe::{
    a_while,
    spin,
    until,
    yes,
    GracePeriod, //
};
use rcu::RcuWrite;
use retired::{
    CallbackDrop,
    Cap,
    DropContext,
    InCallback,
    InProcess,
    Node,
    RcuRetired, //
};

#[path = "../guard.rs"]
pub mod guard;
#[path = "../helpers.rs"]
mod helpers;
#[path = "../../01-phased-state/kthread.rs"]
pub mod kthread;
mod probe;
#[path = "../rcu.rs"]
pub mod rcu;
#[path = "../retired.rs"]
pub mod retired;

module! {
    type: LabPointer,
    name: "lab_pointer",
    authors: ["The RCU workshop"],
    description: "What the lab holds rcu.rs and retired.rs against",
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

/// How many values were dropped.
static DROPS: Atomic<u32> = Atomic::new(0);
/// The version of the one that was dropped last, and whether one could have slept there.
static LAST: Atomic<u32> = Atomic::new(0);
static COULD_SLEEP: Atomic<bool> = Atomic::new(false);

/// What is published and retired.
struct Value {
    version: u32,
}

impl Value {
    fn new(version: u32) -> Self {
        Self { version }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        LAST.store(self.version, Relaxed);
        // SAFETY: It only looks at the state of this thread.
        COULD_SLEEP.store(unsafe { helpers::helper_may_wait() }, Relaxed);
        DROPS.add(1, Relaxed);
    }
}

// SAFETY: To drop one stores some numbers.
unsafe impl CallbackDrop for Value {}

/// A value that nobody reads, as if it had been replaced just now.
fn just_retired<D: DropContext<Value>>(version: u32) -> Result<RcuRetired<Value, D>> {
    let node = Node::new(Value::new(version), None, GFP_KERNEL).map_err(|_| ENOMEM)?;
    // SAFETY: It is just made, and nobody else knows it. It has no cap.
    Ok(unsafe { RcuRetired::new(node) })
}

// --- Step 3: defer ------------------------------------------------------------------------------

/// Defers a value in a section, and looks when and where it is dropped.
fn deferred<D: DropContext<Value>>(n: u32, span: Delta, context: &str) -> Result<bool> {
    let old = just_retired::<D>(1)?;
    let drops = DROPS.load(Relaxed);
    let guard = kernel_rcu::read_lock();
    old.defer();
    let early = spin(span, || DROPS.load(Relaxed) != drops);
    drop(guard);
    let dropped = until(|| DROPS.load(Relaxed) != drops);
    pr_info!(
        "[probe] deferred: context={context} early={} dropped={} could_sleep={} n={n}\n",
        yes(early),
        yes(dropped),
        yes(COULD_SLEEP.load(Relaxed))
    );
    Ok(dropped)
}

fn defer(n: u32, span: Delta) -> Result {
    let dropped = deferred::<InProcess>(n, span, "process")?;
    if !dropped || !deferred::<InCallback>(n, span, "callback")? {
        // What is lost is waited for once.
        return Ok(());
    }

    // Nothing to drop, but a credit to give back.
    let cap = Cap::new(1, GFP_KERNEL)?;
    let node = Node::new(0u64, Some(cap.clone()), GFP_KERNEL).map_err(|_| ENOMEM)?;
    cap.take();
    // SAFETY: It is just made, nobody else knows it, and its cap was charged.
    unsafe { RcuRetired::<u64, InProcess>::new(node) }.defer();
    pr_info!(
        "[probe] credit: given_back={} n={n}\n",
        yes(until(|| cap.waiting() == 0))
    );

    // And nothing at all.
    let node = Node::new(0u64, None, GFP_KERNEL).map_err(|_| ENOMEM)?;
    // SAFETY: It is just made, and nobody else knows it. It has no cap.
    unsafe { RcuRetired::<u64, InProcess>::new(node) }.defer();
    let in_flight = || retired::IN_FLIGHT.load(Relaxed);
    until(|| in_flight() == 0);
    pr_info!("[probe] in flight: {} n={n}\n", in_flight() as i64);
    Ok(())
}

// --- Step 4: the pointer ------------------------------------------------------------------------

fn pointer(n: u32) -> Result {
    let mut writer = RcuWrite::<Value, InCallback>::new(Value::new(1), GFP_KERNEL)?;
    let reader = writer.reader();

    let guard = kernel_rcu::read_lock();
    let version = |value: Option<&Value>| value.map_or(0, |value| value.version);
    let before = reader.read(&guard);
    pr_info!("[probe] read: version={} n={n}\n", version(before));

    // In the section, so that the reader has the one value when the other comes.
    let old = match writer.update(Value::new(2), GFP_ATOMIC) {
        Ok(old) => old,
        Err(refused) => {
            drop(guard);
            let errno = refused.error.to_errno();
            pr_info!("[probe] update: errno={errno} n={n}\n");
            return Ok(());
        }
    };
    let now = version(reader.read(&guard));
    pr_info!(
        "[probe] update: has={} finds={now} n={n}\n",
        version(before)
    );
    drop(guard);
    if now != 2 {
        mem::forget((old, writer));
        return Ok(());
    }

    let drops = DROPS.load(Relaxed);
    old.defer();
    until(|| DROPS.load(Relaxed) != drops);
    let retired = LAST.load(Relaxed);
    pr_info!("[probe] retired: version={retired} n={n}\n");
    if retired != 1 {
        mem::forget(writer);
        return Ok(());
    }

    let drops = DROPS.load(Relaxed);
    drop(writer);
    let found = version(reader.read(&kernel_rcu::read_lock()));
    until(|| DROPS.load(Relaxed) != drops);
    pr_info!(
        "[probe] closed: finds={found} retired={} n={n}\n",
        LAST.load(Relaxed)
    );
    limit(n)
}

/// Step 4, too: the limit on what waits.
fn limit(n: u32) -> Result {
    let cap = Cap::new(1, GFP_KERNEL)?;
    let mut writer = RcuWrite::<Value, InCallback>::capped(Value::new(1), cap.clone(), GFP_KERNEL)?;
    let owed = writer.update(Value::new(2), GFP_KERNEL)?;
    let (errno, given_back) = match writer.update(Value::new(3), GFP_KERNEL) {
        Ok(_) => (0, 0),
        Err(refused) => (refused.error.to_errno(), refused.value.version),
    };
    pr_info!(
        "[probe] limit: errno={errno} given_back={given_back} current={} waiting={} n={n}\n",
        writer.get().version,
        cap.waiting()
    );
    owed.defer();
    pr_info!(
        "[probe] limit: free_again={} n={n}\n",
        yes(until(|| cap.waiting() == 0))
    );
    Ok(())
}

// --- Step 5: synchronize ------------------------------------------------------------------------

/// What the reader says.
struct Reader {
    inside: Atomic<bool>,
    /// What the updater says: it is about to wait.
    waits: Atomic<bool>,
    left: Atomic<bool>,
}

extern "C" {
    /// See `toy/helpers.rs`.
    fn helper_preempt_disable();
    /// See `toy/helpers.rs`.
    fn helper_preempt_enable();
}

fn synchronize(n: u32) -> Result {
    let reader = Arc::new(
        Reader {
            inside: Atomic::new(false),
            waits: Atomic::new(false),
            left: Atomic::new(false),
        },
        GFP_KERNEL,
    )?;
    let r = reader.clone();
    let thread = KThread::spawn(c"lab-reader", move |_| {
        let guard = kernel_rcu::read_lock();
        r.inside.store(true, Release);
        // However slow the machine is, it is inside when the updater begins to wait.
        spin(Delta::from_secs(10), || r.waits.load(Acquire));
        spin(Delta::from_millis(500), || false);
        r.left.store(true, Release);
        drop(guard);
        Ok(())
    })?;
    until(|| reader.inside.load(Acquire));

    let old = just_retired::<InCallback>(1)?;
    let drops = DROPS.load(Relaxed);
    let period = GracePeriod::begin();
    reader.waits.store(true, Release);
    let back = old.synchronize();
    pr_info!(
        "[probe] waited: reader_left={} grace_period={} n={n}\n",
        yes(reader.left.load(Acquire)),
        yes(period.is_over())
    );
    pr_info!(
        "[probe] given back: version={} alive={} n={n}\n",
        back.as_ref().map_or(0, |value| value.version),
        yes(DROPS.load(Relaxed) == drops)
    );
    drop(back);
    drop(thread);

    // Where nobody may wait. The first is a mistake that costs no more than a complaint.
    let (old, older) = (
        just_retired::<InCallback>(2)?,
        just_retired::<InCallback>(3)?,
    );
    let drops = DROPS.load(Relaxed);
    // SAFETY: It may be called anywhere; what has to follow does.
    unsafe { helper_preempt_disable() };
    let given_back = old.synchronize().is_some();
    // SAFETY: It goes with the call above.
    unsafe { helper_preempt_enable() };
    pr_info!("[probe] atomic: given_back={} n={n}\n", yes(given_back));
    if given_back {
        return Ok(());
    }
    let guard = kernel_rcu::read_lock();
    let given_back = older.synchronize().is_some();
    drop(guard);
    pr_info!(
        "[probe] reader: given_back={} deferred={} n={n}\n",
        yes(given_back),
        yes(until(|| DROPS.load(Relaxed) == drops + 2))
    );
    Ok(())
}

// --- Step 6: try_reclaim ------------------------------------------------------------------------

fn try_reclaim(n: u32, span: Delta) -> Result {
    let old = just_retired::<InCallback>(1)?;
    let guard = kernel_rcu::read_lock();
    let mut asked = old.try_reclaim();
    let at_once = asked.is_ok();
    spin(span, || false);
    asked = asked.or_else(RcuRetired::try_reclaim);
    let inside = asked.is_ok();
    drop(guard);
    pr_info!(
        "[probe] asked inside: at_once={} later={} n={n}\n",
        yes(at_once),
        yes(inside)
    );
    // As often as an updater might ask that has other things to do.
    let mut asked = Some(asked);
    until(|| {
        asked = asked
            .take()
            .map(|asked| asked.or_else(RcuRetired::try_reclaim));
        matches!(asked, Some(Ok(_)))
    });
    let asked = asked.and_then(|asked| asked.ok());
    let version = asked.map_or(0, |value| value.version);
    pr_info!("[probe] asked outside: version={version} n={n}\n");
    Ok(())
}

// --- The module ---------------------------------------------------------------------------------

struct LabPointer;

impl kernel::Module for LabPointer {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let n = module_parameters::n.value();
        match module_parameters::step.value() {
            3 => defer(n, a_while())?,
            4 => pointer(n)?,
            5 => synchronize(n)?,
            6 => try_reclaim(n, a_while())?,
            _ => return Err(EINVAL),
        }
        Ok(Self)
    }
}

impl Drop for LabPointer {
    fn drop(&mut self) {
        // Not the learner's barrier, which goes by a count that may be wrong.
        for _ in 0..2 {
            rcu_barrier();
            // SAFETY: It may be called where one may sleep.
            unsafe { helpers::helper_reclaim_flush() };
        }
    }
}
