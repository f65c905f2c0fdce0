// SPDX-License-Identifier: MIT OR Apache-2.0

//! Variants: a stage with some anchored regions replaced, made in `build/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::paths::{Paths, make_dir, read, write};
use crate::say::{Doing, Result, problem};
use crate::stage::Stage;

/// A variant, as its TOML file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// What it shows, in one line.
    pub title: String,
    /// What the log, or the compiler's message, shows; for the screen and the book.
    #[serde(default)]
    pub explanation: String,
    /// The flavours that show it, `debug`, `fast` or both; for what is booted.
    #[serde(default)]
    pub flavours: Vec<String>,
    /// The module that it is about; the stage's first, if not given.
    pub module: Option<String>,
    /// A check that needs no boot of its own: `make test` has it in the one of the
    /// stage's modules, where leaks are looked for as well.
    #[serde(default)]
    pub shares_boot: bool,
    /// Parameters for the module.
    #[serde(default)]
    pub args: String,
    /// How long its script takes at most, if not as long as the stage's: see
    /// stage.toml.
    pub seconds: Option<u64>,
    /// Limits to set before the module is loaded, as in stage.toml.
    #[serde(default)]
    pub limits: Vec<String>,
    /// More for the kernel's command line.
    #[serde(default)]
    pub params: Vec<String>,
    /// Is it measured?  Then the guest's clock counts instructions.
    #[serde(default)]
    pub counts: bool,
    /// Another one of the stage's variants of this kind, which is only built; a guest script loads
    /// it by `FROM=<name> load <module>`.
    pub beside: Option<String>,
    /// Programs that the variant's Kbuild makes besides, for the guest's /workshop.
    #[serde(default)]
    pub programs: Vec<String>,
    /// The guest script, if not the module's own.
    pub script: Option<String>,
    /// The regions that are replaced.
    pub replace: Vec<Replace>,
    /// What has to be seen.
    #[serde(default)]
    pub expect: Expect,
}

/// What a log, or a refusal's compiler, has to say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// For each, a line of the log has to match; the first is the key line.
    #[serde(default)]
    pub lines: Vec<String>,
    /// Lines that match these have to come in this order.
    #[serde(default)]
    pub order: Vec<String>,
    /// Splats of these kinds have to be there; in a check, and no others.
    #[serde(default)]
    pub splats: Vec<String>,
    /// No line of the log may match.
    #[serde(default)]
    pub never: Vec<String>,
    /// A refusal: the compiler's error code, or the name of the lint that makes
    /// an error of it.
    pub error: Option<String>,
}

/// One replaced region.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// A file of the stage's folder, or `../02-.../retired.rs`: one that it uses.
    pub file: String,
    /// The anchor's name.
    pub region: String,
    /// What stands there instead.
    pub with: String,
}

impl Variant {
    /// Does it change a file that is in a folder of this name?
    pub fn changes(&self, folder: &str) -> bool {
        self.replace.iter().any(|replace| replace.file.split('/').any(|part| part == folder))
    }

    /// Reads a variant's file.
    pub fn read(file: &Path) -> Result<Self> {
        toml::from_str(&read(file)?)
            .map_err(|e| problem(format!("{} cannot be read", file.display()), e.to_string(), ""))
    }

    /// All variants of a kind that a stage has, by name: `breaks`, `refusals` or
    /// `checks`.
    pub fn all(stage: &Stage, kind: &str) -> Result<Vec<(String, Self)>> {
        let mut all = vec![];
        for entry in fs::read_dir(stage.dir.join(kind)).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "toml") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                all.push((name, Self::read(&path)?));
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// The lines of `file` in the tree that [`Self::make`] made which are the
    /// variant's, counted from 1.
    pub fn lines_of(&self, dir: &Path, file: &str) -> Result<Vec<std::ops::Range<usize>>> {
        let text = read(&dir.join(file))?;
        let mine = self.replace.iter().filter(|replace| replace.file == file);
        mine.map(|replace| {
            // The anchors' own lines are not the variant's.
            let (begin, end) = region(&text, &replace.region)
                .map_err(|why| problem(format!("{file} has lost a region"), why, ""))?;
            Ok(begin + 2..end + 1)
        })
        .collect()
    }

    /// Makes the tree in `build/NAME`, and gives the stage's folder in it.  All
    /// stages are there, since later ones use files of earlier ones.
    pub fn make(&self, paths: &Paths, stage: &Stage, name: &str) -> Result<PathBuf> {
        let home = format!("stages/{}", stage.folder);
        tree(paths, name, &["stages"], &home, &stage.dir, &self.replace)
    }
}

/// Makes a copy of some folders of the checkout in `build/NAME`, with regions replaced. Their files
/// are named as `home`, one of the folders, names them; its text is that of `from`. Gives its copy.
pub fn tree(
    paths: &Paths,
    name: &str,
    folders: &[&str],
    home: &str,
    from: &Path,
    replace: &[Replace],
) -> Result<PathBuf> {
    let top = make_dir(paths.build.join(name))?;
    let _lock = paths.build_lock(&format!("variant-{name}"), "makes the same variant")?;
    let dir = top.join(home);
    let mut changed: BTreeMap<PathBuf, String> = BTreeMap::new();
    for replace in replace {
        let target = plain(&dir.join(&replace.file));
        let text = match changed.remove(&target) {
            Some(text) => text,
            None => read(&from.join(&replace.file))?,
        };
        let text = replaced(&text, &replace.region, &replace.with).map_err(|why| {
            problem(
                format!("variant `{name}` does not fit {}", replace.file),
                why,
                "the file's anchors and the variant's regions must have the same names",
            )
        })?;
        changed.insert(target, text);
    }
    for folder in folders {
        copy_sources(&paths.root.join(folder), &make_dir(top.join(folder))?, &changed)?;
    }
    Ok(dir)
}

/// A path without `..`, as [`copy_sources`] names its files.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

/// Replaces the lines between the anchors `name`; the anchors stay.
pub fn replaced(text: &str, name: &str, with: &str) -> std::result::Result<String, String> {
    let (begin, end) = region(text, name)?;
    let lines: Vec<_> = text.lines().collect();
    let mut out: Vec<&str> = lines[..=begin].to_vec();
    out.extend(with.trim_matches('\n').lines());
    out.extend(&lines[end..]);
    Ok(out.join("\n") + "\n")
}

/// The lines with the two anchors of `name`, counted from 0, or what is wrong
/// with them.
pub fn region(text: &str, name: &str) -> std::result::Result<(usize, usize), String> {
    let only = |mark: &str| {
        let mark = format!("{mark}: {name}");
        let lines = text.lines().enumerate();
        // In a comment of HTML something has to come behind it.
        let is = |line: &str| line.trim_end().trim_end_matches("-->").trim_end().ends_with(&mark);
        let mut at = lines.filter(|(_, line)| is(line)).map(|(i, _)| i);
        match (at.next(), at.next()) {
            (Some(at), None) => Ok(at),
            (None, _) => Err(format!("there is no `{mark}`")),
            (Some(_), Some(_)) => Err(format!("`{mark}` stands there more than once")),
        }
    };
    let (begin, end) = (only("ANCHOR")?, only("ANCHOR_END")?);
    if end < begin {
        return Err(format!("the region `{name}` ends before it begins"));
    }
    Ok((begin, end))
}

/// Copies the sources below `from`, with the changed ones in their place.  Files
/// that are the same already are left alone, so that Kbuild builds only what changed.
fn copy_sources(from: &Path, to: &Path, changed: &BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(from).doing(|| format!("read {}", from.display()))?.flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        // An editor's own files are no sources.
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            copy_sources(&path, &make_dir(target)?, changed)?;
            continue;
        }
        let bytes = match changed.get(&target) {
            Some(text) => text.clone().into_bytes(),
            None => fs::read(&path).doing(|| format!("read {}", path.display()))?,
        };
        if fs::read(&target).ok().as_ref() != Some(&bytes) {
            write(&target, bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "a\n// ANCHOR: one\nb\n// ANCHOR_END: one\nc\n";

    #[test]
    fn a_region_is_replaced_and_keeps_its_anchors() {
        assert_eq!(
            replaced(SOURCE, "one", "\nx\ny\n").unwrap(),
            "a\n// ANCHOR: one\nx\ny\n// ANCHOR_END: one\nc\n"
        );
        assert_eq!(
            replaced(SOURCE, "one", "").unwrap(),
            "a\n// ANCHOR: one\n// ANCHOR_END: one\nc\n"
        );
    }

    #[test]
    fn a_file_of_an_earlier_stage_is_named_as_the_copy_names_it() {
        assert_eq!(plain(Path::new("/b/02-x/../01-y/z.rs")), Path::new("/b/01-y/z.rs"));
    }

    #[test]
    fn the_lines_of_a_variant_are_those_between_the_anchors() {
        assert_eq!(region(SOURCE, "one"), Ok((1, 3)));
    }

    #[test]
    fn missing_doubled_and_unclosed_anchors_are_errors() {
        assert!(replaced(SOURCE, "two", "").unwrap_err().contains("no `ANCHOR: two`"));
        assert!(replaced(&SOURCE.repeat(2), "one", "").unwrap_err().contains("more than once"));
        assert!(replaced("// ANCHOR: one\nb\n", "one", "").unwrap_err().contains("ANCHOR_END"));
        assert!(
            replaced("// ANCHOR_END: one\n// ANCHOR: one\n", "one", "")
                .unwrap_err()
                .contains("before it begins")
        );
    }

    #[test]
    fn an_anchor_is_not_found_by_the_end_of_another() {
        let text =
            "// ANCHOR: big-one\n// ANCHOR_END: big-one\n// ANCHOR: one\n// ANCHOR_END: one\n";
        assert!(replaced(text, "one", "x").is_ok());
    }
}
