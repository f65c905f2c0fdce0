// SPDX-License-Identifier: MIT OR Apache-2.0

//! The steps of a lab in a guest: a section for each, in their order. What comes
//! after a step whose script failed is left out: it would build on sand.

use std::hash::{BuildHasher, Hasher};
use std::path::Path;

use super::exercise::{Step, modules};
use super::judge::{Ended, Outcome, SKIPPED, judge};
use super::tree::Files;
use crate::say::Result;
use crate::session::{Session, lines_of};
use crate::stage::Stage;
use crate::verdict;
use crate::vm::{Boot, End};

/// Three: a reader of the story and one of another module keep a CPU each on
/// `fast`, and the updater needs one, too.
pub const CPUS: u64 = 3;

/// A number that nobody knows beforehand: what a module prints with it was not
/// prepared.
pub fn number() -> u32 {
    // Seven digits, for a parameter that is printed as it is.
    1_000_000 + (std::hash::RandomState::new().build_hasher().finish() % 9_000_000) as u32
}

/// Some steps of one tree.
pub struct Part<'a> {
    /// The stage.
    pub stage: &'a Stage,
    /// Stands in front of the modules' names.
    pub prefix: &'a str,
    /// The learner's files.
    pub files: &'a Files,
    /// The steps that run.
    pub steps: Vec<&'a Step>,
    /// The run's number.
    pub n: u32,
}

impl Part<'_> {
    /// Puts the modules into the guest, and adds the sections; `dir` has the modules,
    /// those that belong to no tree are in `shared`.
    pub fn add(&self, session: &mut Session, dir: &Path, shared: &Path) -> Result<()> {
        for module in modules(self.steps.iter().copied()) {
            let (name, plain) = (format!("{}{module}.ko", self.prefix), format!("{module}.ko"));
            match dir.join(&name) {
                ko if ko.exists() => session.add(&ko, &name)?,
                _ => session.add(&shared.join(&plain), &plain)?,
            }
        }
        for step in &self.steps {
            let name = self.section(step);
            session.write(&format!("{name}.sh"), &self.script(step))?;
            session.section(&name, "", &format!("{name}.sh"));
        }
        Ok(())
    }

    /// How long they take at most, as in stage.toml.
    pub fn seconds(&self) -> u64 {
        self.steps.iter().map(|step| step.seconds).sum()
    }

    fn section(&self, step: &Step) -> String {
        format!("{}step-{}", self.prefix, step.number)
    }

    fn script(&self, step: &Step) -> String {
        let said = SKIPPED.trim_start_matches("guest: ");
        format!(
            "export N={} PREFIX={}\nif [ -e /tmp/stop-$PREFIX ]; then say {said}; else\n(\n{}\n) || touch /tmp/stop-$PREFIX\nfi\n",
            self.n,
            self.prefix,
            step.script.trim(),
        )
    }

    /// What became of a step.
    pub fn outcome(&self, step: &Step, boot: &Boot) -> Result<Outcome> {
        let name = self.section(step);
        let contract = match &step.trace {
            Some(module) => Some(verdict::contract(self.stage, module)?),
            None => None,
        };
        let end = boot.lines.iter().any(|line| line.ends_with(&format!("guest: end {name}")));
        let ended = match &boot.end {
            _ if end => Ended::Well,
            End::Panicked => Ended::Badly("the kernel panicked"),
            End::Hung => Ended::Badly("the guest hung"),
            _ => Ended::Badly("the guest ended"),
        };
        Ok(judge(step, self.files, lines_of(&boot.lines, &name), self.n, contract.as_ref(), &ended))
    }
}
