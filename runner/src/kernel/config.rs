// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's configuration: fragments, merged, and held to.

use super::Flavour;
use crate::paths::{Paths, read};
use crate::say::{Result, problem};

/// The merged fragments of a flavour: what is asked for.
pub fn fragments(paths: &Paths, flavour: Flavour) -> Result<String> {
    let base = read(&paths.root.join("kernel/base.config"))?;
    let own = read(&paths.root.join(format!("kernel/{flavour}.config")))?;
    Ok(merge(&[&base, &own]))
}

/// Merges fragments: each option once, the last word counts.  Comments go, so
/// that a better comment does not make anybody build a kernel.
fn merge(fragments: &[&str]) -> String {
    let mut merged: Vec<(&str, &str)> = vec![];
    for (option, value) in fragments.iter().flat_map(|text| options(text)) {
        match merged.iter_mut().find(|(name, _)| *name == option) {
            Some(entry) => entry.1 = value,
            None => merged.push((option, value)),
        }
    }
    merged.iter().map(|(option, value)| format!("{option}={value}\n")).collect()
}

/// What the fragments ask for and the kernel's configuration lacks: an option
/// whose dependencies are not met goes missing without a word.
pub fn check(wanted: &str, result: &str) -> Result<()> {
    let missing: Vec<String> = options(wanted)
        .filter(|(option, value)| {
            let line = format!("{option}={value}");
            match *value {
                "n" => options(result).any(|(name, _)| name == *option),
                _ => !result.lines().any(|l| l == line),
            }
        })
        .map(|(option, value)| format!("  {option}={value}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(problem(
        "the kernel's configuration is not what the fragments ask for",
        missing.join("\n"),
        "an option's dependencies are missing in kernel/*.config, or this kernel names it otherwise: look it up in the source with `grep -rn 'config NAME' --include=Kconfig*`",
    ))
}

fn options(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter(|line| line.starts_with("CONFIG_")).filter_map(|line| line.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_comments_go() {
        let merged = merge(&["# why\nCONFIG_A=y\nCONFIG_B=y\n", "CONFIG_A=n\nCONFIG_C=\"x\"\n"]);
        assert_eq!(merged, "CONFIG_A=n\nCONFIG_B=y\nCONFIG_C=\"x\"\n");
    }

    #[test]
    fn a_wanted_option_that_went_missing_is_named() {
        let got = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\n";
        assert!(check("CONFIG_A=y\nCONFIG_B=n\nCONFIG_C=\"x\"\n", got).is_ok());
        for (wanted, named) in [
            ("CONFIG_B=y\n", "CONFIG_B=y"),
            ("CONFIG_A=n\n", "CONFIG_A=n"),
            ("CONFIG_C=\"y\"\n", "CONFIG_C"),
        ] {
            let message = check(wanted, got).unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
