// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ladder: the test of the exercises, the stubs, the checks and the
//! solutions, all at once.
//!
//! For each step k, the tree with the steps before it solved has to build
//! without a warning and to get exactly the points of those steps; from the first
//! on it gets none, and complete all of them. Each wrong answer has to get less, and
//! the words that help.
//!
//! All trees are built in one call of Kbuild and run in one boot on `fast`. Their
//! modules are told apart by what stands in front of their names. A step is run once
//! for each version of the files that it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::check::QUIET;
use super::exercise::{Lab, Step};
use super::guest::{self, Part};
use super::judge::{Mark, Outcome, points};
use super::tree::{self, Files, State, Tree, from_step, stripped};
use crate::kernel::{Flavour, Kernel};
use crate::module;
use crate::paths::{Paths, make_dir, read, write};
use crate::say::{Result, Times, problem};
use crate::session::Session;
use crate::stage::Stage;
use crate::vm::{Boot, Machine, Plan, session_limit};

/// A tree of the ladder.
struct Rung<'a> {
    prefix: String,
    files: Files,
    modules: Vec<&'a str>,
    steps: Vec<&'a Step>,
    n: u32,
}

/// What decides how a step fares: the step, and the files that it is about.
type Version = (usize, Vec<String>);

/// What was checked, and what became of it.
pub type Checked = Vec<(String, Result<()>)>;

/// Climbs the ladder of a stage.
pub fn climb(paths: &Paths, stage: &Stage) -> Result<Checked> {
    let lab = Lab::read(stage)?;
    let count = lab.steps.len();
    let mut rungs = vec![];
    // Which tree a step is run in, for each version of its files.
    let mut where_run: BTreeMap<Version, usize> = BTreeMap::new();
    for from in 1..=count + 1 {
        let files = tree::files(stage, &lab, from_step(from))?;
        let mut steps = vec![];
        for step in lab.steps.iter().take_while(|step| step.number <= from) {
            let index = rungs.len();
            where_run.entry(version(stage, step, &files)?).or_insert_with(|| {
                steps.push(step);
                index
            });
        }
        let mut modules: BTreeSet<_> = stage.about.modules.iter().map(String::as_str).collect();
        modules.extend(steps.iter().flat_map(|step| &step.modules).map(String::as_str));
        rungs.push(Rung::new(stage, format!("t{from}_"), files, modules, steps)?);
    }
    for step in &lab.steps {
        for (i, wrong) in step.wrong.iter().enumerate() {
            let files = tree::files(stage, &lab, |other| match other.number {
                n if n < step.number => State::Solved,
                n if n > step.number => State::Stub,
                _ => State::Other(&wrong.replace),
            })?;
            let modules = step.modules.iter().map(String::as_str).collect();
            let prefix = format!("w{}{}_", step.number, super::exercise::letter(i));
            rungs.push(Rung::new(stage, prefix, files, modules, vec![step])?);
        }
    }

    let mut checked = vec![];
    let solved = tree::files(stage, &lab, |_| State::Solved)?;
    checked
        .push(("with all steps solved it is the stage's own source".into(), same(stage, &solved)));
    let (said, boot) = run(paths, stage, &lab, &rungs)?;
    checked.push((
        format!("{} trees build without a warning", rungs.len()),
        match said.as_str() {
            "" => Ok(()),
            said => Err(problem("the compilers are not content", said, "")),
        },
    ));
    checked.push(("the guest came to its end".into(), boot.finished()));
    let of = |rung: &Rung<'_>, step: &Step| rung.part(stage).outcome(step, &boot);
    for from in 1..=count + 1 {
        let files = tree::files(stage, &lab, from_step(from))?;
        let mut outcomes = vec![];
        for step in lab.steps.iter().take_while(|step| step.number <= from) {
            let rung = &rungs[where_run[&version(stage, step, &files)?]];
            outcomes.push(of(rung, step)?);
        }
        let wanted = lab.steps.iter().filter(|s| s.number < from).map(|s| s.points).sum();
        let name = match from {
            1 => "from the first step on: 0 points".into(),
            _ if from > count => format!("complete: all {wanted} points"),
            _ => format!("with the steps before {from} solved: {wanted} points"),
        };
        checked.push((name, exactly(&lab, &outcomes, wanted)));
    }
    let mut wrongs = rungs.iter().skip(count + 1);
    for step in &lab.steps {
        for (wrong, rung) in step.wrong.iter().zip(&mut wrongs) {
            let name = format!("wrong answer to step {}: {}", step.number, wrong.title);
            checked.push((name, caught(&of(rung, step)?, &wrong.says)));
        }
    }
    Ok(checked)
}

impl<'a> Rung<'a> {
    fn new(
        stage: &Stage,
        prefix: String,
        files: Files,
        modules: BTreeSet<&'a str>,
        steps: Vec<&'a Step>,
    ) -> Result<Self> {
        // The others are built once, for all trees.
        let mut own = vec![];
        for module in modules {
            if !about(stage, module)?.is_empty() {
                own.push(module);
            }
        }
        Ok(Self { prefix, files, modules: own, steps, n: guest::number() })
    }

    fn part<'b>(&'b self, stage: &'b Stage) -> Part<'b> {
        Part { stage, prefix: &self.prefix, steps: self.steps.clone(), n: self.n }
    }
}

/// The files of the learner that a module is made of: for one of the exercises,
/// those that it names; for one of the stage, any.
fn about(stage: &Stage, module: &str) -> Result<Vec<String>> {
    if stage.about.modules.iter().any(|m| m == module) {
        return Ok(vec!["*".into()]);
    }
    let text = read(&stage.dir.join(format!("exercises/{module}.rs")))?;
    let named = text.split("#[path = \"../").skip(1).filter_map(|rest| rest.split('"').next());
    Ok(named.map(str::to_owned).collect())
}

fn version(stage: &Stage, step: &Step, files: &Files) -> Result<Version> {
    let mut texts = BTreeSet::new();
    for module in &step.modules {
        let about = about(stage, module)?;
        let all = about.iter().any(|name| name == "*");
        let of = files.iter().filter(|(name, _)| all || about.contains(name));
        texts.extend(of.map(|(_, text)| text.clone()));
    }
    Ok((step.number, texts.into_iter().collect()))
}

/// Builds all trees, and runs all that is to be run.
fn run(paths: &Paths, stage: &Stage, lab: &Lab, rungs: &[Rung<'_>]) -> Result<(String, Boot)> {
    let mut times = Times::default();
    let (kernel, toolchain) = Kernel::get(paths, Flavour::Fast, &mut times)?;
    let place = format!("ladder/{}", stage.folder);
    let top = make_dir(paths.build.join(&place).join("trees"))?;
    let mut folders = String::from("# SPDX-License-Identifier: GPL-2.0\n");
    let mut make = |prefix: &str, modules: &[&str], files: &Files| -> Result<String> {
        let of =
            |(name, text): (&String, &String)| ((stage.folder.clone(), name.clone()), text.clone());
        let changed = files.iter().map(of).collect();
        let tree = Tree { stage, modules, prefix, changed: &changed };
        let name = if prefix.is_empty() { "shared" } else { prefix.trim_end_matches('_') };
        tree.make(paths, &top.join(name))?;
        let inside = format!("{name}/stages/{}", stage.folder);
        folders += &format!("obj-m += {inside}/\n");
        Ok(inside)
    };
    let mut shared = vec![];
    for module in lab.steps.iter().flat_map(|step| &step.modules) {
        if about(stage, module)?.is_empty() && !shared.contains(&module.as_str()) {
            shared.push(module.as_str());
        }
    }
    let shared = make("", &shared, &Files::new())?;
    let mut places = vec![];
    for rung in rungs {
        places.push(make(&rung.prefix, &rung.modules, &rung.files)?);
    }
    let kbuild = top.join("Kbuild");
    if read(&kbuild).ok().as_ref() != Some(&folders) {
        write(&kbuild, &folders)?;
    }
    let jobs = std::thread::available_parallelism().map_or(2, usize::from);
    let extra = [QUIET, &format!("-j{jobs}")];
    let built =
        module::build(paths, &kernel, &toolchain, &top, &format!("{place}/built"), None, &extra)?;

    let mut session = Session::empty(paths)?;
    for (rung, place) in rungs.iter().zip(&places) {
        let (dir, shared): (PathBuf, PathBuf) = (built.dir.join(place), built.dir.join(&shared));
        rung.part(stage).add(&mut session, &dir, &shared)?;
    }
    let root = session.finish()?;
    let machine = Machine::get(paths, &kernel, &mut times)?.with_cpus(guest::CPUS);
    let console = paths.build_dir("test")?.join(format!("ladder-stage-{}.log", stage.number));
    let seconds = rungs.iter().map(|rung| rung.part(stage).seconds()).sum();
    let plan = Plan {
        kernel: &kernel,
        root: &root,
        limit: session_limit(&kernel, seconds),
        boot_limit: None,
        params: &[],
        console: &console,
    };
    let boot = machine.boot(&plan, &mut |_| ())?;
    Ok((built.said, boot))
}

/// The solved tree is the stage.
fn same(stage: &Stage, solved: &Files) -> Result<()> {
    for (name, text) in solved {
        if *text != stripped(&read(&stage.dir.join(name))?) {
            return Err(problem(format!("{name} is another"), "", ""));
        }
    }
    Ok(())
}

/// As many points, no more and no less.
fn exactly(lab: &Lab, outcomes: &[Outcome], wanted: u32) -> Result<()> {
    let got = points(lab, outcomes);
    if got == wanted {
        return Ok(());
    }
    let told = lab
        .steps
        .iter()
        .zip(outcomes)
        .map(|(step, outcome)| format!("step {}: {}", step.number, told(outcome)));
    Err(problem(
        format!("it gets {got} points, not {wanted}"),
        told.collect::<Vec<_>>().join("\n"),
        "",
    ))
}

/// A wrong answer is not good, and somebody who gave it is helped.
fn caught(outcome: &Outcome, says: &str) -> Result<()> {
    let Outcome::Ran(findings) = outcome else {
        return Err(problem("it was not run", "", ""));
    };
    if outcome.good() {
        return Err(problem("it passes for a right one", "", ""));
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut bad = findings.iter().filter(|finding| finding.mark != Mark::Good);
    if bad.any(|f| words(&format!("{} {}", f.what, f.means)).contains(says)) {
        return Ok(());
    }
    Err(problem(format!("nothing that is said of it has `{says}`"), told(outcome), ""))
}

fn told(outcome: &Outcome) -> String {
    let Outcome::Ran(findings) = outcome else { return "did not run".into() };
    let bad = findings.iter().filter(|finding| finding.mark != Mark::Good);
    let lines: Vec<_> = bad
        .map(|f| {
            format!("  {:?} {}\n    {}\n    {}", f.mark, f.what, f.context.join("\n    "), f.means)
        })
        .collect();
    if lines.is_empty() { "good".into() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::super::judge::Finding;
    use super::super::tree::tests::{checkout, stage_and_lab};
    use super::*;

    fn outcome(mark: Mark) -> Outcome {
        let means = "Nobody\n calls it.".into();
        Outcome::Ran(vec![Finding {
            mark,
            what: "it runs".into(),
            context: vec![],
            means,
            cause: false,
        }])
    }

    #[test]
    fn more_points_are_as_wrong_as_fewer() {
        let (_dir, paths) = checkout();
        let (_, lab) = stage_and_lab(&paths);
        let good = [outcome(Mark::Good), outcome(Mark::Bad)];
        assert!(exactly(&lab, &good, 10).is_ok());
        assert!(exactly(&lab, &good, 0).unwrap_err().to_string().contains("10 points, not 0"));
        let why = exactly(&lab, &good, 20).unwrap_err().to_string();
        assert!(why.contains("Bad it runs"), "{why}");
    }

    #[test]
    fn a_wrong_answer_must_fail_with_the_words_that_help() {
        assert!(caught(&outcome(Mark::Bad), "Nobody calls it").is_ok());
        assert!(caught(&outcome(Mark::Bad), "somebody").is_err());
        assert!(caught(&outcome(Mark::Good), "Nobody").is_err());
        assert!(caught(&Outcome::Waits, "Nobody").is_err());
    }

    #[test]
    fn a_step_is_run_once_for_each_version_of_its_files() {
        let (_dir, paths) = checkout();
        std::fs::write(
            paths.root.join("stages/01-x/exercises/probe.rs"),
            "#[path = \"../m.rs\"]\nmod m;",
        )
        .unwrap();
        let (stage, lab) = stage_and_lab(&paths);
        assert_eq!(about(&stage, "probe").unwrap(), ["m.rs"]);
        assert_eq!(about(&stage, "m").unwrap(), ["*"]);
        let of = |from| {
            let mut files = tree::files(&stage, &lab, from_step(from)).unwrap();
            files.insert("else.rs".into(), from.to_string());
            files
        };
        let step = Step {
            modules: vec!["probe".into()],
            ..toml::from_str(super::super::exercise::tests::STEP).unwrap()
        };
        assert_eq!(
            version(&stage, &step, &of(3)).unwrap(),
            version(&stage, &step, &of(4)).unwrap()
        );
        assert_ne!(
            version(&stage, &step, &of(3)).unwrap(),
            version(&stage, &step, &of(2)).unwrap()
        );
    }
}
