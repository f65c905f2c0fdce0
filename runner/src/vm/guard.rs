// SPDX-License-Identifier: MIT OR Apache-2.0

//! No QEMU outlives the runner, not even one that was killed outright.
//!
//! virtme-ng is told that QEMU is a link to the runner; called by that name,
//! the runner asks the kernel to be killed with its parent, and becomes QEMU.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::interrupt::die_with_parent;
use crate::say::{Doing, Result, problem};
use crate::tools::find;

const NAME: &str = "qemu-system-x86_64";

/// Makes the link in `dir`.
pub fn link(dir: &Path) -> Result<PathBuf> {
    let link = dir.join(NAME);
    if !link.exists() {
        // This very file, also when it has been built anew meanwhile.
        let runner = format!("/proc/{}/exe", std::process::id());
        std::os::unix::fs::symlink(runner, &link).doing(|| format!("make {}", link.display()))?;
    }
    Ok(link)
}

/// Becomes QEMU, if this is what the program was called as.
pub fn exec_as_qemu() -> Option<miette::Report> {
    let mut args = std::env::args_os();
    let called = PathBuf::from(args.next()?);
    if called.file_name()? != NAME {
        return None;
    }
    let Some(qemu) = find(NAME) else {
        return Some(problem("there is no qemu-system-x86_64 any more", "", "make doctor"));
    };
    let mut command = Command::new(qemu);
    command.args(args);
    let error = die_with_parent(&mut command).exec();
    Some(problem("could not start QEMU", error.to_string(), ""))
}
