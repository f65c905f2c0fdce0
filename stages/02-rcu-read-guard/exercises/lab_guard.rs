// SPDX-License-Identifier: GPL-2.0

//! What the lab holds guard.rs against.

use core::marker::PhantomData;

use kernel::{
    bindings,
    prelude::*,
    time::Delta, //
};

use guard::{
    rcu_read,
    RcuReadGuard, //
};
use probe::{
    a_while,
    yes,
    GracePeriod, //
};

#[path = "../guard.rs"]
pub mod guard;
#[path = "../helpers.rs"]
mod helpers;
mod probe;

module! {
    type: LabGuard,
    name: "lab_guard",
    authors: ["The RCU workshop"],
    description: "What the lab holds guard.rs against",
    license: "GPL",
    params: {
        n: u32 {
            default: 0,
            description: "The run's number",
        },
    },
}

/// Asks a type whether it is `Send`, and `Sync`: if it is, its own constant comes before that of
/// the trait.
struct Ask<T>(PhantomData<T>);

trait Otherwise {
    const SEND: bool = false;
    const SYNC: bool = false;
}

impl<T> Otherwise for Ask<T> {}

impl<T: Send> Ask<T> {
    const SEND: bool = true;
}

impl<T: Sync> Ask<T> {
    const SYNC: bool = true;
}

/// Whether this thread is in no section any more. If it is, it is taken out of it, which was
/// entered `depth` times.
fn left(depth: usize) -> bool {
    // SAFETY: It only looks at the state of this thread.
    let may_wait = || unsafe { helpers::helper_may_wait() };
    let left = may_wait();
    for _ in 0..depth {
        if !may_wait() {
            // SAFETY: This thread is in a section, by the caller's word.
            unsafe { bindings::rcu_read_unlock() };
        }
    }
    left
}

/// One guard.
fn one(n: u32, span: Delta) {
    let guard = RcuReadGuard::new();
    let period = GracePeriod::begin();
    let held_up = !period.ends_within(span);
    drop(guard);
    let left = left(usize::from(held_up));
    pr_info!(
        "[probe] guard: held_up={} left={} ended={} n={n}\n",
        yes(held_up),
        yes(left),
        yes(period.ends())
    );
}

/// Two of them, the first of which is dropped first.
fn two(n: u32, span: Delta) {
    let first = RcuReadGuard::new();
    let second = RcuReadGuard::new();
    drop(first);
    let period = GracePeriod::begin();
    let held_up = !period.ends_within(span);
    drop(second);
    let left = left(2 * usize::from(held_up));
    pr_info!(
        "[probe] two guards: held_up={} left={} ended={} n={n}\n",
        yes(held_up),
        yes(left),
        yes(period.ends())
    );
}

/// The form with a closure.
fn closure(n: u32, span: Delta) {
    let period = GracePeriod::begin();
    let held_up = rcu_read(|_| !GracePeriod::begin().ends_within(span));
    let left = left(usize::from(held_up));
    pr_info!(
        "[probe] rcu_read: held_up={} left={} ended={} n={n}\n",
        yes(held_up),
        yes(left),
        yes(period.ends())
    );
}

struct LabGuard;

impl kernel::Module for LabGuard {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let n = module_parameters::n.value();
        let span = a_while();

        one(n, span);
        two(n, span);
        closure(n, span);
        pr_info!(
            "[probe] another thread: send={} sync={} n={n}\n",
            yes(Ask::<RcuReadGuard>::SEND),
            yes(Ask::<RcuReadGuard>::SYNC)
        );
        Ok(Self)
    }
}
