// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a boot is worth: did it end, did anything fail, was there a splat, and
//! does the log keep its promise?  Never an exit code alone.

use crate::paths::read;
use crate::say::{Result, problem};
use crate::session::lines_of;
use crate::stage::Stage;
use crate::trace::check::check;
use crate::trace::contract::Contract;
use crate::trace::log::{self, LogLine};
use crate::trace::splat;
use crate::vm::Boot;

/// Reads a module's `expected.trace`.
pub fn contract(stage: &Stage, module: &str) -> Result<Contract> {
    let file = stage.file(module, "expected.trace");
    if !file.exists() {
        return Err(problem(
            format!("no expected.trace: {module} promises nothing"),
            "Its log cannot be held against anything.",
            format!("write {}; stage 1's is an example", file.display()),
        ));
    }
    Contract::parse(&file.display().to_string(), &read(&file)?)
}

/// The session ran to its end, nothing in it failed, and the kernel did not
/// complain.
pub fn clean(boot: &Boot) -> Result<()> {
    clean_up_to(boot, boot.lines.len())
}

/// As [`clean`], for the lines before `end`: what comes then is meant to fail.
pub fn clean_up_to(boot: &Boot, end: usize) -> Result<()> {
    judge(boot, end, &[])
}

/// As [`clean`], but for splats of the kinds that are meant to come.
pub fn clean_but(boot: &Boot, splats: &[String]) -> Result<()> {
    judge(boot, boot.lines.len(), splats)
}

fn judge(boot: &Boot, end: usize, splats: &[String]) -> Result<()> {
    let lines = &boot.lines[..end];
    no_splat_but(&parse(lines), splats)?;
    boot.finished()?;
    let failed = lines.iter().filter(|l| l.contains("guest: FAIL")).map(|l| format!("  {l}"));
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() {
        return Ok(());
    }
    let help = format!("the whole console is {}", boot.console.display());
    Err(problem("a step in the guest failed", failed.join("\n"), help))
}

/// No splat among the lines, but for those of the kinds that are meant to come.
fn no_splat_but(lines: &[LogLine], meant: &[String]) -> Result<()> {
    let mut splats = splat::find(lines).into_iter();
    let Some(first) = splats.find(|s| !meant.iter().any(|kind| kind == s.kind)) else {
        return Ok(());
    };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::vm::{Accel, End};

    fn boot(lines: &[&str], end: End) -> Boot {
        Boot {
            lines: lines.iter().map(|l| (*l).to_owned()).collect(),
            end,
            accel: Accel::Tcg,
            took: Duration::ZERO,
            limit: Duration::ZERO,
            console: "console.log".into(),
        }
    }

    #[test]
    fn only_what_is_meant_may_be_complained_about() {
        let lines =
            ["a", "[    1.000000] WARNING: x", "[    1.100000] BUG: KASAN: z", "guest: done"];
        let says = |splats: &[&str]| {
            let splats: Vec<_> = splats.iter().map(|s| (*s).to_owned()).collect();
            clean_but(&boot(&lines, End::Finished), &splats).err().map(|e| e.to_string())
        };
        assert_eq!(says(&["kasan", "warning"]), None);
        assert!(says(&["kasan"]).unwrap().contains("complained (warning)"));
        assert!(says(&["warning"]).unwrap().contains("complained (kasan)"));
        assert!(says(&[]).is_some());
    }

    #[test]
    fn a_failed_step_and_a_missing_end_are_seen() {
        let failed = ["guest: FAIL insmod x: y", "guest: done"];
        let said = clean_but(&boot(&failed, End::Finished), &[]).unwrap_err().to_string();
        assert!(said.contains("FAIL insmod x"), "{said}");
        assert!(clean_up_to(&boot(&failed, End::Finished), 0).is_ok());
        assert!(clean(&boot(&["a"], End::Hung)).unwrap_err().to_string().contains("hung"));
        assert!(clean(&boot(&["a"], End::Finished)).is_ok());
    }
}
