// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a step's part of the log is worth.

use regex::Regex;

use super::exercise::{Lab, Step, Want};
use super::tree::Files;
use crate::trace::check::check;
use crate::trace::contract::Contract;
use crate::trace::splat;
use crate::verdict;

/// How something looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should.
    Good,
    /// What should be there is not.
    Missing,
    /// What is there should not be, or not there.
    Bad,
}

/// Something that was looked for.
#[derive(Debug)]
pub struct Finding {
    /// How it looks.
    pub mark: Mark,
    /// What it is.
    pub what: String,
    /// What was found instead, with lines around it.
    pub context: Vec<String>,
    /// What that means, and where to look.
    pub means: String,
    /// It was not asked for by the step, and is probably why others are missing.
    pub cause: bool,
}

/// What became of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It ran; good, if all findings are.
    Ran(Vec<Finding>),
    /// Its stub stands there still.
    Open,
    /// It did not run, because one before it was not good.
    Waits,
}

impl Outcome {
    /// Is it solved?
    pub fn good(&self) -> bool {
        match self {
            Self::Ran(findings) => findings.iter().all(|f| f.mark == Mark::Good),
            Self::Open | Self::Waits => false,
        }
    }
}

/// The points of the steps: each counts if it is good, and those before it are.
pub fn points(lab: &Lab, outcomes: &[Outcome]) -> u32 {
    let good = lab.steps.iter().zip(outcomes).take_while(|(_, outcome)| outcome.good());
    good.map(|(step, _)| step.points).sum()
}

/// What the guest says of a step that it left out.
pub const SKIPPED: &str = "guest: skipped";

/// How a part of the log ended that a step has to be judged by.
pub enum Ended<'a> {
    /// By itself.
    Well,
    /// The guest, or its time, ended first; in which way.
    Badly(&'a str),
}

/// Judges a step by its part of the log, and by the learner's files. `n` is the run's number.
pub fn judge(
    step: &Step,
    files: &Files,
    lines: &[String],
    n: u32,
    contract: Option<&Contract>,
    ended: &Ended<'_>,
) -> Outcome {
    if lines.iter().any(|line| line.ends_with(SKIPPED)) {
        return Outcome::Waits;
    }
    if let (true, Ended::Badly(_)) = (lines.is_empty(), ended) {
        // The guest did not come here.
        return Outcome::Waits;
    }
    let mut findings: Vec<_> = complaint(step, lines).into_iter().collect();
    findings.extend(lines.iter().enumerate().filter(|(_, l)| l.contains("guest: FAIL ")).map(
        |(at, line)| Finding {
            mark: Mark::Bad,
            what: line.split("guest: FAIL ").nth(1).unwrap_or_default().to_owned(),
            context: around(lines, at),
            means: "The module could not be loaded, or unloaded.".into(),
            cause: true,
        },
    ));
    if let Ended::Badly(how) = ended {
        findings.push(Finding {
            mark: Mark::Bad,
            what: format!("{how}, in this step"),
            context: around(lines, lines.len().saturating_sub(1)),
            means: "The last lines say how far it came.".into(),
            cause: true,
        });
    }
    findings.extend(step.want.iter().map(|want| match &want.source {
        Some(pattern) => written(want, pattern, step, files),
        None => finding(want, lines, n),
    }));
    if let Some(contract) = contract {
        findings.push(promise(contract, lines));
    }
    Outcome::Ran(findings)
}

fn finding(want: &Want, lines: &[String], n: u32) -> Finding {
    let of = |mark, context| Finding {
        mark,
        what: want.what.clone(),
        context,
        means: if mark == Mark::Good { String::new() } else { want.otherwise.trim().to_owned() },
        cause: false,
    };
    let find = |pattern: &String, from: usize| {
        // That it is one was seen when the step was read.
        let regex = Regex::new(&pattern.replace("{n}", &n.to_string())).ok()?;
        lines.iter().skip(from).position(|line| regex.is_match(line)).map(|at| at + from)
    };
    if let Some(never) = &want.never {
        return match find(never, 0) {
            None => of(Mark::Good, vec![]),
            Some(at) => of(Mark::Bad, around(lines, at)),
        };
    }
    let mut last = 0;
    for pattern in want.line.iter().chain(&want.order) {
        match find(pattern, last) {
            Some(at) => last = at + 1,
            // It is there, but too early.
            None if find(pattern, 0).is_some() => {
                return of(Mark::Bad, around(lines, find(pattern, 0).unwrap_or_default()));
            }
            None => {
                let mut context = vec![format!(
                    "wanted: a line that matches {}",
                    pattern.replace("{n}", &n.to_string())
                )];
                context.extend(own_lines(lines).into_iter().rev().take(6).rev());
                return of(Mark::Missing, context);
            }
        }
    }
    of(Mark::Good, vec![])
}

/// What stands in the source, which may not show in any run.
fn written(want: &Want, pattern: &str, step: &Step, files: &Files) -> Finding {
    let of_step = step.replace.iter().filter_map(|replace| files.get(&replace.file));
    let good = Regex::new(pattern).is_ok_and(|regex| {
        let mut texts = of_step.map(|text| {
            let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
        });
        texts.any(|text| regex.is_match(&text))
    });
    Finding {
        mark: if good { Mark::Good } else { Mark::Bad },
        what: format!("{} (as it is written)", want.what),
        context: vec![],
        means: if good { String::new() } else { want.otherwise.trim().to_owned() },
        cause: false,
    }
}

fn promise(contract: &Contract, lines: &[String]) -> Finding {
    let what = format!("the log of {} keeps expected.trace", contract.module);
    match check(contract, &verdict::parse(lines)) {
        Ok(_) => {
            Finding { mark: Mark::Good, what, context: vec![], means: String::new(), cause: false }
        }
        Err(difference) => Finding {
            mark: Mark::Bad,
            what,
            context: difference.to_string().lines().map(str::to_owned).collect(),
            means: "The promise says why each line stands where it stands.".into(),
            cause: false,
        },
    }
}

/// The kernel's first complaint, if it was not meant to come.
fn complaint(step: &Step, lines: &[String]) -> Option<Finding> {
    let parsed = verdict::parse(lines);
    let meant = |kind: &str| step.splats.iter().any(|s| s == kind);
    let splat = splat::find(&parsed).into_iter().find(|s| !meant(s.kind))?;
    let shown = parsed.iter().skip(splat.line).take(14);
    Some(Finding {
        mark: Mark::Bad,
        what: format!("the kernel complained ({})", splat.kind),
        context: shown.map(|line| format!("  {}", line.raw)).collect(),
        means: format!(
            "{}  Names of functions with the module's name in [brackets] are yours.",
            splat.meaning
        ),
        cause: true,
    })
}

/// The lines of modules and of the guest, which are what a step is about.
fn own_lines(lines: &[String]) -> Vec<String> {
    let own = |l: &&String| l.contains(": [") || l.contains("guest: ");
    lines.iter().filter(own).map(|line| format!("  {line}")).collect()
}

/// A line, marked, with two on either side.
fn around(lines: &[String], at: usize) -> Vec<String> {
    let near = lines.iter().enumerate().filter(|(i, _)| i.abs_diff(at) <= 2);
    near.map(|(i, line)| format!("{} {line}", if i == at { '>' } else { ' ' })).collect()
}

#[cfg(test)]
mod tests {
    use super::super::exercise::tests::STEP;
    use super::*;

    fn step(want: &str) -> Step {
        let (head, tail) = STEP.split_once("[[want]]").unwrap();
        let (_, tail) = tail.split_once("[question]").unwrap();
        toml::from_str(&format!("{head}[[want]]\n{want}\n[question]{tail}")).unwrap()
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn marks(outcome: &Outcome) -> Vec<Mark> {
        match outcome {
            Outcome::Ran(findings) => findings.iter().map(|f| f.mark).collect(),
            Outcome::Open | Outcome::Waits => vec![],
        }
    }

    const LINE: &str = "what = 'w'\nline = 'done n={n}$'\nelse = 'no'";
    const ORDER: &str = "what = 'w'\norder = ['first', 'second n={n}']\nelse = 'no'";

    fn judged(want: &str, log: &str) -> Vec<Mark> {
        marks(&judge(&step(want), &Files::new(), &lines(log), 7, None, &Ended::Well))
    }

    #[test]
    fn a_line_has_the_number_of_the_run() {
        assert_eq!(judged(LINE, "m: [x] done n=7"), [Mark::Good]);
        // A print that was prepared for another run, or for none.
        assert_eq!(judged(LINE, "m: [x] done n=8"), [Mark::Missing]);
        assert_eq!(judged(LINE, ""), [Mark::Missing]);
    }

    #[test]
    fn an_order_is_kept_and_what_is_forbidden_does_not_come() {
        assert_eq!(judged(ORDER, "a\nfirst\nb\nsecond n=7"), [Mark::Good]);
        assert_eq!(judged(ORDER, "second n=7\nfirst"), [Mark::Bad]);
        assert_eq!(judged(ORDER, "first"), [Mark::Missing]);
        let never = "what = 'w'\nnever = 'x{n}'\nelse = 'no'";
        assert_eq!((judged(never, "x8"), judged(never, "x7")), (vec![Mark::Good], vec![Mark::Bad]));
    }

    #[test]
    fn what_no_run_shows_is_looked_for_in_the_source_without_its_comments() {
        let want = "what = 'w'\nsource = 'fn one.* two\\(Release\\)'\nelse = 'no'";
        let good = |text: &str| {
            let files = Files::from([("m.rs".into(), text.into()), ("n.rs".into(), GOOD.into())]);
            judge(&step(want), &files, &[], 7, None, &Ended::Well).good()
        };
        const GOOD: &str = "fn one() {\n    // Why.\n    two(Release)\n}\n";
        assert!(good(GOOD) && good(&GOOD.replace('\n', "  \n")));
        assert!(!good("fn one() {\n    // two(Release)\n    two(Relaxed)\n}\n"));
    }

    #[test]
    fn complaints_failures_and_an_early_end_are_bad() {
        let log = |more: &str| format!("m: [x] done n=7\n{more}");
        let bad = [Mark::Bad, Mark::Good];
        assert_eq!(judged(LINE, &log("[    1.0] BUG: scheduling while atomic: a/1/0x2")), bad);
        assert_eq!(judged(LINE, &log("[    1.0] guest: FAIL insmod m: no")), bad);
        let ended = Ended::Badly("the guest hung");
        assert_eq!(
            marks(&judge(&step(LINE), &Files::new(), &lines(&log("")), 7, None, &ended)),
            bad
        );
        let meant = Step { splats: vec!["schedule-in-atomic".into()], ..step(LINE) };
        let log = lines(&log("BUG: scheduling while atomic: a/1/0x2"));
        assert!(judge(&meant, &Files::new(), &log, 7, None, &Ended::Well).good());
    }

    #[test]
    fn a_step_that_did_not_run_waits() {
        let skipped = judge(
            &step(LINE),
            &Files::new(),
            &lines("[ 1.0] guest: skipped"),
            7,
            None,
            &Ended::Well,
        );
        assert!(matches!(skipped, Outcome::Waits) && !skipped.good());
        let never =
            judge(&step(LINE), &Files::new(), &[], 7, None, &Ended::Badly("the guest hung"));
        assert!(matches!(never, Outcome::Waits));
    }

    #[test]
    fn points_end_with_the_first_step_that_is_not_good() {
        let lab = Lab { steps: (0..3).map(|_| step(LINE)).collect() };
        let outcome = |good: bool| {
            let log = if good { "done n=7" } else { "" };
            judge(&step(LINE), &Files::new(), &lines(log), 7, None, &Ended::Well)
        };
        let points = |good: [bool; 3]| points(&lab, &good.map(outcome));
        assert_eq!(points([true, true, true]), 30);
        assert_eq!(points([true, false, true]), 10);
        assert_eq!(points([false, true, true]), 0);
    }
}
