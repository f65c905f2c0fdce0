// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which rustc and which LLVM.
//!
//! A module loads only into a kernel that the same rustc built, and inlined
//! helpers and KASAN want clang with rustc's own LLVM.  So the choice is made
//! once, remembered beside the kernels, and shown by `make doctor`; the order
//! of PATH decides only the first time.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Tools;
use super::host::{self, find};
use super::lua;
use crate::paths::{Paths, var, write};
use crate::say::{Result, note, problem};

/// A version number; missing parts are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// From text such as `1.96.0`, `22.1.8` or `1.98.0-nightly`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(['.', '-', '+', '~']).map_while(|part| part.parse().ok());
        let major = parts.next()?;
        Some(Self(major, parts.next().unwrap_or(0), parts.next().unwrap_or(0)))
    }
}

/// The chosen rustc and its companions.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// The line it prints for `--version`: what a kernel remembers of its compiler.
    pub version: String,
    /// Its LLVM's major version.
    pub llvm: u32,
    /// Why this one.
    pub why: String,
}

/// A rustc that was not taken, and why not.
pub type Passed = (PathBuf, String);

impl Toolchain {
    /// The toolchain of this user, or why there is none.
    ///
    /// `RUSTC=` decides where it is given, then what was remembered, then the
    /// first that will do, in the order of PATH.
    pub fn choose(paths: &Paths) -> (Option<Self>, Vec<Passed>) {
        let mut passed = vec![];
        let memory = paths.cache.join("toolchain");
        let mut candidates = vec![];
        if let Some(given) = var("RUSTC") {
            let path = if given.contains('/') {
                PathBuf::from(given)
            } else {
                find(&given).unwrap_or(given.into())
            };
            candidates.push((path, "RUSTC= names it"));
        } else {
            let remembered = std::fs::read_to_string(&memory).unwrap_or_default();
            if let Some((path, version)) = remembered.trim().split_once('\n') {
                match rustc(Path::new(path)) {
                    Ok(found) if found.version == version => {
                        candidates.push((path.into(), "it built this user's kernels before"));
                    }
                    Ok(found) => passed
                        .push((path.into(), format!("was {version}, is now {}", found.version))),
                    Err(why) => passed.push((path.into(), why)),
                }
            }
            candidates.extend(
                host::all("rustc").into_iter().map(|path| (path, "first in PATH that will do")),
            );
            candidates.push(("/usr/bin/rustc".into(), "the distribution's"));
        }
        for (path, why) in candidates {
            if passed.iter().any(|(p, _)| *p == path) {
                continue;
            }
            match rustc(&path) {
                Ok(found) => return (Some(Self { why: why.into(), ..found }), passed),
                Err(why) => passed.push((path, why)),
            }
        }
        (None, passed)
    }

    /// Remembers the choice, and says so where it is a new one.
    pub fn remember(&self, paths: &Paths) -> Result<()> {
        if var("RUSTC").is_some() {
            return Ok(());
        }
        let text = format!("{}\n{}\n", self.rustc.display(), self.version);
        let memory = paths.cache_dir("")?.join("toolchain");
        if std::fs::read_to_string(&memory).is_ok_and(|old| old == text) {
            return Ok(());
        }
        note(format!(
            "kernel and modules are built with {} ({}), because {}",
            self.rustc.display(),
            self.version,
            self.why
        ));
        write(&memory, text)
    }

    /// The arguments that make Kbuild use exactly this toolchain.
    /// (And where Lua is, for a stage that has it.)
    pub fn make_args(&self, paths: &Paths) -> Vec<String> {
        let beside = |name: &str| {
            let near = self.rustc.with_file_name(name);
            if near.exists() { near.display().to_string() } else { name.into() }
        };
        let mut args = vec![
            self.llvm_arg(),
            format!("RUSTC={}", self.rustc.display()),
            // The procedural macros too: rustc loads only what it built itself.
            format!("HOSTRUSTC={}", self.rustc.display()),
            format!("RUSTDOC={}", beside("rustdoc")),
            format!("RUSTFMT={}", beside("rustfmt")),
            format!("CLIPPY_DRIVER={}", beside("clippy-driver")),
            format!("BINDGEN={}", Tools::get().pinned.bindgen().path(paths).display()),
        ];
        args.extend(lua::folder(paths).map(|dir| format!("LUA_SRC={}", dir.display())));
        args
    }

    /// Kbuild's LLVM=: the suffix or the folder of clang and its kin.
    fn llvm_arg(&self) -> String {
        let suffixed = format!("clang-{}", self.llvm);
        if find(&suffixed).is_some() { format!("LLVM=-{}", self.llvm) } else { "LLVM=1".into() }
    }

    /// The C compiler.
    pub fn clang(&self) -> Option<PathBuf> {
        find(&format!("clang-{}", self.llvm))
            .or_else(|| find("clang").filter(|path| llvm_major(path) == Some(self.llvm)))
    }

    /// A program of the chosen LLVM.
    pub fn llvm_program(&self, name: &str) -> PathBuf {
        let suffixed = format!("{name}-{}", self.llvm);
        find(&suffixed).or_else(|| find(name)).unwrap_or(suffixed.into())
    }

    /// Its own clippy, whether it is there or not.
    pub fn clippy(&self) -> PathBuf {
        self.rustc.with_file_name("clippy-driver")
    }

    /// The folder of its libclang, for bindgen, which would take any.
    pub fn libclang(&self) -> Option<PathBuf> {
        let dir = PathBuf::from(format!("/usr/lib/llvm-{}/lib", self.llvm));
        dir.exists().then_some(dir)
    }
}

/// Looks at one rustc: will it do, and if not, why not?
fn rustc(path: &Path) -> std::result::Result<Toolchain, String> {
    let out = Command::new(path).arg("-vV").output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout);
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    let (Some(release), Some(llvm)) = (field("release:"), field("LLVM version:")) else {
        return Err(format!(
            "does not say what it is: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        ));
    };
    let want = Tools::get().minimum.rustc;
    if Version::parse(release) < Version::parse(&want) {
        return Err(format!("is {release}; {want} or newer is wanted"));
    }
    let sysroot =
        Command::new(path).args(["--print", "sysroot"]).output().map_err(|e| e.to_string())?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    if !sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists() {
        return Err(format!(
            "is {release}, but lacks the source of core (for rustup: `rustup component add rust-src`)"
        ));
    }
    let llvm =
        Version::parse(llvm).ok_or_else(|| format!("has an LLVM of unknown version: {llvm}"))?.0;
    let version = text.lines().next().unwrap_or_default().trim().to_owned();
    Ok(Toolchain { rustc: path.to_owned(), version, llvm, why: String::new() })
}

/// The LLVM major of clang, lld or another program of LLVM.
pub fn llvm_major(program: &Path) -> Option<u32> {
    let out = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.split_whitespace()
        .find(|w| w.starts_with(|c: char| c.is_ascii_digit()) && w.contains('.'))
        .and_then(Version::parse)
        .map(|v| v.0)
}

/// The message for a machine without a usable rustc.
pub fn none_found(passed: &[Passed], help: String) -> miette::Report {
    let list: Vec<_> =
        passed.iter().map(|(path, why)| format!("  {} {why}", path.display())).collect();
    problem("no rustc here can build the kernel's Rust", list.join("\n"), help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A rustc that says it is `release`, with or without the source of core.
    fn fake(dir: &Path, release: &str, with_source: bool) -> PathBuf {
        let path = dir.join("rustc");
        let script = format!(
            "#!/bin/sh\ncase $1 in -vV) printf 'rustc {release} (abc 2026-01-01)\\nrelease: {release}\\nLLVM version: 22.1.8\\n';; *) echo {};; esac\n",
            dir.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        if with_source {
            let core = dir.join("lib/rustlib/src/rust/library/core/src");
            std::fs::create_dir_all(&core).unwrap();
            std::fs::write(core.join("lib.rs"), "").unwrap();
        }
        path
    }

    #[test]
    fn versions_compare_as_numbers() {
        let v = |text| Version::parse(text).unwrap();
        assert!(v("1.100.0") > v("1.85"));
        assert!(v("1.98.0-nightly") > v("1.97.9"));
        assert_eq!(v("7"), v("7.0.0"));
        assert_eq!(Version::parse("unknown"), None);
    }

    #[test]
    fn a_good_rustc_is_taken_with_its_llvm() {
        let dir = tempfile::tempdir().unwrap();
        let found = rustc(&fake(dir.path(), "1.96.0", true)).unwrap();
        assert_eq!((found.llvm, found.version.as_str()), (22, "rustc 1.96.0 (abc 2026-01-01)"));
    }

    #[test]
    fn an_old_rustc_and_one_without_core_are_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        assert!(rustc(&fake(dir.path(), "1.63.0", true)).unwrap_err().contains("1.85.0 or newer"));
        let dir = tempfile::tempdir().unwrap();
        assert!(
            rustc(&fake(dir.path(), "1.96.0", false))
                .unwrap_err()
                .contains("rustup component add rust-src")
        );
        assert!(rustc(Path::new("/nowhere/rustc")).is_err());
    }
}
