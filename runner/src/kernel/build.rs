// SPDX-License-Identifier: MIT OR Apache-2.0

//! Building a kernel into the cache.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Flavour, Pin, STAMP, cached, config, key, run, source};
use crate::interrupt::{self, Group};
use crate::paths::{Paths, make_dir, read, write};
use crate::say::{Doing, Progress, Result, Times, disk_full, note, problem, step};
use crate::tools::{self, Toolchain};

/// Builds a flavour, or goes on with a build that was interrupted.
pub fn build(
    paths: &Paths,
    flavour: Flavour,
    toolchain: &Toolchain,
    times: &mut Times,
) -> Result<()> {
    let pin = Pin::read(paths)?;
    announce(paths, &pin, flavour);
    let lock =
        paths.lock(&format!("kernel-{flavour}"), &format!("is building the {flavour} kernel"))?;
    if cached(paths, flavour, toolchain)?.is_some() {
        return Ok(());
    }
    tools::install_crates(paths, [tools::Tools::get().pinned.bindgen()], times)?;
    let source = source::get(paths, times)?;
    let dir = format!("kernel/{flavour}-{}-{}", source.version, key(paths, flavour, toolchain)?);
    let dir = paths.cache_dir(&dir)?;
    let make = |args: &[&str]| {
        let mut make = Command::new("make");
        make.arg("-C").arg(&source.dir).arg(format!("O={}", dir.display()));
        make.args(toolchain.make_args(paths)).args(args);
        clean_environment(&mut make);
        if let Some(dir) = toolchain.libclang() {
            make.env("LIBCLANG_PATH", dir);
        }
        make
    };
    let wanted = config::fragments(paths, flavour)?;
    let all = dir.join("workshop.config");
    write(&all, &wanted)?;
    run(
        make(&["-s", "allnoconfig"]).env("KCONFIG_ALLCONFIG", &all),
        "configure the kernel",
        "`make doctor` shows whether a tool is missing",
    )?;
    config::check(&wanted, &read(&dir.join(".config"))?)?;
    let jobs = format!("-j{}", tools::cores());
    let progress =
        Progress::new(format!("building the {flavour} kernel, Linux {}", source.version));
    compile(
        &mut make(&[&jobs, "bzImage", "modules"]),
        &dir,
        pin.cost.steps(flavour),
        &progress,
        flavour,
    )?;
    write(&dir.join(STAMP), "")?;
    progress.done(times);
    drop(lock);
    Ok(())
}

/// Variables that Kbuild would take for its own, and names that would make two
/// machines build two kernels.
pub fn clean_environment(make: &mut Command) {
    for name in [
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "MAKEOVERRIDES",
        "KERNEL",
        "ARGS",
        "MODULE",
        "SCRIPT",
        "KDIR",
        "RUSTC",
        "LLVM",
        "CC",
        "ARCH",
        "CROSS_COMPILE",
        "RUSTFLAGS",
        "B",
        "R",
        "V",
        "M",
        "O",
        "W",
        "C",
    ] {
        make.env_remove(name);
    }
    make.env("KBUILD_BUILD_USER", "rcu").env("KBUILD_BUILD_HOST", "workshop");
    make.env("KBUILD_BUILD_TIMESTAMP", "2026-01-01 00:00:00 UTC").env("LC_ALL", "C");
}

/// Says what is about to happen before the first long build.
fn announce(paths: &Paths, pin: &Pin, flavour: Flavour) {
    let cost = &pin.cost;
    let mb = cost.mb(flavour) + cost.source_mb;
    step(format!(
        "There is no {flavour} kernel in {} yet: fetching Linux {} and building it once.\n\
         This takes about 8 minutes on 2 cores and {mb} MB there; all of the workshop takes about 5 GB.\n\
         Ctrl-C is safe: the next run goes on where this one stopped.",
        paths.cache.display(),
        pin.series,
    ));
    let free = tools::free_bytes(&paths.cache).unwrap_or(u64::MAX) >> 20;
    if free < mb {
        note(format!("only {free} MB are free there; it may not be enough"));
    }
}

/// Runs the long make; its output goes to build.log.
fn compile(
    make: &mut Command,
    dir: &Path,
    steps: u64,
    progress: &Progress,
    flavour: Flavour,
) -> Result<()> {
    let log_path = make_dir(dir.to_owned())?.join("build.log");
    let mut log = File::create(&log_path).doing(|| format!("write {}", log_path.display()))?;
    let errors = log.try_clone().doing(|| "use the log".into())?;
    let mut group = Group::spawn(make.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors))
        .doing(|| "run make".into())?;
    let out = group.child().stdout.take().ok_or_else(|| problem("make has no output", "", ""))?;
    let mut done = 0;
    // make's end closes the pipe; Ctrl-C has to end make for that.
    let lines = std::thread::scope(|scope| -> Result<()> {
        let (send, receive) = std::sync::mpsc::channel();
        scope.spawn(move || {
            for line in BufReader::new(out).split(b'\n').map_while(|l| l.ok()) {
                if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        loop {
            match receive.recv_timeout(std::time::Duration::from_millis(200)) {
                Ok(line) => {
                    done += 1;
                    writeln!(log, "{line}").doing(|| format!("write {}", log_path.display()))?;
                    progress.at(format!(
                        "step {done} of about {}: {}",
                        steps.max(done),
                        line.trim()
                    ));
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) if interrupt::came() => {
                    group.stop();
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    });
    interrupt::check()?;
    lines?;
    let status = group.wait();
    if status.is_some_and(|s| s.success()) {
        return Ok(());
    }
    let text = read(&log_path)?;
    if text.contains("No space left on device") {
        return Err(disk_full(&format!("build the {flavour} kernel")));
    }
    let said: Vec<_> =
        text.lines().filter(|l| l.contains("rror") || l.contains("***")).take(12).collect();
    Err(problem(
        format!("the {flavour} kernel could not be built"),
        said.join("\n"),
        format!("the whole log is {}; give the same command again to go on", log_path.display()),
    ))
}
