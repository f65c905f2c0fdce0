// SPDX-License-Identifier: MIT OR Apache-2.0

//! A boot for figures: QEMU itself, with the guest's root as an initrd, and nothing between.
//!
//! virtme-ng's root is a folder of the host, read over 9p while the guest runs.  Here the guest has
//! all it needs in memory, and no device but a serial line.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::{Accel, Boot, Machine, Plan, Root, boot_limit, follow};
use crate::interrupt::Group;
use crate::paths::write;
use crate::say::{Doing, Result, note};
use crate::tools::find;

/// What the guest's clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock<'a> {
    /// It counts instructions, a nanosecond each, on one CPU.  Always under TCG.
    Instructions,
    /// It is the host's.
    Host,
    /// It is the host's, and says nothing: a plugin watches, and writes what it sees into a file.
    /// Always under TCG.
    Watched {
        /// The plugin.
        plugin: &'a Path,
        /// The file.
        output: &'a Path,
    },
}

/// The first program in the guest.
const INIT: &str = "#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
sh /workshop/session.sh
poweroff -f
";

impl Machine {
    /// Boots from an initrd.
    pub fn boot_direct(
        &self,
        plan: &Plan<'_>,
        clock: Clock<'_>,
        watch: &mut dyn FnMut(&str),
    ) -> Result<Boot> {
        let &Plan { kernel, root, console, .. } = plan;
        let initrd = root.temporary().join("initrd");
        write(&initrd, archive(root)?)?;
        let accel = if clock == Clock::Host { self.accel } else { Accel::Tcg };
        let cpus = if clock == Clock::Instructions { 1 } else { self.cpus()? };

        let mut qemu = Command::new(find("qemu-system-x86_64").unwrap_or_default());
        qemu.args(["-machine", "q35", "-m", "1G", "-nodefaults", "-no-user-config", "-no-reboot"]);
        qemu.args(["-display", "none", "-serial", "stdio", "-net", "none"]);
        // The threads of the CPUs have names then.
        qemu.args(["-name", "bench,debug-threads=on", "-smp", &cpus.to_string()]);
        match (clock, accel) {
            (Clock::Instructions, _) => {
                qemu.args(["-cpu", "max", "-accel", "tcg", "-icount", "shift=0,sleep=off"])
            }
            (_, Accel::Tcg) => qemu.args(["-cpu", "max", "-accel", "tcg,thread=multi"]),
            (_, Accel::Kvm) => qemu.args(["-cpu", "host", "-accel", "kvm"]),
        };
        // A busy machine is late with the interrupts that the kernel tries its timer with.
        let params =
            "console=ttyS0 panic=-1 nokaslr tsc=nowatchdog no_timer_check no5lvl printk.devkmsg=on";
        let params = [&[params], plan.params].concat().join(" ");
        qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initrd);
        qemu.args(["-append", &params]);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Clock::Watched { plugin, output } = clock {
            let file = File::create(output).doing(|| format!("write {}", output.display()))?;
            qemu.arg("-plugin").arg(plugin).stderr(file);
        }

        let boot_limit = plan.boot_limit.unwrap_or_else(|| boot_limit(accel, kernel));
        let mut group = Group::spawn(&mut qemu).doing(|| "start QEMU".into())?;
        let pipe = group.child().stdout.take();
        if cpus > 1 {
            let pid = group.child().id();
            std::thread::spawn(move || pin(pid, cpus as usize));
        }
        follow(group, pipe, accel, [boot_limit, plan.limit], console, watch)
    }
}

/// Gives each of the guest's CPUs one of the host's: its scheduler may leave two threads on one, and
/// then nothing scales.
fn pin(qemu: u32, cpus: usize) {
    let own = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    let host: Vec<_> = (0..CpuSet::count()).filter(|cpu| own.is_set(*cpu) == Ok(true)).collect();
    if host.len() < cpus {
        return note(format!("the guest's {cpus} CPUs share {} of this machine", host.len()));
    }
    let began = Instant::now();
    let mut pinned = 0;
    while pinned < cpus && began.elapsed() < Duration::from_secs(10) {
        pinned = 0;
        for (thread, cpu) in threads(qemu) {
            let mut set = CpuSet::new();
            let here = host.get(cpu).is_some_and(|cpu| set.set(*cpu).is_ok());
            if here && sched_setaffinity(Pid::from_raw(thread), &set).is_ok() {
                pinned += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The threads of a QEMU that are CPUs of its guest, with their numbers.
fn threads(qemu: u32) -> Vec<(i32, usize)> {
    let tasks = format!("/proc/{qemu}/task");
    let entries = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            let cpu = name.strip_prefix("CPU ")?.split('/').next()?.parse().ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, cpu))
        })
        .collect()
}

/// The root as an archive that the kernel unpacks into its memory.
fn archive(root: &Root) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.folder(root.path(), "")?;
    archive.entry("init", 0o100755, INIT.as_bytes());
    archive.entry("TRAILER!!!", 0, b"");
    Ok(archive.0)
}

/// An archive in cpio's format `newc`.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    /// Adds what is in a folder, in the order of the names.
    fn folder(&mut self, dir: &Path, below: &str) -> Result<()> {
        let entries = std::fs::read_dir(dir).doing(|| format!("read {}", dir.display()))?;
        let mut names: Vec<_> =
            entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let name = format!("{below}{name}");
            let what = || format!("read {}", path.display());
            let about = path.symlink_metadata().doing(what)?;
            if about.is_symlink() {
                let target = std::fs::read_link(&path).doing(what)?;
                self.entry(&name, 0o120777, target.to_string_lossy().as_bytes());
            } else if about.is_dir() {
                self.entry(&name, 0o040755, b"");
                self.folder(&path, &format!("{name}/"))?;
            } else {
                // Scripts are called by their interpreter, programs by their name.
                self.entry(&name, 0o100755, &std::fs::read(&path).doing(what)?);
            }
        }
        Ok(())
    }

    /// Adds a file, a link or a folder, as the mode says.
    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        let inode = self.0.len() as u32 + 1;
        let links = 1;
        let (size, name_size) = (data.len() as u32, name.len() as u32 + 1);
        // Owner, group, time and devices are 0.
        let fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.0.extend(b"070701");
        for field in fields {
            self.0.extend(format!("{field:08X}").bytes());
        }
        self.0.extend(name.bytes().chain([0]));
        self.align();
        self.0.extend(data);
        self.align();
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        std::fs::write(dir.path().join("bin/odd"), "12345").unwrap();
        std::os::unix::fs::symlink("odd", dir.path().join("bin/link")).unwrap();
        let mut archive = Archive::default();
        archive.folder(dir.path(), "").unwrap();
        archive.entry("TRAILER!!!", 0, b"");
        let text = String::from_utf8(archive.0).unwrap();
        assert_eq!(text.len() % 4, 0);
        // Each header is 110 bytes, and what follows it is filled up to a multiple of 4.
        let mut at = 0;
        let mut found = vec![];
        while at < text.len() {
            let field = |n: usize| {
                u32::from_str_radix(&text[at + 6 + 8 * n..at + 14 + 8 * n], 16).unwrap() as usize
            };
            let (mode, size, name) = (field(1), field(6), field(11));
            assert_eq!(&text[at..at + 6], "070701");
            let data = (at + 110 + name).next_multiple_of(4);
            found.push((&text[at + 110..at + 109 + name], mode, &text[data..data + size]));
            at = (data + size).next_multiple_of(4);
        }
        assert_eq!(
            found,
            [
                ("bin", 0o040755, ""),
                ("bin/link", 0o120777, "odd"),
                ("bin/odd", 0o100755, "12345"),
                ("TRAILER!!!", 0, ""),
            ]
        );
    }
}
