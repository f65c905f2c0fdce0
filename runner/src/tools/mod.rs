// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tools on this machine: which there are, which to install, which rustc.

mod host;
mod install;
pub mod lua;
mod toolchain;

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

pub use host::{Family, Host, cores, find, free_bytes};
pub use install::{ensure, install_crates, installed_packages, virtme};
pub use toolchain::{Toolchain, Version};

use crate::paths::Paths;
use crate::say::{Result, problem};

/// What a tool is for; a run asks only for what it needs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Building the runner itself.
    Runner,
    /// Building a module.
    Module,
    /// Building a kernel.
    Kernel,
    /// Running a VM.
    Vm,
    /// The linters of `make test`.
    Lint,
    /// What is measured beside RCU, in user space.
    Bench,
    /// Looking into a running guest.
    Debug,
}

/// One entry of tools.toml.
#[derive(Deserialize)]
pub struct Tool {
    /// What people call it.
    pub name: String,
    /// Why the workshop wants it.
    pub why: String,
    /// What it is for.
    #[serde(rename = "for")]
    pub needs: Vec<Need>,
    probe: String,
    debian: Vec<String>,
    fedora: Vec<String>,
    arch: Vec<String>,
}

/// tools.toml.
#[derive(Deserialize)]
pub struct Tools {
    /// All tools.
    #[serde(rename = "tool")]
    pub all: Vec<Tool>,
    /// Versions of what comes from a language's registry.
    pub pinned: Pinned,
    /// The oldest versions that do.
    pub minimum: Minimum,
}

/// Exact versions.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pinned {
    /// Reads the kernel's headers for Rust; from crates.io, like the next two.
    pub bindgen_cli: String,
    /// Makes the book.
    pub mdbook: String,
    /// Its diagrams.
    pub mdbook_mermaid: String,
    /// From PyPI.
    pub virtme_ng: String,
}

/// Oldest versions.
#[derive(Deserialize)]
pub struct Minimum {
    /// For the kernel.
    pub rustc: String,
    /// For the VM.
    pub qemu: String,
}

/// A program of crates.io, pinned.
pub struct Crate {
    /// The crate's name.
    pub krate: &'static str,
    /// The program's.
    pub program: &'static str,
    /// The version.
    pub version: String,
    /// The only features that are wanted; the default ones, if not given.
    pub only: Option<&'static str>,
}

impl Crate {
    /// Where its program is, once installed.
    pub fn path(&self, paths: &Paths) -> PathBuf {
        let only = self.only.map(|only| format!("-{only}")).unwrap_or_default();
        let dir = format!("{}-{}{only}", self.krate, self.version);
        paths.cache.join(format!("tools/{dir}/bin/{}", self.program))
    }
}

impl Pinned {
    /// The generator of the kernel's bindings.
    pub fn bindgen(&self) -> Crate {
        Crate {
            krate: "bindgen-cli",
            program: "bindgen",
            version: self.bindgen_cli.clone(),
            only: None,
        }
    }

    /// The maker of the book.  Its web server would be half of its build.
    pub fn mdbook(&self) -> Crate {
        Crate { only: Some("search"), ..self.mdbook_server() }
    }

    /// The same, with its web server.
    pub fn mdbook_server(&self) -> Crate {
        let version = self.mdbook.clone();
        Crate { krate: "mdbook", program: "mdbook", version, only: None }
    }

    /// Its preprocessor for diagrams.
    pub fn mermaid(&self) -> Crate {
        Crate {
            krate: "mdbook-mermaid",
            program: "mdbook-mermaid",
            version: self.mdbook_mermaid.clone(),
            only: None,
        }
    }
}

impl Tools {
    /// The table that is compiled into the runner.
    pub fn get() -> Self {
        toml::from_str(include_str!("../../tools.toml")).expect("a test parses tools.toml")
    }
}

impl Tool {
    /// Is there one that the workshop can use, with the toolchain that was chosen?
    pub fn usable(
        &self,
        paths: &Paths,
        host: &Host,
        chosen: Option<&Toolchain>,
    ) -> Option<PathBuf> {
        match self.name.as_str() {
            // Not any rustc will do.
            "rustc" => chosen.map(|t| t.rustc.clone()),
            // Lints with the metadata of the kernel's crates, so it must be rustc's own.
            "clippy" => chosen.map(Toolchain::clippy).filter(|path| path.exists()),
            "busybox" => busybox(paths),
            _ => self.found(host, chosen.map(|t| t.llvm)),
        }
    }

    /// Is it there?  `llvm` is the major version of the chosen rustc's LLVM;
    /// without one, a tool that must match it counts as missing.
    fn found(&self, host: &Host, llvm: Option<u32>) -> Option<PathBuf> {
        let probe = match llvm {
            Some(llvm) => self.probe.replace("{llvm}", &llvm.to_string()),
            None if self.probe.contains("{llvm}") => return None,
            None => self.probe.clone(),
        };
        probe.split(" | ").find_map(|probe| look_for(probe, host, llvm))
    }

    /// The packages that have it.
    pub fn packages(&self, family: Family, llvm: Option<u32>) -> Vec<String> {
        let names = match family {
            Family::Debian => &self.debian,
            Family::Fedora => &self.fedora,
            Family::Arch => &self.arch,
            Family::Other => return vec![],
        };
        let llvm = llvm.map_or("N".into(), |n| n.to_string());
        names.iter().map(|name| first_known(&name.replace("{llvm}", &llvm))).collect()
    }
}

/// The first of several names, with `|` between them, that apt knows.
fn first_known(names: &str) -> String {
    let mut all = names.split('|');
    let first = all.next().unwrap_or_default();
    if first == names {
        return first.to_owned();
    }
    let known = |name: &&str| {
        let show = Command::new("apt-cache").args(["show", name]).output();
        show.is_ok_and(|out| out.status.success() && !out.stdout.is_empty())
    };
    names.split('|').find(known).unwrap_or(first).to_owned()
}

/// The guest's user space: a busybox that needs no libraries.
pub fn busybox(paths: &Paths) -> Option<PathBuf> {
    let cached = paths.cache.join("tools/busybox-static/bin/busybox");
    [Some(cached), find("busybox")].into_iter().flatten().find(|path| is_static(path))
}

/// Is it a program without an interpreter, that is, without a dynamic loader?
fn is_static(program: &std::path::Path) -> bool {
    const PT_INTERP: u32 = 3;
    let Ok(elf) = std::fs::read(program) else { return false };
    let at = |from: usize, n: usize| -> Option<u64> {
        let bytes = elf.get(from..from + n)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let headers = || Some((at(32, 8)? as usize, at(54, 2)? as usize, at(56, 2)? as usize));
    let Some((offset, size, count)) = headers().filter(|_| elf.starts_with(b"\x7fELF\x02")) else {
        return false;
    };
    (0..count).all(|i| at(offset + i * size, 4) != Some(PT_INTERP.into()))
}

/// Looks for one file or one command.
fn look_for(probe: &str, host: &Host, llvm: Option<u32>) -> Option<PathBuf> {
    if probe.starts_with('/') {
        let path = host.root.join(probe.trim_start_matches('/'));
        return path.exists().then_some(path);
    }
    let mut words = probe.split(' ');
    let name = words.next().unwrap_or_default();
    // Only Debian's families give LLVM's programs a version in their name.
    let path = find(name).or_else(|| {
        let plain = name.strip_suffix(&format!("-{}", llvm?))?;
        let path = find(plain)?;
        (toolchain::llvm_major(&path) == llvm).then_some(path)
    })?;
    let args: Vec<_> = words.collect();
    let works = args.is_empty()
        || Command::new(&path).args(args).output().is_ok_and(|out| out.status.success());
    works.then_some(path)
}

/// The version of QEMU, checked against the oldest one that does.
pub fn qemu_version(tools: &Tools) -> Result<String> {
    let out = Command::new("qemu-system-x86_64").arg("--version").output();
    let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    new_enough(&text, &tools.minimum.qemu)
}

fn new_enough(text: &str, want: &str) -> Result<String> {
    let word = text.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
    let Some((word, have)) = word.and_then(|word| Some((word, Version::parse(word)?))) else {
        return Err(problem(
            "qemu-system-x86_64 does not answer to --version",
            text,
            "`make doctor` shows which one is found",
        ));
    };
    if Some(have) < Version::parse(want) {
        return Err(problem(
            format!("QEMU {word} is too old"),
            format!("{want} or newer is wanted."),
            "install a newer qemu-system-x86_64 and put it first in PATH",
        ));
    }
    Ok(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_valid_and_each_name_stands_once() {
        let tools = Tools::get();
        let mut names: Vec<_> = tools.all.iter().map(|t| &t.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), tools.all.len());
        for tool in &tools.all {
            for family in [Family::Debian, Family::Fedora, Family::Arch] {
                assert!(!tool.packages(family, Some(22)).is_empty(), "{}", tool.name);
            }
        }
    }

    #[test]
    fn a_busybox_has_to_be_static() {
        // The test itself is dynamic, and a text is no program at all.
        assert!(!is_static(&std::env::current_exe().unwrap()));
        assert!(!is_static(std::path::Path::new("/etc/os-release")));
        // `make test` has installed the one that the guests use.
        assert!(find("busybox").is_none_or(|path| is_static(&path)));
    }

    #[test]
    fn an_old_qemu_is_refused_and_a_silent_one_too() {
        let say = |version| format!("QEMU emulator version {version} (Debian 1:7.2+dfsg-7)\n");
        assert_eq!(new_enough(&say("7.2.22"), "6.0").unwrap(), "7.2.22");
        let message = new_enough(&say("4.2.1"), "6.0").unwrap_err().to_string();
        assert!(message.contains("4.2.1 is too old") && message.contains("6.0 or newer"));
        assert!(new_enough("", "6.0").is_err());
    }

    #[test]
    fn llvm_tools_are_missing_until_rustc_says_which_llvm() {
        let tools = Tools::get();
        let clang = tools.all.iter().find(|t| t.name == "clang").unwrap();
        assert_eq!(clang.found(&Host::this(), None), None);
        assert_eq!(clang.packages(Family::Debian, Some(19)), ["clang-19"]);
    }
}
