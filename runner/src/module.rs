// SPDX-License-Identifier: MIT OR Apache-2.0

//! Building a stage's modules with Kbuild.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::interrupt;
use crate::kernel::{Kernel, clean_environment};
use crate::paths::{Paths, make_dir};
use crate::say::{Doing, Result, Times, disk_full, problem};
use crate::stage::Stage;
use crate::tools::{Toolchain, lua};

/// A folder with built modules.
#[derive(Clone)]
pub struct Built {
    /// The folder.
    pub dir: PathBuf,
    only: Option<String>,
    /// What the compilers said, also where they succeeded.
    pub said: String,
}

impl Built {
    /// Was this module of the stage built, too?
    pub fn has(&self, module: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == module)
    }

    /// The file of a module.
    pub fn ko(&self, module: &str) -> Result<PathBuf> {
        let ko = self.dir.join(format!("{module}.ko"));
        if ko.exists() {
            return Ok(ko);
        }
        Err(problem(
            format!("the build made no {module}.ko"),
            format!("It was looked for in {}.", self.dir.display()),
            "does the stage's Kbuild name it in obj-m?",
        ))
    }
}

/// Builds a stage's own modules, once for all variants that use them or products of theirs.
pub fn own(paths: &Paths, kernel: &Kernel, toolchain: &Toolchain, stage: &Stage) -> Result<Built> {
    static DONE: Mutex<BTreeMap<String, Built>> = Mutex::new(BTreeMap::new());
    let name = format!("stage-{}", stage.number);
    let mut done = DONE.lock().unwrap_or_else(|e| e.into_inner());
    let key = format!("{name}/{}", kernel.folder());
    if let Some(built) = done.get(&key) {
        return Ok(built.clone());
    }
    let built = build(paths, kernel, toolchain, &stage.dir, &name, None, &[])?;
    done.insert(key, built.clone());
    Ok(built)
}

/// Builds the modules of the sources in `from` into `build/<name>/<kernel>`.
///
/// `only` is the one that is wanted, where not all are.  `extra` are further words
/// for make, such as `CLIPPY=1`.
pub fn build(
    paths: &Paths,
    kernel: &Kernel,
    toolchain: &Toolchain,
    from: &Path,
    name: &str,
    only: Option<&str>,
    extra: &[&str],
) -> Result<Built> {
    if lua::is_wanted(from) {
        lua::ready(paths, &mut Times::default())?;
    }
    let name = format!("{name}/{}", kernel.folder());
    let dir = make_dir(paths.build.join(&name))?;
    // Two runs in two terminals: Kbuild's own files are not made for that.
    let _lock = paths.build_lock(&format!("module-{name}"), "is building the same module here")?;
    let mut make = Command::new("make");
    make.arg("-C")
        .arg(&kernel.dir)
        .arg(format!("M={}", from.display()))
        .arg(format!("MO={}", dir.display()));
    make.args(toolchain.make_args(paths)).args(extra);
    match only {
        Some(module) => make.arg(format!("{module}.ko")),
        None => make.arg("modules"),
    };
    clean_environment(&mut make);
    if let Some(dir) = toolchain.libclang() {
        make.env("LIBCLANG_PATH", dir);
    }
    let out = interrupt::output(&mut make).doing(|| "run make".into())?;
    interrupt::check()?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let text = text.replace(&format!("{}/", paths.root.display()), "");
    if out.status.success() {
        return Ok(Built { dir, only: only.map(str::to_owned), said: text });
    }
    if text.contains("No space left on device") {
        return Err(disk_full("build the module"));
    }
    // The compiler's own words; make's only say once more that it failed.
    let (make_said, compiler): (Vec<_>, Vec<_>) = text.lines().partition(|l| l.starts_with("make"));
    let why = if compiler.is_empty() { make_said } else { compiler };
    Err(problem(
        "the module could not be built",
        why.join("\n"),
        "mend the source and give the same command again",
    ))
}
