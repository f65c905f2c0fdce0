// SPDX-License-Identifier: GPL-2.0

//! CPUs: which there are, and how a thread gets to one.

use kernel::{
    bindings,
    cpu::{
        nr_cpu_ids,
        CpuId, //
    },
    cpumask::{
        Cpumask,
        CpumaskVar, //
    },
    error::to_result,
    prelude::*,
    task::Task,
    types::NotThreadSafe, //
};

use super::helpers;

// --- Which there are ----------------------------------------------------------------------------

/// Returns the CPUs that are online, by number. They may change, unless the caller sees to it.
pub fn online() -> impl Iterator<Item = CpuId> {
    // SAFETY: The mask is a static of the kernel. It may change while it is read, which `Cpumask`
    // allows, being an `Opaque`.
    let online = unsafe { Cpumask::from_raw(&raw const bindings::__cpu_online_mask) };
    let all = (0..nr_cpu_ids()).filter_map(CpuId::from_u32);
    all.filter(|cpu| online.test(*cpu))
}

/// As long as it exists, no CPU comes or goes: who wants that, waits.
///
/// # Invariants
///
/// `cpus_read_lock()` was called on this thread, and `cpus_read_unlock()` was not.
#[must_use = "CPUs may come and go at once if nobody keeps it"]
pub struct CpusReadLock(NotThreadSafe);

impl CpusReadLock {
    /// Waits until no CPU is coming or going. Sleeps.
    #[doc(alias = "cpus_read_lock")]
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        // SAFETY: The caller may sleep; `drop` calls what has to follow.
        unsafe { bindings::cpus_read_lock() };
        // INVARIANT: It was just called, and this thread cannot give the lock to another.
        Self(NotThreadSafe)
    }
}

impl Drop for CpusReadLock {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::cpus_read_unlock() };
    }
}

/// As long as it exists, no CPU can be taken offline or brought online: who tries that, is told
/// `EBUSY`. For what takes long. (Suspend still does it, and brings back what it took.)
///
/// # Invariants
///
/// `cpu_hotplug_disable()` was called for it, and `cpu_hotplug_enable()` was not.
#[must_use = "CPUs may come and go at once if nobody keeps it"]
pub struct NoHotplug(());

impl NoHotplug {
    /// Waits until no CPU is coming or going. Sleeps.
    #[doc(alias = "cpu_hotplug_disable")]
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        // SAFETY: The caller may sleep; `drop` calls what has to follow.
        unsafe { bindings::cpu_hotplug_disable() };
        // INVARIANT: It was just called.
        Self(())
    }
}

impl Drop for NoHotplug {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. It counts, and any thread may call it.
        unsafe { bindings::cpu_hotplug_enable() };
    }
}

// --- How to get there ---------------------------------------------------------------------------

// ANCHOR: go-to
/// Moves the current thread to `cpu`. When this returns, the thread has run there since the call,
/// and it stays there.
///
/// Sleeps, for as long as that CPU runs something that cannot be preempted. Fails if the CPU is
/// not online.
#[doc(alias = "set_cpus_allowed_ptr")]
pub fn go_to(cpu: CpuId) -> Result {
    // ANCHOR: go-to-body
    loop {
        // SAFETY: The current task is valid, and so is the mask, for ever.
        to_result(unsafe {
            bindings::set_cpus_allowed_ptr(Task::current_raw(), helpers::helper_mask_of(cpu.into()))
        })?;

        // One look is the proof. In the normal case there is one round; but root may move any
        // thread, with `taskset`, so that it may have been here and gone.
        if CpuId::current() == cpu {
            return Ok(());
        }
    }
    // ANCHOR_END: go-to-body
}
// ANCHOR_END: go-to

/// Makes the current thread one that runs as soon as its CPU can be had, before ordinary ones.
#[doc(alias = "sched_set_fifo")]
pub fn run_first() {
    // SAFETY: The current task is valid.
    unsafe { bindings::sched_set_fifo(Task::current_raw()) };
}

// ANCHOR: journey
/// A journey of the current thread: when it is dropped, the thread may run again wherever it was
/// allowed to before.
pub struct Journey {
    home: CpumaskVar,
    /// The mask is that of one thread.
    _not_thread_safe: NotThreadSafe,
}

impl Journey {
    /// Notes where the thread may run.
    pub fn begin() -> Result<Self> {
        // SAFETY: The mask is the current thread's own, so it is valid for as long as this runs.
        // Somebody may change it meanwhile, which `Cpumask` allows, being an `Opaque`.
        let home = unsafe { Cpumask::from_raw(helpers::helper_mask_of_current()) };
        Ok(Self {
            home: CpumaskVar::try_clone(home)?,
            _not_thread_safe: NotThreadSafe,
        })
    }

    /// Goes to a CPU; see [`go_to`].
    pub fn visit(&self, cpu: CpuId) -> Result {
        go_to(cpu)
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        // The thread need not be back when this returns. If it cannot go home, since none of
        // those CPUs is left, then it stays where it is.
        // SAFETY: The current task is valid, and so is the mask.
        let _ = unsafe { bindings::set_cpus_allowed_ptr(Task::current_raw(), self.home.as_raw()) };
    }
}
// ANCHOR_END: journey
