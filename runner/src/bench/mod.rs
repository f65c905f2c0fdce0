// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make bench`: what RCU costs, in Rust and in C, in figures that anybody can have again.
//!
//! One module has the loops of both languages, by turns.  Instructions are counted by QEMU, which
//! needs no KVM and gives the same number every time; times are taken besides, on whatever there is.

mod code;
mod compare;
mod guest;
mod operations;
mod plot;
mod report;
mod sample;
mod short;

use std::path::{Path, PathBuf};

pub use short::test;

use crate::interrupt;
use crate::kernel::{Flavour, Kernel};
use crate::paths::{Paths, make_dir, read, var, write};
use crate::say::{Progress, Result, Times, note, problem, step};
use crate::test::figures;
use crate::tools::{self, Need, Toolchain, ensure};
use crate::vm::{Clock, Machine};
use guest::{Helpers, Measurement, Mode};
use report::{Conditions, Leg, Report};
use sample::Samples;

/// `make bench`
pub fn bench(paths: &Paths, times: &mut Times) -> Result<()> {
    if var("SHORT").is_some() {
        return figures(paths);
    }
    ensure(paths, &[Need::Module, Need::Kernel, Need::Vm, Need::Bench], times)?;
    let progress = Progress::new("building the program for user space");
    let user = guest::build_user(paths)?;
    progress.done(times);
    let mut legs = vec![];
    let mut conditions = None;
    for flavour in flavours()? {
        let (kernel, toolchain) = Kernel::get(paths, flavour, times)?;
        let machine = Machine::get(paths, &kernel, times)?;
        let inlined = leg(paths, &kernel, &toolchain, &machine, Some(&user), times)?;
        legs.push(inlined);
        legs.push(called(paths, &kernel, &toolchain, &machine, times)?);
        conditions = Some(self::conditions(&toolchain, &machine)?);
    }
    let conditions = conditions.ok_or_else(|| problem("there is no kernel to measure", "", ""))?;
    let dir = paths.build_dir("bench")?;
    let report = Report { conditions, legs };
    save(&report, &dir)?;
    step(format!("\nthe report: {}", shown(paths, &dir.join("report.md"))));
    report.nothing_is_shared(&operations::all())
}

/// `make bench-compare OLD=...`: what moved since an older report.
pub fn bench_compare(paths: &Paths, _: &mut Times) -> Result<()> {
    let old = var("OLD").ok_or_else(|| {
        problem(
            "which report is the old one?",
            "`make bench` writes build/bench/report.json; keep it under another name.",
            "make bench-compare OLD=report.json",
        )
    })?;
    let (old, new) = (load(Path::new(&old))?, load(&paths.build.join("bench/report.json"))?);
    let moved = compare::moved(&old, &new);
    if moved.is_empty() {
        step("nothing moved: every count lies in what the old one spread over");
    }
    moved.iter().for_each(step);
    step(format!("\n{}", report::NOT_TIME));
    Ok(())
}

/// `make bench-bless`: the last report becomes the one that the book shows.
pub fn bench_bless(paths: &Paths, _: &mut Times) -> Result<()> {
    let report = load(&paths.build.join("bench/report.json"))?;
    let dir = make_dir(recorded(paths))?;
    save(&report, &dir)?;
    step(format!("recorded in {}", shown(paths, &dir)));
    Ok(())
}

/// Where the book's report is.
pub fn recorded(paths: &Paths) -> PathBuf {
    paths.root.join("runner/bench/recorded")
}

/// Both kernels for figures, or the one of `KERNEL=`.
fn flavours() -> Result<Vec<Flavour>> {
    match var("KERNEL").as_deref() {
        None => Ok(vec![Flavour::Fast, Flavour::Preempt]),
        Some("fast") => Ok(vec![Flavour::Fast]),
        Some("preempt") => Ok(vec![Flavour::Preempt]),
        Some(other) => Err(problem(
            format!("figures of the kernel `{other}` say nothing"),
            "What watches the modules there costs more than what is measured.",
            "KERNEL=fast (non-preemptible RCU), KERNEL=preempt (its twin with preemptible RCU), or none for both",
        )),
    }
}

/// Measures everything on one kernel.
fn leg(
    paths: &Paths,
    kernel: &Kernel,
    toolchain: &Toolchain,
    machine: &Machine,
    user: Option<&Path>,
    times: &mut Times,
) -> Result<Leg> {
    let name = &kernel.name;
    let from = guest::sources(paths);
    let progress = Progress::new(format!("{name}: building the module"));
    let ko = &guest::build(paths, kernel, toolchain, &from, "bench/module", Helpers::Inlined)?;
    progress.done(times);
    let progress = Progress::new(format!("{name}: counting instructions"));
    let mut samples = Measurement {
        kernel,
        ko,
        user,
        modes: &[Mode::Count],
        clock: Clock::Instructions,
        seconds: 120,
        name: &format!("{name}-count"),
    }
    .take(paths, machine)?;
    progress.done(times);
    let progress = Progress::new(format!("{name}: taking times"));
    let before = load_average();
    samples.extend(
        Measurement {
            kernel,
            ko,
            user,
            modes: &[Mode::Time, Mode::Wait, Mode::Scale],
            clock: Clock::Host,
            seconds: 300,
            name: &format!("{name}-time"),
        }
        .take(paths, machine)?,
    );
    progress.done(times);
    match lines(paths, kernel, ko, machine, times) {
        Ok(transfers) => samples.extend(transfers),
        // The rest is worth having; the report is not called good without it.
        Err(e) => {
            interrupt::check()?;
            note(format!("no cache lines were counted: {e}"));
        }
    }
    if before > 0.5 {
        note(format!(
            "this machine was busy before times were taken (load average {before:.1}); counts do not \
             mind, times do"
        ));
    }
    let (flavour, helpers, load) = (name.clone(), Helpers::Inlined, before);
    Ok(Leg { flavour, kernel: kernel.key(), helpers, load, samples })
}

/// Counts the cache lines that go from CPU to CPU.
fn lines(
    paths: &Paths,
    kernel: &Kernel,
    ko: &Path,
    machine: &Machine,
    times: &mut Times,
) -> Result<Vec<Samples>> {
    let name = &kernel.name;
    let progress = Progress::new(format!("{name}: counting cache lines"));
    let plugin = &guest::build_plugin(paths)?;
    let output = &paths.build_dir("bench")?.join(format!("{name}-lines.marks"));
    let samples = Measurement {
        kernel,
        ko,
        user: None,
        modes: &[Mode::Lines],
        clock: Clock::Watched { plugin, output },
        seconds: 240,
        name: &format!("{name}-lines"),
    }
    .take(paths, machine)?;
    progress.done(times);
    sample::with_transfers(samples, &read(output)?).ok_or_else(|| {
        let why = format!("{} is not what the module has marked.", output.display());
        problem("QEMU's plugin has not seen every mark", why, "")
    })
}

/// Counts instructions where the helpers are called.
fn called(
    paths: &Paths,
    kernel: &Kernel,
    toolchain: &Toolchain,
    machine: &Machine,
    times: &mut Times,
) -> Result<Leg> {
    let name = &kernel.name;
    let helpers = Helpers::Called;
    let from = guest::sources(paths);
    let progress = Progress::new(format!("{name}: the same with helpers that are called"));
    let ko = &guest::build(paths, kernel, toolchain, &from, "bench/module-called", helpers)?;
    let samples = Measurement {
        kernel,
        ko,
        user: None,
        modes: &[Mode::Count],
        clock: Clock::Instructions,
        seconds: 120,
        name: &format!("{name}-called"),
    }
    .take(paths, machine)?;
    progress.done(times);
    let flavour = name.clone();
    Ok(Leg { flavour, kernel: kernel.key(), helpers, load: 0.0, samples })
}

fn conditions(toolchain: &Toolchain, machine: &Machine) -> Result<Conditions> {
    let host = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    Ok(Conditions {
        rustc: toolchain.version.clone(),
        llvm: toolchain.llvm,
        qemu: tools::qemu_version(&tools::Tools::get())?,
        accel: machine.accel().to_string(),
        cpus: [machine.cpus()?, host],
    })
}

/// How busy this machine was in the last minute.
fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// Writes a report into a folder, in all of its forms.
fn save(report: &Report, dir: &Path) -> Result<()> {
    let operations = operations::all();
    let json = serde_json::to_string_pretty(report)
        .map_err(|e| problem("the report could not be written", e.to_string(), ""))?;
    write(&dir.join("report.json"), json + "\n")?;
    let mut text = report.markdown(&operations);
    for (name, picture) in plot::all(report, &operations)? {
        write(&dir.join(name), picture)?;
        text += &format!("![{name}]({name})\n\n");
    }
    write(&dir.join("report.md"), text.trim_end().to_owned() + "\n")
}

fn load(file: &Path) -> Result<Report> {
    let help = "`make bench` writes build/bench/report.json";
    let text = read(file).map_err(|e| problem("there is no such report", e.to_string(), help))?;
    serde_json::from_str(&text).map_err(|e| {
        problem(format!("{} cannot be read as a report", file.display()), e.to_string(), help)
    })
}

fn shown(paths: &Paths, file: &Path) -> String {
    file.strip_prefix(&paths.root).unwrap_or(file).display().to_string()
}

/// The book's report is what its samples give.
pub fn recorded_is_whole(paths: &Paths) -> Result<()> {
    let dir = recorded(paths);
    let report = load(&dir.join("report.json"))?;
    let again = tempfile::tempdir_in(paths.build_dir("")?)
        .map_err(|e| problem("could not make a folder", e.to_string(), ""))?;
    save(&report, again.path())?;
    for entry in std::fs::read_dir(again.path()).into_iter().flatten().flatten() {
        let file = dir.join(entry.file_name());
        if read(&file).ok() != Some(read(&entry.path())?) {
            let help = "make bench, then make bench-bless";
            let what = format!("{} is not what report.json gives", shown(paths, &file));
            return Err(problem(what, "", help));
        }
    }
    Ok(())
}
