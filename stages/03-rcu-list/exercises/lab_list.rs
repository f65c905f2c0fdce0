// SPDX-License-Identifier: GPL-2.0

//! What the lab holds list.rs against.

use core::mem;

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu::{
            self,
            rcu_barrier, //
        }, //
    },
};

use list::{
    NewNode,
    RcuList, //
};
use probe::{
    until,
    yes, //
};
use retired::{
    CallbackDrop,
    Cap,
    InCallback, //
};

#[path = "../../02-rcu-read-guard/guard.rs"]
pub mod guard;
#[path = "../../02-rcu-read-guard/helpers.rs"]
mod helpers;
#[path = "../links.rs"]
pub(crate) mod links;
#[path = "../list.rs"]
pub mod list;
#[path = "../../02-rcu-read-guard/exercises/probe.rs"]
mod probe;
#[path = "../../02-rcu-read-guard/retired.rs"]
pub mod retired;

module! {
    type: LabList,
    name: "lab_list",
    authors: ["The RCU workshop"],
    description: "What the lab holds list.rs against",
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

/// The value that was dropped last, and how many were.
static LAST: Atomic<u32> = Atomic::new(0);
static DROPS: Atomic<u32> = Atomic::new(0);

/// What is in the lists.
struct Value(u32);

impl Drop for Value {
    fn drop(&mut self) {
        LAST.store(self.0, Relaxed);
        DROPS.add(1, Relaxed);
    }
}

// SAFETY: To drop one stores some numbers.
unsafe impl CallbackDrop for Value {}

type List = RcuList<Value, InCallback>;

/// Writes values as a number: 123 is three of them. No walk goes beyond nine.
fn written<'a>(values: impl Iterator<Item = &'a Value>) -> u64 {
    values.take(9).fold(0, |to, value| {
        to.wrapping_mul(10).wrapping_add(value.0.into())
    })
}

/// Makes a list of 1, 2 and 3.
fn three(cap: Option<kernel::sync::Arc<Cap>>) -> Result<Pin<KBox<List>>> {
    let list = KBox::pin_init(List::new(cap), GFP_KERNEL)?;
    for value in 1..=3 {
        let node = NewNode::new(Value(value), GFP_KERNEL)?;
        list.lock().push_back(node);
    }
    Ok(list)
}

/// Step 4: a walk.
fn walk(n: u32) -> Result {
    let list = three(None)?;
    let empty = KBox::pin_init(List::new(None), GFP_KERNEL)?;

    let guard = rcu::read_lock();
    let mut walk = list.iter(&guard);
    let found = written(walk.by_ref());
    let more = (0..3).filter(|_| walk.next().is_some()).count();
    let of_none = empty.iter(&guard).take(9).count();
    drop(guard);
    pr_info!("[probe] walk: found={found} empty={of_none} n={n}\n");
    pr_info!("[probe] end: more={more} n={n}\n");
    Ok(())
}

/// Step 5: a node is removed while a reader is at it.
fn remove(n: u32) -> Result {
    let cap = Cap::new(1, GFP_KERNEL)?;
    let list = three(Some(cap.clone()))?;
    let drops = DROPS.load(Relaxed);
    let mut writer = list.lock();

    let guard = rcu::read_lock();
    let mut reader = list.iter(&guard);
    let at = reader.by_ref().nth(1).map_or(0, |value| value.0);
    let mut cursor = writer.cursor();
    let removed = cursor
        .find(|value| value.0 == 2)
        .and_then(|two| two.remove().ok());
    let found = written(list.iter(&guard));
    let next = reader.next().map_or(0, |value| value.0);
    let cursor_at = cursor.next().map_or(0, |three| three.0);
    pr_info!(
        "[probe] remove: retired={} reader={at}{next} finds={found} cursor={cursor_at} n={n}\n",
        yes(removed.is_some())
    );
    let Some(removed) = removed else {
        return Ok(());
    };

    // The one credit is taken: the next one is not removed.
    let mut cursor = writer.cursor();
    let refused = cursor
        .find(|value| value.0 == 3)
        .map(|three| three.remove());
    let was_refused = matches!(refused, Some(Err(_)));
    let still = written(list.iter(&guard));
    pr_info!(
        "[probe] limit: refused={} finds={still} waiting={} n={n}\n",
        yes(was_refused),
        cap.waiting()
    );
    if found != 13 || still != 13 || !was_refused {
        // What is in the list still is not to be freed, and what is freed is not to be in it.
        mem::forget((removed, refused));
        drop(guard);
        drop(writer);
        mem::forget(list);
        return Ok(());
    }
    drop(refused);
    let early = DROPS.load(Relaxed) != drops;
    removed.defer();
    drop(guard);
    drop(writer);
    until(|| DROPS.load(Relaxed) != drops);
    pr_info!(
        "[probe] retired: early={} value={} n={n}\n",
        yes(early),
        LAST.load(Relaxed)
    );
    Ok(())
}

struct LabList;

impl kernel::Module for LabList {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let n = module_parameters::n.value();
        match module_parameters::step.value() {
            4 => walk(n)?,
            5 => remove(n)?,
            _ => return Err(EINVAL),
        }
        Ok(Self)
    }
}

impl Drop for LabList {
    fn drop(&mut self) {
        rcu_barrier();
    }
}
