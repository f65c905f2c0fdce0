// SPDX-License-Identifier: GPL-2.0

//! The list's stores, in all orders.
//!
//! This includes the stage's own `links.rs`, not a copy, and runs it under loom: each execution
//! that the C11 memory model allows is tried, for two threads and a few nodes. What is in a node is
//! a cell that loom watches: who reads it without being sure to come after the write is found.
//!
//! Each promise is tried twice: as it is, and with one release store made relaxed, without the
//! grace period, or by a reader who throws the dependency away. The second must fail, or the first
//! says nothing.

#![cfg(test)]

mod atomic;
#[path = "../links.rs"]
mod links;

use std::{
    panic::{
        catch_unwind,
        AssertUnwindSafe, //
    },
    sync::{
        Mutex,
        PoisonError, //
    },
};

use loom::{
    cell::UnsafeCell,
    sync::Arc,
    thread, //
};

use links::Links;

// --- A list with values -------------------------------------------------------------------------

/// A node with a value.
#[repr(C)]
struct Node {
    links: Links,
    value: UnsafeCell<u32>,
}

impl Node {
    fn new() -> Self {
        Self {
            links: Links::new(),
            value: UnsafeCell::new(0),
        }
    }
}

/// A list, and the nodes that may be in it: they are freed with it.
struct List {
    head: Links,
    nodes: [Node; 3],
    /// The reader has it as long as it is inside.
    inside: loom::sync::Mutex<()>,
}

// SAFETY: This is what is put to the test; loom finds it if it is not so.
unsafe impl Send for List {}
// SAFETY: As above.
unsafe impl Sync for List {}

impl List {
    /// Makes a list, with the first nodes in it, as many as there are `values`.
    fn new(values: &[u32]) -> Arc<Self> {
        let list = Arc::new(Self {
            head: Links::new(),
            nodes: [Node::new(), Node::new(), Node::new()],
            inside: loom::sync::Mutex::new(()),
        });
        // SAFETY: Nobody else has it.
        unsafe { Links::init(list.head()) };
        for (i, value) in values.iter().enumerate() {
            list.fill(i, *value);
            // SAFETY: As above.
            unsafe { Links::publish(list.node(i), Links::prev(list.head())) };
        }
        list
    }

    fn head(&self) -> *mut Links {
        (&raw const self.head).cast_mut()
    }

    fn node(&self, i: usize) -> *mut Links {
        (&raw const self.nodes[i]).cast_mut().cast()
    }

    /// Gives a node its value.
    fn fill(&self, i: usize, value: u32) {
        // SAFETY: loom finds it if somebody else is at it.
        self.nodes[i].value.with_mut(|p| unsafe { *p = value });
    }

    /// Fills a node and publishes it behind another one.
    fn add(&self, i: usize, behind: usize, value: u32) {
        self.fill(i, value);
        // SAFETY: There is one updater.
        unsafe { Links::publish(self.node(i), self.node(behind)) };
    }

    /// What a reader finds. At most so many as there are nodes: a walk ends.
    fn walk(&self) -> Vec<u32> {
        let mut found = vec![];
        // SAFETY: That the nodes are there is what is put to the test.
        let mut at = unsafe { Links::next(self.head()) };
        while at != self.head() {
            assert!(!at.is_null() && at != links::POISON, "nobody is there");
            assert!(found.len() < self.nodes.len(), "it does not end");
            // SAFETY: It is not the head, so it is a node's.
            let node = unsafe { &*at.cast::<Node>() };
            // SAFETY: loom finds it if somebody else is at it.
            found.push(node.value.with(|p| unsafe { *p }));
            // SAFETY: As above.
            at = unsafe { Links::next(at) };
        }
        found
    }

    // ANCHOR: compare
    /// What a reader finds who compares the address of the first node with one that it knows, and
    /// reads there. It is the same place; but what is read does not depend on the load any more.
    fn compare(&self) -> Vec<u32> {
        atomic::forget_dependencies();
        // SAFETY: The head is there.
        let first = unsafe { Links::next(self.head()) };
        match first == self.node(0) {
            // SAFETY: loom finds it if somebody else is at it.
            true => vec![self.nodes[0].value.with(|p| unsafe { *p })],
            false => vec![],
        }
    }
    // ANCHOR_END: compare

    /// What a reader finds in a section.
    fn read(&self) -> Vec<u32> {
        let _inside = self.inside.lock().unwrap();
        self.walk()
    }

    /// Waits until the reader who is inside has left: who comes later does not matter.
    fn grace_period(&self) {
        drop(self.inside.lock().unwrap());
    }
}

/// Tries all executions of an updater and of a reader; each walk must be one of `wanted`. Returns
/// whether it held. `weak` is the number of the release store that is none, from 0.
fn holds(
    weak: Option<usize>,
    first: &'static [u32],
    update: fn(&List),
    read: fn(&List) -> Vec<u32>,
    wanted: &'static [&'static [u32]],
) -> bool {
    // One at a time: which store is weak is the same for all.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);

    let all = || {
        loom::model(move || {
            atomic::weaken(weak);
            let list = List::new(first);
            let l = list.clone();
            let reader = thread::spawn(move || read(&l));
            update(&list);
            let found = reader.join().unwrap();
            assert!(wanted.contains(&&found[..]), "found {found:?}");
        });
    };
    let held = catch_unwind(AssertUnwindSafe(all)).is_ok();
    atomic::weaken(None);
    held
}

// --- The promises -------------------------------------------------------------------------------

// ANCHOR: publish
/// A reader who finds a new node finds it initialised.
fn publish(weak: Option<usize>) -> bool {
    let update = |list: &List| list.add(1, 0, 2);
    holds(weak, &[1], update, List::walk, &[&[1], &[1, 2]])
}

#[test]
fn a_node_is_published_whole() {
    assert!(publish(None));
    // Store 0 is the one of the first node, before there is a reader.
    assert!(!publish(Some(1)), "the release in publish() can be missed");
}
// ANCHOR_END: publish

/// A reader who reads through the pointer that it has loaded finds the node initialised; one who
/// reads at an address that is equal to it may not.
#[test]
fn a_node_is_found_whole_by_who_depends_on_the_load() {
    let update = |list: &List| {
        list.fill(0, 1);
        // SAFETY: There is one updater.
        unsafe { Links::publish(list.node(0), list.head()) };
    };
    const WANTED: &[&[u32]] = &[&[], &[1]];
    assert!(holds(None, &[], update, List::walk, WANTED));
    assert!(!holds(None, &[], update, List::compare, WANTED));
}

/// A reader finds the old node or the new one, not both, and not neither.
fn replace(weak: Option<usize>) -> bool {
    let update = |list: &List| {
        list.fill(2, 3);
        // SAFETY: There is one updater.
        unsafe { Links::replace(list.node(0), list.node(2)) };
    };
    holds(weak, &[1, 2], update, List::walk, &[&[1, 2], &[3, 2]])
}

#[test]
fn a_node_is_replaced_at_once() {
    assert!(replace(None));
    assert!(!replace(Some(2)), "the release in replace() can be missed");
}

/// A node is published behind one that is unlinked in the same go: a reader may find it by the
/// store that unlinks.
fn publish_and_unlink(weak: Option<usize>) -> bool {
    let update = |list: &List| {
        list.add(1, 0, 2);
        // SAFETY: There is one updater, and nothing is freed.
        unsafe { Links::unlink(list.node(0)) };
    };
    holds(weak, &[1], update, List::walk, &[&[1], &[1, 2], &[2]])
}

#[test]
fn a_node_is_found_whole_by_the_store_that_unlinks_the_one_before_it() {
    assert!(publish_and_unlink(None));
    // Store 1 is that of `publish()`, store 2 that of `unlink()`. C has none there.
    assert!(
        !publish_and_unlink(Some(2)),
        "the release in unlink() can be missed"
    );
}

/// After a grace period nobody is at an unlinked node, so it can be written to.
#[test]
fn a_node_is_reclaimed_after_a_grace_period() {
    let unlink = |list: &List| {
        // SAFETY: There is one updater.
        unsafe { Links::unlink(list.node(0)) };
    };
    fn waits(list: &List) {
        // SAFETY: There is one updater.
        unsafe { Links::unlink(list.node(0)) };
        list.grace_period();
        list.fill(0, 9);
    }
    fn does_not_wait(list: &List) {
        // SAFETY: There is one updater.
        unsafe { Links::unlink(list.node(0)) };
        list.fill(0, 9);
    }
    fn waits_too_soon(list: &List) {
        list.grace_period();
        // SAFETY: There is one updater.
        unsafe { Links::unlink(list.node(0)) };
        list.fill(0, 9);
    }
    const WANTED: &[&[u32]] = &[&[1, 2], &[2]];
    assert!(holds(None, &[1, 2], unlink, List::read, WANTED));
    assert!(holds(None, &[1, 2], waits, List::read, WANTED));
    assert!(!holds(None, &[1, 2], does_not_wait, List::read, WANTED));
    assert!(!holds(None, &[1, 2], waits_too_soon, List::read, WANTED));
}

/// A node that was waited for can be linked again; one that was not makes readers go astray.
#[test]
fn a_node_is_linked_again_after_a_grace_period() {
    fn again(list: &List, wait: bool) {
        // SAFETY: There is one updater.
        unsafe { Links::unlink(list.node(0)) };
        if wait {
            list.grace_period();
        }
        // The same value: what is looked for here is only where the walk goes.
        // SAFETY: As above; that a grace period has passed is what is put to the test.
        unsafe { Links::publish(list.node(0), list.node(1)) };
    }
    const WANTED: &[&[u32]] = &[&[1, 2], &[2], &[2, 1]];
    assert!(holds(None, &[1, 2], |l| again(l, true), List::read, WANTED));
    // It finds 1, then 2, and then 1 again, which was put behind 2 meanwhile.
    assert!(!holds(
        None,
        &[1, 2],
        |l| again(l, false),
        List::read,
        WANTED
    ));
}
