// SPDX-License-Identifier: MIT OR Apache-2.0

//! A built kernel in a file, for machines that shall not build one: what is
//! booted, what modules are built against, and which rustc it wants.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::{Flavour, Kernel, STAMP, key, run};
use crate::paths::{Paths, make_dir, write};
use crate::say::{Doing, Progress, Result, Times, problem, step};
use crate::tools::Toolchain;

/// The first file of a pack.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// The compiler that must be there.
    rustc: String,
    /// The folders in it, named as in the cache.
    kernels: Vec<String>,
}

const MANIFEST: &str = "pack.toml";

/// Packs both flavours into `build/`.
pub fn make(paths: &Paths, times: &mut Times) -> Result<()> {
    let stage =
        tempfile::tempdir_in(paths.build_dir("")?).doing(|| "make a temporary folder".into())?;
    let mut kernels = vec![];
    let mut rustc = String::new();
    for flavour in Flavour::ALL {
        let (kernel, toolchain) = Kernel::get(paths, flavour, times)?;
        rustc = toolchain.version.clone();
        let name = kernel.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let progress = Progress::new(format!("packing the {flavour} kernel"));
        fill(&kernel, &toolchain, &make_dir(stage.path().join(&name))?)?;
        progress.done(times);
        kernels.push(name);
    }
    let manifest = toml::to_string(&Manifest { rustc: rustc.clone(), kernels: kernels.clone() })
        .map_err(|e| problem("cannot describe the pack", e.to_string(), ""))?;
    write(&stage.path().join(MANIFEST), manifest)?;
    let file = paths.build.join("rcu-workshop-kernels.tar.gz");
    let progress = Progress::new("compressing");
    // Under its name only when it is whole.
    let part = stage.path().join("pack");
    run(
        Command::new("tar")
            .arg("czf")
            .arg(&part)
            .arg("-C")
            .arg(stage.path())
            .arg(MANIFEST)
            .args(&kernels),
        "write the pack",
        "",
    )?;
    fs::rename(&part, &file).doing(|| format!("keep {}", file.display()))?;
    progress.done(times);
    let mb = file.metadata().map_or(0, |m| m.len()) >> 20;
    step(format!(
        "{} ({mb} MB) has both kernels.  On another machine, which needs {rustc}:\n\n  make stage-1 run KERNEL_PACK=/path/to/{}\n\n\
         Once is enough: later runs find them in that user's cache.",
        paths.shown(&file),
        file.file_name().unwrap_or_default().to_string_lossy(),
    ));
    Ok(())
}

/// Gathers what a module's build needs of one kernel.
fn fill(kernel: &Kernel, toolchain: &Toolchain, to: &Path) -> Result<()> {
    // The tree that it was built from.
    let source = kernel.dir.join("source");
    if !source.exists() {
        // Came as a pack itself.
        run(Command::new("cp").arg("-a").arg(kernel.dir.join(".")).arg(to), "copy the kernel", "")?;
        return Ok(());
    }
    // The kernel's own script knows which files a C module needs ...
    let clang = toolchain.clang().unwrap_or_default();
    run(
        Command::new("sh")
            .arg(source.join("scripts/package/install-extmod-build"))
            .arg(to)
            .current_dir(&kernel.dir)
            .env("srctree", &source)
            .env("SRCARCH", "x86")
            .env("MAKE", "make")
            .env("CC", &clang)
            // The same as CC: no host program is to be built again.
            .env("HOSTCC", &clang),
        "gather the kernel's headers",
        "",
    )?;
    // ... and these are what Rust needs besides.
    let copy = "tar -c .config arch/x86/boot/bzImage rust/*.rmeta rust/*.so rust/helpers/*.bc | tar -x -C \"$1\"";
    run(
        Command::new("sh").args(["-c", copy, "sh"]).arg(to).current_dir(&kernel.dir),
        "gather the Rust metadata",
        "",
    )?;
    let sources = "tar -c rust .rustfmt.toml .clippy.toml | tar -x -C \"$1\"";
    run(
        Command::new("sh").args(["-c", sources, "sh"]).arg(to).current_dir(&source),
        "gather the Rust sources",
        "",
    )?;
    write(&to.join(STAMP), "")
}

/// Puts the kernels of a pack into the cache, where every run finds them.
pub fn import(paths: &Paths, file: &Path, toolchain: &Toolchain, times: &mut Times) -> Result<()> {
    if !file.is_file() {
        return Err(problem(
            format!("there is no pack {}", file.display()),
            "KERNEL_PACK= names it.",
            "`make kernel-pack` on another machine makes one",
        ));
    }
    let damaged = || format!("read {} as a kernel pack", file.display());
    let help = "copy it again from where it came, or make it anew there with `make kernel-pack`";
    let text =
        run(Command::new("tar").arg("xzf").arg(file).args(["-O", MANIFEST]), &damaged(), help)?;
    let manifest: Manifest = toml::from_str(&text)
        .map_err(|e| problem(format!("could not {}", damaged()), e.to_string(), help))?;
    if manifest.rustc != toolchain.version {
        return Err(problem(
            format!("{} was built by another rustc", file.display()),
            format!(
                "It wants  {}\nand here is {} ({}).\nRust's metadata can be read only by the compiler that wrote it.",
                manifest.rustc,
                toolchain.version,
                toolchain.rustc.display()
            ),
            "name that compiler with RUSTC=/path/to/rustc, install it, or leave KERNEL_PACK= away and build the kernels here",
        ));
    }
    let kernels = paths.cache_dir("kernel")?;
    for name in &manifest.kernels {
        let fits = Flavour::ALL.into_iter().find(|f| name.starts_with(&format!("{f}-")));
        let fits = fits.map(|f| key(paths, f, toolchain)).transpose()?;
        if name.contains('/') || !fits.is_some_and(|key| name.ends_with(&format!("-{key}"))) {
            return Err(problem(
                format!("{} is of another state of the workshop", file.display()),
                format!(
                    "Its kernel `{name}` was configured by other kernel/*.config than this checkout has."
                ),
                "make the pack anew from the same commit with `make kernel-pack`",
            ));
        }
    }
    let there = || manifest.kernels.iter().all(|name| kernels.join(name).join(STAMP).exists());
    if there() {
        return Ok(());
    }
    // A kernel that is just being built is not to be taken away.
    let _locks: Vec<_> = Flavour::ALL
        .into_iter()
        .map(|f| paths.lock(&format!("kernel-{f}"), &format!("is building the {f} kernel")))
        .collect::<Result<_>>()?;
    let progress = Progress::new("unpacking the kernels");
    let part = tempfile::tempdir_in(&kernels).doing(|| "make a temporary folder".into())?;
    let mut tar = Command::new("tar");
    run(tar.arg("xzf").arg(file).arg("-C").arg(part.path()), &damaged(), help)?;
    for name in &manifest.kernels {
        let dir = kernels.join(name);
        if !dir.join(STAMP).exists() {
            let _ = fs::remove_dir_all(&dir);
            fs::rename(part.path().join(name), &dir).doing(|| format!("keep {}", dir.display()))?;
        }
    }
    progress.done(times);
    Ok(())
}
