// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make stage-N watch`: a check each time something was saved.
//!
//! File events say so at once. They do not arrive everywhere (shared folders of
//! a VM, some network file systems), so each second the files are read as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};

use super::exercise::Lab;
use super::progress::Progress;
use super::tree::sources;
use super::work::{self, Work};
use crate::interrupt;
use crate::paths::Paths;
use crate::say::{Result, Times, note, step};
use crate::stage::Stage;

/// Checks, and waits for the next change, until somebody ends it.
pub fn watch(paths: &Paths, stage: &Stage) -> Result<()> {
    let lab = Lab::read(stage)?;
    // Before anything else: is there something to watch?
    Work::open(paths, stage, &lab, &Progress::read(paths)?)?;
    let dir = work::dir(paths, stage);
    let (send, events) = channel();
    let mut watcher = notify::recommended_watcher(move |_| {
        let _ = send.send(());
    });
    let watched = watcher.as_mut().map_err(|e| e.to_string()).and_then(|watcher| {
        watcher.watch(&dir, RecursiveMode::Recursive).map_err(|e| e.to_string())
    });
    if let Err(why) = watched {
        note(format!("no file events here ({why}): the files are read each second instead"));
    }
    loop {
        let seen = contents(&dir);
        if let Err(error) = super::check::check(paths, stage, false, &mut Times::default()) {
            interrupt::check()?;
            step(crate::render(&error));
        }
        if Progress::read(paths)?.stage(stage.number).current(&lab).is_none() {
            return Ok(());
        }
        step(format!("\nwatching work/{}; Ctrl-C ends it", stage.folder));
        changed(&dir, &seen, &events)?;
        step("\nChecking, please wait ...\n");
    }
}

/// Waits until the files are others than `seen`.
fn changed(
    dir: &Path,
    seen: &BTreeMap<String, Vec<u8>>,
    events: &std::sync::mpsc::Receiver<()>,
) -> Result<()> {
    let mut rest = Duration::ZERO;
    loop {
        interrupt::check()?;
        match events.recv_timeout(Duration::from_millis(100)) {
            // An editor writes in several goes.
            Ok(()) => std::thread::sleep(Duration::from_millis(100)),
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(100)),
            Err(RecvTimeoutError::Timeout) if rest < Duration::from_secs(1) => {
                rest += Duration::from_millis(100);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        rest = Duration::ZERO;
        while events.try_recv().is_ok() {}
        if contents(dir) != *seen {
            return Ok(());
        }
    }
}

/// What is in the files.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| {
        let bytes = fs::read(dir.join(&name)).unwrap_or_default();
        (name, bytes)
    };
    sources(dir).into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With events, and with none at all.
    #[test]
    fn a_change_is_seen_and_a_mere_touch_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m.rs");
        fs::write(&file, "a").unwrap();
        let seen = contents(dir.path());
        for with_events in [true, false] {
            fs::write(&file, "a").unwrap();
            let (send, events) = channel();
            let kept = (!with_events).then(|| send.clone());
            let mut watcher = notify::recommended_watcher(move |_| {
                let _ = send.send(());
            })
            .unwrap();
            if with_events {
                watcher.watch(dir.path(), RecursiveMode::Recursive).unwrap();
            }
            std::thread::scope(|scope| {
                let (dir, seen) = (dir.path(), &seen);
                let waits = scope.spawn(move || changed(dir, seen, &events));
                fs::write(&file, "a").unwrap();
                std::thread::sleep(Duration::from_millis(400));
                assert!(!waits.is_finished());
                fs::write(&file, "b").unwrap();
                assert!(waits.join().unwrap().is_ok());
            });
            drop(kept);
        }
    }
}
