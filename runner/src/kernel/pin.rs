// SPDX-License-Identifier: MIT OR Apache-2.0

//! kernel/pin.toml: which kernel, and what it costs.

use serde::Deserialize;

use super::Flavour;
use crate::paths::{Paths, read};
use crate::say::{Result, problem};

/// The pinned kernel.
#[derive(Deserialize)]
pub struct Pin {
    /// `7.3`: what any source has to be.
    pub series: String,
    /// Debian's source package.
    pub debian: Debian,
    /// The tarball of kernel.org.
    pub tarball: Tarball,
    /// What a build costs.
    pub cost: Cost,
}

/// A package and the suite that has it.
#[derive(Deserialize)]
pub struct Debian {
    /// The package's name.
    pub package: String,
    /// The suite.
    pub suite: String,
}

/// A tarball.
#[derive(Deserialize)]
pub struct Tarball {
    /// Its version.
    pub version: String,
    /// The folder that has it and `sha256sums.asc`; `KERNEL_MIRROR=` names another.
    pub mirror: String,
    /// Its SHA-256, where somebody has recorded it.
    pub sha256: Option<String>,
}

/// Disk in MB and steps of the build, for messages.
#[derive(Deserialize)]
pub struct Cost {
    /// The unpacked source with its download.
    pub source_mb: u64,
    /// Packages of the distribution.
    pub packages_mb: u64,
    fast_mb: u64,
    debug_mb: u64,
    preempt_mb: u64,
    fast_steps: u64,
    debug_steps: u64,
    preempt_steps: u64,
}

impl Pin {
    /// Reads it.
    pub fn read(paths: &Paths) -> Result<Self> {
        let file = paths.root.join("kernel/pin.toml");
        toml::from_str(&read(&file)?)
            .map_err(|e| problem("kernel/pin.toml cannot be read", e.to_string(), ""))
    }
}

impl Cost {
    /// MB of a built kernel.
    pub fn mb(&self, flavour: Flavour) -> u64 {
        match flavour {
            Flavour::Fast => self.fast_mb,
            Flavour::Debug => self.debug_mb,
            Flavour::Preempt => self.preempt_mb,
        }
    }

    /// Lines that Kbuild prints while it builds one from nothing.
    pub fn steps(&self, flavour: Flavour) -> u64 {
        match flavour {
            Flavour::Fast => self.fast_steps,
            Flavour::Debug => self.debug_steps,
            Flavour::Preempt => self.preempt_steps,
        }
    }
}
