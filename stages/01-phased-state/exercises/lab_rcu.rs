// SPDX-License-Identifier: GPL-2.0

//! The other side of RCU, for the checks of the lab: a reader that is none of the story's, or an
//! updater that is none.
//!
//! A grace period waits for all readers of the machine, and a reader holds up all grace periods.
//! So whether somebody really waits for a grace period, or really is in a critical section, shows
//! from another module, whatever they write into the log.

use core::{
    arch::asm,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        rcu::{
            self,
            synchronize_rcu, //
        },
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};

module! {
    type: LabRcu,
    name: "lab_rcu",
    authors: ["The RCU workshop"],
    description: "A reader, or an updater, beside those of the lab",
    license: "GPL",
    params: {
        reads: u32 {
            default: 1,
            description: "1: a reader, until the module is unloaded; 0: one grace period",
        },
        n: u32 {
            default: 0,
            description: "The run's number",
        },
    },
}

/// Whether the reader is in its critical section.
static INSIDE: Atomic<bool> = Atomic::new(false);

/// The module, with its reader, if it is one.
///
/// # Invariants
///
/// The task is a kernel thread that nobody has stopped, to which we hold a reference.
struct LabRcu(Option<NonNull<bindings::task_struct>>);

// SAFETY: A task may be stopped from any thread.
unsafe impl Send for LabRcu {}
// SAFETY: `&LabRcu` gives access to nothing.
unsafe impl Sync for LabRcu {}

/// The reader: stays in its critical section until it is to stop.
///
/// # Safety
///
/// Must be the function of a kernel thread.
unsafe extern "C" fn reader(_: *mut c_void) -> c_int {
    let n = module_parameters::n.value();

    let guard = rcu::read_lock();
    pr_info!("[reader] inside: n={n}\n");
    INSIDE.store(true, Release);
    // SAFETY: This is a kernel thread, by the safety requirements.
    while !unsafe { bindings::kthread_should_stop() } {
        // The CPU rests until its next interrupt, and the thread keeps it: this is no sleep. Nor does
        // it cost the host a CPU, as a loop would.
        // SAFETY: Interrupts are enabled in a thread, and nobody has disabled them.
        unsafe { asm!("hlt", options(nomem, nostack)) };
    }
    pr_info!("[reader] leaves: n={n}\n");
    drop(guard);
    0
}

impl kernel::Module for LabRcu {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let n = module_parameters::n.value();

        if module_parameters::reads.value() == 0 {
            pr_info!("[updater] asks: n={n}\n");
            synchronize_rcu();
            pr_info!("[updater] was answered: n={n}\n");
            return Ok(Self(None));
        }

        // SAFETY: The format takes no arguments, and the thread needs no data.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(reader),
                core::ptr::null_mut(),
                bindings::NUMA_NO_NODE,
                c"lab-reader".as_char_ptr(),
            )
        })?;
        // SAFETY: The task is valid: nobody has started or stopped it.
        unsafe { bindings::get_task_struct(task) };
        // SAFETY: As above.
        unsafe { bindings::wake_up_process(task) };
        // Who has loaded us can rely on it that there is a reader.
        while !INSIDE.load(Acquire) {
            fsleep(Delta::from_millis(1));
        }
        // INVARIANT: It was just made, and we have a reference.
        Ok(Self(NonNull::new(task)))
    }
}

impl Drop for LabRcu {
    fn drop(&mut self) {
        if let Some(task) = self.0 {
            // SAFETY: By the type invariants, the task is a kernel thread that was not stopped.
            unsafe { bindings::kthread_stop(task.as_ptr()) };
            // SAFETY: By the type invariants, the reference is ours.
            unsafe { bindings::put_task_struct(task.as_ptr()) };
        }
    }
}
