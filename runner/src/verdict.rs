// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a boot is worth: did it end, did anything fail, was there a splat, and
//! does the log keep its promise?  Never an exit code alone.

use std::path::Path;

use crate::paths::read;
use crate::say::{Result, problem};
use crate::session::lines_of;
use crate::trace::check::check;
use crate::trace::contract::Contract;
use crate::trace::log::{self, LogLine};
use crate::trace::splat;
use crate::vm::Boot;

/// Reads `expected.trace`.
pub fn contract(file: &Path) -> Result<Contract> {
    Contract::parse(&file.display().to_string(), &read(file)?)
}

/// The session ran to its end, nothing in it failed, and the kernel did not
/// complain.
pub fn clean(boot: &Boot) -> Result<()> {
    clean_up_to(boot, boot.lines.len())
}

/// As [`clean`], for the lines before `end`: what comes then is meant to fail.
pub fn clean_up_to(boot: &Boot, end: usize) -> Result<()> {
    let lines = &boot.lines[..end];
    no_splat(&parse(lines))?;
    boot.finished()?;
    let failed = lines.iter().filter(|l| l.contains("guest: FAIL")).map(|l| format!("  {l}"));
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() {
        return Ok(());
    }
    let help = format!("the whole console is {}", boot.console.display());
    Err(problem("a step in the guest failed", failed.join("\n"), help))
}

/// No splat among the lines.
pub fn no_splat(lines: &[LogLine]) -> Result<()> {
    let Some(first) = splat::find(lines).into_iter().next() else { return Ok(()) };
    let end = (first.line + 25).min(lines.len());
    let shown: Vec<_> = lines[first.line..end].iter().map(|l| format!("  | {}", l.raw)).collect();
    Err(problem(
        format!("the kernel complained ({})", first.kind),
        format!("{}\n{}", first.meaning, shown.join("\n")),
        "the first line names the complaint, the call trace below it who did what: functions with the module's name in [brackets] are ours",
    ))
}

/// A section of the log keeps the contract.
pub fn keeps(boot: &Boot, section: &str, contract: &Contract) -> Result<()> {
    let lines = lines_of(&boot.lines, section);
    if lines.is_empty() {
        return Err(problem(
            format!("the log has no section `{section}`"),
            "No result is a failure.",
            format!("the whole console is {}", boot.console.display()),
        ));
    }
    meets(contract, &parse(lines))
}

/// Lines keep the contract.
pub fn meets(contract: &Contract, lines: &[LogLine]) -> Result<()> {
    match check(contract, lines) {
        Ok(_) => Ok(()),
        Err(difference) => Err(problem(
            "the log is not what was promised",
            difference.to_string(),
            "expected.trace has the whole promise; each line there says why it stands where it stands",
        )),
    }
}

/// The lines of a console, parsed.
pub fn parse(lines: &[String]) -> Vec<LogLine> {
    log::parse(&lines.join("\n"))
}
