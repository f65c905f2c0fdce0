// SPDX-License-Identifier: GPL-2.0

//! SRCU: readers that may sleep, and grace periods that wait for them and for nobody else.
//!
//! A hook is called by threads that sleep in it. Whoever switches it off wants to know when nobody
//! is in it any more: when what the hook uses can be taken away.
//!
//! The type is the kernel crate's own, [`Srcu`].

use kernel::{
    new_srcu,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu::synchronize_rcu,
        Arc,
        Srcu, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    event::Event,
    kthread::{
        KThread,
        StopToken, //
    },
};

/// How long the reader sleeps inside, when the updater has come.
const NAP: Delta = Delta::from_millis(200);

// ANCHOR: hook
/// Something that can be switched off while threads are in it.
#[pin_data]
struct Hook {
    /// The domain of this hook: its readers, and its grace periods.
    #[pin]
    srcu: Srcu,
    /// A domain that has nothing to do with it.
    #[pin]
    elsewhere: Srcu,
    enabled: Atomic<bool>,
    inside: Event,
    switched_off: Event,
}

impl Hook {
    fn new() -> impl PinInit<Self, Error> {
        // Each domain allocates counters for each CPU, so this can fail.
        try_pin_init!(Self {
            srcu <- new_srcu!("hook"),
            elsewhere <- new_srcu!("elsewhere"),
            enabled: Atomic::new(true),
            inside: Event::new(),
            switched_off: Event::new(),
        })
    }
}
// ANCHOR_END: hook

// ANCHOR: reader
/// Calls the hook, as a thread of its own: a reader, which sleeps inside.
fn call(hook: &Hook, stop: &StopToken) -> Result {
    let guard = hook.srcu.read_lock();
    // As ever: first the guard, then the look.
    if !hook.enabled.load(Relaxed) {
        return Ok(());
    }
    pr_info!("[srcu] reader inside\n");
    hook.inside.set();

    // It may sleep. It may even wait for somebody who waits for grace periods meanwhile, as long
    // as they are not those of this very domain.
    let begin = Instant::<Monotonic>::now();
    stop.wait_until(|| hook.switched_off.reached())?;
    stop.sleep(NAP)?;

    // Written inside, so that it comes before the end of the grace period.
    let ms = begin.elapsed().as_millis();
    pr_info!("[srcu] reader leaves: slept_ms={ms}\n");
    drop(guard);
    Ok(())
}
// ANCHOR_END: reader

/// Shows it. When this returns, its thread is gone.
pub(crate) fn show(stop: &StopToken) -> Result {
    let hook = Arc::pin_init(Hook::new(), GFP_KERNEL)?;
    let h = hook.clone();
    let reader = KThread::spawn(c"srcu", move |stop| call(&h, stop))?;
    stop.wait_until(|| hook.inside.reached())?;

    // ANCHOR: not-waited-for
    // The reader is inside, and stays there until it is told. No other grace period minds.
    let begin = Instant::<Monotonic>::now();
    synchronize_rcu();
    let rcu_ms = begin.elapsed().as_millis();

    let begin = Instant::<Monotonic>::now();
    hook.elsewhere.synchronize();
    let elsewhere_ms = begin.elapsed().as_millis();
    pr_info!("[srcu] not waited for: rcu_ms={rcu_ms} elsewhere_ms={elsewhere_ms}\n");
    // ANCHOR_END: not-waited-for

    // ANCHOR: synchronize
    hook.enabled.store(false, Relaxed);
    pr_info!("[srcu] switched off\n");
    hook.switched_off.set();

    let begin = Instant::<Monotonic>::now();
    hook.srcu.synchronize();
    let ms = begin.elapsed().as_millis();
    pr_info!("[srcu] synchronized: ms={ms}\n");
    // Nobody is in the hook now, and who comes later finds it switched off.
    // ANCHOR_END: synchronize

    reader.join()
}
