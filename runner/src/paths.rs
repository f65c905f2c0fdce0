// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where things are: the checkout, its `build/`, and the per-user cache that
//! clones share.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use crate::interrupt;
use crate::say::{Doing, Result, note, problem};

/// The checkout and the cache.
#[derive(Clone)]
pub struct Paths {
    /// The top of the checkout.
    pub root: PathBuf,
    /// Build products of this checkout; `make clean` removes it.
    pub build: PathBuf,
    /// Kernels, sources and tools of this user; `make uninstall` removes it.
    pub cache: PathBuf,
}

impl Paths {
    /// Reads them from the working folder (the Makefile's) and the environment.
    pub fn find() -> Result<Self> {
        let root = std::env::current_dir().doing(|| "find the working folder".into())?;
        if !root.join("kernel/pin.toml").is_file() {
            return Err(problem(
                format!("{} is not the top of the workshop", root.display()),
                "",
                "call `make` in the folder that has the workshop's Makefile",
            ));
        }
        no_odd_path("the workshop", &root)?;
        let cache = match var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|h| h + "/.cache")) {
            Some(base) => PathBuf::from(base).join("rcu-workshop"),
            None => {
                return Err(problem(
                    "HOME is not set",
                    "The kernel is built in a cache below it.",
                    "set HOME",
                ));
            }
        };
        no_odd_path("the cache", &cache)?;
        Ok(Self { build: root.join("build"), root, cache })
    }

    /// A file's name for the screen: from the checkout on, if it is in there.
    pub fn shown(&self, file: &Path) -> String {
        file.strip_prefix(&self.root).unwrap_or(file).display().to_string()
    }

    /// A folder below `build/`, made if it is not there.
    pub fn build_dir(&self, below: &str) -> Result<PathBuf> {
        make_dir(self.build.join(below))
    }

    /// A folder below the cache, made if it is not there.
    pub fn cache_dir(&self, below: &str) -> Result<PathBuf> {
        make_dir(self.cache.join(below))
    }

    /// Holds the lock `name` of the cache until dropped.  Waits, and says so,
    /// while another run holds it.
    pub fn lock(&self, name: &str, what: &str) -> Result<Lock> {
        lock(self.cache_dir("locks")?.join(name), what)
    }

    /// The same for something in this checkout's build folder, which other
    /// checkouts do not wait for.
    pub fn build_lock(&self, name: &str, what: &str) -> Result<Lock> {
        lock(self.build_dir("locks")?.join(name.replace('/', "-")), what)
    }
}

/// Holds the lock of a file.
fn lock(path: PathBuf, what: &str) -> Result<Lock> {
    let open = || File::options().create(true).append(true).open(&path);
    let mut file = open().doing(|| format!("open {}", path.display()))?;
    let began = Instant::now();
    let mut said = false;
    loop {
        interrupt::check()?;
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Lock(lock)),
            Err((file, nix::Error::EWOULDBLOCK)) => file,
            Err((_, e)) => {
                return Err(std::io::Error::from(e)).doing(|| format!("lock {}", path.display()));
            }
        };
        if !said {
            note(format!("another run {what}; this one waits for it"));
            said = true;
        } else if began.elapsed().as_secs() % 60 == 59 {
            note(format!("still waiting for the run that {what}"));
            std::thread::sleep(Duration::from_secs(1));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A lock, held while it lives.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

/// An environment variable that is set and not empty.
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that is a number.
pub fn number(name: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>> {
    let Some(text) = var(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ => Err(problem(
            format!("{name}={text} is not what it should be"),
            format!("It is a number from {} to {}.", range.start(), range.end()),
            "",
        )),
    }
}

/// Makes a folder with its parents.
pub fn make_dir(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).doing(|| format!("make the folder {}", dir.display()))?;
    Ok(dir)
}

/// Writes a file as a whole: a killed run leaves the old one or the new one.
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    // A name of its own: two runs may write the same file.
    tempfile::NamedTempFile::new_in(dir)
        .and_then(|mut part| {
            part.write_all(text.as_ref())?;
            part.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
            Ok(part.persist(path)?)
        })
        .map(|_| ())
        .doing(|| format!("write {}", path.display()))
}

/// Reads a text file.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).doing(|| format!("read {}", path.display()))
}

/// Kbuild cannot work in such a folder, and says so only in riddles.
fn no_odd_path(what: &str, dir: &Path) -> Result<()> {
    let shown = dir.display().to_string();
    let odd = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"/._-+,=@~".contains(c);
    let Some(bad) = shown.chars().find(|c| odd(*c)) else { return Ok(()) };
    Err(problem(
        format!("{what} lies in a folder with a `{bad}` in its path: {shown}"),
        "The kernel's build system cannot work there.",
        "move it to a path of letters, digits and dashes, for example ~/rcu-workshop \
         (for the cache: set XDG_CACHE_HOME)",
    ))
}
