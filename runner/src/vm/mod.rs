// SPDX-License-Identifier: MIT OR Apache-2.0

//! The virtual machine: virtme-ng boots a kernel with a folder as root, and
//! the console tells how it went.

mod accel;
mod direct;
mod guard;
mod root;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

pub use accel::{Accel, kvm_state, remembered};
pub use direct::Clock;
pub use guard::exec_as_qemu;
pub use root::Root;

use crate::interrupt::{self, Group};
use crate::kernel::Kernel;
use crate::paths::{Paths, number};
use crate::say::{Doing, Result, Times, problem};
use crate::tools::{self, Need, ensure, virtme};

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The session ran to its end.
    Finished,
    /// The kernel panicked.
    Panicked,
    /// The deadline passed before the guest's first word.
    NeverBooted,
    /// The deadline passed in the session.
    Hung,
    /// QEMU, or virtme-ng, ended without the guest's last word.
    Exited(String),
}

/// The console of a boot.
pub struct Boot {
    /// All lines, as they came.
    pub lines: Vec<String>,
    /// How it ended.
    pub end: End,
    /// Under what it ran.
    pub accel: Accel,
    /// From the start of QEMU to its end.
    pub took: Duration,
    /// The deadline that it had.
    pub limit: Duration,
    /// Where the console was written.
    pub console: PathBuf,
}

/// Words of the guest that the runner waits for (see guest/lib.sh).
const FIRST_WORD: &str = "guest: here";
const LAST_WORD: &str = "guest: done";

/// One boot.
pub struct Plan<'a> {
    /// What is booted.
    pub kernel: &'a Kernel,
    /// The guest's root, with its session.
    pub root: &'a Root,
    /// For the session, from the guest's first word on.
    pub limit: Duration,
    /// For the boot up to there; one that fits the kernel, if not given.
    pub boot_limit: Option<Duration>,
    /// More words for the kernel's command line.
    pub params: &'a [&'a str],
    /// The file that gets the console.
    pub console: &'a Path,
}

/// QEMU's end of a debugger's line.
#[derive(Clone)]
pub struct Stub {
    /// The socket: relative, since its name must be short.
    pub socket: PathBuf,
    /// Is the guest to wait for the debugger before its first instruction?
    pub waits: bool,
}

/// A machine that is ready to boot.
pub struct Machine {
    virtme_run: PathBuf,
    accel: Accel,
    /// CPUs of the guest, where `CPUS=` says nothing.
    cpus: u64,
    /// Does its clock count instructions?
    counts: bool,
    qemu: String,
    stub: Option<Stub>,
    paths: Paths,
}

impl Machine {
    /// Installs what is missing, and finds out whether KVM works.
    pub fn get(paths: &Paths, kernel: &Kernel, times: &mut Times) -> Result<Self> {
        ensure(paths, &[Need::Vm], times)?;
        let virtme_run = virtme(paths, times)?;
        let qemu = tools::qemu_version(&tools::Tools::get())?;
        let mut machine = Self {
            virtme_run,
            accel: Accel::Tcg,
            cpus: 2,
            counts: false,
            qemu,
            stub: None,
            paths: paths.clone(),
        };
        machine.accel = accel::choose(&machine, kernel)?;
        Ok(machine)
    }

    /// Gives the guest more than two CPUs, which is the least that shows anything.
    pub fn with_cpus(self, cpus: u64) -> Self {
        Self { cpus, ..self }
    }

    /// Gives the guest a clock that counts instructions, a nanosecond each, whatever else the
    /// host does; and one CPU, since all CPUs would share that clock.
    pub fn counting_instructions(self) -> Self {
        Self { accel: Accel::Tcg, cpus: 1, counts: true, ..self }
    }

    /// Lets a debugger in.
    pub fn with_stub(self, stub: Stub) -> Self {
        Self { stub: Some(stub), ..self }
    }

    /// `CPUS=`, or what this machine has.
    pub fn cpus(&self) -> Result<u64> {
        if self.counts {
            return Ok(self.cpus);
        }
        Ok(number("CPUS", 1..=8)?.unwrap_or(self.cpus))
    }

    /// For the stamp of a recorded trace.
    pub fn describe(&self) -> Result<String> {
        let clock = if self.counts { ", a clock that counts instructions" } else { "" };
        Ok(format!("QEMU {}, {}, {} CPUs{clock}", self.qemu, self.accel, self.cpus()?))
    }

    /// What guests run under.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// Without ACPI a guest boots faster under TCG, and cannot power off: see
    /// kernel/debug.config.
    fn command(&self, kernel: &Kernel, root: &Root, accel: Accel, acpi: bool) -> Result<Command> {
        let mut run = Command::new(&self.virtme_run);
        run.arg("--kimg").arg(&kernel.image).arg("--root").arg(root.path());
        run.args(["--user", "root", "--force-9p", "--mods=auto", "--memory", "1G"]);
        let cpus = self.cpus()?;
        match acpi {
            true => run.args(["--cpus", &cpus.to_string()]),
            // The table that it has instead names one CPU of each socket.  With more than
            // one of these the kernel does not trust the TSC; QEMU's is the same on each.
            // The port is where the firmware of QEMU's q35 puts its clock.
            false => run.args(["--cpus", &format!("{cpus},sockets={cpus}")]).args([
                "-a",
                "acpi=off",
                "-a",
                "pmtmr=0x608",
                "-a",
                "tsc=reliable",
            ]),
        };
        run.arg("--qemu-bin").arg(guard::link(root.temporary())?);
        if accel == Accel::Tcg {
            run.arg("--disable-kvm");
        }
        // Words written to /dev/kmsg are not to be held back.
        run.args(["-a", "printk.devkmsg=on"]);
        // With five-level page tables, KASAN takes an interrupt that comes while the
        // boot CPU is being identified for a wild access: the feature flag that says
        // where the shadow begins is cleared for a moment.
        run.args(["-a", "no5lvl"]);
        // On a busy machine the timer's interrupts can be too late for this test, which panics.
        run.args(["-a", "no_timer_check"]);
        // A watchdog that finds the clock late on a busy machine would change it again.
        run.args(["-a", "tsc=nowatchdog"]);
        if self.counts {
            run.args(["--qemu-opt=-icount", "--qemu-opt=shift=0,sleep=off"]);
        }
        if let Some(Stub { socket, waits }) = &self.stub {
            // One that an earlier guest has left would be taken for this one's.
            let _ = std::fs::remove_file(self.paths.root.join(socket));
            let listens = format!("unix:{},server=on,wait=off", socket.display());
            run.args(["--qemu-opt=-gdb", &format!("--qemu-opt={listens}")]);
            if *waits {
                run.arg("--qemu-opt=-S");
            }
            run.current_dir(&self.paths.root);
        }
        // virtme-run leaves a file in TMPDIR when it is killed.
        run.env("TMPDIR", root.temporary());
        Ok(run)
    }

    /// Boots, lets the guest do what the plan's root says, and powers off; every
    /// line of the console goes to `watch` as it comes.
    pub fn boot(&self, plan: &Plan<'_>, watch: &mut dyn FnMut(&str)) -> Result<Boot> {
        self.boot_under(self.accel, plan, watch)
    }

    fn boot_under(
        &self,
        accel: Accel,
        plan: &Plan<'_>,
        watch: &mut dyn FnMut(&str),
    ) -> Result<Boot> {
        let &Plan { kernel, root, limit, console, .. } = plan;
        let boot_limit = plan.boot_limit.unwrap_or_else(|| boot_limit(accel, kernel));
        let acpi = accel == Accel::Kvm || !kernel.has("X86_PM_TIMER");
        let mut command = self.command(kernel, root, accel, acpi)?;
        for param in plan.params {
            command.args(["-a", param]);
        }
        command.args([
            "--show-boot-console",
            "--verbose",
            "--script-sh",
            "sh /workshop/session.sh",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut group = Group::spawn(&mut command).doing(|| "start virtme-ng".into())?;
        let pipe = group.child().stderr.take();
        follow(group, pipe, accel, [boot_limit, limit], console, watch)
    }

    /// An interactive guest on this terminal.
    pub fn shell(&self, kernel: &Kernel, root: &Root) -> Result<()> {
        let saved = nix::sys::termios::tcgetattr(std::io::stdin()).ok();
        let mut command = self.command(kernel, root, self.accel, true)?;
        // In the runner's own group: only that may read the terminal.  Ctrl-C is
        // the guest's then; the runner hears it too, and has nothing to do for it.
        interrupt::die_with_parent(&mut command);
        let status = command.status();
        if let Some(saved) = saved {
            let _ = nix::sys::termios::tcsetattr(
                std::io::stdin(),
                nix::sys::termios::SetArg::TCSANOW,
                &saved,
            );
        }
        status.doing(|| "start virtme-ng".into())?;
        Ok(())
    }
}

/// Reads the console of a machine that was just started, until the guest's last word, or the end of
/// the machine, or one of the limits: up to the first word, and from there.  `DEADLINE=` wins.
fn follow(
    mut group: Group,
    pipe: Option<impl Read + Send + 'static>,
    accel: Accel,
    [boot_limit, limit]: [Duration; 2],
    console: &Path,
    watch: &mut dyn FnMut(&str),
) -> Result<Boot> {
    let given = number("DEADLINE", 1..=86400)?.map(Duration::from_secs);
    let [boot_limit, limit] = [boot_limit, limit].map(|limit| given.unwrap_or(limit));
    let began = Instant::now();
    let mut file = File::create(console).doing(|| format!("write {}", console.display()))?;
    let pipe = pipe.ok_or_else(|| problem("the VM has no console", "", ""))?;
    let (send, receive) = channel();
    // Ends with the pipe, which the group's end closes.
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(|line| line.ok()) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let mut lines: Vec<String> = vec![];
    let mut deadline = began + boot_limit;
    let mut here = false;
    let end = loop {
        interrupt::check()?;
        match receive.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                writeln!(file, "{line}").doing(|| format!("write {}", console.display()))?;
                watch(&line);
                let (first, last) = (line.contains(FIRST_WORD), line.contains(LAST_WORD));
                lines.push(line);
                if first && !here {
                    here = true;
                    deadline = Instant::now() + limit;
                }
                if last {
                    break End::Finished;
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = group.wait_at_most(Duration::from_secs(5));
                break if panicked(&lines) {
                    End::Panicked
                } else {
                    End::Exited(status.map_or("it gave no status".into(), |s| s.to_string()))
                };
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() > deadline {
            break match here {
                _ if panicked(&lines) => End::Panicked,
                true => End::Hung,
                false => End::NeverBooted,
            };
        }
    };
    if end == End::Finished {
        // The last words of the kernel, should it not like the way it goes; the end of
        // QEMU ends them.
        while let Ok(line) = receive.recv_timeout(Duration::from_secs(20)) {
            let _ = writeln!(file, "{line}");
            lines.push(line);
        }
    }
    drop(group);
    let limit = if here { limit } else { boot_limit };
    Ok(Boot { lines, end, accel, took: began.elapsed(), limit, console: console.to_owned() })
}

impl Boot {
    /// An error for every end but a finished session, with the console's last lines.
    pub fn finished(&self) -> Result<()> {
        let secs = self.limit.as_secs();
        let (what, help) = match &self.end {
            End::Finished => return Ok(()),
            End::Panicked => ("the kernel panicked".into(), "the panic's reason and call trace are above; a module's own functions have its name in [brackets]".into()),
            End::NeverBooted => (
                format!("the guest did not boot within {secs} s ({})", self.accel),
                match self.accel {
                    Accel::Kvm => "KVM may hang here: ACCEL=tcg runs without it".into(),
                    Accel::Tcg => "is the machine very busy?  DEADLINE=600 gives it ten minutes".to_string(),
                },
            ),
            End::Hung => (
                format!("the guest hung: no end after {secs} s ({})", self.accel),
                "the last lines show how far it came; DEADLINE=600 gives it ten minutes".into(),
            ),
            End::Exited(status) => (format!("the VM ended before the guest had finished ({status})"), "the last lines say why; `make doctor` checks QEMU and virtme-ng".into()),
        };
        let wanted = match &self.end {
            // From the reason on.
            End::Panicked => self
                .lines
                .iter()
                .position(|l| l.contains("Kernel panic"))
                .map_or(0, |at| at.saturating_sub(25)),
            _ => self.lines.len().saturating_sub(15),
        };
        let tail: Vec<_> = self.lines[wanted..].iter().map(|l| format!("  | {l}")).collect();
        let tail =
            if tail.is_empty() { "  | (the console stayed empty)".into() } else { tail.join("\n") };
        Err(problem(
            what,
            format!("{tail}\nThe whole console is {}.", self.console.display()),
            help,
        ))
    }
}

fn panicked(lines: &[String]) -> bool {
    lines.iter().any(|line| line.contains("Kernel panic"))
}

/// How long a guest may take to its first word.
fn boot_limit(accel: Accel, kernel: &Kernel) -> Duration {
    Duration::from_secs(match (accel, kernel.has("KASAN")) {
        (Accel::Kvm, _) => 60,
        (Accel::Tcg, false) => 90,
        (Accel::Tcg, true) => 240,
    })
}

/// How long a session may take that takes `seconds` on `fast` under TCG at
/// most.  Waiting is not slowed down by checks, computing is.
pub fn session_limit(kernel: &Kernel, seconds: u64) -> Duration {
    Duration::from_secs(30 + seconds * if kernel.has("KASAN") { 4 } else { 2 })
}
