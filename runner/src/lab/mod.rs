// SPDX-License-Identifier: MIT OR Apache-2.0

//! The labs: a learner writes the essential parts of a stage, step by step, and
//! is told after each run what is right and what comes next.
//!
//! - [`exercise`]: what a step is, as its file in `exercises/` has it,
//! - [`tree`]: the sources with steps solved, open or wrong, made from the stage's own,
//! - [`work`]: the learner's folder, [`progress`]: how far they are,
//! - [`guest`] runs the steps, [`judge`] says what their logs are worth,
//! - [`check`] is what a learner calls, [`ladder`] is its test: each step gets
//!   its points when it is solved, and not before,
//! - [`review`]: a patch with mistakes in it, and remarks on them.

mod check;
mod exercise;
mod guest;
mod judge;
mod ladder;
mod progress;
mod review;
mod tree;
mod watch;
mod work;

use std::process::Command;

pub use check::work_stage;
use exercise::{Lab, Step};
pub use ladder::climb;
use progress::Progress;
use review::Review;
pub use review::review;
use work::Begun;

use crate::house::ask;
use crate::interrupt;
use crate::kernel::{Flavour, Kernel, clean_environment};
use crate::paths::{Paths, number};
use crate::say::{Doing, Result, Times, problem, step};
use crate::stage::Stage;
use crate::variant::Replace;

/// `make stage-N lab [FROM=k]`
pub fn lab(paths: &Paths, stage: &Stage, _: &mut Times) -> Result<()> {
    let lab = Lab::read(stage)?;
    let n = stage.number;
    let from = from(&lab)?;
    match work::begin(paths, stage, &lab, from)? {
        Begun::New(_) => started(paths, stage, &lab, from)?,
        Begun::Mended(files) => step(format!(
            "These were missing in work/{}, and are there again, as they were at the start:\n  {}\n\nAll else is as you left it.",
            stage.folder,
            files.join("\n  "),
        )),
        Begun::There => step(format!(
            "work/{} is there already, and stays as it is.\n\n\
             \x20 make stage-{n} check   where you are, and what comes next\n\
             \x20 make stage-{n} reset   begins anew{}; what you have is kept as a backup",
            stage.folder,
            if from > 1 { format!(" (with FROM={from})") } else { String::new() },
        )),
    }
    Ok(())
}

/// `FROM=`: the first step that is a stub.
fn from(lab: &Lab) -> Result<usize> {
    let last = lab.steps.len() as u64;
    Ok(number("FROM", 1..=last)?.unwrap_or(1) as usize)
}

/// A new folder is there: what is in it, and what to do.
fn started(paths: &Paths, stage: &Stage, lab: &Lab, from: usize) -> Result<()> {
    let n = stage.number;
    let mut progress = Progress::read(paths)?;
    let mine = progress.stage_mut(n);
    mine.made_from = Some(tree::version(stage, lab)?);
    for step in &lab.steps {
        let solved = step.number < from;
        let mine = mine.step_mut(step.number);
        // Solved for them, so not for points; unless they did it before.
        mine.given_up |= solved && !mine.done;
        mine.done = solved;
    }
    progress.save()?;
    step(format!(
        "work/{} is yours: the source of stage {n} with {} steps left out.\n",
        stage.folder,
        lab.steps.len() + 1 - from
    ));
    check::list(lab).iter().skip(from - 1).for_each(step);
    if let Some((file, line)) = work::place(&work::dir(paths, stage), lab, from) {
        step(format!("\nBegin here: work/{}/{file}:{line}\n", stage.folder));
    }
    step(format!(
        "  make stage-{n} check           builds it, runs it in a VM, and says what is right\n\
         \x20 make stage-{n} watch           does so each time you save\n\
         \x20 make stage-{n} hint            helps, three times a step\n\
         \x20 make stage-{n} rust-analyzer   lets your editor understand the kernel crate"
    ));
    Ok(())
}

/// `make stage-N check`
pub fn check(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    check::check(paths, stage, true, times)
}

/// `make stage-N watch`
pub fn watch(paths: &Paths, stage: &Stage, _: &mut Times) -> Result<()> {
    watch::watch(paths, stage)
}

/// `make stage-N hint`
pub fn hint(paths: &Paths, stage: &Stage, _: &mut Times) -> Result<()> {
    let lab = Lab::read(stage)?;
    let mut progress = Progress::read(paths)?;
    let Some(of) = step_in_question(stage, &lab, &progress)? else { return Ok(()) };
    let n = stage.number;
    let mine = progress.stage_mut(n).step_mut(of.number);
    let shown: Vec<_> = match of.hints.get(mine.hints) {
        Some(_) => {
            mine.hints += 1;
            vec![mine.hints - 1]
        }
        None => (0..of.hints.len()).collect(),
    };
    let last = shown.last() == Some(&(of.hints.len() - 1));
    for i in shown {
        let text = of.hints[i].trim();
        step(format!("{}, hint {} of {}\n\n{text}\n", of.label(), i + 1, of.hints.len()));
    }
    match last {
        true => step(format!(
            "That was all.  If it does not help: make stage-{n} solution (it asks first)"
        )),
        false => step(format!(
            "  make stage-{n} check   when you have tried\n  make stage-{n} hint    says more"
        )),
    }
    progress.save()
}

/// `STEP=`, or the first that is not done; says so, if all are.
fn step_in_question<'a>(
    stage: &Stage,
    lab: &'a Lab,
    progress: &Progress,
) -> Result<Option<&'a Step>> {
    let number =
        check::wanted_step(stage, lab)?.or_else(|| progress.stage(stage.number).current(lab));
    if number.is_none() {
        let n = stage.number;
        step(format!("All steps of stage {n} are good.  One of them again: STEP=1"));
    }
    Ok(number.and_then(|number| lab.step(number)))
}

/// `make stage-N solution`
pub fn solution(paths: &Paths, stage: &Stage, _: &mut Times) -> Result<()> {
    let lab = Lab::read(stage)?;
    let mut progress = Progress::read(paths)?;
    let Some(of) = step_in_question(stage, &lab, &progress)? else { return Ok(()) };
    let n = stage.number;
    let mine = progress.stage_mut(n).step_mut(of.number);
    if !mine.done && !mine.given_up {
        step(format!(
            "{} is not solved yet.  If you look now, it earns no points ({}).",
            of.label(),
            of.points
        ));
        if !ask("show the solution?", "Nothing was shown.", &format!("make stage-{n} solution"))? {
            step(format!("It stays closed.  make stage-{n} hint"));
            return Ok(());
        }
        mine.given_up = true;
        progress.save()?;
    }
    for (Replace { region, .. }, (file, text)) in of.replace.iter().zip(tree::solution(stage, of)?)
    {
        step(format!("-- {file}, in place of the stub ({region})\n\n{text}"));
    }
    step(format!("The whole file: stages/{}/\nNext: make stage-{n} check", stage.folder));
    Ok(())
}

/// `make stage-N reset [FROM=k]`
pub fn reset(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    let read = Lab::read(stage)?;
    let from = from(&read)?;
    let n = stage.number;
    if !work::is_there(paths, stage) {
        step(format!("There is no work for stage {n}: this begins it.\n"));
        return lab(paths, stage, times);
    }
    step(format!("This begins stage {n} anew.  What you have moves to work/backup/."));
    if !ask("do it?", "Nothing was changed.", &format!("make stage-{n} reset"))? {
        step("Nothing was changed.");
        return Ok(());
    }
    let place = work::put_away(paths, stage)?;
    step(format!("Your work is in {} now.\n", paths.shown(&place)));
    work::begin(paths, stage, &read, from)?;
    started(paths, stage, &read, from)
}

/// `make progress`
pub fn progress(paths: &Paths, _: &mut Times) -> Result<()> {
    let progress = Progress::read(paths)?;
    let mut next = None;
    for stage in Stage::all(paths)? {
        let n = stage.number;
        let Some(lab) = Lab::peek(&stage)? else {
            step(format!("stage {n}  {:52} no exercises yet", stage.about.title));
            continue;
        };
        let mine = progress.stage(n);
        let begun = work::is_there(paths, &stage);
        let done = lab.steps.iter().filter(|s| mine.step(s.number).done).count();
        let bar: String =
            lab.steps.iter().map(|s| if mine.step(s.number).done { '#' } else { '.' }).collect();
        let (answered, right) = mine.answers(&lab);
        step(format!(
            "stage {n}  {:52} [{bar}] {done} of {} steps, {} of {} points, predictions {right} of {answered}",
            stage.about.title,
            lab.steps.len(),
            mine.points(&lab),
            lab.points(),
        ));
        if Review::peek(&stage)?.is_some() {
            let told = match mine.review {
                None => format!("not begun: make stage-{n} review"),
                Some(r) => format!("found {}, {} points", r.found, r.points),
            };
            step(format!("{:61} review: {told}", ""));
        }
        if next.is_none() && mine.current(&lab).is_some() {
            next = Some(format!("make stage-{n} {}", if begun { "check" } else { "lab" }));
        }
    }
    match next {
        Some(command) => step(format!("\nnext: {command}")),
        None => step("\nAll that there is has been solved."),
    }
    Ok(())
}

/// `make stage-N rust-analyzer`
pub fn rust_analyzer(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    let dir = work::dir(paths, stage);
    work::must_be_there(paths, stage)?;
    for earlier in Stage::all(paths)?.iter().filter(|s| s.number < stage.number) {
        work::lend(paths, earlier)?;
    }
    let (kernel, toolchain) = Kernel::get(paths, Flavour::wanted()?, times)?;
    let mut make = Command::new("make");
    make.arg("-C").arg(&kernel.dir).arg(format!("M={}", dir.display()));
    make.args(toolchain.make_args(paths)).arg("rust-analyzer");
    clean_environment(&mut make);
    let out = interrupt::output(&mut make).doing(|| "run make".into())?;
    interrupt::check()?;
    let made = dir.join("rust-project.json");
    if !out.status.success() || !made.is_file() {
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        return Err(problem("the kernel could not describe itself to rust-analyzer", said, ""));
    }
    step(format!(
        "work/{}/rust-project.json describes the kernel crate and your files.\n\
         Open the folder work/{} in an editor with rust-analyzer.",
        stage.folder, stage.folder
    ));
    Ok(())
}
