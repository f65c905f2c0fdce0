// SPDX-License-Identifier: GPL-2.0

//! What the module needs of the kernel, and the kernel has only as macros and inline functions.
//!
//! The other half is `helpers.c`.

extern "C" {
    /// Returns whether the current process was killed by a signal, and is on its way out or will
    /// be soon. Process context.
    pub(crate) fn helper_dies_of_signal() -> bool;
}
