// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ctrl-C, and how nothing is left running after it.
//!
//! A signal only sets a flag; the loops of the runner look at it and leave by
//! the ordinary way, so that temporary folders and children go as they always
//! go.  What must die with the runner even when that is killed outright gets
//! [`die_with_parent`].

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, killpg, sigaction};
use nix::unistd::Pid;

use crate::say::{Result, problem};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn remember(_: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Makes SIGINT, SIGTERM and SIGHUP set the flag instead of ending the runner.
pub fn catch() {
    let action = SigAction::new(SigHandler::Handler(remember), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        let before = unsafe { sigaction(signal, &action) };
        // What nohup made ignored stays ignored.  (SIGINT may be ignored only because
        // a shell without job control started the runner in the background.)
        let nohup = signal == Signal::SIGHUP;
        let ignored = |b: &SigAction| nohup && b.handler() == SigHandler::SigIgn;
        if let Ok(before) = before.map(|b| ignored(&b).then_some(b)) {
            // SAFETY: this puts back what was there.
            let _ = before.map(|before| unsafe { sigaction(signal, &before) });
        }
    }
    // `make stage-1 run | head` is to end, not to panic.
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    let _ = unsafe { sigaction(Signal::SIGPIPE, &default) };
}

/// An error once a signal has come.
pub fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(problem(
            "interrupted",
            "Everything that was started has been stopped; finished parts are kept.",
            "give the same command again to go on from here",
        ));
    }
    Ok(())
}

/// Has a signal come?
pub fn came() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// A line that the user types; `None` at the end of the input.  Ctrl-C ends the
/// wait, which a plain read would not notice.
pub fn read_line() -> Result<Option<String>> {
    let stdin = io::stdin();
    loop {
        check()?;
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if matches!(poll(&mut fds, PollTimeout::from(100u8)), Ok(n) if n > 0) {
            let mut line = String::new();
            let read = stdin.read_line(&mut line).unwrap_or(0);
            check()?;
            return Ok((read > 0).then(|| line.trim().to_owned()));
        }
    }
}

/// Lets the kernel kill the child when the thread that spawned it ends, even by
/// SIGKILL.  Survives an exec.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    // SAFETY: prctl is async-signal-safe and nothing else happens between fork and exec.
    unsafe {
        command
            .pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from))
    }
}

/// Runs a program to its end, as [`Command::output`] does; a signal ends it,
/// whenever it comes, and the caller finds that out by [`check`].
pub fn output(command: &mut Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::spawn(command)?;
    let (out, err) = (group.child.stdout.take(), group.child.stderr.take());
    std::thread::scope(|scope| {
        let stdout = scope.spawn(|| read_all(out));
        let stderr = scope.spawn(|| read_all(err));
        while group.ended().is_none() {
            if came() {
                group.stop();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = group.wait().ok_or_else(|| io::Error::other("it has no status"))?;
        let read =
            |thread: std::thread::ScopedJoinHandle<'_, Vec<u8>>| thread.join().unwrap_or_default();
        Ok(Output { status, stdout: read(stdout), stderr: read(stderr) })
    })
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = vec![];
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

/// A child with all of its descendants, killed when this goes out of scope.
pub struct Group {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Starts `command` in a process group of its own: the terminal's Ctrl-C
    /// reaches the runner alone, which then ends the group.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        die_with_parent(command.process_group(0));
        Ok(Self { child: command.spawn()?, ended: None })
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How the child ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Kills all of the group now.
    pub fn kill(&mut self) {
        // The group's leader may be gone while a grandchild lives: signal always.
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
    }

    /// Asks all of the group to end, and kills what has not after a while.  Make
    /// removes half-written files when it is asked, and cannot when it is killed.
    pub fn stop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let began = Instant::now();
        while self.ended().is_none() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    /// Waits for the child's end.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
        self.ended
    }

    /// Waits for the child's end, no longer than `limit`.
    pub fn wait_at_most(&mut self, limit: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        while self.ended().is_none() && began.elapsed() < limit && !came() {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.ended
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}
