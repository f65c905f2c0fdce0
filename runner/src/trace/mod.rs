// SPDX-License-Identifier: MIT OR Apache-2.0
//! A module's kernel log: reading it, and holding it against what was promised.
//!
//! - [`log`] turns console or dmesg output into lines and events,
//! - [`splat`] finds the kernel's own complaints in them,
//! - [`contract`] reads `expected.trace`, the promise,
//! - [`check`] says where a log first breaks the promise,
//! - [`mutate`] breaks a good log in every small way, to show that the checker notices.

pub mod check;
pub mod contract;
pub mod log;
pub mod mutate;
pub mod splat;

/// What the tests of this folder and of the timeline read: stage 1, as it might run.
#[cfg(test)]
pub(crate) mod sample {
    /// A contract for stage 1.
    pub const CONTRACT: &str = include_str!("sample.trace");
    /// A log of one load that meets it, with the noise of a serial console.
    pub const LOG: &str = include_str!("sample.dmesg");
}
