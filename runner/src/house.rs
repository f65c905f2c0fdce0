// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tidying up: what is in `build/`, and what lies outside the checkout.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::interrupt;
use crate::paths::Paths;
use crate::say::{Doing, Result, Times, problem, step};
use crate::tools::{Host, installed_packages};

/// `make clean`
pub fn clean(paths: &Paths, _: &mut Times) -> Result<()> {
    if paths.build.exists() {
        for entry in std::fs::read_dir(&paths.build).doing(|| "read build/".into())?.flatten() {
            // The runner itself is running.
            if entry.file_name() != "runner" {
                remove(&entry.path())?;
            }
        }
    }
    step(format!(
        "removed what was built here; kernels and tools stay in {} (`make uninstall` removes them)",
        paths.cache.display()
    ));
    Ok(())
}

/// `make uninstall`
pub fn uninstall(paths: &Paths, _: &mut Times) -> Result<()> {
    let packages = installed_packages(paths);
    step("Outside this folder the workshop has");
    if paths.cache.exists() {
        step(format!(
            "  {}  ({} MB: kernels, sources, tools)",
            paths.cache.display(),
            size(&paths.cache) >> 20
        ));
    }
    if !packages.is_empty() {
        step(format!("  packages that it installed: {}", packages.join(" ")));
    }
    if !paths.cache.exists() && packages.is_empty() {
        step("  nothing");
        return Ok(());
    }
    let host = Host::this();
    let command = host.family.remove_command(&packages).filter(|_| !packages.is_empty());
    if let Some(command) = command {
        let command = format!("{}{command}", if host.is_root { "" } else { "sudo " });
        step(format!(
            "\nBy now others may use the packages too.  This would remove them:\n  {command}"
        ));
        if ask_to_remove("do it?")? {
            let mut words = command.split(' ');
            let status = Command::new(words.next().unwrap_or_default()).args(words).status();
            if !status.doing(|| format!("run `{command}`"))?.success() {
                return Err(problem(
                    format!("`{command}` failed"),
                    "Nothing else was removed.",
                    "",
                ));
            }
        }
    }
    if paths.cache.exists() && ask_to_remove(&format!("remove {}?", paths.cache.display()))? {
        remove(&paths.cache)?;
        step("removed");
    }
    step(format!("\nThe rest is this folder: rm -r {}", paths.root.display()));
    Ok(())
}

/// Asks; no terminal, no answer, no removal.
fn ask_to_remove(question: &str) -> Result<bool> {
    ask(question, "Nothing was removed.", "make uninstall")
}

/// Asks whether to go on with `command`; an error, saying that it was `left`, if
/// nobody answers.
pub fn ask(question: &str, left: &str, command: &str) -> Result<bool> {
    print!("{question} [y/N] ");
    let _ = std::io::stdout().flush();
    match interrupt::read_line()? {
        None => Err(problem(
            "nobody answered",
            left,
            format!("call `{command}` on a terminal, or `yes | {command}`"),
        )),
        Some(answer) => Ok(matches!(answer.as_str(), "y" | "Y" | "yes")),
    }
}

fn remove(path: &Path) -> Result<()> {
    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
        .doing(|| format!("remove {}", path.display()))
}

/// Bytes of a folder's files.
fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
