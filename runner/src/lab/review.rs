// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make stage-N review`: a patch comes in by mail, with mistakes in it that real
//! reviews have found in others. The learner answers as one does: with remarks below
//! the lines that they are about. The runner says which of them hit.
//!
//! The patch adds a file, `review/NAME.rs`. Its anchors are where the mistakes are, and
//! are not shown. It compiles: what is wrong with it no compiler finds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;

use super::progress::{Progress, ReviewProgress};
use super::tree::{Files, learners, stripped};
use crate::house::ask;
use crate::paths::{Paths, make_dir, read, var, write};
use crate::say::{Result, Times, problem, step};
use crate::stage::Stage;
use crate::variant::{region, replaced};

/// A review, as its file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// The patch's subject.
    pub title: String,
    /// What its author says of it.
    pub message: String,
    /// The file that it adds, in `review/`.
    pub file: String,
    /// The module that it becomes a part of.
    pub module: String,
    taken_in: Place,
    /// What is wrong with it.
    #[serde(rename = "defect")]
    defects: Vec<Defect>,
    /// What looks wrong, and is not.
    #[serde(default)]
    fine: Vec<Fine>,
}

/// A region of the stage's source.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    file: String,
    region: String,
}

/// A planted mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Defect {
    region: String,
    points: u32,
    title: String,
    hint: String,
    explanation: String,
    /// What should stand there.
    fix: String,
}

/// Lines that one might take for a mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fine {
    region: String,
    explanation: String,
}

/// A remark that hits nothing costs so much, as somebody has to answer it.
const MISS: u32 = 1;

/// What somebody's remarks are worth.
#[derive(Debug, Default, PartialEq, Eq)]
struct Grade {
    /// Which defects, by their number.
    found: BTreeSet<usize>,
    /// For each line of the patch that has a remark: what was hit.
    hits: BTreeMap<usize, Hit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hit {
    Defect(usize),
    Fine(usize),
    Nothing,
}

impl Review {
    /// The review of a stage that has one.
    pub fn peek(stage: &Stage) -> Result<Option<Self>> {
        let file = stage.dir.join("review/review.toml");
        if !file.is_file() {
            return Ok(None);
        }
        let wrong = |why: String| problem(format!("{} cannot be read", file.display()), why, "");
        let review: Self = toml::from_str(&read(&file)?).map_err(|e| wrong(e.to_string()))?;
        review.sound(stage).map_err(wrong)?;
        Ok(Some(review))
    }

    fn source(&self, stage: &Stage) -> Result<String> {
        read(&stage.dir.join("review").join(&self.file))
    }

    fn points(&self) -> u32 {
        self.defects.iter().map(|defect| defect.points).sum()
    }

    /// What can be seen to be wrong without building anything.
    fn sound(&self, stage: &Stage) -> std::result::Result<(), String> {
        let source = self.source(stage).map_err(|e| e.to_string())?;
        for name in self.regions() {
            region(&source, name)?;
        }
        if self.defects.is_empty() || self.defects.iter().any(|defect| defect.points <= MISS) {
            return Err("each defect has to be worth more than a miss costs".into());
        }
        match self.mail(stage, &source).iter().find(|line| is_remark(line)) {
            Some(line) => Err(format!("`{line}` would be taken for a remark")),
            None => Ok(()),
        }
    }

    fn regions(&self) -> impl Iterator<Item = &str> {
        let defects = self.defects.iter().map(|defect| defect.region.as_str());
        defects.chain(self.fine.iter().map(|fine| fine.region.as_str()))
    }

    /// What stands above the new file's lines.
    fn head(&self, stage: &Stage, lines: usize) -> Vec<String> {
        let path = format!("stages/{}/{}", stage.folder, self.file);
        let mut head = vec![format!("Subject: [PATCH 1/2] {}: {}", self.module, self.title)];
        head.push(String::new());
        head.extend(self.message.trim().lines().map(str::to_owned));
        head.push("---".into());
        head.push(format!(" {path} | {lines} {}", "+".repeat(40)));
        head.push(format!(" 1 file changed, {lines} insertions(+)"));
        head.push(String::new());
        head.push(format!("diff --git a/{path} b/{path}"));
        head.push("new file mode 100644".into());
        head.push("--- /dev/null".into());
        head.push(format!("+++ b/{path}"));
        head.push(format!("@@ -0,0 +1,{lines} @@"));
        head
    }

    /// The patch, as it is mailed.
    fn mail(&self, stage: &Stage, source: &str) -> Vec<String> {
        let added: Vec<_> = stripped(source).lines().map(|line| format!("+{line}")).collect();
        let mut mail = self.head(stage, added.len());
        mail.extend(added);
        mail
    }

    /// The lines of the mail that a region has.
    fn lines_of(&self, stage: &Stage, source: &str, name: &str) -> Range<usize> {
        let Ok((begin, end)) = region(source, name) else { return 0..0 };
        let count = |from: usize, to: usize| {
            let lines: Vec<_> = source.lines().skip(from).take(to - from).collect();
            stripped(&lines.join("\n")).lines().count()
        };
        let first = self.head(stage, 0).len() + count(0, begin);
        first..first + count(begin + 1, end)
    }

    fn grade(&self, stage: &Stage, source: &str, remarks: &BTreeSet<usize>) -> Grade {
        let places = |near: usize| {
            let of = |(name, hit): (&String, Hit)| {
                let Range { start, end } = self.lines_of(stage, source, name);
                (start.saturating_sub(near)..end + near, hit)
            };
            let defects = self.defects.iter().enumerate().map(|(i, d)| (&d.region, Hit::Defect(i)));
            let fine = self.fine.iter().enumerate().map(|(i, f)| (&f.region, Hit::Fine(i)));
            defects.chain(fine).map(of).collect::<Vec<_>>()
        };
        let mut grade = Grade::default();
        for line in remarks {
            // In the place itself, or else next to it.
            let hit = [0, 1].into_iter().find_map(|near| {
                places(near).into_iter().find(|(lines, _)| lines.contains(line)).map(|(_, hit)| hit)
            });
            let hit = hit.unwrap_or(Hit::Nothing);
            if let Hit::Defect(which) = hit {
                grade.found.insert(which);
            }
            grade.hits.insert(*line, hit);
        }
        grade
    }

    fn earned(&self, grade: &Grade) -> u32 {
        let found: u32 = grade.found.iter().map(|which| self.defects[*which].points).sum();
        let misses = grade.hits.values().filter(|hit| !matches!(hit, Hit::Defect(_))).count();
        found.saturating_sub(MISS * misses as u32)
    }

    /// What is said of the remarks.
    fn told(&self, mail: &[String], grade: &Grade) -> Vec<String> {
        let mut lines = vec![];
        let mut explained = BTreeSet::new();
        for (line, hit) in &grade.hits {
            lines.push(format!("  {:4} | {}", line + 1, mail[*line]));
            let (headline, text) = match hit {
                Hit::Defect(which) => {
                    let Defect { title, explanation, .. } = &self.defects[*which];
                    let text = if explained.insert(which) { explanation.trim() } else { "" };
                    (format!("FOUND: {title}"), text)
                }
                Hit::Fine(which) => (
                    "NO DEFECT: this is as it should be".into(),
                    self.fine[*which].explanation.trim(),
                ),
                Hit::Nothing => (
                    "NOTHING PLANTED HERE".into(),
                    "Either there is nothing, or it is a mistake of ours that we do not know of.",
                ),
            };
            lines.push(format!("       {headline}"));
            lines.extend(text.lines().map(|line| format!("       {line}").trim_end().to_owned()));
            lines.push(String::new());
        }
        lines.push(format!(
            "found: {} of {}; {} of {} points",
            grade.found.len(),
            self.defects.len(),
            self.earned(grade),
            self.points(),
        ));
        lines
    }

    /// The files that make the patch a part of its module: as it was mailed, and mended.
    pub fn trees(&self, stage: &Stage) -> Result<[Files; 2]> {
        let fits = |why: String| problem("the review does not fit its stage", why, "");
        let main = read(&stage.dir.join(&self.taken_in.file))?;
        let stem = self.file.trim_end_matches(".rs");
        let taken_in = format!("#[path = \"review/{}\"]\npub mod {stem};", self.file);
        let main = replaced(&main, &self.taken_in.region, &taken_in).map_err(fits)?;
        let mailed = self.source(stage)?;
        let mut mended = mailed.clone();
        for Defect { region, fix, .. } in &self.defects {
            mended = replaced(&mended, region, fix).map_err(fits)?;
        }
        let with = |text: String| {
            Files::from([
                (self.taken_in.file.clone(), main.clone()),
                (format!("review/{}", self.file), text),
            ])
        };
        Ok([with(mailed), with(mended)])
    }
}

fn is_remark(line: &str) -> bool {
    line.starts_with('#')
}

/// The lines of the mail that remarks of the reply are about; or what is wrong with it.
fn remarks(mail: &[String], reply: &str) -> std::result::Result<BTreeSet<usize>, String> {
    let mut about = BTreeSet::new();
    let mut next = 0;
    for (i, line) in reply.lines().enumerate() {
        if is_remark(line) {
            about.insert(next.max(1) - 1);
        } else if mail.get(next).is_some_and(|l| l.trim_end() == line.trim_end()) {
            next += 1;
        } else if !line.trim().is_empty() || next < mail.len() {
            return Err(format!(
                "Line {} is not what was mailed, and begins with no `#`:\n  {line}",
                i + 1
            ));
        }
    }
    match mail.get(next) {
        None => Ok(about),
        Some(line) => Err(format!("From this line on it is missing:\n  {line}")),
    }
}

fn place(paths: &Paths, stage: &Stage) -> PathBuf {
    paths.root.join(format!("work/review-stage-{}.patch", stage.number))
}

/// `make stage-N review [HINT=1] [SHOW=1]`
pub fn review(paths: &Paths, stage: &Stage, _: &mut Times) -> Result<()> {
    let n = stage.number;
    let Some(review) = Review::peek(stage)? else {
        let why = problem(format!("stage {n} has nothing to review"), "", "make progress");
        return Err(why);
    };
    let source = review.source(stage)?;
    let (mail, file) = (review.mail(stage, &source), place(paths, stage));
    let name = format!("work/review-stage-{n}.patch");
    if !file.exists() {
        make_dir(paths.root.join("work"))?;
        write(&file, mail.join("\n") + "\n")?;
        step(format!(
            "A patch came in: {name}\n\n\
             It compiles, and its author has tested it.  {} things are wrong with it all the same.\n\
             Write your remarks into the file, each in a line that begins with `#`, below the line\n\
             that it is about.  Change nothing else.  Each mistake that you find is worth points; a\n\
             remark where there is none costs {MISS}.\n\n\
             \x20 make stage-{n} review          says which of your remarks hit\n\
             \x20 make stage-{n} review HINT=1   where to look",
            review.defects.len(),
        ));
        return Ok(());
    }
    let remarks = remarks(&mail, &learners(&file)?).map_err(|why| {
        problem(
            format!("{name} is not the patch that came in"),
            why,
            format!("mend that, or remove the file: make stage-{n} review   makes it anew"),
        )
    })?;
    let grade = review.grade(stage, &source, &remarks);
    let mut progress = Progress::read(paths)?;
    let mine = progress.stage_mut(n).review.get_or_insert_default();
    if var("SHOW").is_some() && !show(&review, &grade, mine, n)? {
        return Ok(());
    }
    let left = (0..review.defects.len()).find(|which| !grade.found.contains(which));
    if !mine.given_up {
        (mine.found, mine.points) = (grade.found.len(), review.earned(&grade));
    }
    if let (Some(_), Some(which)) = (var("HINT"), left) {
        mine.hints = mine.hints.max(which + 1);
        step(format!("A hint: {}\n", review.defects[which].hint));
    }
    let given_up = mine.given_up;
    progress.save()?;
    if remarks.is_empty() {
        step(format!("There is no remark in {name} yet: a line that begins with `#`.\n"));
    }
    review.told(&mail, &grade).iter().for_each(step);
    match left {
        None => step("\nAll of them.  That is what a maintainer is grateful for."),
        Some(_) if given_up => step("\nThe points are those from before you looked."),
        Some(_) => step(format!(
            "\n  make stage-{n} review HINT=1   where to look\n\
             \x20 make stage-{n} review SHOW=1   all of them, if you give up: it ends the counting"
        )),
    }
    Ok(())
}

/// Shows what was not found, to who gives up or has found all.
fn show(review: &Review, grade: &Grade, mine: &mut ReviewProgress, n: u32) -> Result<bool> {
    let left: Vec<_> = (0..review.defects.len()).filter(|w| !grade.found.contains(w)).collect();
    if !left.is_empty() && !mine.given_up {
        step("If you look now, what you find later earns no points.");
        let help = format!("make stage-{n} review SHOW=1");
        if !ask("show them?", "Nothing was shown.", &help)? {
            step("They stay closed.");
            return Ok(false);
        }
        (mine.found, mine.points) = (grade.found.len(), review.earned(grade));
        mine.given_up = true;
    }
    for which in left {
        let Defect { title, explanation, fix, .. } = &review.defects[which];
        let fix = fix.trim_matches('\n');
        step(format!("-- {title}\n\n{}\n\nRight is\n\n{fix}\n", explanation.trim()));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::checkout;
    use super::*;

    const SOURCE: &str = "\
// SPDX-License-Identifier: GPL-2.0
use a;

// ANCHOR: order
b();
c();
// ANCHOR_END: order

d();
// ANCHOR: looks-bad
e();
// ANCHOR_END: looks-bad

g();
";

    const TOML: &str = "
title = 'more of it'
message = 'It is good.'
file = 'new.rs'
module = 'm'
taken_in = { file = 'm.rs', region = 'one' }
[[defect]]
region = 'order'
points = 5
title = 'b before c'
hint = 'Who is first?'
explanation = 'c comes first.'
fix = '''
c();
b();
'''
[[fine]]
region = 'looks-bad'
explanation = 'e is good.'
";

    fn stage(toml: &str) -> (tempfile::TempDir, Paths, Stage) {
        let (dir, paths) = checkout();
        let review = make_dir(paths.root.join("stages/01-x/review")).unwrap();
        write(&review.join("review.toml"), toml).unwrap();
        write(&review.join("new.rs"), SOURCE).unwrap();
        let stage = Stage::get(&paths, "stage-1").unwrap();
        (dir, paths, stage)
    }

    fn mailed(stage: &Stage) -> (Review, Vec<String>) {
        let review = Review::peek(stage).unwrap().unwrap();
        let mail = review.mail(stage, SOURCE);
        (review, mail)
    }

    /// The reply with a remark below each of these lines.
    fn reply(mail: &[String], below: &[&str]) -> String {
        let with = |line: &String| match below.contains(&line.as_str()) {
            true => format!("{line}\n# Why?\n# Really.\n"),
            false => format!("{line}\n"),
        };
        mail.iter().map(with).collect()
    }

    fn graded(below: &[&str]) -> (usize, u32, Vec<Hit>) {
        let (_dir, _, stage) = stage(TOML);
        let (review, mail) = mailed(&stage);
        let remarks = remarks(&mail, &reply(&mail, below)).unwrap();
        let grade = review.grade(&stage, SOURCE, &remarks);
        (grade.found.len(), review.earned(&grade), grade.hits.into_values().collect())
    }

    #[test]
    fn the_mail_is_a_patch_without_anchors() {
        let (_dir, _, stage) = stage(TOML);
        let (_, mail) = mailed(&stage);
        assert!(mail[0].ends_with("m: more of it"));
        assert!(mail.contains(&"@@ -0,0 +1,10 @@".into()) && mail.contains(&"+c();".into()));
        assert!(!mail.iter().any(|line| line.contains("ANCHOR")));
    }

    #[test]
    fn a_remark_hits_the_line_above_it_or_one_next_to_it() {
        assert_eq!(graded(&["+c();"]), (1, 5, vec![Hit::Defect(0)]));
        // The line before the region, and the one after it.
        assert_eq!(graded(&["+"]).0, 1);
        // Twice at the same mistake is once.
        assert_eq!(graded(&["+b();", "+c();"]), (1, 5, vec![Hit::Defect(0), Hit::Defect(0)]));
        assert_eq!(graded(&[]), (0, 0, vec![]));
    }

    #[test]
    fn what_hits_nothing_costs() {
        assert_eq!(graded(&["+b();", "+e();"]), (1, 4, vec![Hit::Defect(0), Hit::Fine(0)]));
        assert_eq!(graded(&["+g();"]).2, [Hit::Nothing]);
        let (_dir, _, stage) = stage(TOML);
        let (review, mail) = mailed(&stage);
        let all: Vec<_> = mail.iter().map(String::as_str).collect();
        let grade = review.grade(&stage, SOURCE, &remarks(&mail, &reply(&mail, &all)).unwrap());
        assert_eq!((grade.found.len(), review.earned(&grade)), (1, 0));
        let told = review.told(&mail, &grade).join("\n");
        assert_eq!(told.matches("c comes first.").count(), 1, "{told}");
        assert!(told.contains("e is good.") && told.ends_with("found: 1 of 1; 0 of 5 points"));
    }

    #[test]
    fn a_reply_quotes_the_mail_as_it_is() {
        let (_dir, _, stage) = stage(TOML);
        let (_, mail) = mailed(&stage);
        let whole = reply(&mail, &["+b();"]);
        let line = mail.iter().position(|line| line == "+b();").unwrap();
        assert_eq!(remarks(&mail, &whole), Ok(BTreeSet::from([line])));
        // Blank lines at the end, and an editor that took spaces away.
        assert!(remarks(&mail, &(whole.replace("+\n", "+ \n") + "\n\n")).is_ok());
        assert!(remarks(&mail, &whole.replace("+c();", "+d();")).unwrap_err().contains("+d();"));
        assert!(remarks(&mail, &whole.replace("+g();\n", "")).unwrap_err().contains("missing"));
        assert!(remarks(&mail, &(whole + "more\n")).unwrap_err().contains("more"));
    }

    #[test]
    fn the_patch_fits_its_stage_and_so_does_its_mended_form() {
        let (_dir, _, stage) = stage(TOML);
        let (review, _) = mailed(&stage);
        let [as_mailed, mended] = review.trees(&stage).unwrap();
        assert!(as_mailed["m.rs"].contains("#[path = \"review/new.rs\"]\npub mod new;"));
        assert_eq!(as_mailed["review/new.rs"], SOURCE);
        assert!(mended["review/new.rs"].contains("c();\nb();"));
    }

    #[test]
    fn a_review_that_is_wrong_is_told_so() {
        for (from, to, says) in [
            ("region = 'order'", "region = 'gone'", "no `ANCHOR: gone`"),
            ("points = 5", "points = 1", "worth more than a miss"),
            ("'It is good.'", "\"It\\n# is good.\"", "taken for a remark"),
        ] {
            let (_dir, _, stage) = stage(&TOML.replace(from, to));
            let why = Review::peek(&stage).err().unwrap().to_string();
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn a_mail_comes_once_and_remarks_are_kept() {
        let (_dir, paths, stage) = stage(TOML);
        let ask = || review(&paths, &stage, &mut Times::default());
        ask().unwrap();
        let file = place(&paths, &stage);
        let (_, mail) = mailed(&stage);
        write(&file, reply(&mail, &["+b();"])).unwrap();
        ask().unwrap();
        let mine = Progress::read(&paths).unwrap().stage(1).review.unwrap();
        assert_eq!((mine.found, mine.points), (1, 5));
        write(&file, "something else\n").unwrap();
        assert!(ask().unwrap_err().to_string().contains("not the patch that came in"));
        assert_eq!(read(&file).unwrap(), "something else\n");
    }
}
