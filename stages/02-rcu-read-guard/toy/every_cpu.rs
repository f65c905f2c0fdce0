// SPDX-License-Identifier: GPL-2.0

//! The classroom toy: an RCU whose updater visits every CPU.
//!
//! A *quiescent state* of a CPU is any moment at which it is not in a critical section. As a
//! reader disables preemption, its CPU runs nothing else until it has left. So there is a simple
//! way to find out that a CPU has passed a quiescent state: run there.
//!
//! When the updater has been on each CPU in turn, each has passed one since it began, and a grace
//! period is over. This is a complete RCU, for readers that cost next to nothing; only its updater
//! is slow, and keeps every CPU busy with switching to it. (The kernel's documentation has a toy
//! of this kind: `Documentation/RCU/whatisRCU.rst`.)

use kernel::{
    cpu::CpuId,
    prelude::*,
    task::might_sleep, //
};

use super::{
    cpus::{
        self,
        CpusReadLock,
        Journey, //
    },
    guard::ToyRcu, //
};

/// The classroom toy. It has no state: all that it goes by is what a CPU can do at one time.
pub struct EveryCpu;

impl EveryCpu {
    // ANCHOR: visit
    /// Waits for a grace period, and calls `visited` on each CPU as the updater gets there.
    ///
    /// A reader who found the old element has left before the updater gets to its CPU:
    ///
    /// ```text
    ///   CPU 0: updater                     CPU 1: reader
    ///   --------------------------         ---------------------------
    ///                                      disables preemption
    ///                                      finds the old element
    ///   publishes another                  ... reads it ...
    ///   asks to be moved to CPU 1          ... reads it ...
    ///     | waits for CPU 1                enables preemption
    ///     |                 <------------  CPU 1 switches to the updater
    ///   ---------------------------------------------------------------
    ///                                      updater, now on CPU 1: none
    ///                                      that began before is inside
    /// ```
    ///
    /// A reader who comes to CPU 1 after that visit finds the other element, as the updater
    /// published it before it came by.
    ///
    /// Ordering: the scheduler has a full barrier in each switch and in each move of a thread. So
    /// all that the reader did comes before the visit, and all that the updater did before it is
    /// seen by those who run there afterwards.
    pub fn visit_all(&self, mut visited: impl FnMut(CpuId)) -> Result {
        // ANCHOR: visit-body
        might_sleep();
        // A CPU that went offline before this has no reader: it switched to its idle thread first.
        // One that would come later could have readers who are not on the list.
        let _list_is_final = CpusReadLock::new();
        let journey = Journey::begin()?;

        for cpu in cpus::online() {
            // ANCHOR: visit-cpu
            journey.visit(cpu)?;
            // ANCHOR_END: visit-cpu
            visited(cpu);
        }
        Ok(())
        // ANCHOR_END: visit-body
    }
    // ANCHOR_END: visit
}

impl ToyRcu for EveryCpu {
    const NAME: &'static str = "every_cpu";

    fn synchronize(&self) -> Result {
        self.visit_all(|_| ())
    }
}
