// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make stage-N debug`: a guest that gdb can stop, and a script that tells gdb
//! where the modules are.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::interrupt::{self, Group};
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

/// A breakpoint in a module's own function is hit, and gdb can look at a struct there.
pub fn test(paths: &Paths, stage: &Stage) -> Result<()> {
    let mut times = Times::default();
    let place = format!("test/gdb-{}", stage.number);
    let ready = Ready::get(paths, stage, Flavour::Fast, &place, true, &mut times)?;
    let machine = Machine::get(paths, &ready.kernel, &mut times)?.with_stub(ready.stub.clone());
    let module = stage.module()?;
    let mut session = Session::new(paths, stage, &ready.built)?;
    let args = "cco_ms=10 maint_ms=10 gap_ms=10";
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
    let mut gdb = ready.gdb(paths)?;
    gdb.arg("-batch")
        .args(["-ex", &format!("break {}", example(module))])
        .args(["-ex", "continue"]);
    let (looks, mut wanted) = match module {
        "phased_state" => {
            (&["print story.be_careful", "print story.cco1.name"][..], vec!["Atomic", "\"cco1\""])
        }
        _ => (&[][..], vec![]),
    };
    for look in looks.iter().chain(&["backtrace 2", "delete", "detach"]) {
        gdb.args(["-ex", look]);
    }
    let socket = paths.root.join(&ready.stub.socket);
    let (boot, said) = std::thread::scope(|scope| {
        let gdb = scope.spawn(|| attached(&mut gdb, &socket));
        let boot = machine.boot(&plan, &mut |_| ());
        (boot, gdb.join().unwrap_or_else(|_| Err(problem("gdb was lost", "", ""))))
    });
    let (boot, said) = (boot?, said?);
    let hit = format!("Breakpoint 1, {}", example(module));
    wanted.extend([hit.as_str(), "#0 "]);
    if let Some(missing) = wanted.iter().find(|line| !said.contains(**line)) {
        return Err(problem(format!("gdb did not say `{missing}`"), said, ""));
    }
    match boot.end {
        End::Finished => Ok(()),
        _ => boot.finished(),
    }
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
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    Ok(said.into_owned())
}
