// SPDX-License-Identifier: MIT OR Apache-2.0

//! Torture: a stage's modules that try for a while to break what it has built,
//! on every kernel that this run wants.

use crate::interrupt;
use crate::kernel::Flavour;
use crate::paths::{Paths, number};
use crate::run::{Play, Ready, STORY, play, ready};
use crate::say::{Result, Times, problem, step};
use crate::stage::Stage;
use crate::verdict;
use crate::vm::Machine;

/// `make torture`
pub fn all(paths: &Paths, times: &mut Times) -> Result<()> {
    torture(paths, &Stage::all(paths)?, times)
}

/// `make stage-N torture`
pub fn stage(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    torture(paths, std::slice::from_ref(stage), times)
}

/// Runs each module on each kernel; what one of them finds does not keep the
/// others from their turn.
fn torture(paths: &Paths, stages: &[Stage], times: &mut Times) -> Result<()> {
    let given = number("SECONDS", 1..=86400)?;
    let mut verdicts = vec![];
    for flavour in Flavour::all_wanted()? {
        for stage in stages {
            let Some(torture) = &stage.about.torture else { continue };
            let seconds = given.unwrap_or(torture.seconds);
            let ready = ready(paths, stage, flavour, times)?;
            for module in &torture.modules {
                step(format!("\n== {module} for {seconds} s on {flavour}"));
                let result = one(paths, stage, module, seconds, &ready, times);
                interrupt::check()?;
                if let Err(error) = &result {
                    step(crate::render(error));
                }
                verdicts.push((format!("{module}, {seconds} s on {flavour}"), result.is_ok()));
            }
        }
    }
    close(&verdicts)
}

/// One module on one kernel.
fn one(
    paths: &Paths,
    stage: &Stage,
    module: &str,
    seconds: u64,
    ready: &Ready,
    times: &mut Times,
) -> Result<()> {
    let contract = verdict::contract(stage, module)?;
    let machine = Machine::get(paths, &ready.kernel, times)?;
    let dir = paths.build_dir(&format!("stage-{}/torture", stage.number))?;
    let wanted = Play {
        module,
        args: format!("seconds={seconds} {}", stage.module_args()?),
        limits: &[],
        // Beside that, what its script takes with any other module.
        seconds: stage.about.seconds + seconds,
        console: dir.join(format!("{module}-{}.log", ready.kernel.folder())),
    };
    let boot = play(paths, stage, ready, &machine, &wanted, times)?;
    verdict::clean(&boot)?;
    verdict::keeps(&boot, STORY, &contract)
}

/// Prints a line for each; an error if one failed, or if there was none.
fn close(verdicts: &[(String, bool)]) -> Result<()> {
    step("");
    for (what, good) in verdicts {
        step(format!("VERDICT: {}  {what}", if *good { "good.  " } else { "FAILED." }));
    }
    let failed = verdicts.iter().filter(|(_, good)| !good).count();
    match failed {
        _ if verdicts.is_empty() => Err(problem(
            "there is no torture here",
            "A stage that has one names it in its stage.toml, as [torture].",
            "",
        )),
        0 => Ok(()),
        n => Err(problem(
            format!("{n} of {} tortures failed", verdicts.len()),
            "",
            "each FAILED above has its reason further up",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_them_all_and_nothing_is_no_success() {
        let close = |good: &[bool]| {
            close(&good.iter().map(|good| ("x".to_owned(), *good)).collect::<Vec<_>>())
        };
        assert!(close(&[true, true]).is_ok());
        assert!(close(&[true, false]).unwrap_err().to_string().contains("1 of 2"));
        assert!(close(&[]).unwrap_err().to_string().contains("no torture"));
    }
}
