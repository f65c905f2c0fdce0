// SPDX-License-Identifier: MIT OR Apache-2.0

//! The sources of Lua, for the stages that build it into their module.
//!
//! A stage's `lua/Cargo.lock` says which, with a checksum; cargo fetches and
//! checks them, once, and they stay in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::{Tools, install_crates};
use crate::interrupt;
use crate::paths::{Paths, make_dir};
use crate::say::{Doing, Progress, Result, Times, disk_full, last_lines, problem};

/// The manifest that names them; later stages use the same.
const MANIFEST: &str = "stages/04-lua-runtime/lua/Cargo.toml";

/// Where Lua's own files are among what cargo fetches.
const LUA: &str = "lua-src/lua-5.5.1";

/// Does the Kbuild of this folder build Lua?
pub fn is_wanted(dir: &Path) -> bool {
    std::fs::read_to_string(dir.join("Kbuild")).is_ok_and(|text| text.contains("/lua.mk"))
}

/// Where the sources are, or will be: each lock file has a folder of its own.
pub fn folder(paths: &Paths) -> Option<PathBuf> {
    let lock = std::fs::read(paths.root.join(MANIFEST).with_extension("lock")).ok()?;
    let key: String = Sha256::digest(lock).iter().take(4).map(|b| format!("{b:02x}")).collect();
    Some(paths.cache.join(format!("src/lua-{key}")).join(LUA))
}

/// Sees to it that they are there, and bindgen, which reads the headers of ours
/// that go with them.
pub fn ready(paths: &Paths, times: &mut Times) -> Result<()> {
    install_crates(paths, [Tools::get().pinned.bindgen()], times)?;
    let lua = folder(paths).ok_or_else(|| {
        problem("there is no lock file for Lua's sources", format!("It goes with {MANIFEST}."), "")
    })?;
    if lua.exists() {
        return Ok(());
    }
    let _lock = paths.lock("lua", "is fetching Lua")?;
    if lua.exists() {
        return Ok(());
    }
    let progress = Progress::new("fetching the sources of Lua");
    let whole = lua.ancestors().nth(2).unwrap_or(&lua);
    make_dir(whole.parent().unwrap_or(whole).to_owned())?;
    // Into a folder that is nobody's if it comes to nothing.
    let part = whole.with_extension("part");
    let _ = std::fs::remove_dir_all(&part);
    let cargo = std::env::var("CARGO").unwrap_or("cargo".into());
    let mut vendor = Command::new(&cargo);
    vendor.args(["vendor", "--locked", "--manifest-path"]).arg(paths.root.join(MANIFEST));
    vendor.arg(&part).env_remove("RUSTC").env_remove("MAKEFLAGS");
    let out = interrupt::output(&mut vendor).doing(|| format!("run {cargo}"))?;
    interrupt::check()?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        if text.contains("No space left on device") {
            return Err(disk_full("fetch Lua"));
        }
        return Err(problem(
            "cargo could not fetch the sources of Lua",
            last_lines(&text, 8),
            "is this machine on the network?  Then give the same command again",
        ));
    }
    if !part.join(LUA).exists() {
        return Err(problem(
            "the sources of Lua are not where they should be",
            format!("There is no {LUA} in what cargo fetched."),
            "does the manifest name another version?",
        ));
    }
    std::fs::rename(&part, whole).doing(|| format!("make {}", whole.display()))?;
    progress.done(times);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::read;

    #[test]
    fn the_manifest_and_its_lock_name_the_same_lua() {
        let lua = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(MANIFEST);
        let manifest: toml::Table = toml::from_str(&read(&lua).unwrap()).unwrap();
        let lock: toml::Table =
            toml::from_str(&read(&lua.with_extension("lock")).unwrap()).unwrap();
        let wanted = manifest["dependencies"]["lua-src"].as_str().unwrap();
        let packages = lock["package"].as_array().unwrap();
        let locked = packages.iter().find(|p| p["name"].as_str() == Some("lua-src")).unwrap();
        assert_eq!(wanted, format!("={}", locked["version"].as_str().unwrap()));
        assert_eq!(locked["checksum"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn only_a_kbuild_that_includes_lua_wants_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_wanted(dir.path()));
        let kbuild = dir.path().join("Kbuild");
        std::fs::write(&kbuild, "obj-m := a.o\n").unwrap();
        assert!(!is_wanted(dir.path()));
        std::fs::write(&kbuild, "include $(src)/$(klua)/lua.mk\n").unwrap();
        assert!(is_wanted(dir.path()));
    }
}
