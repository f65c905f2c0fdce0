// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make stage-N check`: the learner's work is built, run and scored.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use super::exercise::{Lab, Question, Step, letter, modules};
use super::guest::{self, Part};
use super::judge::{Finding, Mark, Outcome};
use super::progress::{Progress, StageProgress, StepProgress};
use super::tree::{Tree, is_open};
use super::work::{self, Work};
use crate::interrupt;
use crate::kernel::{Flavour, Kernel};
use crate::module;
use crate::paths::{Paths, var};
use crate::say::{Result, Times, problem, step};
use crate::session::Session;
use crate::stage::Stage;
use crate::vm::{End, Machine, Plan, session_limit};

/// Stubs use less than what stands there later.
pub const QUIET: &str = "KRUSTFLAGS=-Aunused_imports -Aunused_variables -Aunused_mut -Adead_code";

/// Builds, runs and scores the work.  `ask`: somebody may be asked.
pub fn check(paths: &Paths, stage: &Stage, ask: bool, times: &mut Times) -> Result<()> {
    let lab = Lab::read(stage)?;
    let mut progress = Progress::read(paths)?;
    let work = Work::open(paths, stage, &lab, &progress)?;
    let only = wanted_step(stage, &lab)?;
    let current = only.or(progress.stage(stage.number).current(&lab));
    if let Some(step) = current.and_then(|number| lab.step(number)) {
        predict(stage, step, progress.stage_mut(stage.number).step_mut(step.number), ask)?;
        progress.save()?;
    }
    let steps: Vec<_> =
        lab.steps.iter().filter(|step| only.is_none_or(|number| step.number == number)).collect();
    // From the first stub on there is nothing to run.
    let open = steps.iter().position(|step| is_open(step, &work.files)).unwrap_or(steps.len());
    let mut outcomes = run(paths, stage, &lab, &work, &progress, &steps[..open], times)?;
    outcomes.extend(steps[open..].iter().enumerate().map(|(i, _)| match i {
        0 => Outcome::Open,
        _ => Outcome::Waits,
    }));

    let before = progress.stage(stage.number);
    let mine = progress.stage_mut(stage.number);
    let mut reached = true;
    for (step, outcome) in steps.iter().zip(&outcomes) {
        reached &= outcome.good();
        mine.step_mut(step.number).done = reached;
    }
    let mine = mine.clone();
    progress.save()?;
    for line in report(&lab, &steps, &outcomes, &mine) {
        crate::say::step(line);
    }
    for line in next(paths, stage, &lab, &before, &mine) {
        crate::say::step(line);
    }
    Ok(())
}

/// `STEP=`, if given.
pub fn wanted_step(stage: &Stage, lab: &Lab) -> Result<Option<usize>> {
    let Some(text) = var("STEP") else { return Ok(None) };
    match text.parse().ok().and_then(|number| lab.step(number)) {
        Some(step) => Ok(Some(step.number)),
        None => Err(problem(
            format!("stage {} has no step `{text}`", stage.number),
            list(lab).join("\n"),
            format!("make stage-{} check STEP=1, or without STEP= for all", stage.number),
        )),
    }
}

/// The steps, a line each.
pub fn list(lab: &Lab) -> Vec<String> {
    let line = |s: &Step| format!("  {:2}  {:48} {:3} points", s.number, s.title, s.points);
    lab.steps.iter().map(line).collect()
}

/// Asks for a prediction, unless there is one.
fn predict(stage: &Stage, of: &Step, progress: &mut StepProgress, ask: bool) -> Result<()> {
    let given = var("ANSWER");
    if progress.answer.is_some() {
        if given.is_some() {
            step("You have answered already, and the first answer counts.\n");
        }
        return Ok(());
    }
    let Question { ask: question, choices, .. } = &of.question;
    step(format!("Before it runs, predict ({}).\n\n{}\n", of.label(), question.trim()));
    for (i, choice) in choices.iter().enumerate() {
        step(format!("  {}) {}", letter(i), choice.trim().replace('\n', "\n     ")));
    }
    let last = letter(choices.len() - 1);
    let given = match given {
        Some(given) => given,
        None if ask && std::io::stdin().is_terminal() => {
            print!("\nyour answer (a to {last}; Enter: later) ");
            let _ = std::io::stdout().flush();
            interrupt::read_line()?.unwrap_or_default()
        }
        None => String::new(),
    };
    if given.is_empty() {
        step(format!(
            "\nmake stage-{} check ANSWER=a   answers it; it goes on without.\n",
            stage.number
        ));
        return Ok(());
    }
    match answer(&of.question, &given) {
        Some((chosen, text)) => {
            progress.answer = Some(chosen);
            step(text);
            Ok(())
        }
        None => Err(problem(
            format!("`{given}` is none of the answers"),
            format!("They are a to {last}."),
            format!("make stage-{} check ANSWER=a", stage.number),
        )),
    }
}

/// An answer and what to say of it, if it is one.
fn answer(question: &Question, given: &str) -> Option<(char, String)> {
    let mut letters = given.trim().chars();
    let chosen = letters.next()?.to_ascii_lowercase();
    let valid = ('a'..=letter(question.choices.len() - 1)).contains(&chosen);
    if !valid || letters.next().is_some() {
        return None;
    }
    let verdict = match chosen == question.answer {
        true => "That is right.".to_owned(),
        false => format!("It is {}.", question.answer),
    };
    Some((chosen, format!("\n{verdict}  {}\n", question.explanation.trim())))
}

/// Builds the work, and runs the steps in one boot.
fn run(
    paths: &Paths,
    stage: &Stage,
    lab: &Lab,
    work: &Work,
    progress: &Progress,
    steps: &[&Step],
    times: &mut Times,
) -> Result<Vec<Outcome>> {
    let (kernel, toolchain) = Kernel::get(paths, Flavour::wanted()?, times)?;
    let modules = modules(&lab.steps);
    let place = format!("lab/{}", stage.folder);
    let changed = work::overlay(paths, stage, &work.files, progress)?;
    let tree = Tree { stage, modules: &modules, looked_at: &[], prefix: "", changed: &changed };
    let dir = tree.make(paths, &paths.build.join(&place))?;
    step(format!("building work/{} ...", stage.folder));
    let built = times
        .part("module", || module::build(paths, &kernel, &toolchain, &dir, &place, None, &[QUIET]))
        .map_err(|error| does_not_build(paths, stage, &place, &error))?;
    if !built.said.is_empty() {
        step(format!("the compilers said:\n{}", in_work(stage, &place, &built.said)));
    }
    if steps.is_empty() {
        return Ok(vec![]);
    }

    let machine = Machine::get(paths, &kernel, times)?.with_cpus(guest::CPUS);
    let (files, n) = (&work.files, guest::number());
    let part = Part { stage, prefix: "", files, steps: steps.to_vec(), n };
    let mut session = Session::empty(paths)?;
    part.add(&mut session, &built.dir, &built.dir)?;
    let root = session.finish()?;
    let console = paths.build_dir(&place)?.join("console.log");
    let plan = Plan {
        kernel: &kernel,
        root: &root,
        limit: session_limit(&kernel, part.seconds()),
        boot_limit: None,
        params: &[],
        console: &console,
    };
    step(format!("booting Linux {} under {} ...", kernel.release, machine.accel()));
    let boot = machine.boot(&plan, &mut |line| {
        let begun = line.rsplit("guest: begin step-").next().filter(|rest| rest.len() < line.len());
        if let Some(of) = begun.and_then(|n| lab.step(n.trim().parse().ok()?)) {
            step(format!("  {} ...", of.label()));
        }
    })?;
    times.add("the guest", boot.took);
    if matches!(boot.end, End::NeverBooted) {
        boot.finished()?;
    }
    steps.iter().map(|step| part.outcome(step, &boot)).collect()
}

/// The compiler's message, with the learner's own files in it.
fn does_not_build(
    paths: &Paths,
    stage: &Stage,
    place: &str,
    error: &miette::Report,
) -> miette::Report {
    let said = in_work(stage, place, &error.to_string());
    let said = said.replace(&format!("{}/", paths.root.display()), "");
    match said.split_once('\n') {
        Some((_, compiler)) if said.starts_with("the module could not be built") => problem(
            "it does not compile yet",
            compiler,
            format!("mend what the first error says; then: make stage-{} check", stage.number),
        ),
        _ => problem(said, "", ""),
    }
}

/// Names of built files, as those that they were made from.
fn in_work(stage: &Stage, place: &str, said: &str) -> String {
    said.replace(
        &format!("build/{place}/stages/{}/", stage.folder),
        &format!("work/{}/", stage.folder),
    )
    .replace(&format!("build/{place}/stages/"), "stages/")
}

/// What is said of the steps, and the score.
fn report(lab: &Lab, steps: &[&Step], outcomes: &[Outcome], mine: &StageProgress) -> Vec<String> {
    let mut lines = vec![String::new()];
    for (step, outcome) in steps.iter().zip(outcomes) {
        let earned = match () {
            () if !outcome.good() => 0,
            () if mine.step(step.number).given_up => 0,
            () => step.points,
        };
        let says = match outcome {
            Outcome::Open => "not begun".to_owned(),
            Outcome::Waits => "waits for the one before".to_owned(),
            _ if !outcome.good() => "not yet".to_owned(),
            _ if mine.step(step.number).given_up => "good, with the solution".to_owned(),
            _ => "good".to_owned(),
        };
        lines.push(format!(
            "{:2}  {:48} {earned:3}/{:<3} {says}",
            step.number, step.title, step.points
        ));
        let Outcome::Ran(findings) = outcome else { continue };
        if !outcome.good() {
            let caused = findings.iter().any(|finding| finding.cause);
            findings.iter().for_each(|finding| lines.extend(told(finding, caused)));
            lines.push(String::new());
        }
    }
    let (answered, right) = mine.answers(lab);
    lines.push(format!(
        "\nscore: {} of {} points; predictions: {right} of {answered} right",
        mine.points(lab),
        lab.points(),
    ));
    lines
}

/// A finding, for the screen.  What is only missing, and there is a cause for that,
/// takes one line.
fn told(finding: &Finding, caused: bool) -> Vec<String> {
    let mark = match finding.mark {
        Mark::Good => "GOOD",
        Mark::Missing => "MISSING",
        Mark::Bad => "BAD",
    };
    let mut lines = vec![format!("      {mark:8} {}", finding.what)];
    if caused && finding.mark == Mark::Missing {
        return lines;
    }
    lines.extend(
        finding.context.iter().map(|line| format!("               | {line}").trim_end().to_owned()),
    );
    lines.extend(finding.means.lines().map(|line| format!("               {line}")));
    lines
}

/// What comes next, with the command.
fn next(
    paths: &Paths,
    stage: &Stage,
    lab: &Lab,
    before: &StageProgress,
    mine: &StageProgress,
) -> Vec<String> {
    let n = stage.number;
    let new = lab.steps.iter().filter(|s| mine.step(s.number).done && !before.step(s.number).done);
    let new: Vec<_> = new.map(|s| s.number).collect();
    let mut lines = vec![];
    if let Some(last) = new.last() {
        lines.push(format!(
            "Solved just now: step {}.  How the stage does it: make stage-{n} solution STEP={last}",
            new.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
        ));
    }
    let Some(current) = mine.current(lab).and_then(|number| lab.step(number)) else {
        lines.push(format!(
            "All {} steps are good.  Run what you have built:\n\n  make stage-{n} run WORK=1",
            lab.steps.len()
        ));
        return lines;
    };
    let file = |(file, line)| format!("work/{}/{file}:{line}", stage.folder);
    let place = work::place(&work::dir(paths, stage), lab, current.number).map(file);
    let place = place.unwrap_or_else(|| {
        let first = current.replace.first().map_or("", |replace| &replace.file);
        format!("work/{}/{first}", stage.folder)
    });
    lines.push(format!("Next: {}\n  {place}\n", current.label()));
    lines.push(format!("  make stage-{n} check   when you have changed it"));
    let hints = mine.step(current.number).hints;
    if hints < 3 {
        let which = ["first", "second", "third"][hints];
        lines.push(format!("  make stage-{n} hint    the {which} of three hints"));
    } else {
        lines.push(format!("  make stage-{n} hint    the hints again"));
    }
    lines
}

/// `WORK=1 run`: the stage with the learner's files in it, all of them.
pub fn work_stage(paths: &Paths, stage: &Stage) -> Result<Option<Stage>> {
    match var("WORK").as_deref() {
        None | Some("0") => return Ok(None),
        Some("1") => {}
        Some(other) => {
            return Err(problem(
                format!("WORK={other} is not what it should be"),
                "WORK=1 runs your own work.",
                format!("make stage-{} run WORK=1", stage.number),
            ));
        }
    }
    let lab = Lab::read(stage)?;
    let progress = Progress::read(paths)?;
    let work = Work::open(paths, stage, &lab, &progress)?;
    let changed = work::overlay(paths, stage, &work.files, &progress)?;
    let modules: Vec<_> = stage.about.modules.iter().map(String::as_str).collect();
    let tree = Tree { stage, modules: &modules, looked_at: &[], prefix: "", changed: &changed };
    let dir: PathBuf = tree.make(paths, &paths.build.join(format!("work/{}", stage.folder)))?;
    // What goes with the modules is the stage's own.
    super::tree::copy_rest(&stage.dir, &dir)?;
    Ok(Some(Stage { dir, ..Stage::get(paths, &format!("stage-{}", stage.number))? }))
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{checkout, stage_and_lab};
    use super::*;

    #[test]
    fn the_first_letter_is_the_answer() {
        let (_dir, paths) = checkout();
        let (_, lab) = stage_and_lab(&paths);
        let answer = |given| answer(&lab.steps[0].question, given);
        assert_eq!(answer("b").unwrap(), ('b', "\nThat is right.  It will not.\n".into()));
        assert!(answer(" A ").unwrap().1.contains("It is b."));
        for none in ["c", "", "yes", "1"] {
            assert_eq!(answer(none), None, "{none}");
        }
    }

    #[test]
    fn a_message_names_the_learner_s_own_file() {
        let (_dir, paths) = checkout();
        let (stage, _) = stage_and_lab(&paths);
        let said = "the module could not be built\nerror[E0308]: x\n --> build/lab/01-x/stages/01-x/m.rs:3:5";
        let error = does_not_build(&paths, &stage, "lab/01-x", &problem(said, "", ""));
        let text = error.to_string();
        assert!(text.starts_with("it does not compile yet\nerror[E0308]"), "{text}");
        assert!(text.ends_with("--> work/01-x/m.rs:3:5"), "{text}");
    }

    #[test]
    fn what_was_found_is_told_with_the_next_step() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        work::begin(&paths, &stage, &lab, 1).unwrap();
        let bad = Finding {
            mark: Mark::Bad,
            what: "it is done".into(),
            context: vec!["> a line".into()],
            means: "it was not done".into(),
            cause: false,
        };
        let steps: Vec<_> = lab.steps.iter().collect();
        let mut mine = StageProgress::default();
        mine.step_mut(1).done = true;
        let outcomes = [Outcome::Ran(vec![]), Outcome::Ran(vec![bad])];
        let text = report(&lab, &steps, &outcomes, &mine).join("\n");
        for says in
            ["10/10  good", "0/10  not yet", "BAD      it is done", "| > a line", "score: 10 of 20"]
        {
            assert!(text.contains(says), "`{says}` is missing in:\n{text}");
        }
        let text = next(&paths, &stage, &lab, &StageProgress::default(), &mine).join("\n");
        for says in
            ["Solved just now: step 1", "Next: step 2: second", "m.rs:9", "the first of three"]
        {
            assert!(text.contains(says), "`{says}` is missing in:\n{text}");
        }
        mine.step_mut(2).done = true;
        let text = next(&paths, &stage, &lab, &mine.clone(), &mine).join("\n");
        assert!(text.contains("All 2 steps are good") && text.contains("run WORK=1"), "{text}");
        // Given up: done, but not for points.
        mine.step_mut(1).given_up = true;
        let good = [Outcome::Ran(vec![]), Outcome::Ran(vec![])];
        let text = report(&lab, &steps, &good, &mine).join("\n");
        assert!(
            text.contains("good, with the solution") && text.contains("score: 10 of 20"),
            "{text}"
        );
    }
}
