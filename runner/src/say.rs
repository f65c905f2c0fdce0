// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the user sees: progress of long work, the times at the end of a run,
//! and errors that name the command that helps.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
pub use miette::Result;

/// An error for the user: what happened, and what to do.
///
/// `why` may span lines; it is printed as it is, so that a compiler's message
/// stays readable.
pub fn problem(
    what: impl Into<String>,
    why: impl AsRef<str>,
    help: impl Into<String>,
) -> miette::Report {
    let (what, why) = (what.into(), why.as_ref().trim_end());
    let text = if why.is_empty() { what } else { format!("{what}\n{why}") };
    let diagnostic = miette::MietteDiagnostic::new(text);
    let help = help.into();
    if help.is_empty() { diagnostic.into() } else { diagnostic.with_help(help).into() }
}

/// Turns an I/O error into a [`problem`] that says what was being done.
///
/// A full disk gets the advice that helps there, whatever was being done.
pub trait Doing<T> {
    /// `what` completes "could not …".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| match e.raw_os_error() {
            Some(code) if code == nix::Error::ENOSPC as i32 => disk_full(&what()),
            _ => problem(format!("could not {}", what()), e.to_string(), ""),
        })
    }
}

/// The one message for a full disk.
pub fn disk_full(what: &str) -> miette::Report {
    problem(
        format!("the disk is full: could not {what}"),
        "Nothing that was finished is lost; what was half-done is taken up again.",
        "free some space (`df -h` shows where; the whole workshop takes about 5 GB, `make doctor` says where), then give the same command again",
    )
}

/// The end of a text that is too long to show.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A line of a run's story.
pub fn step(text: impl AsRef<str>) {
    println!("{}", text.as_ref());
}

/// A remark on the side, kept apart from what a program printed.
pub fn note(text: impl AsRef<str>) {
    println!("  note: {}", text.as_ref());
}

/// Long work with a moving line on a terminal, and a line every half minute
/// where there is none.
pub struct Progress {
    bar: ProgressBar,
    title: String,
    began: Instant,
    plain: Option<Mutex<Instant>>,
}

impl Progress {
    /// Begins a piece of work.
    pub fn new(title: impl Into<String>) -> Self {
        let title = title.into();
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if terminal {
            bar.set_style(
                ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.set_prefix(title.clone());
            bar.enable_steady_tick(Duration::from_millis(150));
        } else {
            println!("{title} ...");
        }
        let now = Instant::now();
        Self { bar, title, began: now, plain: (!terminal).then(|| Mutex::new(now)) }
    }

    /// Says how far the work is.
    pub fn at(&self, what: impl Into<String>) {
        let what = what.into();
        if let Some(last) = &self.plain {
            let mut last = last.lock().unwrap_or_else(|e| e.into_inner());
            if last.elapsed() > Duration::from_secs(30) {
                *last = Instant::now();
                println!("  {} s: {what}", self.began.elapsed().as_secs());
                let _ = std::io::stdout().flush();
            }
        }
        self.bar.set_message(what);
    }

    /// Ends the work, which is noted in `times` under its title.
    pub fn done(self, times: &mut Times) {
        self.bar.finish_and_clear();
        let took = self.began.elapsed();
        println!("{}: {}", self.title, seconds(took));
        times.add(&self.title, took);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How long the parts of a run took, printed at its end.
#[derive(Default)]
pub struct Times(Vec<(String, Duration)>);

impl Times {
    /// Adds a part.
    pub fn add(&mut self, part: &str, took: Duration) {
        self.0.push((part.to_owned(), took));
    }

    /// Runs `work` as a part.
    pub fn part<T>(&mut self, part: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let result = work()?;
        self.add(part, began.elapsed());
        Ok(result)
    }

    /// Prints one line with all parts.
    pub fn print(&self) {
        let parts: Vec<_> =
            self.0.iter().map(|(part, took)| format!("{part} {}", seconds(*took))).collect();
        if !parts.is_empty() {
            println!("times: {}", parts.join(" · "));
        }
    }
}

/// A duration as people write it.
pub fn seconds(took: Duration) -> String {
    let s = took.as_secs_f64();
    if s < 100.0 {
        format!("{s:.1} s")
    } else {
        format!("{} min {:02} s", s as u64 / 60, s as u64 % 60)
    }
}
