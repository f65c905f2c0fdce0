// SPDX-License-Identifier: MIT OR Apache-2.0

//! The exercises of a stage: `exercises/N-name.toml`, one file a step, in order.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use serde::Deserialize;

use crate::paths::read;
use crate::say::{Result, problem};
use crate::stage::Stage;
use crate::variant::{Replace, region};

/// All steps of a stage.
pub struct Lab {
    /// In the order in which they are solved: each builds on those before it.
    pub steps: Vec<Step>,
}

/// A step, as its file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// 1, 2, ...: from the file's name.
    #[serde(skip)]
    pub number: usize,
    /// `create`: from the file's name.
    #[serde(skip)]
    pub name: String,
    /// What it is about, in one line.
    pub title: String,
    /// What it is worth; all or nothing.
    pub points: u32,
    /// What is to be done; stands in the stub, as a comment.
    pub task: String,
    /// Three: where to look, what is needed, nearly the code.
    pub hints: Vec<String>,
    /// How a solution that prints what is wanted, and does not do it, is told
    /// from one that does.  For those who change the exercise.
    pub behaviour: String,
    /// The regions that the learner writes, and the stub that stands there first.
    pub replace: Vec<Replace>,
    /// What its script loads: modules of the stage, or exercises/NAME.rs or NAME.c.
    pub modules: Vec<String>,
    /// What the guest does.  `$N` is a number of this run: see [`Want`].
    pub script: String,
    /// How long that takes at most on `fast` under TCG, in seconds.
    #[serde(default = "five")]
    pub seconds: u64,
    /// Complaints of the kernel that are meant to come.
    #[serde(default)]
    pub splats: Vec<String>,
    /// The module whose expected.trace the log has to keep, if any.
    pub trace: Option<String>,
    /// What the log has to show.
    pub want: Vec<Want>,
    /// To be answered before the first run.
    pub question: Question,
    /// Answers that are known to be wrong.
    #[serde(default)]
    pub wrong: Vec<Wrong>,
}

fn five() -> u64 {
    5
}

/// Something that the log has to show: exactly one of `line`, `order` and `never`; or `source`,
/// for what no run shows.
///
/// In the patterns, `{n}` is the run's number, which nobody knows beforehand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Want {
    /// What it shows, for the screen.
    pub what: String,
    /// A line has to match.
    pub line: Option<String>,
    /// For each a line has to match, in this order.
    #[serde(default)]
    pub order: Vec<String>,
    /// No line may match.
    pub never: Option<String>,
    /// A file of the step has to match, without its comments, as one line. For the order of
    /// accesses that a machine of this kind keeps anyway, or that takes a race to be seen.
    pub source: Option<String>,
    /// If it is not so: what that means, and where to look.
    #[serde(rename = "else")]
    pub otherwise: String,
}

/// A question with one right answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question.
    pub ask: String,
    /// The answers: the first is `a`.
    pub choices: Vec<String>,
    /// The letter of the right one.
    pub answer: char,
    /// Why, shown when it was answered.
    pub explanation: String,
}

/// A wrong answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrong {
    /// The mistake, in one line.
    pub title: String,
    /// Words of the helpful line that it must get.
    pub says: String,
    /// The step's regions as this answer has them; the others are right.
    pub replace: Vec<Replace>,
}

impl Lab {
    /// The exercises of a stage; an error where it has none, or where they are wrong.
    pub fn read(stage: &Stage) -> Result<Self> {
        match Self::peek(stage)? {
            Some(lab) => Ok(lab),
            None => Err(problem(
                format!("stage {} has no exercises yet", stage.number),
                "",
                "make progress",
            )),
        }
    }

    /// The exercises of a stage that has some.
    pub fn peek(stage: &Stage) -> Result<Option<Self>> {
        let mut steps = vec![];
        let dir = stage.dir.join("exercises");
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "toml") {
                steps.push(Step::read(&path)?);
            }
        }
        if steps.is_empty() {
            return Ok(None);
        }
        steps.sort_by_key(|step| step.number);
        let lab = Self { steps };
        lab.sound(stage).map_err(|why| {
            problem(
                format!("stages/{}/exercises are not what they should be", stage.folder),
                why,
                "",
            )
        })?;
        Ok(Some(lab))
    }

    /// What all steps together are worth.
    pub fn points(&self) -> u32 {
        self.steps.iter().map(|step| step.points).sum()
    }

    /// The files that a learner writes in.
    pub fn files(&self) -> Vec<&str> {
        let replaced = self.steps.iter().flat_map(|step| &step.replace);
        let mut files: Vec<_> = replaced.map(|replace| replace.file.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// The step of a number.
    pub fn step(&self, number: usize) -> Option<&Step> {
        self.steps.iter().find(|step| step.number == number)
    }

    /// What can be seen to be wrong without building anything.
    fn sound(&self, stage: &Stage) -> std::result::Result<(), String> {
        let mut taken: Vec<(&str, &str, usize, usize)> = vec![];
        for (i, step) in self.steps.iter().enumerate() {
            let of = |why: String| format!("step {} ({}): {why}", step.number, step.name);
            if step.number != i + 1 {
                return Err(of(format!("the steps before it are {i}")));
            }
            step.sound().map_err(of)?;
            for module in &step.modules {
                let own = ["rs", "c"].map(|end| format!("exercises/{module}.{end}"));
                let is_there = own.iter().any(|file| stage.dir.join(file).is_file());
                if !stage.about.modules.contains(module) && !is_there {
                    return Err(of(format!("there is no module `{module}`")));
                }
            }
            for Replace { file, region: name, .. } in &step.replace {
                let text = std::fs::read_to_string(stage.dir.join(file))
                    .map_err(|e| of(format!("{file}: {e}")))?;
                let (begin, end) =
                    region(&text, name).map_err(|why| of(format!("{file}: {why}")))?;
                if let Some((_, other, ..)) =
                    taken.iter().find(|(f, _, b, e)| f == file && begin <= *e && *b <= end)
                {
                    return Err(of(format!("{file}: `{name}` and `{other}` overlap")));
                }
                taken.push((file, name, begin, end));
            }
            for replace in step.wrong.iter().flat_map(|wrong| &wrong.replace) {
                let mut own = step.replace.iter();
                if !own.any(|r| r.file == replace.file && r.region == replace.region) {
                    let why =
                        format!("a wrong answer is in `{}`, which is not its", replace.region);
                    return Err(of(why));
                }
            }
        }
        Ok(())
    }
}

/// What some steps load, each once.
pub fn modules<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Vec<&'a str> {
    let modules = steps.into_iter().flat_map(|step| &step.modules).map(String::as_str);
    modules.collect::<BTreeSet<_>>().into_iter().collect()
}

impl Step {
    fn read(path: &Path) -> Result<Self> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let named = stem.split_once('-').and_then(|(n, name)| Some((n.parse().ok()?, name)));
        let wrong = |why: String| problem(format!("{} cannot be read", path.display()), why, "");
        let (number, name) =
            named.ok_or_else(|| wrong("its name should be like 3-name.toml".into()))?;
        let step: Self = toml::from_str(&read(path)?).map_err(|e| wrong(e.to_string()))?;
        Ok(Self { number, name: name.to_owned(), ..step })
    }

    /// What is wrong with it by itself.
    fn sound(&self) -> std::result::Result<(), String> {
        let Question { choices, answer, .. } = &self.question;
        if self.hints.len() != 3 {
            return Err(format!("it has {} hints, not three", self.hints.len()));
        }
        if self.points == 0 || self.replace.is_empty() || self.want.is_empty() {
            return Err("it needs points, a region and a want".into());
        }
        if self.behaviour.trim().is_empty() {
            return Err("`behaviour` says nothing".into());
        }
        if self.wrong.is_empty() {
            return Err("it has no wrong answer: then nobody knows that its check can fail".into());
        }
        if letter(choices.len().saturating_sub(1)) < *answer || *answer < 'a' || choices.len() < 2 {
            return Err(format!("`{answer}` is none of the {} choices", choices.len()));
        }
        for want in &self.want {
            let patterns = want.patterns();
            let kinds = usize::from(want.line.is_some())
                + usize::from(want.never.is_some())
                + usize::from(want.source.is_some())
                + usize::from(!want.order.is_empty());
            if kinds != 1 {
                return Err(format!("`{}`: one of line, order, never and source", want.what));
            }
            for pattern in patterns {
                Regex::new(&pattern.replace("{n}", "1")).map_err(|e| e.to_string())?;
            }
        }
        if !self.want.iter().flat_map(Want::patterns).any(|p| p.contains("{n}")) {
            return Err("no want has the run's number in it, so a print can fake them all".into());
        }
        Ok(())
    }

    /// `step 2, the trampoline`
    pub fn label(&self) -> String {
        format!("step {}: {}", self.number, self.title)
    }
}

impl Want {
    /// All that is looked for.
    pub fn patterns(&self) -> Vec<&str> {
        let single = self.line.iter().chain(&self.never).chain(&self.source).chain(&self.order);
        single.map(String::as_str).collect()
    }
}

/// The letter of a choice, counted from 0.
pub fn letter(choice: usize) -> char {
    char::from(b'a' + u8::try_from(choice.min(25)).unwrap_or(25))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A step that is as it should be.
    pub const STEP: &str = "
title = 'first'
points = 10
task = 'Do it.'
hints = ['where', 'what', 'nearly']
behaviour = 'the number'
modules = ['m']
script = 'load m n=$N'

[[replace]]
file = 'm.rs'
region = 'one'
with = '''
    Err(ENOSYS)
'''

[[want]]
what = 'it is done'
line = 'm: \\[x\\] done n={n}$'
else = 'it was not done'

[question]
ask = 'Will it?'
choices = ['yes', 'no']
answer = 'b'
explanation = 'It will not.'

[[wrong]]
title = 'nothing is done'
says = 'not done'

[[wrong.replace]]
file = 'm.rs'
region = 'one'
with = '    Ok(())'
";

    /// A stage's source with two regions.
    pub const SOURCE: &str = "\
fn a() -> Result {
    // ANCHOR: one
    one();
    Ok(())
    // ANCHOR_END: one
}

// ANCHOR: b
fn b() -> Result {
    // ANCHOR: two
    two()
    // ANCHOR_END: two
}
// ANCHOR_END: b
";

    fn sound(step: &str) -> std::result::Result<(), String> {
        toml::from_str::<Step>(step).map_err(|e| e.to_string())?.sound()
    }

    #[test]
    fn a_step_that_is_wrong_is_told_so() {
        assert_eq!(sound(STEP), Ok(()));
        for (from, to, says) in [
            ("'nearly'", "", "2 hints"),
            ("answer = 'b'", "answer = 'c'", "none of the 2 choices"),
            ("points = 10", "points = 0", "needs points"),
            ("n={n}", "n=1", "the run's number"),
            ("line = ", "never = 'x'\nline = ", "one of line, order, never and source"),
            ("done n={n}$", "( n={n}", "unclosed group"),
            ("title = 'first'", "titel = 'first'", "titel"),
            ("[[wrong]]", "[[x]]", "x"),
        ] {
            let why = sound(&STEP.replace(from, to)).unwrap_err();
            assert!(why.contains(says), "{from} -> {to}: {why}");
        }
        assert!(sound(STEP.split("[[wrong]]").next().unwrap()).unwrap_err().contains("no wrong"));
    }

    #[test]
    fn letters_are_those_of_the_choices() {
        assert_eq!((letter(0), letter(3)), ('a', 'd'));
    }
}
