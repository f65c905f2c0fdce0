// SPDX-License-Identifier: MIT OR Apache-2.0

//! A stage in the VM: its story twice, unloading at any moment, and leaks; all
//! in one boot.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};

use super::Tally;
use crate::breaks;
use crate::interrupt;
use crate::kernel::{Flavour, Kernel};
use crate::module;
use crate::paths::{Paths, read};
use crate::run::ready;
use crate::say::{Result, Times, problem};
use crate::session::{self, Session, lines_of};
use crate::stage::Stage;
use crate::variant::Variant;
use crate::verdict;
use crate::vm::{Boot, Machine, Plan, session_limit};

/// How often a module is unloaded at a random moment.
const MOMENTS: usize = 2 * HALF;

/// Half of that: between the two halves it is counted what is left behind.
const HALF: usize = 5;

/// About how many seconds a stage's default story takes: unloading is tried at
/// moments all over it, and a little after its end.
const STORY: f64 = 3.5;

/// Runs all checks of a stage on one flavour.
pub fn test(paths: &Paths, stage: &Stage, flavour: Flavour, tally: &mut Tally) -> Result<()> {
    let mut times = Times::default();
    let ready = ready(paths, stage, flavour, &mut times)?;
    let machine = Machine::get(paths, &ready.kernel, &mut times)?;
    let module = stage.module()?;
    let script = session::script(stage, module)?;
    let moments = moments(STORY);
    let at_any_moment = |delays: &[String]| format!("any-moment.sh {module} {}", delays.join(" "));

    // A module that leaks some objects a load: what the leak check must find.
    let leaky = Variant::read(&paths.root.join("runner/tests/variants/leaks.toml"))?;
    let name = "variants/leaks";
    let tree = leaky.make(paths, stage, name)?;
    let leaky = module::build(paths, &ready.kernel, &ready.toolchain, &tree, name, &[])?;
    let at_once = format!("with-file.sh leaky any-moment.sh {module}{}", " 0".repeat(HALF));

    // Where Rust and C find the fields of task_struct.
    let offsets = paths.root.join("runner/tests/offsets");
    let offsets = module::build(paths, &ready.kernel, &ready.toolchain, &offsets, "offsets", &[])?;

    let mut session = Session::new(paths, stage, &ready.built)?;
    session.add(&leaky.ko(module)?, "leaky.ko")?;
    session.add(&offsets.ko("offsets")?, "offsets.ko")?;
    session.section("offsets", "", "any-moment.sh offsets 0");
    session.section("load-1", "", &script);
    session.section("leaks-begin", "", "leaks.sh begin");
    session.section("load-2", "", &script);
    session.section("any-moment-1", "", &at_any_moment(&moments[..HALF]));
    session.section("leaks-middle", "", "leaks.sh middle");
    session.section("any-moment-2", "", &at_any_moment(&moments[HALF..]));
    session.section("leaks-end", "", "leaks.sh end");
    session.section("leaky-begin", "", "leaks.sh begin");
    session.section("leaky-1", "", &at_once);
    session.section("leaky-middle", "", "leaks.sh middle");
    session.section("leaky-2", "", &at_once);
    session.section("leaky-end", "", "leaks.sh end");
    let root = session.finish()?;

    let console = paths.build_dir("test")?.join(format!("stage-{}-{flavour}.log", stage.number));
    let plan = Plan {
        kernel: &ready.kernel,
        root: &root,
        limit: session_limit(&ready.kernel, 90 + 4 * stage.about.seconds),
        boot_limit: None,
        // Slow to boot with, so only where it is wanted.
        params: &["kmemleak=on"],
        console: &console,
    };
    let boot = machine.boot(&plan, &mut |_| ())?;

    let contract = verdict::contract(&stage.file(module, "expected.trace"))?;
    tally.check(format!("{module}: no splat, every load and unload worked"), || {
        let end = boot.lines.iter().position(|l| l.ends_with("guest: begin leaky-begin"));
        verdict::clean_up_to(&boot, end.unwrap_or(boot.lines.len()))
    });
    tally.check("Rust and C agree on the layout of task_struct", || {
        let lines = lines_of(&boot.lines, "offsets");
        match lines.iter().any(|l| l.ends_with("layouts agree")) {
            true => Ok(()),
            false => Err(problem("they do not", lines.join("\n"), "see kernel/base.config")),
        }
    });
    for section in ["load-1", "load-2"] {
        tally.check(format!("{module}: {section} keeps the contract"), || {
            verdict::keeps(&boot, section, &contract)
        });
    }
    tally.check(format!("{module}: unloaded at {MOMENTS} random moments"), || {
        let lines =
            [lines_of(&boot.lines, "any-moment-1"), lines_of(&boot.lines, "any-moment-2")].concat();
        let unloaded = lines.iter().filter(|l| l.contains("guest: unloaded")).count();
        if unloaded == MOMENTS {
            return Ok(());
        }
        Err(problem(
            format!("it was unloaded {unloaded} times of {MOMENTS}"),
            lines.join("\n"),
            format!("the delays were {}", moments.join(" ")),
        ))
    });
    tally.check(format!("{module}: nothing leaked"), || {
        match leaks(&boot, &ready.kernel, "leaks")? {
            found if found.is_empty() => Ok(()),
            found => Err(problem("memory was not freed", found, "")),
        }
    });
    tally.check(format!("{module}: the leaky variant is caught"), || {
        match leaks(&boot, &ready.kernel, "leaky")? {
            found if found.is_empty() => Err(problem("a leak was not found", "", "")),
            _ => Ok(()),
        }
    });
    Ok(())
}

/// Delays in seconds, one in each tenth of a story, so that all of it is met.
fn moments(story: f64) -> Vec<String> {
    (0..MOMENTS)
        .map(|i| {
            let random = std::hash::RandomState::new().build_hasher().finish();
            let fraction = (random >> 11) as f64 / (1u64 << 53) as f64;
            format!("{:.2}", (i as f64 + fraction) * story / MOMENTS as f64)
        })
        .collect()
}

/// What the leak check of guest/leaks.sh found between `NAME-begin` and `NAME-end`.
fn leaks(boot: &Boot, kernel: &Kernel, name: &str) -> Result<String> {
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
    let part = |part| slabs(lines_of(&boot.lines, &format!("{name}-{part}")));
    let (before, middle, after) = (part("begin"), part("middle"), slabs(end));
    if before.is_empty() || middle.is_empty() || after.is_empty() {
        return Err(nothing());
    }
    // The allocator keeps freed objects at hand and counts them as used, up to a number;
    // a leak of one object a load goes on in both halves.
    let grown: Vec<_> = after
        .iter()
        .filter_map(|(cache, end)| {
            let (begin, middle) = (before.get(cache)?, middle.get(cache)?);
            let both = *middle >= begin + HALF as u64 && *end >= middle + HALF as u64;
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

/// Every break breaks, every refusal is refused, and what was recorded still says so.
pub fn variants(paths: &Paths, stage: &Stage, tally: &mut Tally) -> Result<()> {
    let mut times = Times::default();
    let (kernel, toolchain) = Kernel::get(paths, Flavour::Fast, &mut times)?;
    for (name, refusal) in Variant::all(stage, "refusals")? {
        tally.check(format!("refusal {name}: {}", refusal.title), || {
            let said = breaks::refused(paths, stage, &kernel, &toolchain, &name, &refusal)?;
            let recorded = read(&breaks::recorded_message(stage, &name))?;
            let same_rustc = recorded.contains(&format!("# rustc: {}\n", toolchain.version));
            let code = refusal.expect.error.as_deref().unwrap_or_default();
            let as_recorded = match same_rustc {
                true => recorded == breaks::message(stage, &name, &toolchain, &said),
                // Another compiler may put it in other words.
                false => recorded.contains(&format!("error[{code}]")),
            };
            if as_recorded {
                return Ok(());
            }
            let help = format!("make stage-{} bless R={name}", stage.number);
            Err(problem("the recorded message is not what the compiler says", said, help))
        });
    }
    for (name, broken) in Variant::all(stage, "breaks")? {
        for flavour in breaks::flavours(&broken)? {
            interrupt::check()?;
            tally.check(format!("break {name} on {flavour}: {}", broken.title), || {
                breaks::show(paths, stage, &name, &broken, flavour, &mut times, &mut |_| ())?;
                let recorded = read(&breaks::recorded(stage, &name, flavour))?;
                let lines: Vec<_> = recorded.lines().map(str::to_owned).collect();
                let help = format!("make stage-{} bless B={name}", stage.number);
                breaks::broke(&broken, &lines)
                    .map(|_| ())
                    .map_err(|why| problem("the recorded log does not show it", why, help))
            });
        }
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
        let harmless = read("harmless-break")?;
        let name = "harmless-break";
        match breaks::show(paths, stage, name, &harmless, Flavour::Fast, &mut times, &mut |_| ()) {
            Ok(_) => Err(problem("it passed for one", "", "")),
            Err(e) if e.to_string().contains("did not break") => Ok(()),
            Err(e) => Err(e),
        }
    });
    let own = read("self-join")?;
    for flavour in Flavour::ALL {
        tally.check(format!("{} ({flavour})", own.title), || {
            let name = "self-join";
            breaks::show(paths, stage, name, &own, flavour, &mut times, &mut |_| ()).map(|_| ())
        });
    }
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
