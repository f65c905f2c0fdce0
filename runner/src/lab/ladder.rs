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
//! modules are told apart by what stands in front of their names. What costs is to make
//! code: a step is run, and a module is made, once for each version of the files that it
//! is about; and a module that no step runs is only looked at by the compiler.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::check::QUIET;
use super::exercise::{Lab, Step, modules};
use super::guest::{self, Part};
use super::judge::{Mark, Outcome, points};
use super::review::Review;
use super::tree::{self, Files, State, Tree, from_step, stripped};
use crate::kernel::{Flavour, Kernel};
use crate::module;
use crate::paths::{Paths, make_dir, read, write};
use crate::say::{Result, Times, problem};
use crate::session::Session;
use crate::stage::Stage;
use crate::tools::{cores, lua};
use crate::vm::{Boot, End, Machine, Plan, session_limit};

/// A tree of the ladder.
struct Rung<'a> {
    prefix: String,
    files: Files,
    /// Modules that its steps run, and others of the stage.
    made: Vec<&'a str>,
    looked_at: Vec<&'a str>,
    steps: Vec<&'a Step>,
    n: u32,
}

/// What a module is, or how a step fares: by its name, or number, and the files that it is about.
type Version = (String, Vec<String>);

/// What was checked, and what became of it.
pub type Checked = Vec<(String, Result<()>)>;

/// Climbs the ladder of a stage.
pub fn climb(paths: &Paths, stage: &Stage) -> Result<Checked> {
    let lab = Lab::read(stage)?;
    let count = lab.steps.len();
    let mut rungs = vec![];
    // Which tree a step is run in, for each version of its files; and what was seen of the
    // stage's modules.
    let mut where_run: BTreeMap<Version, usize> = BTreeMap::new();
    let mut seen: BTreeSet<Version> = BTreeSet::new();
    for from in 1..=count + 1 {
        let files = tree::files(stage, &lab, from_step(from))?;
        let mut steps = vec![];
        for step in lab.steps.iter().take_while(|step| step.number <= from) {
            let index = rungs.len();
            where_run.entry(of_step(stage, step, &files)?).or_insert_with(|| {
                steps.push(step);
                index
            });
        }
        let mut rung = Rung::new(stage, format!("t{from}_"), files, steps)?;
        for module in &stage.about.modules {
            let new = seen.insert(of_module(stage, module, &rung.files)?);
            if new && !rung.made.contains(&module.as_str()) {
                rung.looked_at.push(module);
            }
        }
        rungs.push(rung);
    }
    for step in &lab.steps {
        for (i, wrong) in step.wrong.iter().enumerate() {
            let files = tree::files(stage, &lab, |other| match other.number {
                n if n < step.number => State::Solved,
                n if n > step.number => State::Stub,
                _ => State::Other(&wrong.replace),
            })?;
            let prefix = format!("w{}{}_", step.number, super::exercise::letter(i));
            rungs.push(Rung::new(stage, prefix, files, vec![step])?);
        }
    }

    let solved = tree::files(stage, &lab, |_| State::Solved)?;
    let review = Review::peek(stage)?;
    if let Some(review) = &review {
        for (name, changed) in ["mailed_", "mended_"].into_iter().zip(review.trees(stage)?) {
            let mut files = solved.clone();
            files.extend(changed);
            let mut rung = Rung::new(stage, name.into(), files, vec![])?;
            rung.looked_at.push(&review.module);
            rungs.push(rung);
        }
    }

    let mut checked = vec![];
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
    for (from, Rung { files, .. }) in (1..=count + 1).zip(&rungs) {
        let mut outcomes = vec![];
        for step in lab.steps.iter().take_while(|step| step.number <= from) {
            let rung = &rungs[where_run[&of_step(stage, step, files)?]];
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
    fn new(stage: &Stage, prefix: String, files: Files, steps: Vec<&'a Step>) -> Result<Self> {
        let mut made = vec![];
        for module in modules(steps.iter().copied()) {
            // The others are built once, for all trees.
            if !about(stage, module, &files)?.is_empty() {
                made.push(module);
            }
        }
        let n = guest::number();
        Ok(Self { prefix, files, made, looked_at: vec![], steps, n })
    }

    fn part<'b>(&'b self, stage: &'b Stage) -> Part<'b> {
        let (prefix, files) = (&self.prefix, &self.files);
        Part { stage, prefix, files, steps: self.steps.clone(), n: self.n }
    }
}

/// The files of the learner that a module is made of: those whose names it takes in. (One more,
/// of the same name in another folder, costs no more than time.)
fn about(stage: &Stage, module: &str, files: &Files) -> Result<Vec<String>> {
    let Some(root) = tree::root_of(stage, module) else { return Ok(vec![]) };
    let text = read(&stage.dir.join(&root))?;
    let takes_in = |name: &String| {
        let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
        *name == root || text.contains(&format!("mod {stem};"))
    };
    Ok(files.keys().filter(|name| takes_in(name)).cloned().collect())
}

fn of_module(stage: &Stage, module: &str, files: &Files) -> Result<Version> {
    let about = about(stage, module, files)?;
    let texts = about.iter().filter_map(|name| files.get(name).cloned());
    Ok((module.to_owned(), texts.collect()))
}

fn of_step(stage: &Stage, step: &Step, files: &Files) -> Result<Version> {
    let mut texts = vec![];
    for module in &step.modules {
        texts.extend(of_module(stage, module, files)?.1);
    }
    Ok((step.number.to_string(), texts))
}

/// Builds all trees, and runs all that is to be run.
fn run(paths: &Paths, stage: &Stage, lab: &Lab, rungs: &[Rung<'_>]) -> Result<(String, Boot)> {
    let mut times = Times::default();
    let (kernel, toolchain) = Kernel::get(paths, Flavour::Fast, &mut times)?;
    let place = format!("ladder/{}", stage.folder);
    let top = make_dir(paths.build.join(&place).join("trees"))?;
    let mut folders = String::from("# SPDX-License-Identifier: GPL-2.0\n");
    let mut shared = modules(&lab.steps);
    shared.retain(|module| rungs.iter().all(|rung| !rung.made.contains(module)));
    let (none, no_files) = (vec![], Files::new());
    let trees = std::iter::once(("", &shared, &none, &no_files));
    let trees =
        trees.chain(rungs.iter().map(|r| (r.prefix.as_str(), &r.made, &r.looked_at, &r.files)));
    let mut places = vec![];
    for (prefix, modules, looked_at, files) in trees {
        let of =
            |(name, text): (&String, &String)| ((stage.folder.clone(), name.clone()), text.clone());
        let changed = files.iter().map(of).collect();
        let tree = Tree { stage, modules, looked_at, prefix, changed: &changed };
        let name = if prefix.is_empty() { "shared" } else { prefix.trim_end_matches('_') };
        tree.make(paths, &top.join(name))?;
        let inside = format!("{name}/stages/{}", stage.folder);
        folders += &format!("obj-m += {inside}/\n");
        places.push(inside);
    }
    let shared = places.remove(0);
    let kbuild = top.join("Kbuild");
    if read(&kbuild).ok().as_ref() != Some(&folders) {
        write(&kbuild, &folders)?;
    }
    if lua::is_wanted(&stage.dir) {
        // The Kbuild of all trees does not say so.
        lua::ready(paths, &mut times)?;
    }
    let extra = [QUIET, &format!("-j{}", cores())];
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
    if boot.end == End::NeverBooted {
        // That says nothing of any step.
        boot.finished()?;
    }
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
        let exercises = paths.root.join("stages/01-x/exercises");
        std::fs::write(exercises.join("probe.rs"), "#[path = \"../k.rs\"]\nmod k;").unwrap();
        std::fs::write(exercises.join("other.c"), "").unwrap();
        let (stage, lab) = stage_and_lab(&paths);
        let of = |from: usize| {
            let mut files = tree::files(&stage, &lab, from_step(from)).unwrap();
            files.insert("k.rs".into(), (from / 2).to_string());
            files
        };
        let about = |module| about(&stage, module, &of(1)).unwrap();
        assert_eq!((about("probe"), about("m")), (vec!["k.rs".into()], vec!["m.rs".into()]));
        assert!(about("other").is_empty());
        let step = |module: &str| Step {
            modules: vec![module.into()],
            ..toml::from_str(super::super::exercise::tests::STEP).unwrap()
        };
        let version = |module, from| of_step(&stage, &step(module), &of(from)).unwrap();
        assert_eq!(version("probe", 2), version("probe", 3));
        assert_ne!(version("probe", 3), version("probe", 4));
        assert_ne!(version("m", 2), version("m", 3));
    }
}
