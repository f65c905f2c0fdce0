// SPDX-License-Identifier: MIT OR Apache-2.0

//! What this machine is: distribution, privileges, memory, disk.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// CPUs that this program may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Distributions that share package names and a package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Debian, Ubuntu and theirs: apt.
    Debian,
    /// Fedora and theirs: dnf.
    Fedora,
    /// Arch and theirs: pacman.
    Arch,
    /// Anything else: the user installs.
    Other,
}

impl Family {
    /// From the text of /etc/os-release.
    pub fn of(os_release: &str) -> Self {
        let ids: Vec<_> = os_release
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .flat_map(|value| value.trim_matches('"').split(' '))
            .collect();
        let any = |names: &[&str]| ids.iter().any(|id| names.contains(id));
        if any(&["debian", "ubuntu"]) {
            Self::Debian
        } else if any(&["fedora", "rhel"]) {
            Self::Fedora
        } else if any(&["arch"]) {
            Self::Arch
        } else {
            Self::Other
        }
    }

    /// The command that installs packages, without sudo.
    pub fn install_command(self, packages: &[String]) -> Option<String> {
        let packages = packages.join(" ");
        Some(match self {
            // Never at the price of a package that the user has: --no-remove.
            Self::Debian => {
                format!("apt-get install -y --no-install-recommends --no-remove {packages}")
            }
            Self::Fedora => format!("dnf install -y {packages}"),
            Self::Arch => format!("pacman -S --needed --noconfirm {packages}"),
            Self::Other => return None,
        })
    }

    /// The command that removes packages, without sudo.
    pub fn remove_command(self, packages: &[String]) -> Option<String> {
        let packages = packages.join(" ");
        Some(match self {
            Self::Debian => format!("apt-get remove -y {packages}"),
            Self::Fedora => format!("dnf remove -y {packages}"),
            Self::Arch => format!("pacman -R --noconfirm {packages}"),
            Self::Other => return None,
        })
    }
}

/// This machine.
pub struct Host {
    /// Where files are looked for: `/`.
    pub root: PathBuf,
    /// What it calls itself.
    pub name: String,
    /// Its package manager.
    pub family: Family,
    /// Is the runner root?
    pub is_root: bool,
    /// Can it ask, and is there sudo to ask for?
    pub may_ask_sudo: bool,
}

impl Host {
    /// Looks at this machine.
    pub fn this() -> Self {
        let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let name = text
            .lines()
            .find_map(|l| l.strip_prefix("PRETTY_NAME="))
            .unwrap_or("an unknown system");
        Self {
            root: "/".into(),
            name: name.trim_matches('"').to_owned(),
            family: Family::of(&text),
            is_root: nix::unistd::geteuid().is_root(),
            may_ask_sudo: std::io::stdin().is_terminal() && find("sudo").is_some(),
        }
    }
}

/// The first program of that name in PATH, also in /usr/sbin, where plain
/// users of Debian do not look.
pub fn find(name: &str) -> Option<PathBuf> {
    all(name).into_iter().next()
}

/// All programs of that name in PATH, in its order, each once.
pub fn all(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = vec![];
    for dir in std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), "/sbin".into()]) {
        let file = dir.join(name);
        if is_program(&file) && !found.contains(&file) {
            found.push(file);
        }
    }
    found
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Free bytes of the file system that holds `dir`, or its nearest parent that
/// exists.
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|d| d.exists())?;
    let stat = nix::sys::statvfs::statvfs(there).ok()?;
    Some(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_known_by_their_relatives() {
        assert_eq!(Family::of("ID=debian\n"), Family::Debian);
        assert_eq!(Family::of("NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n"), Family::Debian);
        assert_eq!(Family::of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), Family::Fedora);
        assert_eq!(Family::of("ID=arch\n"), Family::Arch);
        assert_eq!(Family::of("ID=void\n"), Family::Other);
    }

    #[test]
    fn installing_never_removes() {
        let command = Family::Debian.install_command(&["flex".into()]).unwrap();
        assert!(command.contains("--no-remove"), "{command}");
        assert_eq!(Family::Other.install_command(&["flex".into()]), None);
    }
}
