// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make test`: every check that a checkout must pass.
//!
//! Each check is counted, a failed one is shown whole, and the last line is
//! `N passed, N failed`.  Checks that cannot disturb each other share a boot;
//! each that finds something has a broken variant beside it that it must find.

mod host;
mod misfits;
mod stages;

use std::collections::BTreeMap;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::bench;
use crate::book;
use crate::debug;
use crate::interrupt;
use crate::kernel::{Flavour, Kernel};
use crate::lab;
use crate::paths::{Paths, var};
use crate::say::{Result, Times, problem, seconds, step};
use crate::stage::Stage;
use crate::tools::{Need, cores, ensure};

/// What was counted so far.
#[derive(Default)]
pub struct Tally {
    parts: Vec<Part>,
    /// Checks whose results are told later, where others run beside them.
    held: Option<Checked>,
}

/// Checks, by their names, and what came of each.
type Checked = Vec<(String, Result<()>)>;

/// Some checks that need no others, and disturb none.
type Job<'a> = Box<dyn FnOnce() -> Checked + Send + 'a>;

/// A part of the tests, with its counts.
struct Part {
    name: String,
    passed: u64,
    failed: u64,
    took: Duration,
}

impl Tally {
    /// Runs a part; its checks go to the closure's argument.
    fn part(
        &mut self,
        name: impl Into<String>,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        interrupt::check()?;
        let name = name.into();
        step(format!("\n== {name}"));
        self.parts.push(Part { name, passed: 0, failed: 0, took: Duration::ZERO });
        let began = Instant::now();
        // What keeps a part from going on is a failure of that part.
        if let Err(error) = work(self) {
            self.count("the part could be run to its end", Err(error));
        }
        if let Some(part) = self.parts.last_mut() {
            part.took = began.elapsed();
        }
        Ok(())
    }

    /// One check.
    pub fn check(&mut self, name: impl AsRef<str>, check: impl FnOnce() -> Result<()>) {
        let result = check();
        self.count(name.as_ref(), result);
    }

    /// Runs jobs side by side, one more than there are cores: a VM waits at times.
    /// Their results come in the order of the jobs; the last of each says how long all took.
    fn side_by_side(&mut self, jobs: Vec<Job<'_>>) -> Result<()> {
        let workers = cores().min(4) + 1;
        let jobs = Mutex::new(jobs.into_iter().enumerate());
        let next = || jobs.lock().unwrap_or_else(|e| e.into_inner()).next();
        let (send, receive) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let send = send.clone();
                scope.spawn(move || {
                    while let Some((number, job)) = next().filter(|_| !interrupt::came()) {
                        let began = Instant::now();
                        let mut checked = job();
                        if let Some((last, _)) = checked.last_mut() {
                            *last += &format!(" ({})", seconds(began.elapsed()));
                        }
                        // Nobody receives what comes after a panic.
                        let _ = send.send((number, checked));
                    }
                });
            }
            drop(send);
            let (mut early, mut turn) = (BTreeMap::new(), 0);
            for (number, checked) in receive {
                early.insert(number, checked);
                while let Some(checked) = early.remove(&turn) {
                    checked.into_iter().for_each(|(name, result)| self.count(&name, result));
                    turn += 1;
                }
            }
        });
        interrupt::check()
    }

    /// The checks of some work, told later.
    fn held(work: impl FnOnce(&mut Self) -> Result<()>) -> Checked {
        let mut tally = Self { parts: vec![], held: Some(vec![]) };
        if let Err(error) = work(&mut tally) {
            tally.count("it could be run to its end", Err(error));
        }
        tally.held.unwrap_or_default()
    }

    fn count(&mut self, name: &str, result: Result<()>) {
        if let Some(held) = &mut self.held {
            return held.push((name.to_owned(), result));
        }
        match result {
            Ok(()) => {
                step(format!("  ok      {name}"));
                self.add(1, 0);
            }
            Err(error) => {
                step(format!("  FAILED  {name}\n{}", crate::render(&error)));
                self.add(0, 1);
            }
        }
    }

    /// Adds what another runner has counted.
    fn add(&mut self, passed: u64, failed: u64) {
        if let Some(part) = self.parts.last_mut() {
            part.passed += passed;
            part.failed += failed;
        }
    }

    /// Prints all parts and the closing line; an error if anything failed.
    fn close(self) -> Result<()> {
        step("\nparts");
        for part in &self.parts {
            step(format!(
                "  {:32} {:4} passed {:3} failed  {}",
                part.name,
                part.passed,
                part.failed,
                seconds(part.took)
            ));
        }
        let passed: u64 = self.parts.iter().map(|p| p.passed).sum();
        let failed: u64 = self.parts.iter().map(|p| p.failed).sum();
        step(format!("\n{passed} passed, {failed} failed"));
        if failed == 0 && passed > 0 {
            return Ok(());
        }
        Err(problem("the tests failed", "", "each FAILED above says why"))
    }
}

/// `make test`, or of it the exercises of all stages: `make test C=exercises`; or what has to
/// hold in the book: `make test C=book`
pub fn all(paths: &Paths, times: &mut Times) -> Result<()> {
    match var("C").as_deref() {
        Some("exercises") => return exercises(paths, &Stage::all(paths)?),
        Some("book") => {
            let mut tally = Tally::default();
            tally.part("book", |t| host::book(paths, t))?;
            return tally.close();
        }
        _ => {}
    }
    // First all that can take long, with its progress on the screen.
    let toolchain = ensure(
        paths,
        &[Need::Runner, Need::Module, Need::Kernel, Need::Vm, Need::Lint, Need::Debug],
        times,
    )?;
    for flavour in Flavour::ALL {
        Kernel::get(paths, flavour, times)?;
    }
    book::ready(paths, times)?;
    let stages = Stage::all(paths)?;
    let mut tally = Tally::default();
    tally.part("host program", |t| host::program(paths, t))?;
    tally.part("models", |t| host::models(paths, &stages, t))?;
    tally.part("lint", |t| host::lint(paths, &toolchain, &stages, t))?;
    tally.part("traces", |t| host::traces(&stages, t))?;
    tally.part("readme", |t| host::readme(paths, &stages, t))?;
    tally.part("book", |t| host::book(paths, t))?;
    tally.part("stages build alone", |t| host::alone(paths, &toolchain, &stages, t))?;
    labs(paths, &stages, &mut tally)?;
    for (i, stage) in stages.iter().enumerate() {
        // Once a kernel, so the first stage has it along.
        let layout = i == 0;
        let name = format!("stage {}", stage.number);
        tally.part(name, |t| stages::test(paths, stage, &Flavour::ALL, layout, t))?;
    }
    tally.part("figures", |t| bench::test(paths, t))?;
    let first = Stage::get(paths, "stage-1")?;
    debugger(paths, &first, &mut tally)?;
    tally.part("modules that misbehave", |t| {
        misfits::test(paths, t)?;
        stages::planted(paths, &first, t)
    })?;
    interrupt::check()?;
    tally.close()
}

/// `C=exercises`
fn exercises(paths: &Paths, stages: &[Stage]) -> Result<()> {
    let mut tally = Tally::default();
    labs(paths, stages, &mut tally)?;
    tally.close()
}

/// `make bench SHORT=1`: what of that is about figures.
pub fn figures(paths: &Paths) -> Result<()> {
    let mut tally = Tally::default();
    tally.part("figures", |t| bench::test(paths, t))?;
    interrupt::check()?;
    tally.close()
}

/// `C=debugger`
fn debugger(paths: &Paths, stage: &Stage, tally: &mut Tally) -> Result<()> {
    tally.part("debugger", |t| {
        t.check("gdb stops in the module, and sees where it is", || debug::test(paths, stage));
        Ok(())
    })
}

/// The exercises of the stages that have some: while one waits for its guest, another is built.
fn labs(paths: &Paths, stages: &[Stage], tally: &mut Tally) -> Result<()> {
    let with = || stages.iter().filter(|stage| stage.dir.join("exercises").is_dir());
    if with().next().is_none() {
        return Ok(());
    }
    let climb = |stage: &Stage| {
        let of = |name: &str| format!("stage {}: {name}", stage.number);
        match lab::climb(paths, stage) {
            Ok(checked) => checked.into_iter().map(|(name, result)| (of(&name), result)).collect(),
            Err(error) => vec![(of("the ladder could be climbed to its end"), Err(error))],
        }
    };
    let jobs = with().map(|stage| Box::new(move || climb(stage)) as Job<'_>).collect();
    tally.part("exercises", |tally| tally.side_by_side(jobs))
}

/// `make stage-N test`: what of that is about one stage.
pub fn stage(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    match var("C").as_deref() {
        None => {}
        Some("exercises") => return exercises(paths, std::slice::from_ref(stage)),
        Some("debugger") => {
            let mut tally = Tally::default();
            debugger(paths, stage, &mut tally)?;
            return tally.close();
        }
        Some(name) => return stages::check(paths, stage, name, times),
    }
    let flavours = Flavour::all_wanted()?;
    for flavour in &flavours {
        Kernel::get(paths, *flavour, times)?;
    }
    let mut tally = Tally::default();
    tally.part("models", |t| host::models(paths, std::slice::from_ref(stage), t))?;
    tally.part("traces", |t| host::traces(std::slice::from_ref(stage), t))?;
    labs(paths, std::slice::from_ref(stage), &mut tally)?;
    let name = format!("stage {}", stage.number);
    tally.part(name, |t| stages::test(paths, stage, &flavours, false, t))?;
    interrupt::check()?;
    tally.close()
}
