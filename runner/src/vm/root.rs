// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's root: busybox, the modules and the scripts of one run, in a
//! folder of its own, so that two runs do not meet.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::paths::{Paths, make_dir, write};
use crate::say::{Doing, Result, problem};
use crate::tools::busybox;

/// A root, removed when dropped.
pub struct Root {
    dir: TempDir,
    root: PathBuf,
}

const LIB: &str = include_str!("../../guest/lib.sh");
const SCRIPTS: [(&str, &str); 4] = [
    ("any-moment.sh", include_str!("../../guest/any-moment.sh")),
    ("failing.sh", include_str!("../../guest/failing.sh")),
    ("from.sh", include_str!("../../guest/from.sh")),
    ("leaks.sh", include_str!("../../guest/leaks.sh")),
];

impl Root {
    /// A root with busybox and the runner's own scripts.
    pub fn new(paths: &Paths) -> Result<Self> {
        let vm = paths.build_dir("vm")?;
        sweep(&vm);
        let dir = tempfile::Builder::new()
            .prefix(&format!("run-{}-", std::process::id()))
            .tempdir_in(&vm)
            .doing(|| format!("make a folder in {}", vm.display()))?;
        let root = dir.path().join("root");
        for name in [
            "bin",
            "dev",
            "proc",
            "sys",
            "tmp",
            "run",
            "etc",
            "var",
            "lib",
            "usr",
            "home",
            "opt",
            "srv",
            "root",
            "mnt",
            "workshop",
            "workshop/examples",
        ] {
            make_dir(root.join(name))?;
        }
        let busybox = busybox(paths).ok_or_else(|| {
            problem("busybox is gone", "", "`make doctor` says which package has it")
        })?;
        fs::copy(&busybox, root.join("bin/busybox")).doing(|| "copy busybox".into())?;
        let list = Command::new(&busybox).arg("--list").output().doing(|| "run busybox".into())?;
        for applet in
            String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox")
        {
            symlink("busybox", root.join("bin").join(applet))
                .doing(|| "fill the guest's root".into())?;
        }
        symlink("bin", root.join("sbin")).doing(|| "fill the guest's root".into())?;
        for (name, text) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
            ("etc/fstab", ""),
        ] {
            write(&root.join(name), text)?;
        }
        let this = Self { dir, root };
        this.write("lib.sh", LIB)?;
        for (name, text) in SCRIPTS {
            this.write(name, text)?;
        }
        Ok(this)
    }

    /// The guest's `/`.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A folder of this run that the guest does not see.
    pub fn temporary(&self) -> &Path {
        self.dir.path()
    }

    /// Puts a file into the guest's /workshop, or into the folder there that `name` has.
    pub fn add(&self, file: &Path, name: impl AsRef<Path>) -> Result<()> {
        let to = self.root.join("workshop").join(name);
        make_dir(to.with_file_name(""))?;
        fs::copy(file, to).doing(|| format!("copy {}", file.display()))?;
        Ok(())
    }

    /// Writes a file of the guest's /workshop.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        write(&self.root.join("workshop").join(name), text)
    }

    /// Writes the session: what the guest runs between its first and its last word.
    pub fn session(&self, body: &str) -> Result<()> {
        // Before anything is loaded: soon after the boot the kernel moves to its final
        // clock source with all CPUs stopped, and a reader that keeps its CPU to itself
        // while it waits for another thread would wait for that for ever.
        // It ends with a restart, at which QEMU leaves: powering off takes ACPI.
        let text = format!(
            "mount -t tmpfs tmpfs /tmp
cd /tmp
. /workshop/lib.sh
while grep -q early /sys/devices/system/clocksource/clocksource0/current_clocksource; do
	usleep 20000
done
{{
say here
{body}
say done
}} 2>&1 | while read -r line; do say \"$line\"; done
reboot -f
"
        );
        self.write("session.sh", &text)
    }
}

/// Removes what killed runs left: folders of processes that are no more.
fn sweep(vm: &Path) {
    for entry in fs::read_dir(vm).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid =
            name.strip_prefix("run-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_runs_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let (alive, dead, other) =
            (format!("run-{}-x", std::process::id()), "run-4194999-x", "kept");
        for name in [alive.as_str(), dead, other] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        sweep(dir.path());
        assert!(dir.path().join(alive).exists() && dir.path().join(other).exists());
        assert!(!dir.path().join(dead).exists());
    }
}
