// SPDX-License-Identifier: MIT OR Apache-2.0

//! Modules and guests that misbehave: each has to be told from the others.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Tally;
use crate::kernel::{Flavour, Kernel};
use crate::module::{self, Built};
use crate::paths::Paths;
use crate::run::ready;
use crate::say::{Doing, Result, Times, problem};
use crate::session::{self, Session};
use crate::stage::Stage;
use crate::variant::Variant;
use crate::vm::{End, Machine, Plan};

/// Runs all of them on `fast`.
pub fn test(paths: &Paths, tally: &mut Tally) -> Result<()> {
    let mut times = Times::default();
    let stage = Stage::get(paths, "stage-1")?;
    let ready = ready(paths, &stage, Flavour::Fast, &mut times)?;
    let machine = Machine::get(paths, &ready.kernel, &mut times)?;
    let console = paths.build_dir("test")?.join("misfit.log");
    let variant =
        |name: &str| Variant::read(&paths.root.join(format!("runner/tests/variants/{name}.toml")));
    // An oops of a module only ends its thread, unless the kernel is told otherwise.
    let params = &["oops=panic"];
    let boot = |kernel: &Kernel, built: &Built, limit, boot_limit| {
        let module = stage.module()?;
        let mut session = Session::new(paths, &stage, built)?;
        session.section("load-1", "", &session::again(module));
        let root = session.finish()?;
        let plan = Plan { kernel, root: &root, limit, boot_limit, params, console: &console };
        machine.boot(&plan, &mut |_| ())
    };

    for (name, end, says) in [
        ("panics", End::Panicked, "the kernel panicked"),
        ("hangs-in-init", End::Hung, "loading phased_state"),
        ("never-unloads", End::Hung, "unloading phased_state"),
    ] {
        let variant = variant(name)?;
        tally.check(format!("told from others: {}", variant.title), || {
            let name = format!("variants/{name}");
            let from = variant.make(paths, &stage, &name)?;
            let built =
                module::build(paths, &ready.kernel, &ready.toolchain, &from, &name, None, &[])?;
            let boot = boot(&ready.kernel, &built, Duration::from_secs(6), None)?;
            told(&boot.end, &end, boot.finished(), says)
        });
    }
    let broken = variant("does-not-compile")?;
    tally.check(format!("refused in the compiler's words: {}", broken.title), || {
        let name = "variants/does-not-compile";
        let from = broken.make(paths, &stage, name)?;
        match module::build(paths, &ready.kernel, &ready.toolchain, &from, name, None, &[]) {
            Ok(_) => Err(problem("it compiled", "", "")),
            Err(e) if e.to_string().contains("error[E0308]: mismatched types") => Ok(()),
            Err(e) => Err(e),
        }
    });
    tally.check("a guest that never boots is reported as such", || {
        let second = Duration::from_millis(500);
        let boot = boot(&ready.kernel, &ready.built, second, Some(second))?;
        told(&boot.end, &End::NeverBooted, boot.finished(), "did not boot within")
    });
    tally.check("a kernel that QEMU cannot start is reported as such", || {
        let mut kernel = ready.kernel.clone();
        kernel.image = paths.build_dir("test")?.join("no-kernel");
        std::fs::write(&kernel.image, "not a kernel").doing(|| "write a file".into())?;
        let boot = boot(&kernel, &ready.built, Duration::from_secs(6), None)?;
        match boot.end {
            End::Exited(_) => told(&End::Hung, &End::Hung, boot.finished(), "ended before"),
            _ => told(&boot.end, &End::Exited("...".into()), boot.finished(), ""),
        }
    });
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        tally.check(format!("a run that gets {signal} leaves nothing running"), || {
            stopped_by(paths, signal)
        });
    }
    Ok(())
}

/// The end is the one that was to come, and the message has the words.
fn told(end: &End, expected: &End, message: Result<()>, words: &str) -> Result<()> {
    let text = message.err().map(|e| e.to_string()).unwrap_or_default();
    if end == expected && text.contains(words) {
        return Ok(());
    }
    Err(problem(format!("it ended as {end:?} instead of {expected:?}"), text, ""))
}

/// Starts a run, sends it a signal when the guest is there, and looks for what
/// is left.
fn stopped_by(paths: &Paths, signal: Signal) -> Result<()> {
    let mut run = Command::new(std::env::current_exe().doing(|| "find the runner".into())?)
        .args(["stage-1", "run"])
        .env("KERNEL", "fast")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .doing(|| "start a run".into())?;
    let mark = format!("vm/run-{}-", run.id());
    let began = Instant::now();
    while processes_with(&mark) < 2 {
        if began.elapsed() > Duration::from_secs(60) {
            let _ = run.kill();
            return Err(problem("the run did not start its VM", "", ""));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // Well into the guest's boot.
    std::thread::sleep(Duration::from_millis(700));
    let _ = kill(Pid::from_raw(run.id() as i32), signal);
    let status = run.wait().doing(|| "wait for the run".into())?;
    let began = Instant::now();
    while processes_with(&mark) > 0 && began.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let left = processes_with(&mark);
    if left > 0 || status.success() {
        return Err(problem(
            format!("{left} processes are left; the run ended with {status}"),
            "",
            "",
        ));
    }
    // A killed run cannot tidy up; the next one does.
    let folders = || {
        let entries = std::fs::read_dir(paths.build.join("vm")).into_iter().flatten().flatten();
        let mine = format!("run-{}-", run.id());
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(&mine)).count()
    };
    if signal == Signal::SIGKILL {
        crate::vm::Root::new(paths)?;
    }
    match folders() {
        0 => Ok(()),
        n => Err(problem(format!("{n} temporary folders are left"), "", "")),
    }
}

/// How many processes have `mark` in their command line.
fn processes_with(mark: &str) -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(mark))
        .count()
}
