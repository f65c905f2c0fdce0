// SPDX-License-Identifier: GPL-2.0

//! 2.6.11's bookkeeping: lists of callbacks, numbered batches, a mask of CPUs.
//!
//! A CPU keeps its callbacks in three lists:
//!
//! - `next`: those that have come, and for which no batch was chosen yet;
//! - `current`: those that wait for the end of a *batch*, which is a grace period with a number;
//! - `done`: those whose batch is completed, to be called.
//!
//! At any time at most one batch is running, for all CPUs and all their callbacks together. When
//! it begins, a mask is filled with one bit for each CPU. A CPU clears its bit when it has passed
//! a quiescent state *since then*. The last one completes the batch.
//!
//! Whatever a CPU has to do for that, it does at its tick: [`PerCpu::tick`]. Here are only data;
//! locks, and who calls this, are in [`batches`](super::batches).

use core::mem;

use kernel::{
    alloc::Flags,
    bitmap::BitmapVec,
    cpu::CpuId,
    list::{
        List,
        ListArc, //
    },
    prelude::*, //
};

use super::callback::Callback;

// ANCHOR: control
/// What all CPUs share: the global control block.
///
/// # Invariants
///
/// A batch is running if and only if `completed` is not `cur`. It is `cur` then, and `mask` has a
/// bit for each CPU that has not reported a quiescent state since it began. Otherwise `mask` is
/// empty.
#[doc(alias = "rcu_ctrlblk")]
#[doc(alias = "rcu_state")]
pub(super) struct Control {
    /// The batch that was begun last.
    cur: u64,
    /// The batch that was completed last.
    completed: u64,
    /// Somebody waits for the batch after `cur`.
    next_pending: bool,
    /// The CPUs that still owe a quiescent state, by their index.
    #[doc(alias = "cpumask")]
    mask: BitmapVec,
    /// Whether to write into the log what happens.
    pub(super) narrate: bool,
}
// ANCHOR_END: control

impl Control {
    pub(super) fn new(cpus: usize, flags: Flags) -> Result<Self> {
        // INVARIANT: No batch has begun, and the mask is empty.
        Ok(Self {
            cur: 0,
            completed: 0,
            next_pending: false,
            mask: BitmapVec::new(cpus, flags)?,
            narrate: false,
        })
    }

    // ANCHOR: start-batch
    /// Begins the next batch, if somebody waits for it and none is running.
    #[doc(alias = "rcu_start_batch")]
    fn start_batch(&mut self) -> bool {
        if !self.next_pending || self.completed != self.cur {
            return false;
        }
        // INVARIANT: It is running from here on, and each CPU owes a quiescent state.
        self.next_pending = false;
        self.cur += 1;
        for cpu in 0..self.mask.len() {
            self.mask.set_bit(cpu);
        }
        true
    }
    // ANCHOR_END: start-batch

    // ANCHOR: cpu-quiet
    /// A CPU has passed a quiescent state since the batch began. The last one completes the batch,
    /// and then the next one begins at once, if somebody waits for it.
    fn cpu_quiet(&mut self, cpu: usize) {
        // ANCHOR: cpu-quiet-body
        self.mask.clear_bit(cpu);
        if self.mask.last_bit().is_none() {
            self.completed = self.cur;
            self.start_batch();
        }
        // ANCHOR_END: cpu-quiet-body
    }
    // ANCHOR_END: cpu-quiet

    /// Whether a batch was ever begun, and the CPU does not owe anything for the last one.
    pub(super) fn has_reported(&self, cpu: usize) -> bool {
        self.cur > 0 && !self.owes(cpu)
    }

    fn owes(&self, cpu: usize) -> bool {
        self.mask.next_bit(cpu) == Some(cpu)
    }

    /// How many CPUs owe a quiescent state.
    fn left(&self) -> usize {
        let cpus = 0..self.mask.len();
        cpus.filter(|cpu| self.owes(*cpu)).count()
    }
}

// ANCHOR: per-cpu
/// What a CPU knows. Callbacks may come from anywhere; the rest is for its own tick.
#[doc(alias = "rcu_data")]
pub(super) struct PerCpu {
    /// Which CPU it is, for the log.
    id: u32,
    /// Its bit in the mask.
    index: usize,

    #[doc(alias = "nxtlist")]
    next: List<Callback>,
    #[doc(alias = "curlist")]
    current: List<Callback>,
    #[doc(alias = "donelist")]
    done: List<Callback>,
    /// The batch that `current` waits for.
    batch: u64,

    /// The last batch that this CPU has heard of.
    #[doc(alias = "quiescbatch")]
    quiescent_batch: u64,
    /// It has yet to report a quiescent state for that batch.
    qs_pending: bool,
    /// It has passed one since it heard of it.
    #[doc(alias = "passed_quiesc")]
    passed_quiescent: bool,
}
// ANCHOR_END: per-cpu

impl PerCpu {
    pub(super) fn new(id: CpuId, index: usize) -> Self {
        Self {
            id: id.as_u32(),
            index,
            next: List::new(),
            current: List::new(),
            done: List::new(),
            batch: 0,
            quiescent_batch: 0,
            qs_pending: false,
            passed_quiescent: false,
        }
    }

    /// Takes a callback.
    pub(super) fn push(&mut self, callback: ListArc<Callback>) {
        self.next.push_back(callback);
    }

    /// Whether it has callbacks that wait.
    pub(super) fn has_callbacks(&self) -> bool {
        !self.next.is_empty() || !self.current.is_empty()
    }

    /// This CPU has switched from one thread to another.
    #[doc(alias = "rcu_qsctr_inc")]
    pub(super) fn note_context_switch(&mut self) {
        self.passed_quiescent = true;
    }

    // ANCHOR: tick
    /// Does what there is to do, and returns the callbacks that are to be called.
    #[doc(alias = "rcu_process_callbacks")]
    pub(super) fn tick(&mut self, control: &mut Control) -> List<Callback> {
        // Those whose batch is completed are done ...
        if !self.current.is_empty() && control.completed >= self.batch {
            self.narrate(control, "done", &self.current);
            self.done.push_all_back(&mut self.current);
        }

        // ... which makes room for those that have come meanwhile.
        if self.current.is_empty() && !self.next.is_empty() {
            self.current = mem::take(&mut self.next);
            // Not the batch that may be running: another CPU may have reported for that one, and
            // have a reader since, who has found what these callbacks are to free.
            self.batch = control.cur + 1;
            self.narrate(control, "current", &self.current);

            control.next_pending = true;
            // ANCHOR: begin-batch
            let begun = control.start_batch();
            // ANCHOR_END: begin-batch
            if begun && control.narrate {
                let (id, batch, left) = (self.id, control.cur, control.left());
                pr_info!("[cpu{id}] begin batch: batch={batch} left={left}\n");
            }
        }

        self.check_quiescent_state(control);
        mem::take(&mut self.done)
    }
    // ANCHOR_END: tick

    // ANCHOR: check-quiescent-state
    /// Reports a quiescent state, if this CPU owes one and has passed one.
    ///
    /// One that it passed before the batch began proves nothing: readers may have come since, and
    /// have found what the batch's callbacks are to free.
    ///
    /// ```text
    ///   CPU 0: updater, and ticks          CPU 1: reader, and ticks
    ///   --------------------------         ---------------------------
    ///                                      tick: a quiescent state
    ///                                      reader finds the old element
    ///   publishes another                  ... reads it ...
    ///   leaves a callback                  ... reads it ...
    ///   tick: batch 1 begins               ... reads it ...
    ///   tick: clears its bit               reader leaves
    ///                                      tick: hears of batch 1, and
    ///                                        forgets what was before
    ///                                      tick: clears its bit, the last
    ///   tick: the callback is called
    /// ```
    ///
    /// Ordering: what the reader did comes before the next tick of its CPU, since the scheduler
    /// has a full barrier in each switch. That tick comes before the one which calls the callback,
    /// since both hold the lock of the control block. And a reader who comes to CPU 1 after the
    /// tick that heard of batch 1 finds what was published before batch 1 began, by the same lock.
    #[doc(alias = "rcu_check_quiescent_state")]
    fn check_quiescent_state(&mut self, control: &mut Control) {
        // ANCHOR: quiescent-body
        if self.quiescent_batch != control.cur {
            self.quiescent_batch = control.cur;
            self.qs_pending = true;
            self.passed_quiescent = false;
            return;
        }
        if !self.qs_pending || !self.passed_quiescent {
            return;
        }
        self.qs_pending = false;
        control.cpu_quiet(self.index);
        // ANCHOR_END: quiescent-body

        if control.narrate {
            let (id, batch) = (self.id, self.quiescent_batch);
            let completed = control.completed == batch;
            let left = if completed { 0 } else { control.left() };
            pr_info!("[cpu{id}] quiescent: batch={batch} left={left}\n");
            if completed {
                pr_info!("[cpu{id}] end batch: batch={batch}\n");
            }
        }
    }
    // ANCHOR_END: check-quiescent-state

    fn narrate(&self, control: &Control, event: &str, list: &List<Callback>) {
        if control.narrate {
            let (id, batch, callbacks) = (self.id, self.batch, list.iter().count());
            pr_info!("[cpu{id}] {event}: batch={batch} callbacks={callbacks}\n");
        }
    }
}
