// SPDX-License-Identifier: MIT OR Apache-2.0

//! bench.toml: which operations there are, and what is asked of each.

use serde::Deserialize;

/// bench.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    operation: Vec<Operation>,
}

/// An operation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// What it is called in the log.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Where it stands in the report.
    pub group: Group,
    /// Rust's instructions over C's, at most.
    pub most: Option<f64>,
    /// How alike the machine code has to be.
    pub code: Option<Code>,
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Readers, by the stages' types.
    Read,
    /// Updaters, by the stages' types.
    Update,
    /// What else there is.
    Contrast,
    /// Libraries in user space.
    User,
}

/// How alike two pieces of machine code are; the less, the further behind.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Code {
    /// The same, up to the names of registers.
    Same,
    /// The same instructions in another order.
    Order,
    /// Not that.
    #[serde(skip)]
    Other,
}

/// All of them, in the report's order.
pub fn all() -> Vec<Operation> {
    let file: File =
        toml::from_str(include_str!("../../bench/bench.toml")).expect("a test parses bench.toml");
    file.operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_valid_and_each_name_stands_once() {
        let all = all();
        let mut names: Vec<_> = all.iter().map(|operation| &operation.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
        // Every reader is held to C.
        assert!(all.iter().all(|o| o.group != Group::Read || o.most.is_some()));
    }
}
