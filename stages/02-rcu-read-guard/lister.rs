// SPDX-License-Identifier: GPL-2.0

//! The list of processes, written to the log: what `ps` shows, seen from within the kernel.

use kernel::{
    prelude::*,
    task::Task, //
};

use super::{
    guard,
    tasks::{
        for_each_process,
        for_each_thread,
        TaskExt, //
    },
};

// ANCHOR: list
/// Writes a line for each process. No lock is taken, and nobody is stopped.
///
/// All of it is one read-side critical section, from the first line to the last. To write a line
/// does not sleep, and what is slow about it is left to the console's own thread. A reader that has
/// more to do copies what it needs, and does it outside.
pub(crate) fn list() {
    let mut table = Table::default();
    pr_info!("[lister] begin list\n");

    // ANCHOR: list-section
    guard::rcu_read(|guard| {
        for process in for_each_process(guard) {
            table.line(process, guard);
        }
    });
    // ANCHOR_END: list-section

    pr_info!(
        "[lister] end list: processes={} threads={} kernel_threads={}\n",
        table.processes,
        table.threads,
        table.kernel_threads,
    );
}
// ANCHOR_END: list

/// The list, as far as it is written.
#[derive(Default)]
struct Table {
    processes: usize,
    /// As counted one by one.
    threads: usize,
    kernel_threads: usize,
}

impl Table {
    // ANCHOR: line
    /// Writes the line of a process. The name of a kernel thread is in brackets, as `ps` has it.
    fn line(&mut self, process: &Task, guard: &impl guard::ReadSide) {
        let kernel_thread = process.is_kernel_thread();
        let (open, close) = if kernel_thread { ("[", "]") } else { ("", "") };

        pr_info!(
            "[lister] process: pid={} ppid={} threads={} state={} comm={}{}{}\n",
            process.tgid(),
            process.parent_pid(guard).unwrap_or(0),
            process.threads(),
            process.state(),
            open,
            process.comm(),
            close,
        );
        self.processes += 1;
        self.threads += for_each_thread(process, guard).count();
        self.kernel_threads += usize::from(kernel_thread);
    }
    // ANCHOR_END: line
}
