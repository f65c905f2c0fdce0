// SPDX-License-Identifier: MIT OR Apache-2.0

//! How far a learner is: `work/progress.txt`, a small text file that can be
//! committed, and carried to another machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::exercise::Lab;
use crate::paths::{Paths, make_dir, read, write};
use crate::say::{Result, note};

/// The file, as it was read.
#[derive(Default)]
pub struct Progress {
    file: PathBuf,
    /// By the stage's number.
    stages: BTreeMap<u32, StageProgress>,
}

/// How far somebody is in a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageProgress {
    /// The version of the exercises that the work was made from.
    pub made_from: Option<String>,
    /// By the step's number.
    pub steps: BTreeMap<usize, StepProgress>,
    /// How the review of a patch went, if it was begun.
    pub review: Option<ReviewProgress>,
}

/// How far somebody is with the review of a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReviewProgress {
    /// How many of the mistakes were found.
    pub found: usize,
    /// What that was worth.
    pub points: u32,
    /// How many hints were shown.
    pub hints: usize,
    /// All was shown before all was found.
    pub given_up: bool,
}

/// How far somebody is in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepProgress {
    /// It was good when it was last checked.
    pub done: bool,
    /// The solution was shown before it was.
    pub given_up: bool,
    /// How many hints were shown.
    pub hints: usize,
    /// What was answered.
    pub answer: Option<char>,
}

const HEAD: &str = "\
# Progress in the labs.  `make progress` shows it.  It may be committed, and
# carried to another machine together with the folders beside it.
";

impl Progress {
    /// Reads it; an empty one, if there is none.  A line that cannot be read costs
    /// nothing but itself.
    pub fn read(paths: &Paths) -> Result<Self> {
        let file = paths.root.join("work/progress.txt");
        let text = if file.exists() { read(&file)? } else { String::new() };
        let (stages, strange) = parse(&text);
        if !strange.is_empty() {
            note(format!(
                "work/progress.txt has lines that mean nothing here, and are left out: {}",
                strange.join(", ")
            ));
        }
        Ok(Self { file, stages })
    }

    /// Writes it.
    pub fn save(&self) -> Result<()> {
        if let Some(dir) = self.file.parent() {
            make_dir(dir.to_owned())?;
        }
        write(&self.file, self.text())
    }

    /// That of a stage.
    pub fn stage(&self, number: u32) -> StageProgress {
        self.stages.get(&number).cloned().unwrap_or_default()
    }

    /// That of a stage, to be changed.
    pub fn stage_mut(&mut self, number: u32) -> &mut StageProgress {
        self.stages.entry(number).or_default()
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (number, stage) in &self.stages {
            if let Some(version) = &stage.made_from {
                text += &format!("stage-{number} made-from {version}\n");
            }
            for (step, progress) in
                stage.steps.iter().filter(|(_, p)| **p != StepProgress::default())
            {
                text += &format!("stage-{number} step-{step}{}\n", progress.words());
            }
            if let Some(review) = stage.review {
                text += &format!("stage-{number} review{}\n", review.words());
            }
        }
        text
    }
}

impl StageProgress {
    /// That of a step.
    pub fn step(&self, number: usize) -> StepProgress {
        self.steps.get(&number).copied().unwrap_or_default()
    }

    /// That of a step, to be changed.
    pub fn step_mut(&mut self, number: usize) -> &mut StepProgress {
        self.steps.entry(number).or_default()
    }

    /// The first step that is not done; none, if all are.
    pub fn current(&self, lab: &Lab) -> Option<usize> {
        lab.steps.iter().map(|step| step.number).find(|number| !self.step(*number).done)
    }

    /// The points for the steps that are done, and were not given up.
    pub fn points(&self, lab: &Lab) -> u32 {
        let earned = |number| self.step(number).done && !self.step(number).given_up;
        lab.steps.iter().filter(|step| earned(step.number)).map(|step| step.points).sum()
    }

    /// How many questions were answered, and how many of them right.
    pub fn answers(&self, lab: &Lab) -> (usize, usize) {
        let answered = lab.steps.iter().filter_map(|step| {
            let answer = self.step(step.number).answer?;
            Some(answer == step.question.answer)
        });
        let answered: Vec<_> = answered.collect();
        (answered.len(), answered.iter().filter(|right| **right).count())
    }
}

impl StepProgress {
    fn words(&self) -> String {
        let mut words = String::new();
        if self.done {
            words += " done";
        }
        if self.given_up {
            words += " given-up";
        }
        if self.hints > 0 {
            words += &format!(" hints={}", self.hints);
        }
        if let Some(answer) = self.answer {
            words += &format!(" answer={answer}");
        }
        words
    }

    fn word(&mut self, word: &str) -> Option<()> {
        match word.split_once('=') {
            None if word == "done" => self.done = true,
            None if word == "given-up" => self.given_up = true,
            Some(("hints", n)) => self.hints = n.parse().ok()?,
            Some(("answer", a)) => self.answer = Some(a.parse().ok()?),
            _ => return None,
        }
        Some(())
    }
}

impl ReviewProgress {
    fn words(&self) -> String {
        let Self { found, points, hints, given_up } = self;
        let end = if *given_up { " given-up" } else { "" };
        format!(" found={found} points={points} hints={hints}{end}")
    }

    fn word(&mut self, word: &str) -> Option<()> {
        match word.split_once('=') {
            None if word == "given-up" => self.given_up = true,
            Some(("found", n)) => self.found = n.parse().ok()?,
            Some(("points", n)) => self.points = n.parse().ok()?,
            Some(("hints", n)) => self.hints = n.parse().ok()?,
            _ => return None,
        }
        Some(())
    }
}

/// The stages of a text, and the numbers of the lines that cannot be read.
fn parse(text: &str) -> (BTreeMap<u32, StageProgress>, Vec<String>) {
    let mut stages: BTreeMap<u32, StageProgress> = BTreeMap::new();
    let mut strange = vec![];
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut read = || {
            let mut words = line.split_whitespace();
            let stage = words.next()?.strip_prefix("stage-")?.parse().ok()?;
            let what = words.next()?;
            if what == "made-from" {
                stages.entry(stage).or_default().made_from = Some(words.next()?.to_owned());
                return Some(());
            }
            if what == "review" {
                let mut review = ReviewProgress::default();
                words.try_for_each(|word| review.word(word))?;
                stages.entry(stage).or_default().review = Some(review);
                return Some(());
            }
            let step = what.strip_prefix("step-")?.parse().ok()?;
            let mut progress = StepProgress::default();
            words.try_for_each(|word| progress.word(word))?;
            stages.entry(stage).or_default().steps.insert(step, progress);
            Some(())
        };
        if read().is_none() {
            strange.push(format!("line {}", i + 1));
        }
    }
    (stages, strange)
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{checkout, stage_and_lab};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let (_dir, paths) = checkout();
        let mut progress = Progress::read(&paths).unwrap();
        let stage = progress.stage_mut(1);
        stage.made_from = Some("12ab".into());
        *stage.step_mut(1) =
            StepProgress { done: true, given_up: false, hints: 2, answer: Some('b') };
        *stage.step_mut(2) = StepProgress { given_up: true, ..StepProgress::default() };
        stage.step_mut(3);
        stage.review = Some(ReviewProgress { found: 2, points: 9, hints: 1, given_up: true });
        progress.save().unwrap();
        let text = read(&paths.root.join("work/progress.txt")).unwrap();
        assert!(text.ends_with(
            "stage-1 made-from 12ab\nstage-1 step-1 done hints=2 answer=b\nstage-1 step-2 given-up\nstage-1 review found=2 points=9 hints=1 given-up\n"
        ));
        let again = Progress::read(&paths).unwrap();
        assert_eq!(again.stage(1).step(1), progress.stage(1).step(1));
        assert_eq!(again.stage(1).review, progress.stage(1).review);
        assert_eq!(again.text(), progress.text());
    }

    #[test]
    fn points_are_for_what_was_done_by_oneself() {
        let (_dir, paths) = checkout();
        let (_, lab) = stage_and_lab(&paths);
        let (stages, strange) =
            parse("stage-1 step-1 done answer=b\r\nstage-1 step-2 done given-up answer=a\r\n");
        assert!(strange.is_empty());
        let stage = &stages[&1];
        assert_eq!(
            (stage.points(&lab), stage.current(&lab), stage.answers(&lab)),
            (10, None, (2, 1))
        );
        assert_eq!(StageProgress::default().current(&lab), Some(1));
    }

    #[test]
    fn strange_lines_cost_only_themselves() {
        let (stages, strange) =
            parse("<<<<<<< HEAD\nstage-1 step-1 done\nstage-x\nstage-1 step-2 dnoe\n# remark\n");
        assert_eq!(strange, ["line 1", "line 3", "line 4"]);
        assert!(stages[&1].step(1).done && !stages[&1].step(2).done);
    }
}
