// SPDX-License-Identifier: MIT OR Apache-2.0

//! Variants: a stage with some anchored regions replaced, made in `build/`.

use std::fs;
use std::path::{Path, PathBuf};

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
    /// The regions that are replaced.
    pub replace: Vec<Replace>,
}

/// One replaced region.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// A file of the stage's folder.
    pub file: String,
    /// The anchor's name.
    pub region: String,
    /// What stands there instead.
    pub with: String,
}

impl Variant {
    /// Reads a variant's file.
    pub fn read(file: &Path) -> Result<Self> {
        toml::from_str(&read(file)?)
            .map_err(|e| problem(format!("{} cannot be read", file.display()), e.to_string(), ""))
    }

    /// Makes the tree, and gives the stage's folder in it.  All stages are
    /// there, since later ones use files of earlier ones.
    pub fn make(&self, paths: &Paths, stage: &Stage, name: &str) -> Result<PathBuf> {
        let top = paths.build.join("variants").join(format!("{}-{name}", stage.folder));
        let stages = make_dir(top.join("stages"))?;
        copy_sources(&paths.root.join("stages"), &stages)?;
        let dir = stages.join(&stage.folder);
        for replace in &self.replace {
            let file = dir.join(&replace.file);
            let text = replaced(&read(&file)?, &replace.region, &replace.with).map_err(|why| {
                problem(
                    format!("variant `{name}` does not fit {}", replace.file),
                    why,
                    "the file's anchors and the variant's regions must have the same names",
                )
            })?;
            update(&file, &text)?;
        }
        Ok(dir)
    }
}

/// Replaces the lines between the anchors `name`; the anchors stay.
fn replaced(text: &str, name: &str, with: &str) -> std::result::Result<String, String> {
    let (begin, end) = (format!("ANCHOR: {name}"), format!("ANCHOR_END: {name}"));
    let lines: Vec<_> = text.lines().collect();
    let only = |mark: &str| {
        let mut at =
            lines.iter().enumerate().filter(|(_, l)| l.trim_end().ends_with(mark)).map(|(i, _)| i);
        match (at.next(), at.next()) {
            (Some(at), None) => Ok(at),
            (None, _) => Err(format!("there is no `{mark}`")),
            (Some(_), Some(_)) => Err(format!("`{mark}` stands there more than once")),
        }
    };
    let (begin, end) = (only(&begin)?, only(&end)?);
    if end < begin {
        return Err(format!("the region `{name}` ends before it begins"));
    }
    let mut out: Vec<&str> = lines[..=begin].to_vec();
    out.extend(with.trim_matches('\n').lines());
    out.extend(&lines[end..]);
    Ok(out.join("\n") + "\n")
}

/// Copies the sources below `from`, leaving files alone that are the same, so
/// that Kbuild builds only what changed.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).doing(|| format!("read {}", from.display()))?.flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_sources(&path, &make_dir(target)?)?;
        } else {
            update(&target, &read(&path)?)?;
        }
    }
    Ok(())
}

fn update(file: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    write(file, text)
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
