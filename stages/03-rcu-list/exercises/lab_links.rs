// SPDX-License-Identifier: GPL-2.0

//! What the lab holds links.rs against.
//!
//! There links.rs has atomics of ours, which call a reader after each store: it walks the list as
//! it is at that moment. So the reader of this probe comes at every moment at which one can come.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic as Count,
        Relaxed, //
    },
};

use links::{
    Links,
    POISON, //
};
use probe::yes;

#[path = "../links.rs"]
pub(crate) mod links;
#[path = "../../02-rcu-read-guard/exercises/probe.rs"]
mod probe;

/// What links.rs takes in place of the kernel's atomics.
pub(crate) mod atomic {
    use core::cell::Cell;

    pub(crate) use kernel::bindings::CONFIG_ILLEGAL_POINTER_VALUE;

    pub(crate) struct Relaxed;
    pub(crate) struct Release;

    /// An ordering of a store.
    pub(crate) trait Order {
        const RELEASES: bool;
    }

    impl Order for Relaxed {
        const RELEASES: bool = false;
    }

    impl Order for Release {
        const RELEASES: bool = true;
    }

    /// A place in memory, for one thread.
    pub(crate) struct Atomic<T>(Cell<T>);

    impl<T: Copy> Atomic<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Cell::new(value))
        }

        pub(crate) fn load(&self, _: Relaxed) -> T {
            self.0.get()
        }

        pub(crate) fn store<O: Order>(&self, value: T, _: O) {
            self.0.set(value);
            super::look(O::RELEASES);
        }
    }
}

module! {
    type: LabLinks,
    name: "lab_links",
    authors: ["The RCU workshop"],
    description: "What the lab holds links.rs against",
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

/// The links: a head, two nodes that are in the list, and one that is not.
const LINKS: usize = 4;
const HEAD: usize = 0;
const A: usize = 1;
const B: usize = 2;
const NEW: usize = 3;

/// A list is written as a number: 12 is A and then B. What is none of this is broken.
const BROKEN: u32 = 999;

/// Where the links are; 0 while nobody looks.
static PLACE: Count<usize> = Count::new(0);
/// What a reader may find, before and after.
static BEFORE: Count<u32> = Count::new(0);
static AFTER: Count<u32> = Count::new(0);
/// What the last one has found.
static LAST: Count<u32> = Count::new(0);
/// How often it was another list than before; one that is neither; one that was not released.
static CHANGES: Count<u32> = Count::new(0);
static TORN: Count<u32> = Count::new(0);
static RELAXED: Count<u32> = Count::new(0);

fn links() -> *mut Links {
    PLACE.load(Relaxed) as *mut Links
}

/// Which of ours it is.
fn index(of: *mut Links) -> Option<usize> {
    (0..LINKS).find(|i| core::ptr::eq(links().wrapping_add(*i), of))
}

/// Walks from some links to the head, by a step of either direction.
fn walk(from: usize, step: unsafe fn(*const Links) -> *mut Links) -> u32 {
    let (mut at, mut found) = (from, 0);
    for _ in 0..LINKS {
        // SAFETY: It is one of ours.
        match index(unsafe { step(links().wrapping_add(at)) }) {
            Some(HEAD) => return found,
            Some(next) => {
                found = found * 10 + next as u32;
                at = next;
            }
            None => return BROKEN,
        }
    }
    BROKEN
}

/// A reader comes: somebody has just stored something.
fn look(released: bool) {
    if PLACE.load(Relaxed) == 0 {
        return;
    }
    let found = walk(HEAD, Links::next);
    if found == LAST.load(Relaxed) {
        return;
    }
    LAST.store(found, Relaxed);
    CHANGES.add(1, Relaxed);
    let (before, after) = (BEFORE.load(Relaxed), AFTER.load(Relaxed));
    TORN.add(u32::from(found != before && found != after), Relaxed);
    RELAXED.add(u32::from(found == after && !released), Relaxed);
}

/// Does something to a list, with a reader after each store, and tells what was found.
fn watched(
    n: u32,
    what: &str,
    before: [usize; 2],
    after: u32,
    gone: Option<usize>,
    change: fn(*mut Links),
) -> Result {
    let nodes = KBox::new([(); LINKS].map(|()| Links::new()), GFP_KERNEL)?;
    let first = KBox::into_raw(nodes).cast::<Links>();
    PLACE.store(0, Relaxed);
    // SAFETY: They are ours, and there is nobody else.
    unsafe {
        Links::init(first);
        Links::publish(first.wrapping_add(before[1]), first);
        Links::publish(first.wrapping_add(before[0]), first);
    }
    PLACE.store(first as usize, Relaxed);
    let begin = walk(HEAD, Links::next);
    BEFORE.store(begin, Relaxed);
    AFTER.store(after, Relaxed);
    LAST.store(begin, Relaxed);
    for count in [&CHANGES, &TORN, &RELAXED] {
        count.store(0, Relaxed);
    }

    change(first);
    let back = walk(HEAD, Links::prev);
    let mirrored = (0..3).fold((after, 0), |(rest, to), _| match rest {
        0 => (0, to),
        _ => (rest / 10, to * 10 + rest % 10),
    });
    pr_info!(
        "[probe] {what}: found={} changes={} torn={} relaxed={} back={} n={n}\n",
        LAST.load(Relaxed),
        CHANGES.load(Relaxed),
        TORN.load(Relaxed),
        RELAXED.load(Relaxed),
        yes(back == mirrored.1)
    );
    if let Some(gone) = gone {
        // SAFETY: It is ours.
        let prev = unsafe { Links::prev(first.wrapping_add(gone)) };
        pr_info!(
            "[probe] {what}: leads_to={} poisoned={} n={n}\n",
            walk(gone, Links::next),
            if core::ptr::eq(prev, POISON) {
                "yes"
            } else {
                "no"
            }
        );
    }
    PLACE.store(0, Relaxed);
    // SAFETY: It was made of this box, and nobody is at it.
    drop(unsafe { KBox::from_raw(first.cast::<[Links; LINKS]>()) });
    Ok(())
}

struct LabLinks;

impl kernel::Module for LabLinks {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let n = module_parameters::n.value();
        match module_parameters::step.value() {
            1 => watched(n, "publish", [A, B], 132, None, |first| {
                // SAFETY: A is in the list, and the new one is not.
                unsafe { Links::publish(first.wrapping_add(NEW), first.wrapping_add(A)) }
            })?,
            2 => watched(n, "unlink", [A, B], 2, Some(A), |first| {
                // SAFETY: A is in the list.
                unsafe { Links::unlink(first.wrapping_add(A)) }
            })?,
            3 => watched(n, "replace", [A, B], 32, Some(A), |first| {
                // SAFETY: A is in the list, and the new one is not.
                unsafe { Links::replace(first.wrapping_add(A), first.wrapping_add(NEW)) }
            })?,
            _ => return Err(EINVAL),
        }
        Ok(Self)
    }
}
