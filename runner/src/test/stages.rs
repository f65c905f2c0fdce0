// SPDX-License-Identifier: MIT OR Apache-2.0

//! A stage in the VM: the story of each of its modules twice, unloading at any
//! moment, and leaks, all in one boot; and all of its variants.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};

use super::{Job, Tally};
use crate::breaks::{self, BREAKS, CHECKS, Case, REFUSALS};
use crate::kernel::{Flavour, Kernel};
use crate::module;
use crate::paths::{Paths, read};
use crate::run::{Ready, ready};
use crate::say::{Result, Times, problem, step};
use crate::session::{self, Session, lines_of};
use crate::stage::Stage;
use crate::tools::Toolchain;
use crate::trace::contract::Contract;
use crate::variant::Variant;
use crate::verdict;
use crate::vm::{Boot, Machine, Plan, session_limit};

/// How often a stage's first module is unloaded at a random moment.
const MOMENTS: usize = 2 * HALF;

/// Half of that: between the two halves it is counted what is left behind.  The
/// other modules are unloaded as often.
const HALF: usize = 5;

/// The one of a stage's checks that is not booted by itself: a module that leaks
/// some objects a load, which the leak check must find.
const LEAKS: &str = "leaks";

/// A module of a stage, with what it is held against.
struct Tested<'a> {
    name: &'a str,
    args: &'a str,
    script: String,
    contract: Contract,
    /// After how many seconds it is unloaded, wherever its story is then.
    moments: Vec<String>,
}

impl<'a> Tested<'a> {
    fn get(stage: &'a Stage, name: &'a str, moments: Vec<String>) -> Result<Self> {
        let contract = verdict::contract(stage, name)?;
        let script = session::script(stage, name)?;
        let args = stage.about.test_args.get(name).map_or("", String::as_str);
        Ok(Self { name, args, script, contract, moments })
    }

    /// Adds a section of this module, named after it.
    fn section(&self, session: &mut Session, what: &str, script: &str) {
        session.section(&format!("{what}-{}", self.name), self.args, script);
    }

    /// Adds a section where it is unloaded at some of its moments.
    fn unloaded(&self, session: &mut Session, what: &str, moments: &[String]) {
        let script = format!("any-moment.sh {} {}", self.name, moments.join(" "));
        self.section(session, what, &script);
    }
}

/// Runs all checks of a stage: the modules themselves, and all of its variants.  With
/// `layout`, also whether Rust and C agree on where the fields of a struct of the kernels
/// are.
pub fn test(
    paths: &Paths,
    stage: &Stage,
    flavours: &[Flavour],
    layout: bool,
    tally: &mut Tally,
) -> Result<()> {
    let refuses = Kernel::get(paths, Flavour::Fast, &mut Times::default())?;
    let (kernel, toolchain) = &refuses;
    // What it installs and tries out is for all jobs.
    Machine::get(paths, kernel, &mut Times::default())?;
    let mut jobs: Vec<Job<'_>> = vec![];
    for flavour in flavours {
        jobs.push(Box::new(move || {
            let checked = Tally::held(|t| modules(paths, stage, *flavour, layout, t));
            let on = |(name, result)| (format!("on {flavour}: {name}"), result);
            checked.into_iter().map(on).collect()
        }));
    }
    for (kind, what) in [(CHECKS, "check"), (BREAKS, "break")] {
        let all = Variant::all(stage, kind)?;
        let beside: Vec<_> = all.iter().filter_map(|(_, v)| v.beside.clone()).collect();
        for (name, variant) in all {
            let elsewhere = name == LEAKS || variant.shares_boot || beside.contains(&name);
            if kind == CHECKS && elsewhere {
                continue;
            }
            let mut made_for = breaks::made_for(&variant)?;
            made_for.retain(|flavour| flavours.contains(flavour));
            // One after the other: its sources are in one folder.
            let on = move |flavour| {
                let case = Case { stage, kind, name: &name, variant: &variant, flavour };
                (format!("{what} {name} on {flavour}: {}", variant.title), booted(paths, &case))
            };
            jobs.push(Box::new(move || made_for.into_iter().map(on).collect()));
        }
    }
    for (name, refusal) in Variant::all(stage, REFUSALS)? {
        jobs.push(Box::new(move || {
            let result = compiled(paths, stage, kernel, toolchain, &name, &refusal);
            vec![(format!("refusal {name}: {}", refusal.title), result)]
        }));
    }
    tally.side_by_side(jobs)
}

/// Boots all modules of a stage on one flavour.
fn modules(
    paths: &Paths,
    stage: &Stage,
    flavour: Flavour,
    layout: bool,
    tally: &mut Tally,
) -> Result<()> {
    let mut times = Times::default();
    let ready = ready(paths, stage, flavour, &mut times)?;
    let machine = Machine::get(paths, &ready.kernel, &mut times)?;
    let mut modules = vec![];
    for (i, name) in stage.about.modules.iter().enumerate() {
        let moments = moments(stage.about.story, if i == 0 { MOMENTS } else { HALF });
        tally.check(format!("{name}: there is a script, and a promise"), || {
            modules.push(Tested::get(stage, name, moments)?);
            Ok(())
        });
    }
    let Some((first, others)) = modules.split_first() else { return Ok(()) };

    let mut session = Session::new(paths, stage, &ready.built)?;
    if layout {
        let from = paths.root.join("runner/tests/offsets");
        let offsets =
            module::build(paths, &ready.kernel, &ready.toolchain, &from, "offsets", None, &[])?;
        session.add(&offsets.ko("offsets")?, "offsets.ko")?;
        session.section("offsets", "", "any-moment.sh offsets 0");
    }
    modules.iter().for_each(|m| m.section(&mut session, "load-1", &m.script));
    session.section("leaks-begin", "", "leaks.sh begin");
    modules.iter().for_each(|m| m.section(&mut session, "load-2", &m.script));
    let shared = Variant::all(stage, CHECKS)?;
    let shared = sharing(stage, &shared, flavour)?;
    let built: Vec<_> = shared
        .iter()
        .map(|case| case.add(paths, &ready.kernel, &ready.toolchain, &mut session))
        .collect();
    let (half, other_half) = first.moments.split_at(HALF);
    first.unloaded(&mut session, "any-moment-1", half);
    // The slabs must not grow in both halves, so these belong into one of them.
    others.iter().for_each(|m| m.unloaded(&mut session, "any-moment-1", &m.moments));
    session.section("leaks-middle", "", "leaks.sh middle");
    first.unloaded(&mut session, "any-moment-2", other_half);
    session.section("leaks-end", "", "leaks.sh end");
    let mut leaky = None;
    tally.check(format!("checks/{LEAKS}: there is something for the leak check to find"), || {
        leaky = add_leaky(paths, stage, &ready, flavour, &session)?;
        Ok(())
    });
    if let Some(leaky) = &leaky {
        session.section("leaky-begin", "", "leaks.sh again");
        session.section("leaky-1", "", leaky);
        session.section("leaky-middle", "", "leaks.sh middle");
        session.section("leaky-2", "", leaky);
        session.section("leaky-end", "", "leaks.sh end");
    }
    let root = session.finish()?;

    let console = paths.build_dir("test")?.join(format!("stage-{}-{flavour}.log", stage.number));
    let shared_seconds: u64 = shared.iter().map(|case| case.seconds()).sum();
    let seconds = 90 + 4 * stage.about.seconds * modules.len() as u64 + shared_seconds;
    let plan = Plan {
        kernel: &ready.kernel,
        root: &root,
        limit: session_limit(&ready.kernel, seconds),
        boot_limit: None,
        // Slow to boot with, so only where it is wanted.
        params: &["kmemleak=on"],
        console: &console,
    };
    let boot = machine.boot(&plan, &mut |_| ())?;

    tally.check("no splat, every load and unload worked", || {
        let end = boot.lines.iter().position(|l| l.ends_with("guest: begin leaky-begin"));
        verdict::clean_up_to(&boot, end.unwrap_or(boot.lines.len()))
    });
    if layout {
        tally.check("Rust and C agree on the layout of task_struct", || {
            let lines = lines_of(&boot.lines, "offsets");
            match lines.iter().any(|l| l.ends_with("layouts agree")) {
                true => Ok(()),
                false => Err(problem("they do not", lines.join("\n"), "see kernel/base.config")),
            }
        });
    }
    for Tested { name, contract, moments, .. } in &modules {
        for load in ["load-1", "load-2"] {
            tally.check(format!("{name}: {load} keeps the contract"), || {
                verdict::keeps(&boot, &format!("{load}-{name}"), contract)
            });
        }
        tally.check(format!("{name}: unloaded at {} random moments", moments.len()), || {
            let part = |part| lines_of(&boot.lines, &format!("any-moment-{part}-{name}"));
            let lines = [part(1), part(2)].concat();
            let unloaded = lines.iter().filter(|l| l.contains("guest: unloaded")).count();
            if unloaded == moments.len() {
                return Ok(());
            }
            Err(problem(
                format!("it was unloaded {unloaded} times of {}", moments.len()),
                lines.join("\n"),
                format!("the delays were {}", moments.join(" ")),
            ))
        });
    }
    for (case, built) in shared.iter().zip(built) {
        tally.check(format!("check {}: {}", case.name, case.variant.title), || {
            built.and_then(|()| breaks::checked(case, &boot))
        });
    }
    tally.check("nothing leaked", || match leaks(&boot, &ready.kernel, "leaks-begin", "leaks")? {
        found if found.is_empty() => Ok(()),
        found => Err(problem("memory was not freed", found, "")),
    });
    if leaky.is_some() {
        tally.check("the leaky variant is caught", || {
            match leaks(&boot, &ready.kernel, "leaks-end", "leaky")? {
                found if found.is_empty() => Err(problem("a leak was not found", "", "")),
                _ => Ok(()),
            }
        });
    }
    Ok(())
}

/// The checks that have no boot of their own on this flavour.
fn sharing<'a>(
    stage: &'a Stage,
    checks: &'a [(String, Variant)],
    flavour: Flavour,
) -> Result<Vec<Case<'a>>> {
    let mut shared = vec![];
    for (name, variant) in checks.iter().filter(|(_, variant)| variant.shares_boot) {
        let as_it_is = variant.limits.is_empty() && variant.params.is_empty();
        if !as_it_is || !variant.expect.splats.is_empty() {
            return Err(problem(
                format!("the check `{name}` cannot share a boot"),
                "It changes what the kernel does, or makes it complain.",
                "remove shares_boot, or its limits, params and splats",
            ));
        }
        if breaks::made_for(variant)?.contains(&flavour) {
            shared.push(Case { stage, kind: CHECKS, name, variant, flavour });
        }
    }
    Ok(shared)
}

/// Builds the stage's leaky module for a session; gives the script that loads it, or
/// nothing where it is not made for this flavour.
fn add_leaky(
    paths: &Paths,
    stage: &Stage,
    ready: &Ready,
    flavour: Flavour,
    session: &Session,
) -> Result<Option<String>> {
    let leaky = breaks::find(stage, CHECKS, LEAKS)?;
    if !breaks::made_for(&leaky)?.contains(&flavour) {
        return Ok(None);
    }
    let case = Case { stage, kind: CHECKS, name: LEAKS, variant: &leaky, flavour };
    let module = case.put(paths, &ready.kernel, &ready.toolchain, session)?;
    Ok(Some(format!("from.sh {LEAKS} any-moment.sh {module}{}", " 0".repeat(HALF))))
}

/// Delays in seconds, one in each of `count` parts of a story, so that all of it is met.
fn moments(story: f64, count: usize) -> Vec<String> {
    (0..count)
        .map(|i| {
            let random = std::hash::RandomState::new().build_hasher().finish();
            let fraction = (random >> 11) as f64 / (1u64 << 53) as f64;
            format!("{:.2}", (i as f64 + fraction) * story / count as f64)
        })
        .collect()
}

/// What the leak check of guest/leaks.sh found from the section `begin` to `NAME-end`.
fn leaks(boot: &Boot, kernel: &Kernel, begin: &str, name: &str) -> Result<String> {
    let end = lines_of(&boot.lines, &format!("{name}-end"));
    let nothing = || problem("the leak check has no result", "", "no result is a failure");
    if kernel.has("DEBUG_KMEMLEAK") {
        let counted = end.iter().find_map(|l| {
            l.split("kmemleak: ").nth(1)?.strip_suffix(" unreferenced objects")?.parse::<u64>().ok()
        });
        return match counted.ok_or_else(nothing)? {
            0 => Ok(String::new()),
            _ => Ok(end.join("\n")),
        };
    }
    let part = |name: &str| slabs(lines_of(&boot.lines, name));
    let (before, middle, after) = (part(begin), part(&format!("{name}-middle")), slabs(end));
    if before.is_empty() || middle.is_empty() || after.is_empty() {
        return Err(nothing());
    }
    // The allocator keeps freed objects at hand and counts them as used, up to a number;
    // a leak of one object a load goes on in both halves.
    let grown: Vec<_> = after
        .iter()
        .filter_map(|(cache, end)| {
            let (begin, middle) = (before.get(cache)?, middle.get(cache)?);
            let (first, second) = (middle.saturating_sub(*begin), end.saturating_sub(*middle));
            // A load leaks what the one before it leaked: noise is not as even.
            let even = first.max(second) <= 2 * first.min(second);
            let both = first.min(second) >= HALF as u64 && even;
            both.then(|| format!("{cache}: {begin} objects, then {middle}, then {end}"))
        })
        .collect();
    Ok(grown.join("\n"))
}

/// Objects of each slab cache.
fn slabs(lines: &[String]) -> BTreeMap<String, u64> {
    lines
        .iter()
        .filter_map(|line| {
            let mut words = line.split("guest: slab ").nth(1)?.split(' ').skip(1);
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        })
        .collect()
}

/// A refusal is refused, and what was recorded still says so.
fn compiled(
    paths: &Paths,
    stage: &Stage,
    kernel: &Kernel,
    toolchain: &Toolchain,
    name: &str,
    refusal: &Variant,
) -> Result<()> {
    let said = breaks::refused(paths, stage, kernel, toolchain, name, refusal)?;
    let recorded = read(&breaks::recorded_message(stage, name))?;
    let same_rustc = recorded.contains(&format!("# rustc: {}\n", toolchain.version));
    let wanted = refusal.expect.error.as_deref().unwrap_or_default();
    let as_recorded = match same_rustc {
        true => {
            let said = breaks::message(stage, name, toolchain, &said);
            breaks::unnumbered(&recorded) == breaks::unnumbered(&said)
        }
        // Another compiler may put it in other words.
        false => breaks::is_error(&recorded, wanted).is_ok(),
    };
    if as_recorded {
        return Ok(());
    }
    let help = format!("make stage-{} bless R={name}", stage.number);
    Err(problem("the recorded message is not what the compiler says", said, help))
}

/// A check passes; or a break breaks, and what was recorded still says so.
fn booted(paths: &Paths, case: &Case<'_>) -> Result<()> {
    let mut times = Times::default();
    if case.kind == CHECKS {
        return breaks::check(paths, case, &mut times, &mut |_| ());
    }
    breaks::show(paths, case, &mut times, &mut |_| ())?;
    let recorded = read(&breaks::recorded(case.stage, case.name, case.flavour))?;
    let lines: Vec<_> = recorded.lines().map(str::to_owned).collect();
    let help = format!("make stage-{} bless B={}", case.stage.number, case.name);
    breaks::shown(case.variant, &lines)
        .map(|_| ())
        .map_err(|why| problem("the recorded log does not show it", why, help))
}

/// One check of a stage, seen as it runs.
pub fn check(paths: &Paths, stage: &Stage, name: &str, times: &mut Times) -> Result<()> {
    let variant = &breaks::find(stage, CHECKS, name)?;
    for flavour in breaks::flavours(variant)? {
        let case = Case { stage, kind: CHECKS, name, variant, flavour };
        breaks::check(paths, &case, times, &mut |line| println!("{line}"))?;
        step(format!("\nVERDICT: good.  {name} on {flavour}: {}\n", variant.title));
    }
    Ok(())
}

/// What must not count as a break or as a refusal does not.
pub fn planted(paths: &Paths, stage: &Stage, tally: &mut Tally) -> Result<()> {
    let mut times = Times::default();
    let (kernel, toolchain) = Kernel::get(paths, Flavour::Fast, &mut times)?;
    let read =
        |name: &str| Variant::read(&paths.root.join(format!("runner/tests/variants/{name}.toml")));
    tally.check("a break that does not break is caught", || {
        let (name, variant) = ("harmless-break", &read("harmless-break")?);
        let case = Case { stage, kind: BREAKS, name, variant, flavour: Flavour::Fast };
        match breaks::show(paths, &case, &mut times, &mut |_| ()) {
            Ok(_) => Err(problem("it passed for one", "", "")),
            Err(e) if e.to_string().contains("did not break") => Ok(()),
            Err(e) => Err(e),
        }
    });
    tally.check("a refusal that compiles is caught", || {
        let name = "compiling-refusal";
        match breaks::refused(paths, stage, &kernel, &toolchain, name, &read(name)?) {
            Ok(_) => Err(problem("it passed for one", "", "")),
            Err(e) if e.to_string().contains("compiles") => Ok(()),
            Err(e) => Err(e),
        }
    });
    Ok(())
}
