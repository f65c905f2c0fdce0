// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's source: Debian's package, or kernel.org's tarball, or a file
//! of the user's; checked, unpacked once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::{Pin, run};
use crate::interrupt;
use crate::paths::{Paths, make_dir, read, var, write};
use crate::say::{Doing, Progress, Result, Times, disk_full, note, problem};
use crate::tools::{Version, find};

/// An unpacked source tree.
pub struct Source {
    /// Where.
    pub dir: PathBuf,
    /// `7.3.4`.
    pub version: String,
}

const OFFLINE: &str = "is this machine on the network?  Proxies are taken from http_proxy and https_proxy.  \
    Otherwise give a kernel by hand: KERNEL_TARBALL=/path/linux-7.3.x.tar.xz, KERNEL_PACK=/path/of/a/pack, or KDIR=/a/built/tree";

/// The source, fetched and unpacked if it is not there.
pub fn get(paths: &Paths, times: &mut Times) -> Result<Source> {
    let pin = Pin::read(paths)?;
    let sources = paths.cache_dir("src")?;
    let _lock = paths.lock("source", "is fetching the kernel's source")?;
    if let Some(source) = unpacked(&sources, &pin.series) {
        if var("KERNEL_TARBALL").is_some() {
            note(format!("KERNEL_TARBALL= is not needed: {} is there", source.dir.display()));
        }
        return Ok(source);
    }
    if let Some(file) = var("KERNEL_TARBALL") {
        let file = PathBuf::from(file);
        if !file.is_file() {
            return Err(problem(
                format!("there is no file {}", file.display()),
                "KERNEL_TARBALL= names it.",
                "",
            ));
        }
        return unpack(&file, &sources, &pin, times);
    }
    let tarball = match var("KERNEL_FROM").as_deref() {
        Some("kernel.org") => kernel_org(paths, &pin, times)?,
        Some("debian") => debian(paths, &pin, times)?,
        Some(other) => {
            return Err(problem(
                format!("KERNEL_FROM={other} is unknown"),
                "",
                "KERNEL_FROM=debian or KERNEL_FROM=kernel.org",
            ));
        }
        None if is_debian() => debian(paths, &pin, times).or_else(|why| {
            interrupt::check()?;
            note(format!("Debian's package could not be had, trying kernel.org: {why}"));
            kernel_org(paths, &pin, times)
        })?,
        None => kernel_org(paths, &pin, times)?,
    };
    let source = unpack(&tarball, &sources, &pin, times)?;
    // Unpacked and checked: the archive has done its work.
    let _ = fs::remove_dir_all(paths.cache.join("downloads"));
    Ok(source)
}

/// A tree of the series that was unpacked to its end; the newest.
fn unpacked(sources: &Path, series: &str) -> Option<Source> {
    let mut found: Vec<_> = fs::read_dir(sources)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix("linux-")?.to_owned();
            in_series(&version, series).then(|| Source { dir: entry.path(), version })
        })
        .collect();
    found.sort_by_key(|source| Version::parse(&source.version));
    found.pop()
}

pub fn in_series(version: &str, series: &str) -> bool {
    version
        .strip_prefix(series)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('-'))
}

/// Unpacks beside its place and moves it there when it is whole.
fn unpack(tarball: &Path, sources: &Path, pin: &Pin, times: &mut Times) -> Result<Source> {
    let progress = Progress::new("unpacking the kernel's source");
    let part = sources.join("unpacking");
    let _ = fs::remove_dir_all(&part);
    make_dir(part.clone())?;
    run(
        Command::new("tar").arg("xf").arg(tarball).arg("-C").arg(&part).arg("--strip-components=1"),
        &format!("unpack {}", tarball.display()),
        "the file is damaged or truncated: delete it and give the same command again",
    )?;
    let version = version_of(&part)?;
    if !in_series(&version, &pin.series) {
        let _ = fs::remove_dir_all(&part);
        return Err(problem(
            format!("{} is Linux {version}", tarball.display()),
            format!("The workshop's modules are written for Linux {}.", pin.series),
            format!("give a tarball of Linux {}", pin.series),
        ));
    }
    let dir = sources.join(format!("linux-{version}"));
    let _ = fs::remove_dir_all(&dir);
    fs::rename(&part, &dir).doing(|| format!("move the source to {}", dir.display()))?;
    progress.done(times);
    Ok(Source { dir, version })
}

/// The version as the tree's Makefile has it.
fn version_of(tree: &Path) -> Result<String> {
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap_or_default();
    let field = |name: &str| {
        makefile
            .lines()
            .find_map(|l| l.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
    };
    match (field("VERSION"), field("PATCHLEVEL"), field("SUBLEVEL")) {
        (Some(a), Some(b), Some(c)) => {
            Ok(format!("{a}.{b}.{c}{}", field("EXTRAVERSION").unwrap_or_default()))
        }
        _ => Err(problem(
            "what was unpacked is not a kernel",
            "Its Makefile has no version.",
            "give the tarball of a kernel",
        )),
    }
}

fn is_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| text.lines().any(|l| l == "ID=debian"))
}

/// Debian's source package, through an apt state of our own, so that the
/// machine's sources and lists stay as they are.  apt checks the signature.
fn debian(paths: &Paths, pin: &Pin, times: &mut Times) -> Result<PathBuf> {
    let progress =
        Progress::new(format!("fetching Debian's {} (about 170 MB)", pin.debian.package));
    let state = paths.cache_dir("downloads/apt")?;
    for dir in ["lists/partial", "cache/archives/partial", "package"] {
        make_dir(state.join(dir))?;
    }
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    if !Path::new(keyring).exists() {
        return Err(problem(format!("there is no {keyring}"), "", ""));
    }
    let list = state.join("sources.list");
    write(&list, format!("deb [signed-by={keyring}] {} {} main\n", mirror(), pin.debian.suite))?;
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .arg("-o")
            .arg(format!("Dir::Etc::SourceList={}", list.display()))
            .args(["-o", "Dir::Etc::SourceParts=/dev/null"])
            .arg("-o")
            .arg(format!("Dir::State::Lists={}", state.join("lists").display()))
            .arg("-o")
            .arg(format!("Dir::Cache={}", state.join("cache").display()))
            // As root, apt would hand the download to a user who cannot write here.
            .args(["-o", "APT::Sandbox::User=root"])
            .args(args)
            .current_dir(state.join("package"));
        command
    };
    run(&mut apt(&["update"]), "read Debian's list of packages", OFFLINE)?;
    progress.at("downloading");
    run(&mut apt(&["download", &pin.debian.package]), "download Debian's kernel source", OFFLINE)?;
    let deb = fs::read_dir(state.join("package"))
        .doing(|| "look at the download".into())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .ok_or_else(|| problem("apt-get downloaded nothing", "", OFFLINE))?;
    let out = state.join("unpacked");
    run(
        Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&out),
        "unpack Debian's package",
        OFFLINE,
    )?;
    progress.done(times);
    Ok(out.join(format!("usr/src/{}.tar.xz", pin.debian.package)))
}

/// The mirror that this machine's own apt uses.
fn mirror() -> String {
    let out = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(ORIGIN) $(LABEL) $(REPO_URI)",
            "Created-By: Packages",
        ])
        .output();
    let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let uri = text.lines().find_map(|line| line.strip_prefix("Debian Debian "));
    uri.unwrap_or("http://deb.debian.org/debian/").to_owned()
}

/// kernel.org's tarball, held to the sums that are published beside it.
fn kernel_org(paths: &Paths, pin: &Pin, times: &mut Times) -> Result<PathBuf> {
    let name = format!("linux-{}.tar.xz", pin.tarball.version);
    let mirror = var("KERNEL_MIRROR").unwrap_or_else(|| pin.tarball.mirror.clone());
    let downloads = paths.cache_dir("downloads")?;
    let progress = Progress::new(format!("fetching {name} (about 160 MB)"));
    let sums = downloads.join("sha256sums.asc");
    let _ = fs::remove_file(&sums);
    fetch(&format!("{mirror}/sha256sums.asc"), &sums, &progress)?;
    let published = read(&sums)?;
    let published = published.lines().find_map(|line| line.strip_suffix(&name)).map(str::trim);
    let Some(published) = published else {
        return Err(problem(
            format!("{mirror}/sha256sums.asc does not list {name}"),
            "",
            "KERNEL_MIRROR= names another mirror, KERNEL_TARBALL= a local file",
        ));
    };
    let file = downloads.join(&name);
    if !file.exists() {
        fetch(&format!("{mirror}/{name}"), &file, &progress)?;
    }
    let sum = sha256(&file)?;
    for (whose, wanted) in [
        ("kernel.org publishes", Some(published)),
        ("kernel/pin.toml has", pin.tarball.sha256.as_deref()),
    ] {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != sum) {
            let _ = fs::remove_file(&file);
            return Err(problem(
                format!("{name} is not what it should be"),
                format!(
                    "Its SHA-256 is {sum},\n{whose} {wanted}.\nThe file was truncated or tampered with on its way, and has been deleted."
                ),
                "give the same command again to download it anew",
            ));
        }
    }
    progress.done(times);
    Ok(file)
}

/// Downloads, and goes on with a download that was cut off.
fn fetch(url: &str, to: &Path, progress: &Progress) -> Result<()> {
    let part = to.with_extension("partial");
    let curl = find("curl").unwrap_or("curl".into());
    let get = |resume: bool| {
        let mut command = Command::new(&curl);
        command.args([
            "--fail",
            "--location",
            "--silent",
            "--show-error",
            "--retry",
            "2",
            "--connect-timeout",
            "30",
        ]);
        if resume {
            command.args(["--continue-at", "-"]);
        }
        command.arg("--output").arg(&part).arg(url);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        command
    };
    // The list of sums is small, and two halves of two versions of it would be wrong.
    if to.extension().is_some_and(|e| e == "asc") {
        let _ = fs::remove_file(&part);
    }
    let mut resume = part.exists();
    loop {
        let mut child = get(resume).spawn().doing(|| "run curl".into())?;
        while child.try_wait().doing(|| "wait for curl".into())?.is_none() {
            let have = part.metadata().map_or(0, |m| m.len());
            progress.at(format!("{} MB of {url}", have >> 20));
            if interrupt::came() {
                let _ = child.kill();
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        let out = child.wait_with_output().doing(|| "wait for curl".into())?;
        interrupt::check()?;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        match out.status.code() {
            Some(0) => return fs::rename(&part, to).doing(|| format!("keep {}", to.display())),
            // The server cannot resume, or the part is longer than the file.
            Some(22 | 33 | 36) if resume => {
                let _ = fs::remove_file(&part);
                resume = false;
            }
            Some(23) => return Err(disk_full(&format!("download {url}"))),
            _ => return Err(problem(format!("could not download {url}"), text, OFFLINE)),
        }
    }
}

fn sha256(file: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut input = fs::File::open(file).doing(|| format!("read {}", file.display()))?;
    std::io::copy(&mut input, &mut hash).doing(|| format!("read {}", file.display()))?;
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_not_a_prefix() {
        assert!(
            in_series("7.3.4", "7.3") && in_series("7.3", "7.3") && in_series("7.3-rc4", "7.3")
        );
        assert!(!in_series("7.31", "7.3") && !in_series("7.2.9", "7.3"));
    }

    #[test]
    fn the_version_is_the_makefiles() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("Makefile"),
            "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n",
        )
        .unwrap();
        assert_eq!(version_of(dir.path()).unwrap(), "7.3.4");
        std::fs::write(dir.path().join("Makefile"), "all:\n").unwrap();
        assert!(version_of(dir.path()).is_err());
    }
}
