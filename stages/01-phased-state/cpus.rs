// SPDX-License-Identifier: GPL-2.0

//! Whether a machine has CPUs enough for a story in which a reader waits inside its section.

use kernel::{
    bindings,
    cpumask::Cpumask,
    prelude::*, //
};

/// Refuses a machine on which such a story cannot be told, with a line in the log.
///
/// Where RCU readers are not preemptible, a reader keeps its CPU until it leaves. If it waits in
/// its critical section for another thread to get going, there must be another CPU. Any context;
/// [`EOPNOTSUPP`] if there is none.
pub fn refuse_lone_cpu() -> Result {
    if cfg!(CONFIG_PREEMPT_RCU) {
        return Ok(());
    }

    // SAFETY: The mask is a static of the kernel. It may change while it is read, which
    // `Cpumask` allows, being an `Opaque`; the answer is a snapshot then.
    let online = unsafe { Cpumask::from_raw(&raw const bindings::__cpu_online_mask) }.weight();
    if online < 2 {
        pr_err!("[init] refused: online_cpus={online} min=2 preempt_rcu=n\n");
        return Err(EOPNOTSUPP);
    }
    Ok(())
}
