// SPDX-License-Identifier: MIT OR Apache-2.0

//! A kernel to build modules against and to boot: from the cache, built when
//! it is not there; from a pack that somebody else built; or the user's own.

mod build;
pub use build::clean_environment;
mod config;
mod pack;
mod pin;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

pub use pack::make as make_pack;
pub use pin::Pin;

use crate::interrupt;
use crate::paths::{Paths, read, var};
use crate::say::{Doing, Result, Times, disk_full, problem};
use crate::tools::{Need, Toolchain, Version, ensure};

/// The two kernels of the workshop, and one for figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Preemptible RCU under every check; the default.
    Debug,
    /// Non-preemptible RCU, nothing for debugging.
    Fast,
    /// `Fast` with preemptible RCU; only `make bench` wants it.
    Preempt,
}

impl Flavour {
    /// The two, in the order in which they are built and tested.
    pub const ALL: [Self; 2] = [Self::Debug, Self::Fast];

    /// Both, or the one of `KERNEL=`.
    pub fn all_wanted() -> Result<Vec<Self>> {
        match var("KERNEL") {
            None => Ok(Self::ALL.to_vec()),
            Some(_) => Ok(vec![Self::wanted()?]),
        }
    }

    /// `KERNEL=`, or the default.
    pub fn wanted() -> Result<Self> {
        match var("KERNEL").as_deref() {
            None | Some("debug") => Ok(Self::Debug),
            Some("fast") => Ok(Self::Fast),
            Some(other) => Err(problem(
                format!("there is no kernel flavour `{other}`"),
                "",
                "KERNEL=debug (the default: every check on) or KERNEL=fast (for figures)",
            )),
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "debug",
            Self::Fast => "fast",
            Self::Preempt => "preempt",
        })
    }
}

/// A built kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What Kbuild calls KDIR: configuration, headers, Rust metadata.
    pub dir: PathBuf,
    /// What is booted.
    pub image: PathBuf,
    /// `uname -r` of it.
    pub release: String,
    /// `debug`, `fast`, or `your own` for `KDIR=`.
    pub name: String,
    /// Its configuration.
    config: String,
}

impl Kernel {
    /// The kernel that this run wants, with a toolchain that fits it.
    ///
    /// `KDIR=` comes first, then `KERNEL_PACK=`, then the cache; what is not
    /// there is installed, fetched and built.
    pub fn get(paths: &Paths, flavour: Flavour, times: &mut Times) -> Result<(Self, Toolchain)> {
        if let Some(dir) = var("KDIR") {
            let toolchain = ensure(paths, &[Need::Module], times)?;
            let kernel = Self::open(Path::new(&dir), "your own")?;
            let series = Pin::read(paths)?.series;
            if !source::in_series(&kernel.release, &series) {
                return Err(problem(
                    format!("{} is Linux {}", kernel.dir.display(), kernel.release),
                    format!("The workshop's modules are written for Linux {series}."),
                    KDIR_HELP,
                ));
            }
            kernel.fits(&toolchain)?;
            return Ok((kernel, toolchain));
        }
        // Asked for once, at the beginning: nobody wants a question after a long build.
        let there = |toolchain| matches!(cached(paths, flavour, &toolchain), Ok(Some(_)));
        let needs: &[Need] = match Toolchain::choose(paths).0 {
            Some(toolchain) if there(toolchain.clone()) => &[Need::Module],
            _ if var("KERNEL_PACK").is_some() => &[Need::Module, Need::Vm],
            _ => &[Need::Module, Need::Kernel, Need::Vm],
        };
        let toolchain = ensure(paths, needs, times)?;
        if let Some(file) = var("KERNEL_PACK") {
            pack::import(paths, Path::new(&file), &toolchain, times)?;
        }
        let kernel = match cached(paths, flavour, &toolchain)? {
            Some(kernel) => kernel,
            None => {
                ensure(paths, &[Need::Module, Need::Kernel], times)?;
                build::build(paths, flavour, &toolchain, times)?;
                cached(paths, flavour, &toolchain)?
                    .ok_or_else(|| problem("the kernel that was just built is gone", "", ""))?
            }
        };
        kernel.fits(&toolchain)?;
        Ok((kernel, toolchain))
    }

    /// Is it there, without building anything?
    pub fn peek(paths: &Paths, flavour: Flavour, toolchain: &Toolchain) -> Option<Self> {
        cached(paths, flavour, toolchain).ok().flatten()
    }

    /// Looks at a built tree, and says what is wrong with one that is not.
    fn open(dir: &Path, name: &str) -> Result<Self> {
        let dir = dir.canonicalize().map_err(|e| {
            problem(format!("there is no kernel at {}", dir.display()), e.to_string(), KDIR_HELP)
        })?;
        let not = |what: &str| {
            Err(problem(format!("{} cannot be used as a kernel", dir.display()), what, KDIR_HELP))
        };
        let Ok(config) = std::fs::read_to_string(dir.join(".config")) else {
            return not(
                "It has no .config: it is not a kernel's build folder, or was never configured.",
            );
        };
        if !config.lines().any(|l| l == "CONFIG_RUST=y") {
            return not(
                "It was configured without CONFIG_RUST=y, so no module in Rust can be built for it.",
            );
        }
        if !config.lines().any(|l| l == "CONFIG_CC_IS_CLANG=y") {
            return not("It was not built with clang, and the workshop builds modules with clang.");
        }
        if !config.lines().any(|l| l == "CONFIG_MODULES=y") {
            return not("It was configured without CONFIG_MODULES=y.");
        }
        let image = dir.join("arch/x86/boot/bzImage");
        if !image.exists() || !dir.join("Module.symvers").exists() {
            return not("It is configured but not built: bzImage or Module.symvers is missing.");
        }
        if !has_kernel_crate(&dir) {
            return not(
                "The metadata of its Rust crates is missing (rust/libkernel.rmeta): it was built without Rust, or cleaned since.",
            );
        }
        let release = read(&dir.join("include/config/kernel.release"))?.trim().to_owned();
        Ok(Self { image, release, name: name.into(), config, dir })
    }

    /// The compiler that built it, as it called itself.
    fn rustc(&self) -> &str {
        let line = self.config.lines().find_map(|l| l.strip_prefix("CONFIG_RUSTC_VERSION_TEXT="));
        line.unwrap_or_default().trim_matches('"')
    }

    /// Refuses a toolchain whose modules would not load.
    fn fits(&self, toolchain: &Toolchain) -> Result<()> {
        let (built, have) = (self.rustc(), &toolchain.version);
        if built == have {
            return Ok(());
        }
        Err(problem(
            format!("{} was built by another rustc", self.dir.display()),
            format!(
                "It was built by  {built}\nand here there is {have} ({}).\nRust's metadata can be read only by the compiler that wrote it.",
                toolchain.rustc.display()
            ),
            "name the compiler that built it with RUSTC=/path/to/rustc, or leave KDIR= and KERNEL_PACK= away and let the workshop build its own",
        ))
    }

    /// Its name as part of a path, which Kbuild takes only without spaces.
    pub fn folder(&self) -> String {
        self.name.replace(' ', "-")
    }

    /// What a module built for it depends on: for a kernel of the cache its version with a key of
    /// configuration and compiler.
    pub fn key(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Is an option on in its configuration?
    pub fn has(&self, option: &str) -> bool {
        let line = format!("CONFIG_{option}=y");
        self.config.lines().any(|l| l == line)
    }
}

const KDIR_HELP: &str = "KDIR= wants the build folder of a kernel with CONFIG_RUST=y (the folder of its .config); without KDIR= the workshop builds its own";

fn has_kernel_crate(dir: &Path) -> bool {
    dir.join("rust/libkernel.rmeta").exists()
}

/// The file whose presence says that a kernel of the cache is finished.
const STAMP: &str = "workshop-finished";

/// What a kernel of the cache depends on besides its version, as part of its
/// folder's name.
fn key(paths: &Paths, flavour: Flavour, toolchain: &Toolchain) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(config::fragments(paths, flavour)?);
    hash.update(&toolchain.version);
    hash.update(toolchain.llvm.to_le_bytes());
    Ok(hash.finalize().iter().take(4).map(|b| format!("{b:02x}")).collect())
}

/// A finished kernel of the cache; the newest, where several patch levels of
/// the series have been built.
fn cached(paths: &Paths, flavour: Flavour, toolchain: &Toolchain) -> Result<Option<Kernel>> {
    let key = key(paths, flavour, toolchain)?;
    let Ok(entries) = std::fs::read_dir(paths.cache.join("kernel")) else { return Ok(None) };
    let (start, end) = (format!("{flavour}-{}", Pin::read(paths)?.series), format!("-{key}"));
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|dir| {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(&start) && name.ends_with(&end) && dir.join(STAMP).exists()
        })
        .collect();
    found.sort_by_key(|dir| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('-').nth(1).and_then(Version::parse)
    });
    let open = |dir: &PathBuf| {
        Kernel::open(dir, &flavour.to_string()).map_err(|e| {
            let help = format!("remove it, and it is built anew: rm -r {}", dir.display());
            problem("a kernel of the cache is damaged", e.to_string(), help)
        })
    };
    found.last().map(open).transpose()
}

/// Builds both flavours ahead.
pub fn build_all(paths: &Paths, times: &mut Times) -> Result<()> {
    for flavour in Flavour::ALL {
        let (kernel, _) = Kernel::get(paths, flavour, times)?;
        println!("{flavour}: Linux {} in {}", kernel.release, kernel.dir.display());
    }
    Ok(())
}

/// Runs a program of the set-up to its end; `what` completes "could not …".
fn run(command: &mut Command, what: &str, help: &str) -> Result<String> {
    // Its words are looked at, so they have to be the ones that are known here.
    let out = interrupt::output(command.env("LC_ALL", "C"))
        .doing(|| format!("run {:?}", command.get_program()))?;
    interrupt::check()?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    if text.contains("No space left on device") {
        return Err(disk_full(what));
    }
    Err(problem(format!("could not {what}"), text, help))
}
