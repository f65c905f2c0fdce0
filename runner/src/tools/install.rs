// SPDX-License-Identifier: MIT OR Apache-2.0

//! Installing what is missing: packages of the distribution, and the few tools
//! that come from a language's registry, into the cache.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::toolchain::{Toolchain, none_found};
use super::{Crate, Family, Host, Need, Tool, Tools, find};
use crate::interrupt;
use crate::paths::{Paths, read, write};
use crate::say::{Doing, Progress, Result, Times, disk_full, last_lines, problem, step};

/// Makes sure that all tools for `needs` are there, and chooses the toolchain.
///
/// Twice at most: which clang is wanted is known only once rustc is there.
pub fn ensure(paths: &Paths, needs: &[Need], times: &mut Times) -> Result<Toolchain> {
    let host = Host::this();
    let tools = Tools::get();
    for _ in 0..2 {
        let (toolchain, _) = Toolchain::choose(paths);
        let missing = missing(paths, &host, &tools, needs, toolchain.as_ref());
        match toolchain {
            Some(toolchain) if missing.is_empty() => {
                toolchain.remember(paths)?;
                return Ok(toolchain);
            }
            toolchain => {
                // Without rustc its LLVM is unknown: those packages come in the second round.
                let llvm = toolchain.as_ref().map(|t| t.llvm);
                let dynamic = |tool: &&&Tool| tool.name == "busybox" && find("busybox").is_some();
                if host.family == Family::Debian && missing.iter().any(|tool| dynamic(&tool)) {
                    busybox_into_cache(paths, times)?;
                }
                let packages: Vec<_> = missing
                    .iter()
                    .filter(|tool| !dynamic(tool))
                    .flat_map(|tool| tool.packages(host.family, llvm))
                    .filter(|package| llvm.is_some() || !package.ends_with("-N"))
                    .collect();
                if packages.is_empty() && llvm.is_some() {
                    continue;
                }
                install(paths, &host, packages, &missing, times)?;
            }
        }
    }
    let (toolchain, passed) = Toolchain::choose(paths);
    let Some(toolchain) = toolchain else {
        return Err(none_found(
            &passed,
            "`make doctor` shows what there is; RUSTC=/path/to/rustc names one".into(),
        ));
    };
    let missing = missing(paths, &host, &tools, needs, Some(&toolchain));
    if missing.is_empty() {
        toolchain.remember(paths)?;
        return Ok(toolchain);
    }
    let names: Vec<_> = missing.iter().map(|t| format!("  {}: {}", t.name, t.why)).collect();
    Err(problem(
        "some tools are still missing",
        names.join("\n"),
        "`make doctor` shows each with the package that has it",
    ))
}

fn missing<'a>(
    paths: &Paths,
    host: &Host,
    tools: &'a Tools,
    needs: &[Need],
    toolchain: Option<&Toolchain>,
) -> Vec<&'a Tool> {
    tools
        .all
        .iter()
        .filter(|tool| tool.needs.iter().any(|need| needs.contains(need)))
        .filter(|tool| tool.usable(paths, host, toolchain).is_none())
        .collect()
}

/// Were apt's lists brought up to date in this run?
static UPDATED: AtomicBool = AtomicBool::new(false);

/// Installs packages: as root at once, with sudo after asking on a terminal;
/// otherwise the error is the command to give.
fn install(
    paths: &Paths,
    host: &Host,
    mut packages: Vec<String>,
    missing: &[&Tool],
    times: &mut Times,
) -> Result<()> {
    packages.sort();
    packages.dedup();
    let names: Vec<_> = missing.iter().map(|t| t.name.as_str()).collect();
    let names = names.join(", ");
    let debian = host.family == Family::Debian;
    let sudo = if host.is_root { "" } else { "sudo " };
    let log = paths.cache_dir("")?.join("install.log");
    let command = |packages: &[String]| {
        host.family.install_command(packages).map(|command| format!("{sudo}{command}"))
    };
    let Some(shown) = command(&packages) else {
        return Err(problem(
            format!("missing: {names}"),
            format!("This is {}, for which the workshop knows no package names.", host.name),
            "install them by hand; `make doctor` says what each is for",
        ));
    };
    if !host.is_root {
        let update = if debian { format!("{sudo}apt-get update && ") } else { String::new() };
        let by_hand = || {
            let why = "Installing them needs root.";
            problem(format!("missing: {names}"), why, format!("{update}{shown}"))
        };
        if !host.may_ask_sudo {
            return Err(by_hand());
        }
        print!("missing: {names}\ninstall them with `{shown}`? [Y/n] ");
        let _ = std::io::stdout().flush();
        let answer = interrupt::read_line()?.unwrap_or("n".into());
        if !matches!(answer.as_str(), "" | "y" | "Y" | "yes") {
            return Err(by_hand());
        }
        // Asks for the password now, before anything else is drawn on the terminal.
        let _ = Command::new("sudo").arg("-v").status();
    }
    step(format!("installing: {names}"));
    let progress = Progress::new("installing packages");
    if debian && !UPDATED.swap(true, Ordering::Relaxed) {
        // A broken source of somebody else's is no reason not to try.
        let _ = logged(&format!("{sudo}apt-get update"), &log, &progress);
    }
    let before: Vec<_> = packages.iter().filter(|p| is_installed(p)).cloned().collect();
    logged(&command(&packages).unwrap_or_default(), &log, &progress)?;
    progress.done(times);
    let mut installed = installed_packages(paths);
    installed.extend(packages.into_iter().filter(|p| !before.contains(p) && is_installed(p)));
    installed.sort();
    installed.dedup();
    write(&paths.cache.join("installed-packages"), installed.join("\n") + "\n")
}

/// Does dpkg have it?  Elsewhere nobody is asked, and nothing is recorded.
fn is_installed(package: &str) -> bool {
    let mut dpkg = Command::new("dpkg-query");
    let out = dpkg.args(["-W", "-f=${Status}", package]).output();
    out.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).ends_with(" installed"))
}

/// Debian's static busybox into the cache, where another busybox, which it
/// conflicts with, is installed.
fn busybox_into_cache(paths: &Paths, times: &mut Times) -> Result<()> {
    let progress = Progress::new("fetching a static busybox");
    let dir = paths.cache_dir("tools/busybox-static")?;
    let log = paths.cache_dir("")?.join("install.log");
    let script = "apt-get -o APT::Sandbox::User=root download busybox-static && dpkg-deb -x busybox-static_*.deb .";
    let out = std::fs::File::create(&log).doing(|| format!("write {}", log.display()))?;
    let err = out.try_clone().doing(|| "use the log".into())?;
    let status = Command::new("sh")
        .args(["-c", script])
        .current_dir(&dir)
        .stdout(out)
        .stderr(err)
        .status()
        .doing(|| "run sh".into())?;
    interrupt::check()?;
    if !status.success() {
        return Err(problem(
            "the installed busybox is not a static program, and another could not be had",
            last_lines(&read(&log)?, 6),
            "`apt-get update` may help; or install busybox-static in the place of busybox",
        ));
    }
    progress.done(times);
    Ok(())
}

/// Runs a package manager's command; its words go to a log, and are shown when
/// it fails.
fn logged(command: &str, log: &PathBuf, progress: &Progress) -> Result<()> {
    progress.at(command.chars().take(60).collect::<String>());
    let out = std::fs::File::create(log).doing(|| format!("write {}", log.display()))?;
    let err = out.try_clone().doing(|| "use the log".into())?;
    // sudo keeps no variables: they are set behind it.
    let settings = "env DEBIAN_FRONTEND=noninteractive LC_ALL=C";
    let whole = match command.strip_prefix("sudo ") {
        Some(rest) => format!("sudo {settings} {rest}"),
        None => format!("{settings} {command}"),
    };
    let mut words = whole.split(' ');
    let status = Command::new(words.next().unwrap_or_default())
        .args(words)
        .stdin(std::process::Stdio::null())
        .stdout(out)
        .stderr(err)
        .status();
    interrupt::check()?;
    if status.is_ok_and(|s| s.success()) {
        return Ok(());
    }
    let text = read(log)?;
    if text.contains("No space left on device") || text.contains("You don't have enough free space")
    {
        return Err(disk_full("install packages"));
    }
    let has = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    let help = if has(&["Temporary failure resolving", "Could not resolve", "Failed to fetch"]) {
        "is this machine on the network?  Proxies are taken from http_proxy and https_proxy; then give the same command again"
    } else if has(&["Unable to locate package", "has no installation candidate"]) {
        "this distribution names a package otherwise, or apt's lists are old (`apt-get update`); `make doctor` says what each tool is for"
    } else {
        "mend what it names (it can be given by hand to see more), then give the same command again"
    };
    Err(problem(format!("`{command}` failed"), last_lines(&text, 8), help))
}

/// The packages that the workshop installed on this machine.
pub fn installed_packages(paths: &Paths) -> Vec<String> {
    let text = std::fs::read_to_string(paths.cache.join("installed-packages")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Installs pinned programs of crates.io, each once.  Those of one call share
/// what they build, so programs with dependencies in common go together.
pub fn install_crates<const N: usize>(
    paths: &Paths,
    tools: [Crate; N],
    times: &mut Times,
) -> Result<[PathBuf; N]> {
    let all = tools.each_ref().map(|tool| tool.path(paths));
    if all.iter().all(|path| path.exists()) {
        return Ok(all);
    }
    // One at a time, as they are built in one folder.
    let _lock = paths.lock("crates", "is building a tool")?;
    let target = paths.cache_dir("tools/build")?;
    for (tool, path) in tools.iter().zip(&all) {
        if !path.exists() {
            install_crate(tool, path, &target, times)?;
        }
    }
    let _ = std::fs::remove_dir_all(&target);
    Ok(all)
}

fn install_crate(tool: &Crate, path: &Path, target: &Path, times: &mut Times) -> Result<()> {
    let Crate { krate, version, only, .. } = tool;
    let progress = Progress::new(format!("building {krate} {version}"));
    let root = path.ancestors().nth(2).unwrap_or(path);
    let cargo = std::env::var("CARGO").unwrap_or("cargo".into());
    let mut install = Command::new(&cargo);
    install
        .args(["install", krate, "--locked", "--version", version, "--root"])
        .arg(root)
        .args(only.iter().flat_map(|only| ["--no-default-features", "--features", only]))
        .env("CARGO_TARGET_DIR", target)
        // They work for seconds; somebody waits for their build.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        // The kernel's compiler is not that of host programs.
        .env_remove("RUSTC");
    let out = interrupt::output(&mut install).doing(|| format!("run {cargo}"))?;
    interrupt::check()?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        if text.contains("No space left on device") {
            return Err(disk_full(&format!("build {krate}")));
        }
        return Err(problem(
            format!("cargo could not install {krate} {version}"),
            last_lines(&text, 8),
            "is this machine on the network?  Then give the same command again",
        ));
    }
    progress.done(times);
    Ok(())
}

/// Installs virtme-ng into its venv, once, and gives its `virtme-run`.
pub fn virtme(paths: &Paths, times: &mut Times) -> Result<PathBuf> {
    let version = Tools::get().pinned.virtme_ng;
    let venv = paths.cache.join(format!("tools/virtme-ng-{version}"));
    let run = venv.join("bin/virtme-run");
    let ready = venv.join("ready");
    if ready.exists() {
        return Ok(run);
    }
    let _lock = paths.lock("virtme-ng", "is installing virtme-ng")?;
    if ready.exists() {
        return Ok(run);
    }
    let progress = Progress::new(format!("installing virtme-ng {version}"));
    let _ = std::fs::remove_dir_all(&venv);
    let python = find("python3").unwrap_or("python3".into());
    for (program, args) in [
        (python, vec!["-m".into(), "venv".into(), venv.display().to_string()]),
        (
            venv.join("bin/pip"),
            vec!["install".into(), "--quiet".into(), format!("virtme-ng=={version}")],
        ),
    ] {
        let out = interrupt::output(Command::new(&program).args(&args))
            .doing(|| format!("run {}", program.display()))?;
        interrupt::check()?;
        if !out.status.success() {
            return Err(problem(
                format!("`{} {}` failed", program.display(), args.join(" ")),
                String::from_utf8_lossy(&out.stderr),
                "is this machine on the network?  pip takes an index of your own from its usual settings; then give the same command again",
            ));
        }
    }
    write(&ready, "")?;
    progress.done(times);
    Ok(run)
}
