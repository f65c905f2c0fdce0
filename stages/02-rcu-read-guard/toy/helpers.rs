// SPDX-License-Identifier: GPL-2.0

//! What the toys need of the kernel, and the kernel has only as macros and inline functions.
//!
//! The other half is `toy_helpers.c`.

use kernel::bindings::cpumask;

extern "C" {
    /// Disables preemption on this CPU. Nests. Any context.
    pub(super) fn helper_preempt_disable();

    /// Enables it again, on the same CPU.
    pub(super) fn helper_preempt_enable();

    /// Returns the mask with one CPU, a constant of the kernel. `cpu` must be a valid CPU ID.
    pub(super) fn helper_mask_of(cpu: u32) -> *const cpumask;

    /// Returns where the current thread may run. It is that thread's own, and may change.
    pub(super) fn helper_mask_of_current() -> *const cpumask;
}
