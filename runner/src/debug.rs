// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make stage-N debug`: a guest that gdb can stop, and a script that tells gdb
//! where the modules are.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::interrupt;
use crate::kernel::{Flavour, Kernel};
use crate::module::{self, Built};
use crate::paths::{Paths, make_dir, var, write};
use crate::say::{Doing, Result, Times, note, problem, step};
use crate::session::{self, Session};
use crate::stage::Stage;
use crate::tools::{Need, ensure, find};
use crate::vm::{End, Machine, Plan, Stub, session_limit};

const MODULES: &str = include_str!("../gdb/modules.py");

/// For the C compiler and for rustc: say where everything is.  It changes no code.
const DEBUG_INFO: [&str; 2] = ["KCFLAGS=-g", "KRUSTFLAGS=-Cdebuginfo=2"];

/// What gdb needs for a stage on a kernel.
struct Ready {
    kernel: Kernel,
    built: Built,
    stub: Stub,
    /// The file for `gdb -x`.
    commands: PathBuf,
}

impl Ready {
    /// Builds the stage's modules with debug information, and writes the commands.
    ///
    /// `place` is a folder below `build/` of this use alone.
    fn get(
        paths: &Paths,
        stage: &Stage,
        flavour: Flavour,
        place: &str,
        waits: bool,
        times: &mut Times,
    ) -> Result<Self> {
        ensure(paths, &[Need::Debug], times)?;
        let (kernel, toolchain) = Kernel::get(paths, flavour, times)?;
        let built = times.part("module", || {
            module::build(paths, &kernel, &toolchain, &stage.dir, place, None, &DEBUG_INFO)
        })?;
        let dir = make_dir(paths.build.join(place))?;
        // Relative to the checkout: the kernel takes no long path for a socket.
        let stub = Stub { socket: PathBuf::from("build").join(place).join("gdb.socket"), waits };
        let follow = dir.join("modules.py");
        write(&follow, MODULES)?;
        let commands = dir.join("commands.gdb");
        let text = format!(
            "# For gdb, from the folder of the workshop.\n\
             set pagination off\n\
             set confirm off\n\
             set breakpoint pending on\n\
             # A pointer is often followed by hand here.\n\
             set print pretty on\n\
             file {}\n\
             source {}\n\
             target remote {}\n\
             workshop-modules {}\n",
            kernel.dir.join("vmlinux").display(),
            follow.display(),
            stub.socket.display(),
            built.dir.display(),
        );
        write(&commands, text)?;
        Ok(Self { kernel, built, stub, commands })
    }

    /// gdb, with the commands.
    fn gdb(&self, paths: &Paths) -> Result<Command> {
        let gdb = find("gdb").ok_or_else(|| problem("gdb is gone", "", "make doctor"))?;
        let mut command = Command::new(gdb);
        command.current_dir(&paths.root).args(["-nx", "-q", "-x"]).arg(&self.commands);
        Ok(command)
    }
}

/// `make stage-N debug`
pub fn debug(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(problem(
            "the guest to debug wants a terminal",
            "",
            format!(
                "call `make stage-{} debug` by hand, and gdb in a second terminal",
                stage.number
            ),
        ));
    }
    let waits = var("WAIT").is_some();
    let place = format!("stage-{}/gdb", stage.number);
    let ready = Ready::get(paths, stage, Flavour::wanted()?, &place, waits, times)?;
    let machine = Machine::get(paths, &ready.kernel, times)?.with_stub(ready.stub.clone());
    let session = Session::new(paths, stage, &ready.built)?;
    let root = session.finish()?;
    let module = stage.module()?;
    step(format!(
        "A shell in the guest, Linux {} under {}, which gdb can stop.\n\n\
         In a second terminal, in this folder:\n\n  gdb -x {}\n\n\
         and there, for example:\n\n  break {}\n  continue\n\n\
         Here, then:\n\n  insmod /workshop/{module}.ko\n\n\
         gdb stops the whole guest, this shell too; `continue` lets it go on.\n\
         Ctrl-D or `exit` here powers off.",
        ready.kernel.release,
        machine.accel(),
        paths.shown(&ready.commands),
        example(module),
    ));
    if waits {
        note("WAIT=1: the guest waits for gdb's `continue` before its first instruction");
    }
    machine.shell(&ready.kernel, &root)
}

/// A function of a module that is worth a stop.
fn example(module: &str) -> &str {
    match module {
        "phased_state" => "phased_state::work_inside",
        // What runs when it is loaded; each module has one.
        _ => "init_module",
    }
}

/// What gdb is told to do in a session without a user.
fn looks(module: &str) -> Vec<String> {
    let mut looks = vec![format!("break {}", example(module)), "continue".into()];
    if module == "phased_state" {
        // The reader, and what it shares with others.
        let reader = ["backtrace 2", "up", "print me.name", "print story.be_careful"];
        looks.extend(reader.map(str::to_owned));
        looks.extend(["print story.cco1", "info threads"].map(str::to_owned));
    } else {
        looks.push("info symbol $pc".into());
    }
    looks.extend(["delete", "detach"].map(str::to_owned));
    looks
}

/// A breakpoint in a module's own function is hit, and gdb can look at a struct there.
pub fn test(paths: &Paths, stage: &Stage) -> Result<()> {
    session(paths, stage, &mut Times::default()).map(|_| ())
}

/// `make stage-N bless C=debugger`: such a session, for the book.
pub fn record(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    let said = session(paths, stage, times)?;
    let file = stage.dir.join("debugger.txt");
    write(&file, anchored(&said))?;
    step(format!("recorded in {}", paths.shown(&file)));
    Ok(())
}

/// The session in two regions, for a page: `stop`, and `look` from `up` on.
fn anchored(said: &str) -> String {
    let mut text = String::new();
    for line in said.lines() {
        text += match line {
            "(gdb) up" => "# ANCHOR_END: stop\n# ANCHOR: look\n",
            "(gdb) delete" => "# ANCHOR_END: look\n",
            _ if line.starts_with("(gdb) break ") => "# ANCHOR: stop\n",
            _ => "",
        };
        text += line;
        text.push('\n');
    }
    text
}

/// Boots, attaches gdb, looks at what there is, and gives what was typed and answered.
fn session(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<String> {
    let place = format!("test/gdb-{}", stage.number);
    let ready = Ready::get(paths, stage, Flavour::Fast, &place, true, times)?;
    let machine = Machine::get(paths, &ready.kernel, times)?.with_stub(ready.stub.clone());
    let module = stage.module()?;
    let mut session = Session::new(paths, stage, &ready.built)?;
    let args = if module == "phased_state" { "cco_ms=10 maint_ms=10 gap_ms=10" } else { "" };
    session.section("debugged", args, &session::script(stage, module)?);
    let root = session.finish()?;
    let console = paths.build.join(&place).join("console.log");
    let plan = Plan {
        kernel: &ready.kernel,
        root: &root,
        limit: session_limit(&ready.kernel, stage.about.seconds),
        boot_limit: None,
        params: &[],
        console: &console,
    };
    let looks = looks(module);
    let mut gdb = ready.gdb(paths)?;
    gdb.arg("-batch");
    for look in &looks {
        // As a user would see it, who has typed it.
        gdb.args(["-ex", &format!("echo (gdb) {look}\\n"), "-ex", look]);
    }
    let socket = paths.root.join(&ready.stub.socket);
    let (boot, said) = std::thread::scope(|scope| {
        let gdb = scope.spawn(|| attached(&mut gdb, &socket));
        let boot = machine.boot(&plan, &mut |_| ());
        (boot, gdb.join().unwrap_or_else(|_| Err(problem("gdb was lost", "", ""))))
    });
    let (boot, said) = (boot?, said?);
    let wanted = match module {
        "phased_state" => {
            &["hit Breakpoint 1, phased_state::work_inside", "= \"cco1\"", "value: 0"][..]
        }
        _ => &["hit Breakpoint 1, ", "init_module", "in section .init.text"],
    };
    if let Some(missing) = wanted.iter().find(|line| !said.contains(**line)) {
        return Err(problem(format!("gdb did not say `{missing}`"), said, ""));
    }
    if boot.end != End::Finished {
        boot.finished()?;
    }
    let said = said.replace(&format!("{}/", paths.root.display()), "");
    Ok(format!(
        "# SPDX-License-Identifier: GPL-2.0\n# A session of gdb, recorded by `make stage-{} bless C=debugger`; not edited.\n# kernel: Linux {}\n# machine: {}\n{said}",
        stage.number,
        ready.kernel.release,
        machine.describe()?,
    ))
}

/// Runs gdb once there is a socket for it.
fn attached(gdb: &mut Command, socket: &Path) -> Result<String> {
    let began = Instant::now();
    while !socket.exists() {
        interrupt::check()?;
        if began.elapsed() > Duration::from_secs(60) {
            return Err(problem("QEMU made no socket for gdb", socket.display().to_string(), ""));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = interrupt::output(gdb).doing(|| "run gdb".into())?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        return Err(problem("gdb was not content", said, ""));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
