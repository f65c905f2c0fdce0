// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make doctor`: each piece as have / want / how to get it.

use crate::kernel::{Flavour, Kernel, Pin};
use crate::paths::{Paths, var};
use crate::say::{Result, Times, step};
use crate::tools::{self, Family, Host, Need, Tool, Toolchain, Tools};
use crate::vm::{kvm_state, remembered};

/// Prints it; whatever is missing, this is not an error.
pub fn show(paths: &Paths, _: &mut Times) -> Result<()> {
    let host = Host::this();
    let tools = Tools::get();
    let (toolchain, passed) = Toolchain::choose(paths);
    let llvm = toolchain.as_ref().map(|t| t.llvm);
    step(format!(
        "machine    {}, {} CPUs, {} MB of memory",
        host.name,
        tools::cores(),
        memory_mb()
    ));
    if host.family == Family::Other {
        step(
            "           (package names are known for Debian and Ubuntu, and, not tried, for Fedora and Arch)",
        );
    } else if host.family != Family::Debian {
        step("           (the package names for this distribution have not been tried)");
    }
    if let Some(container) = container() {
        step(format!(
            "           in a container ({container}): KVM is there only if it was passed in"
        ));
    }

    step("\ntools");
    let mut missing = vec![];
    for tool in &tools.all {
        match tool.usable(paths, &host, toolchain.as_ref()) {
            Some(path) => step(format!("  have     {:12} {}", tool.name, path.display())),
            None if tool.needs == [Need::Bench] => {
                let Tool { name, why, .. } = tool;
                step(format!("  later    {name:12} {why}; `make bench` alone installs it"));
            }
            None => {
                let packages = tool.packages(host.family, llvm);
                step(format!("  MISSING  {:12} {}", tool.name, tool.why));
                let how = host.family.install_command(&packages);
                step(format!(
                    "           {:12} {}",
                    "",
                    how.unwrap_or_else(|| "install it by hand".into())
                ));
                missing.extend(packages);
            }
        }
    }
    let pinned = &tools.pinned;
    let crates = [
        (pinned.bindgen(), "reads the kernel's headers for Rust"),
        (pinned.mdbook(), "makes the book"),
        (pinned.mermaid(), "its diagrams"),
    ];
    let mut own: Vec<_> = crates
        .iter()
        .map(|(tool, why)| (tool.krate, &tool.version, tool.path(paths), *why))
        .collect();
    let venv = paths.cache.join(format!("tools/virtme-ng-{}", pinned.virtme_ng));
    own.push(("virtme-ng", &pinned.virtme_ng, venv, "boots the guest"));
    for (name, version, place, why) in own {
        let have = if place.exists() { "have   " } else { "later  " };
        step(format!("  {have}  {name:12} {version}: {why}; comes by itself when it is needed"));
    }

    step("\ncompiler of kernel and modules");
    match &toolchain {
        Some(t) => {
            step(format!(
                "  {}: {} with LLVM {}, because {}",
                t.rustc.display(),
                t.version,
                t.llvm,
                t.why
            ));
            step(format!(
                "  C: {}",
                t.clang().map_or(format!("clang {} is missing", t.llvm), |c| format!(
                    "{} (the same LLVM)",
                    c.display()
                ))
            ));
        }
        None => step(format!(
            "  none yet; {} or newer is wanted, with the source of core",
            tools.minimum.rustc
        )),
    }
    for (path, why) in passed {
        step(format!("  not {}: it {why}", path.display()));
    }

    step("\nkernels");
    let pin = Pin::read(paths)?;
    if let Some(dir) = var("KDIR") {
        step(format!("  KDIR={dir} is used instead"));
    }
    for flavour in Flavour::ALL {
        match toolchain.as_ref().and_then(|t| Kernel::peek(paths, flavour, t)) {
            Some(kernel) => step(format!(
                "  have     {flavour:6} Linux {} in {}",
                kernel.release,
                kernel.dir.display()
            )),
            None => step(format!(
                "  later    {flavour:6} Linux {}: built at the first run, about {} MB, or ahead by `make kernel`",
                pin.series,
                pin.cost.mb(flavour)
            )),
        }
    }

    step("\nvirtual machine");
    let qemu = tools::qemu_version(&tools).unwrap_or_else(|_| "none".into());
    step(format!("  QEMU {qemu} (want {} or newer)", tools.minimum.qemu));
    let accel = match (var("ACCEL"), kvm_state(), remembered(&paths.cache, &qemu)) {
        (Some(given), _, _) => format!("ACCEL={given} decides"),
        (_, Err(why), _) => format!("TCG: {why}"),
        (_, Ok(()), Some(accel)) => format!("{accel}: it was tried since the machine started"),
        (_, Ok(()), None) => {
            "/dev/kvm opens; the first run tries whether a guest comes up under it, else TCG".into()
        }
    };
    step(format!("  {accel}"));

    step("\ndisk");
    let cost = &pin.cost;
    for (dir, what, want) in [
        (
            &paths.cache,
            "the cache",
            cost.source_mb + cost.mb(Flavour::Debug) + cost.mb(Flavour::Fast),
        ),
        (&paths.build, "build/", 500),
        (&"/usr".into(), "packages", cost.packages_mb),
    ] {
        let free = tools::free_bytes(dir).map_or(0, |b| b >> 20);
        let word = if free >= want { "enough" } else { "LITTLE" };
        step(format!(
            "  {word}   {free:>8} MB free for {what} ({}), which takes about {want} MB",
            dir.display()
        ));
    }

    step("\nnetwork");
    let proxies: Vec<_> =
        ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "no_proxy"]
            .iter()
            .filter(|name| var(name).is_some())
            .collect();
    step(format!(
        "  proxies set: {}",
        if proxies.is_empty() { "none".into() } else { format!("{proxies:?}") }
    ));

    missing.sort();
    missing.dedup();
    // Clang's packages have no number until rustc says which LLVM.
    missing.retain(|p| !p.ends_with("-N"));
    match host.family.install_command(&missing) {
        _ if missing.is_empty() => step("\nnext: `make stage-1 run`"),
        Some(command) if host.is_root => step(format!(
            "\nnext: `make stage-1 run` installs what is missing, or by hand:\n  {command}"
        )),
        Some(command) => step(format!(
            "\nnext: `make stage-1 run` asks before it installs what is missing with sudo, or by hand:\n  sudo {command}"
        )),
        None => step("\nnext: install what is missing by hand, then `make stage-1 run`"),
    }
    Ok(())
}

fn memory_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kb = text
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}

/// What kind of container this is, if one.
fn container() -> Option<&'static str> {
    for (file, name) in [("/.dockerenv", "Docker"), ("/run/.containerenv", "Podman")] {
        if std::path::Path::new(file).exists() {
            return Some(name);
        }
    }
    var("container").map(|_| "by the variable `container`")
}
