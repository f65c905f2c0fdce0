// SPDX-License-Identifier: GPL-2.0

//! What the loops work on, and which loops there are: **a new operation is one more entry of
//! [`World::operations`]**, a loop in `bodies.rs` and its twin in `twins.c`, and what is said of it
//! in `bench.toml`.

use core::{
    cell::UnsafeCell,
    mem::offset_of,
    ptr, //
};

use kernel::{
    error::to_result,
    ffi::c_void,
    new_mutex,
    new_spinlock, //
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SpinLock, //
    },
};

use super::{
    bodies::*,
    list::{
        NewNode,
        RcuList, //
    },
    rcu::{
        Rcu,
        RcuLock,
        RcuWrite, //
    },
    retired::{
        InCallback,
        Node, //
    },
};

/// How long the list is.
const NODES: u64 = 64;

/// What the loops in C work on: `struct twins`.
#[repr(C)]
struct Twins {
    reader: *const c_void,
    cell: *const c_void,
    updated: *const c_void,
    called: *const c_void,
    spin: *const c_void,
    rwlock: *const c_void,
    mutex: *const c_void,
    counted: *const c_void,
}

extern "C" {
    /// Fills the struct; on failure it is empty.
    fn twins_new(twins: *mut Twins) -> c_int;

    /// Frees what is in it. Nobody may be at it.
    fn twins_free(twins: *mut Twins);

    /// The size of a node and of an item of a list, each with the offset of its value.
    static twins_layout: [usize; 4];
}

impl Drop for Twins {
    fn drop(&mut self) {
        // SAFETY: It is from `twins_new()`, and no loop is running.
        unsafe { twins_free(self) };
    }
}

/// Everything that is measured.
pub struct World {
    reader: Rcu<Value>,
    cell: RcuWrite<Value>,
    // Only their loops are at these.
    updated: UnsafeCell<RcuWrite<Value>>,
    called: UnsafeCell<RcuWrite<Dropped, InCallback>>,
    worked: UnsafeCell<RcuWrite<Dropped>>,
    locked_cell: Pin<KBox<RcuLock<Value>>>,
    list: Pin<KBox<RcuList<Value>>>,
    spin: Pin<KBox<SpinLock<Value>>>,
    mutex: Pin<KBox<Mutex<Value>>>,
    counted: Arc<Value>,
    twins: Twins,
}

/// One way to do an operation.
pub struct Side {
    /// `rust`, `c`, or another word.
    pub name: &'static str,
    /// The loop.
    pub body: Body,
    /// What it is of.
    pub of: *const c_void,
}

/// What kind of an operation it is, that is, how it can be measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It reads: all sides have to return the same.
    Reads,
    /// It reads, and may sleep.
    ReadsAndSleeps,
    /// It leaves something to be reclaimed.
    Updates,
}

/// An operation, with all ways to do it.
pub struct Operation {
    /// Its name in `bench.toml`.
    pub name: &'static str,
    /// How it is measured.
    pub kind: Kind,
    /// The ways; those of a turn come in this order or in the reverse one.
    pub sides: KVec<Side>,
}

impl World {
    /// Makes it.
    pub fn new() -> Result<KBox<Self>> {
        let mut twins = Twins {
            reader: ptr::null(),
            cell: ptr::null(),
            updated: ptr::null(),
            called: ptr::null(),
            spin: ptr::null(),
            rwlock: ptr::null(),
            mutex: ptr::null(),
            counted: ptr::null(),
        };
        // SAFETY: It is ours to be filled.
        to_result(unsafe { twins_new(&mut twins) })?;

        let list = KBox::pin_init(RcuList::new(None), GFP_KERNEL)?;
        for number in 0..NODES {
            let node = NewNode::new(Value::new(number), GFP_KERNEL)?;
            list.lock().push_back(node);
        }
        let cell = RcuWrite::new(Value::new(1), GFP_KERNEL)?;
        let dropped = || Dropped(Value::new(1));
        let world = KBox::new(
            Self {
                reader: cell.reader(),
                cell,
                updated: RcuWrite::new(Value::new(1), GFP_KERNEL)?.into(),
                called: RcuWrite::new(dropped(), GFP_KERNEL)?.into(),
                worked: RcuWrite::new(dropped(), GFP_KERNEL)?.into(),
                locked_cell: KBox::pin_init(
                    RcuLock::new(Value::new(1), None, GFP_KERNEL),
                    GFP_KERNEL,
                )?,
                list,
                spin: KBox::pin_init(new_spinlock!(Value::new(1)), GFP_KERNEL)?,
                mutex: KBox::pin_init(new_mutex!(Value::new(1)), GFP_KERNEL)?,
                counted: Arc::new(Value::new(1), GFP_KERNEL)?,
                twins,
            },
            GFP_KERNEL,
        )?;
        world.same_layout()?;
        Ok(world)
    }

    /// Refuses to compare what lies in memory in two ways.
    fn same_layout(&self) -> Result {
        // SAFETY: It is a constant.
        let [node, node_value, item, item_value] = unsafe { twins_layout };
        let mut same =
            size_of::<Node<Value>>() == node && offset_of!(Node<Value>, value) == node_value;

        // Only C knows the links of an entry here, and only Rust its value.
        let list = self.list.lock();
        // SAFETY: The list has nodes, and is locked.
        let links = unsafe { (*list.as_list_head()).next }.addr();
        let value = list.iter().next().map(|value| ptr::from_ref(value).addr());
        same &= value == Some(links + item_value) && item == item_value + size_of::<Value>();
        if !same {
            pr_err!("[bench] refused: what C and Rust read has not the same layout\n");
            return Err(EINVAL);
        }
        Ok(())
    }

    /// The value that is dereferenced, to update it while others read.
    pub fn cell(&mut self) -> &mut RcuWrite<Value> {
        &mut self.cell
    }

    // ANCHOR: operations
    /// Each operation; those of one name are compared.
    pub fn operations(&self) -> Result<KVec<Operation>> {
        let nothing = ptr::null();
        let reader = ptr::from_ref(&self.reader).cast();
        let locked_cell = ptr::from_ref(&*self.locked_cell).cast();
        let list = ptr::from_ref(&*self.list).cast();
        // C walks the very list that Rust walks.
        let head: *const c_void = self.list.lock().as_list_head().cast_const().cast();
        let spin = ptr::from_ref(&*self.spin).cast();
        let mutex = ptr::from_ref(&*self.mutex).cast();
        let counted = ptr::from_ref(&self.counted).cast();
        let updated = self.updated.get().cast_const().cast();
        let called = self.called.get().cast_const().cast();
        let worked = self.worked.get().cast_const().cast();
        let c = &self.twins;

        let mut all = Operations(KVec::new());
        all.add("nothing", Kind::Reads, &[("c", c_nothing, nothing)])?;
        all.add(
            "loop",
            Kind::Reads,
            &[("c", c_loop, nothing), ("rust", rs_loop, nothing)],
        )?;
        all.add(
            "section",
            Kind::Reads,
            &[
                ("c", c_section, nothing),
                ("rust", rs_section, nothing),
                ("upstream", rs_section_upstream, nothing),
            ],
        )?;
        all.add(
            "deref",
            Kind::Reads,
            &[("c", c_deref, c.reader), ("rust", rs_deref, reader)],
        )?;
        all.add(
            "deref-lock",
            Kind::Reads,
            &[
                ("c", c_deref_lock, c.cell),
                ("rust", rs_deref_lock, locked_cell),
            ],
        )?;
        all.add(
            "walk",
            Kind::Reads,
            &[("c", c_walk, head), ("rust", rs_walk, list)],
        )?;
        all.add(
            "find",
            Kind::Reads,
            &[("c", c_find, head), ("rust", rs_find, list)],
        )?;
        all.add(
            "update-kfree",
            Kind::Updates,
            &[
                ("c", c_update_kfree, c.updated),
                ("rust", rs_update_kfree, updated),
            ],
        )?;
        all.add(
            "update-call",
            Kind::Updates,
            &[
                ("c", c_update_call, c.called),
                ("rust", rs_update_call, called),
            ],
        )?;
        all.add(
            "update-realloc",
            Kind::Updates,
            &[
                ("c", c_update_realloc, c.called),
                ("rust", rs_update_call, called),
            ],
        )?;
        all.add(
            "update-worker",
            Kind::Updates,
            &[("rust", rs_update_process, worked)],
        )?;
        all.add(
            "toy",
            Kind::Reads,
            &[("c", c_toy, nothing), ("rust", rs_toy, nothing)],
        )?;
        all.add(
            "spinlock",
            Kind::Reads,
            &[("c", c_spin, c.spin), ("rust", rs_spin, spin)],
        )?;
        all.add("rwlock", Kind::Reads, &[("c", c_rwlock, c.rwlock)])?;
        all.add(
            "mutex",
            Kind::ReadsAndSleeps,
            &[("c", c_mutex, c.mutex), ("rust", rs_mutex, mutex)],
        )?;
        all.add(
            "refcount",
            Kind::Reads,
            &[("c", c_refcount, c.counted), ("rust", rs_refcount, counted)],
        )?;
        Ok(all.0)
    }
    // ANCHOR_END: operations
}

/// A list of operations that is being written.
struct Operations(KVec<Operation>);

impl Operations {
    /// Adds one.
    fn add(
        &mut self,
        name: &'static str,
        kind: Kind,
        sides: &[(&'static str, Body, *const c_void)],
    ) -> Result {
        let mut all = KVec::new();
        for &(name, body, of) in sides {
            all.push(Side { name, body, of }, GFP_KERNEL)?;
        }
        let operation = Operation {
            name,
            kind,
            sides: all,
        };
        Ok(self.0.push(operation, GFP_KERNEL)?)
    }
}
