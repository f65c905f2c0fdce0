// SPDX-License-Identifier: MIT OR Apache-2.0

//! The module, the programs, and the guest in which they measure.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::sample::{self, Samples};
use crate::interrupt;
use crate::kernel::Kernel;
use crate::module;
use crate::paths::Paths;
use crate::say::{Doing, Result, last_lines, problem};
use crate::tools::Toolchain;
use crate::verdict;
use crate::vm::{Clock, Machine, Plan, Root, session_limit};

/// How the kernel crate's helpers, which are C, get into the module.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Helpers {
    /// Inlined, as these kernels want it.
    Inlined,
    /// As calls, as without CONFIG_RUST_INLINE_HELPERS.
    Called,
}

/// What the module can measure: its parameter `mode`.
#[derive(Clone, Copy)]
pub enum Mode {
    /// Ticks of the TSC.
    Count = 0,
    /// Nanoseconds.
    Time = 1,
    /// Grace periods.
    Wait = 2,
    /// Readers on several CPUs.
    Scale = 3,
    /// The same, for the plugin.
    Lines = 4,
}

const MODULE: &str = "rcu_bench";

/// Where the module's sources are.
pub fn sources(paths: &Paths) -> PathBuf {
    paths.root.join("runner/bench/module")
}

/// Builds the module of the sources in `from`.
pub fn build(
    paths: &Paths,
    kernel: &Kernel,
    toolchain: &Toolchain,
    from: &Path,
    name: &str,
    helpers: Helpers,
) -> Result<PathBuf> {
    let extra: &[&str] = match helpers {
        Helpers::Inlined => &[],
        Helpers::Called => &["CONFIG_RUST_INLINE_HELPERS=", "HELPERS=outline"],
    };
    let built = module::build(paths, kernel, toolchain, from, name, None, extra)?;
    match built.said.is_empty() {
        true => built.ko(MODULE),
        false => Err(problem("the compilers are not content", built.said, "")),
    }
}

/// A measurement.
pub struct Measurement<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The module.
    pub ko: &'a Path,
    /// The program for user space, where it is wanted.
    pub user: Option<&'a Path>,
    /// What is measured.
    pub modes: &'a [Mode],
    /// By which clock.
    pub clock: Clock<'a>,
    /// How long that takes at most, in seconds.
    pub seconds: u64,
    /// A name for its console.
    pub name: &'a str,
}

impl Measurement<'_> {
    /// Boots a guest that measures.
    pub fn take(&self, paths: &Paths, machine: &Machine) -> Result<Vec<Samples>> {
        let root = Root::new(paths)?;
        root.add(self.ko, format!("{MODULE}.ko"))?;
        let mut body = String::new();
        for mode in self.modes {
            body += &format!("load {MODULE} mode={} && unload {MODULE}\n", *mode as u32);
        }
        if let Some(user) = self.user {
            root.add(user, "user")?;
            let what = if self.clock == Clock::Instructions { "count" } else { "time" };
            body += &format!("/workshop/user {what} || fail \"the program in user space\"\n");
        }
        root.session(&body)?;
        let console = paths.build_dir("bench")?.join(format!("{}.log", self.name));
        let plan = Plan {
            kernel: self.kernel,
            root: &root,
            limit: session_limit(self.kernel, self.seconds),
            boot_limit: None,
            params: &[],
            console: &console,
        };
        let boot = machine.boot_direct(&plan, self.clock, &mut |_| ())?;
        verdict::clean(&boot)?;
        let ended = boot.lines.iter().filter(|l| l.contains("[bench] end: ")).count();
        if ended != self.modes.len() {
            let why = last_lines(&boot.lines.join("\n"), 15);
            return Err(problem("the module did not come to its end", why, ""));
        }
        Ok(sample::parse(&boot.lines))
    }
}

/// Builds the plugin for QEMU that sees cache lines go from CPU to CPU.
pub fn build_plugin(paths: &Paths) -> Result<PathBuf> {
    let plugin = paths.build_dir("bench")?.join("lines.so");
    let source = paths.root.join("runner/bench/lines.c");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
    let out = interrupt::output(cc.arg(&plugin).arg(source)).doing(|| "run cc".into())?;
    match out.status.success() {
        true => Ok(plugin),
        false => Err(problem(
            "QEMU's plugin could not be built",
            String::from_utf8_lossy(&out.stderr),
            "",
        )),
    }
}

/// Builds the program for user space.
pub fn build_user(paths: &Paths) -> Result<PathBuf> {
    let target = paths.build.join("bench/user");
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]);
    cargo.arg(paths.root.join("runner/bench/user/Cargo.toml")).arg("--target-dir").arg(&target);
    // The guest has no libraries.  A target that is named keeps the flag from build scripts.
    cargo.args(["--target", TARGET]).env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    cargo.env_remove("RUSTC").env_remove("MAKEFLAGS");
    let out = interrupt::output(&mut cargo).doing(|| "run cargo".into())?;
    interrupt::check()?;
    if !out.status.success() {
        let why = last_lines(&String::from_utf8_lossy(&out.stderr), 20);
        let help = "is this machine on the network?  crossbeam-epoch comes from crates.io, liburcu from the distribution";
        return Err(problem("the program for user space could not be built", why, help));
    }
    Ok(target.join(TARGET).join("release/user"))
}

const TARGET: &str = "x86_64-unknown-linux-gnu";
