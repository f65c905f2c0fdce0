// SPDX-License-Identifier: MIT OR Apache-2.0

//! A stage's verbs: build, run, shell, timeline, bless.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use crate::breaks;
use crate::debug;
use crate::kernel::{Flavour, Kernel};
use crate::lab;
use crate::module::{self, Built};
use crate::paths::{Paths, read, var, write};
use crate::say::{Result, Times, note, problem, step};
use crate::session::{self, Lua, Session, lines_of};
use crate::stage::Stage;
use crate::timeline::{Timeline, svg, text};
use crate::tools::Toolchain;
use crate::trace::log;
use crate::verdict;
use crate::vm::{Boot, Machine, Plan, session_limit};

/// The section with the story that the verdict is on.
pub const STORY: &str = "load-1";

/// What a stage runs on.
pub struct Ready {
    /// The kernel.
    pub kernel: Kernel,
    /// The compiler that fits it.
    pub toolchain: Toolchain,
    /// The stage's modules.
    pub built: Built,
}

/// Builds a stage's modules, and all that this needs.
pub fn ready(paths: &Paths, stage: &Stage, flavour: Flavour, times: &mut Times) -> Result<Ready> {
    let began = Instant::now();
    let (kernel, toolchain) = Kernel::get(paths, flavour, times)?;
    times.add("set-up", began.elapsed());
    // A learner's tree has products of its own.
    let whose = if stage.dir.starts_with(&paths.build) { "work/" } else { "" };
    let name = format!("{whose}stage-{}", stage.number);
    let built = times.part("module", || {
        module::build(paths, &kernel, &toolchain, &stage.dir, &name, None, &[])
    })?;
    if !built.said.is_empty() {
        note(format!("the compilers said:\n{}", built.said));
    }
    Ok(Ready { kernel, toolchain, built })
}

/// `make stage-N`
pub fn build(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    let ready = ready(paths, stage, Flavour::wanted()?, times)?;
    for module in &stage.about.modules {
        let ko = ready.built.ko(module)?;
        step(format!("built {} for Linux {}", paths.shown(&ko), ready.kernel.release));
    }
    step(format!(
        "next: `make stage-{} run` loads it in a VM.  Do not load it on this machine: it may crash it.",
        stage.number
    ));
    Ok(())
}

/// What a guest is to do with a module.
pub struct Play<'a> {
    /// The module.
    pub module: &'a str,
    /// Its parameters.
    pub args: String,
    /// Limits to set first, as in stage.toml.
    pub limits: &'a [String],
    /// How long its script takes at most, as in stage.toml.
    pub seconds: u64,
    /// The file that gets the console.
    pub console: PathBuf,
}

impl<'a> Play<'a> {
    /// What this run's variables ask for.
    fn wanted(paths: &Paths, stage: &'a Stage, kernel: &Kernel) -> Result<Self> {
        let scale = stage.scale()?;
        if let Some(scale) = scale {
            note(format!("{}; it takes {} s at most", scale.about, scale.seconds));
        }
        Ok(Self {
            module: stage.module()?,
            args: stage.module_args()?,
            limits: scale.map_or(&[], |s| &s.limits),
            seconds: scale.map_or(stage.about.seconds, |s| s.seconds),
            console: output(paths, stage, kernel)?.join("console.log"),
        })
    }
}

/// Boots, runs the module's script once, and loads the module once more.
pub fn play(
    paths: &Paths,
    stage: &Stage,
    ready: &Ready,
    machine: &Machine,
    play: &Play<'_>,
    times: &mut Times,
) -> Result<Boot> {
    let mut session = Session::new(paths, stage, &ready.built)?;
    if let Some(script) = Lua::wanted(stage)? {
        script.add(&session)?;
    }
    session.raise(play.limits);
    session.section(STORY, &play.args, &session::script(stage, play.module)?);
    session.section("load-2", &play.args, &session::again(play.module));
    let root = session.finish()?;
    let limit = session_limit(&ready.kernel, play.seconds);
    step(format!("booting Linux {} under {} ...", ready.kernel.release, machine.accel()));
    let mut began = None;
    let mut took = None;
    let mut shown = false;
    let plan = Plan {
        kernel: &ready.kernel,
        root: &root,
        limit,
        boot_limit: None,
        params: &[],
        console: &play.console,
    };
    let boot = machine.boot(&plan, &mut |line| {
        if line.ends_with(&format!("guest: begin {STORY}")) {
            began = Some(Instant::now());
            shown = true;
        } else if line.ends_with(&format!("guest: end {STORY}")) {
            took = began.map(|began| began.elapsed());
            shown = false;
        } else if shown || line.contains("guest: set ") {
            println!("{line}");
            let _ = std::io::stdout().flush();
        }
    })?;
    let own = took.unwrap_or_default();
    times.add("boot and power-off", boot.took.saturating_sub(own));
    times.add("the module's own run", own);
    Ok(boot)
}

/// `make stage-N run`
pub fn run(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    let work = lab::work_stage(paths, stage)?;
    let stage = work.as_ref().unwrap_or(stage);
    // Before anything is built for it.
    let lua = Lua::wanted(stage)?;
    let ready = ready(paths, stage, Flavour::wanted()?, times)?;
    let machine = Machine::get(paths, &ready.kernel, times)?;
    let wanted = Play::wanted(paths, stage, &ready.kernel)?;
    let boot = play(paths, stage, &ready, &machine, &wanted, times)?;
    let story = lines_of(&boot.lines, STORY);
    let dir = output(paths, stage, &ready.kernel)?;
    write(&dir.join("last.dmesg"), story.join("\n") + "\n")?;
    if lua.is_some() {
        step("\n-- what the script printed\n");
        Lua::printed(story).iter().for_each(step);
    }
    verdict::clean(&boot)?;
    // Another script tells another story.
    if var("SCRIPT").is_none() {
        verdict::keeps(&boot, STORY, &verdict::contract(stage, wanted.module)?)?;
        step(format!(
            "\nVERDICT: good.  Each of the {} lines is where {} wants it, the kernel did not complain,\n\
             and the module was loaded and unloaded twice.\n",
            log::events(&verdict::parse(story)).len(),
            paths.shown(&stage.file(wanted.module, "expected.trace")),
        ));
    } else {
        step(
            "\nVERDICT: good.  The kernel did not complain, and the module was loaded and unloaded twice.\n",
        );
    }
    write(
        &paths.build.join(format!("stage-{}/last-run", stage.number)),
        dir.display().to_string(),
    )?;
    timeline(paths, stage, times)?;
    step(format!("\nthe whole console: {}", paths.shown(&boot.console)));
    Ok(())
}

/// `make stage-N timeline`
pub fn timeline(paths: &Paths, stage: &Stage, _: &mut Times) -> Result<()> {
    let no_run = || {
        problem(
            format!("stage {} has not been run yet", stage.number),
            "",
            format!("make stage-{} run", stage.number),
        )
    };
    let dir = std::fs::read_to_string(paths.build.join(format!("stage-{}/last-run", stage.number)))
        .map_err(|_| no_run())?;
    let dir = PathBuf::from(dir);
    let dmesg = std::fs::read_to_string(dir.join("last.dmesg")).map_err(|_| no_run())?;
    let timeline = draw(stage, stage.module()?, &dmesg);
    if timeline.lanes.is_empty() {
        step("(Of this module's log no timeline is drawn.)");
        return Ok(());
    }
    step(text(&timeline, terminal_width()));
    let picture = dir.join("timeline.svg");
    write(&picture, svg(&timeline))?;
    step(format!("\nas a picture: {}", paths.shown(&picture)));
    Ok(())
}

/// The timeline of a log.
pub fn draw(stage: &Stage, module: &str, dmesg: &str) -> Timeline {
    Timeline::new(stage.timeline(module), module, &log::events(&log::parse(dmesg)))
}

/// `make stage-N bless`: a recorded run, for the book and for the tests.
pub fn bless(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    if let Some(name) = var("B") {
        return breaks::record(paths, stage, &name, times);
    }
    if let Some(name) = var("R") {
        return breaks::record_refusal(paths, stage, &name, times);
    }
    if var("C").as_deref() == Some("debugger") {
        return debug::record(paths, stage, times);
    }
    for name in ["ARGS", "SCALE", "SCRIPT", "KDIR"] {
        if var(name).is_some() {
            return Err(problem(
                format!("{name}= does not go with bless"),
                "The recorded run is the default one.",
                format!("make stage-{} bless", stage.number),
            ));
        }
    }
    let ready = ready(paths, stage, Flavour::wanted()?, times)?;
    let machine = Machine::get(paths, &ready.kernel, times)?;
    let wanted = Play::wanted(paths, stage, &ready.kernel)?;
    let module = wanted.module;
    let boot = play(paths, stage, &ready, &machine, &wanted, times)?;
    verdict::clean(&boot)?;
    verdict::keeps(&boot, STORY, &verdict::contract(stage, module)?)?;
    let lines: Vec<_> = lines_of(&boot.lines, STORY)
        .iter()
        .filter(|l| l.contains(&format!("] {module}: ")))
        .cloned()
        .collect();
    let stamp = format!(
        "# SPDX-License-Identifier: GPL-2.0\n# A run, recorded by `make stage-{} bless`; not edited.\n# kernel: Linux {}\n# rustc: {}\n# machine: {}\n",
        stage.number,
        ready.kernel.release,
        ready.toolchain.version,
        machine.describe()?,
    );
    let file = stage.file(module, "recorded.dmesg");
    write(&file, stamp + &stage.recordable(&lines)?)?;
    step(format!("recorded {} lines in {}", lines.len(), paths.shown(&file)));
    if let Some(drawn) = recorded_picture(stage, module)? {
        let picture = stage.file(module, "recorded.svg");
        write(&picture, drawn)?;
        step(format!("and their timeline in {}", paths.shown(&picture)));
    }
    Ok(())
}

/// `make stage-N shell`
pub fn shell(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(problem(
            "the shell wants a terminal",
            "",
            format!(
                "call `make stage-{} shell` by hand, or `make stage-{} run` for a run without one",
                stage.number, stage.number
            ),
        ));
    }
    let ready = ready(paths, stage, Flavour::wanted()?, times)?;
    let machine = Machine::get(paths, &ready.kernel, times)?;
    let session = Session::new(paths, stage, &ready.built)?;
    let root = session.finish()?;
    let module = stage.module()?;
    step(format!(
        "A shell in the guest, Linux {} under {}.  The module is there:\n\n  insmod /workshop/{module}.ko\n  dmesg | tail\n  rmmod {module}\n\nCtrl-D or `exit` powers off.",
        ready.kernel.release,
        machine.accel(),
    ));
    machine.shell(&ready.kernel, &root)
}

/// Where the output of runs goes.
fn output(paths: &Paths, stage: &Stage, kernel: &Kernel) -> Result<PathBuf> {
    paths.build_dir(&format!("stage-{}/run-{}", stage.number, kernel.folder()))
}

/// Columns of the terminal, or a usual number.
fn terminal_width() -> usize {
    var("COLUMNS").and_then(|n| n.parse().ok()).filter(|n| (40..=300).contains(n)).unwrap_or(100)
}

/// The picture of a module's recorded run, as `bless` draws it, if the stage's
/// timeline has anything to show of that module.
pub fn recorded_picture(stage: &Stage, module: &str) -> Result<Option<String>> {
    let timeline = draw(stage, module, &recorded(stage, module)?);
    Ok((!timeline.lanes.is_empty()).then(|| svg(&timeline)))
}

/// The recorded run of a module.
pub fn recorded(stage: &Stage, module: &str) -> Result<String> {
    read(&stage.file(module, "recorded.dmesg"))
}
