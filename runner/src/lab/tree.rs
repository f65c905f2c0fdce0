// SPDX-License-Identifier: MIT OR Apache-2.0

//! Trees of sources: what a learner starts from, and what is built of it.
//!
//! All come from the stage's own source. A step is in one of three states there:
//! solved, a stub, or a wrong answer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::exercise::{Lab, Step};
use crate::paths::{Paths, make_dir, read, write};
use crate::say::{Doing, Result, problem};
use crate::stage::Stage;
use crate::variant::{Replace, region, replaced};

/// Texts by the file's name in the stage's folder.
pub type Files = BTreeMap<String, String>;

/// What stands in the regions of a step.
#[derive(Clone, Copy)]
pub enum State<'a> {
    /// What the stage has.
    Solved,
    /// What the learner starts from, with the task as a comment.
    Stub,
    /// These, and what the stage has in the others.
    Other(&'a [Replace]),
}

/// The files that a learner writes in, with each step as `state` says, and
/// without anchors.
pub fn files<'a>(
    stage: &Stage,
    lab: &'a Lab,
    state: impl Fn(&'a Step) -> State<'a>,
) -> Result<Files> {
    let mut files = Files::new();
    for name in lab.files() {
        files.insert(name.to_owned(), read(&stage.dir.join(name))?);
    }
    for step in &lab.steps {
        let replaces: Vec<(&Replace, String)> = match state(step) {
            State::Solved => vec![],
            State::Stub => step
                .replace
                .iter()
                .enumerate()
                .map(|(i, replace)| (replace, stub(step, i, &replace.with)))
                .collect(),
            State::Other(others) => others.iter().map(|r| (r, r.with.clone())).collect(),
        };
        for (Replace { file, region: name, .. }, with) in replaces {
            let text = files.remove(file).unwrap_or_default();
            let text = replaced(&text, name, &with).map_err(|why| {
                problem(format!("step {} does not fit {file}", step.number), why, "")
            })?;
            files.insert(file.clone(), text);
        }
    }
    Ok(files.into_iter().map(|(name, text)| (name, stripped(&text))).collect())
}

/// Does a step's stub stand in these files still, as it was?
pub fn is_open(step: &Step, files: &Files) -> bool {
    step.replace.iter().enumerate().all(|(i, replace)| {
        let stub = stub(step, i, &replace.with);
        files.get(&replace.file).is_some_and(|text| text.contains(&stub))
    })
}

/// With the steps before `from` solved, and stubs for the others.
pub fn from_step<'a>(from: usize) -> impl Fn(&'a Step) -> State<'a> {
    move |step| if step.number < from { State::Solved } else { State::Stub }
}

/// A step's stub: the task as a comment, then the code.
fn stub(step: &Step, which: usize, code: &str) -> String {
    let code = code.trim_matches('\n');
    let first = code.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let indent = &first[..first.len() - first.trim_start().len()];
    let mut lines = vec![];
    if which == 0 {
        lines.push(format!("STEP {} ({} points): {}", step.number, step.points, step.title));
        lines.push(String::new());
        lines.extend(step.task.trim().lines().map(str::to_owned));
        if step.replace.len() > 1 {
            let n = step.replace.len();
            lines.push(String::new());
            lines.push(format!(
                "The step has {n} parts: look for the other `STEP {}`.",
                step.number
            ));
        }
    } else {
        lines.push(format!("STEP {}, part {}", step.number, which + 1));
    }
    let comment = lines.iter().map(|line| format!("{indent}// {line}").trim_end().to_owned());
    comment.chain(code.lines().map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

/// A text without the lines of its anchors.
pub fn stripped(text: &str) -> String {
    let is_anchor = |line: &str| {
        let mark = line.trim_start().trim_start_matches(['/', '#', '*', ' ']);
        mark.starts_with("ANCHOR: ") || mark.starts_with("ANCHOR_END: ")
    };
    text.lines().filter(|line| !is_anchor(line)).flat_map(|line| [line, "\n"]).collect()
}

/// What the stage has in the regions of a step.
pub fn solution(stage: &Stage, step: &Step) -> Result<Vec<(String, String)>> {
    let part = |replace: &Replace| {
        let text = read(&stage.dir.join(&replace.file))?;
        let (begin, end) = region(&text, &replace.region)
            .map_err(|why| problem(format!("{} has lost a region", replace.file), why, ""))?;
        let lines: Vec<_> = text.lines().skip(begin + 1).take(end - begin - 1).collect();
        Ok((replace.file.clone(), stripped(&lines.join("\n"))))
    };
    step.replace.iter().map(part).collect()
}

/// From which version of the exercises a learner's tree was made.
pub fn version(stage: &Stage, lab: &Lab) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, text) in files(stage, lab, |_| State::Stub)? {
        hash.update(name);
        hash.update(text);
    }
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

/// Folders of a stage that are no source of it.
const NOT_SOURCES: [&str; 6] = ["breaks", "refusals", "checks", "exercises", "review", "guest"];

/// The sources below a stage's folder, by their names in it.
pub fn sources(dir: &Path) -> Vec<String> {
    fn below(dir: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if path.is_dir() {
                let left_out = prefix.is_empty() && NOT_SOURCES.contains(&name.as_str());
                if !left_out && !name.starts_with('.') {
                    below(&path, &format!("{prefix}{name}/"), found);
                }
            } else if is_source(&name) {
                found.push(format!("{prefix}{name}"));
            }
        }
    }
    let mut found = vec![];
    below(dir, "", &mut found);
    found.sort();
    found
}

/// An editor's own files are no sources.
fn is_source(name: &str) -> bool {
    let known = [".rs", ".c", ".h", ".S", ".mk", ".lua"].iter().any(|end| name.ends_with(end));
    !name.starts_with('.') && (known || name == "Kbuild")
}

/// What is built: a copy of the stages up to this one, with other files in some places.
pub struct Tree<'a> {
    /// The stage whose modules are built.
    pub stage: &'a Stage,
    /// Which of its modules, and of the exercises'.
    pub modules: &'a [&'a str],
    /// Those of its modules that are only looked at by the compiler, and not made.
    pub looked_at: &'a [&'a str],
    /// Stands in front of their names.
    pub prefix: &'a str,
    /// Texts for files, by the stage's folder and the file's name.
    pub changed: &'a BTreeMap<(String, String), String>,
}

impl Tree<'_> {
    /// Makes it in `dir`, and gives the stage's folder there.
    pub fn make(&self, paths: &Paths, dir: &Path) -> Result<PathBuf> {
        let stages = make_dir(dir.join("stages"))?;
        for other in Stage::all(paths)?.iter().filter(|s| s.number <= self.stage.number) {
            let to = stages.join(&other.folder);
            let mut names = sources(&other.dir);
            names.retain(|name| name != "Kbuild");
            let mut texts: Files = BTreeMap::new();
            for ((folder, name), text) in self.changed {
                if *folder == other.folder {
                    texts.insert(name.clone(), text.clone());
                }
            }
            let exercises = sources(&other.dir.join("exercises"));
            names.extend(exercises.iter().map(|name| format!("exercises/{name}")));
            if other.number == self.stage.number {
                texts.insert("Kbuild".into(), self.kbuild()?);
            }
            for name in names {
                let file = other.dir.join(&name);
                if let Entry::Vacant(free) = texts.entry(name) {
                    free.insert(read(&file)?);
                }
            }
            for (name, text) in texts {
                let file = to.join(&name);
                // What is the same already is left alone: Kbuild builds what is newer.
                if fs::read(&file).ok().as_deref() != Some(text.as_bytes()) {
                    make_dir(file.parent().unwrap_or(&to).to_owned())?;
                    write(&file, text)?;
                }
            }
        }
        Ok(stages.join(&self.stage.folder))
    }

    /// The stage's Kbuild, for these modules alone and by their names here.
    fn kbuild(&self) -> Result<String> {
        let text = read(&self.stage.dir.join("Kbuild"))?;
        let mut made = kbuild(&text, self.modules, self.prefix, &|module| {
            self.stage.about.modules.iter().any(|m| m == module)
        });
        if !self.looked_at.is_empty() {
            made += LOOK;
        }
        for module in self.looked_at {
            let root = root_of(self.stage, module).unwrap_or_default();
            made += &format!("always-m += {}\n", root.replace(".rs", ".rmeta"));
        }
        Ok(made)
    }
}

/// How Kbuild has the compiler say all that it has to say of a crate, up to where it would make
/// code of it, which is what takes long.
const LOOK: &str = "
quiet_cmd_rustc_look = RUSTC [M] $@
      cmd_rustc_look = $(rust_common_cmd) --emit=metadata=$@ $<

$(obj)/%.rmeta: $(obj)/%.rs FORCE
\t+$(call if_changed_dep,rustc_look)

";

/// The file that a module's crate begins in; none for a module in C.
pub fn root_of(stage: &Stage, module: &str) -> Option<String> {
    let places =
        [format!("{module}_main.rs"), format!("{module}.rs"), format!("exercises/{module}.rs")];
    places.into_iter().find(|file| stage.dir.join(file).is_file())
}

/// Copies what goes with a stage's modules and is no source: promises, scripts.
pub fn copy_rest(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).doing(|| format!("read {}", from.display()))?.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let target = to.join(&name);
        if path.is_dir() {
            if name == "guest" {
                copy_rest(&path, &make_dir(target)?)?;
            }
        } else if !is_source(&name) {
            fs::copy(&path, &target).doing(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn kbuild(text: &str, modules: &[&str], prefix: &str, is_stages: &dyn Fn(&str) -> bool) -> String {
    let parts = |module: &str| {
        let mut lines = text.lines();
        let parts = lines.find_map(|line| {
            let (left, right) = line.split_once('=')?;
            let left = left.trim_end_matches([':', '+', ' ']);
            (left == format!("{module}-y")).then(|| right.trim().to_owned())
        });
        parts.unwrap_or_else(|| match is_stages(module) {
            true => format!("{module}.o"),
            false => format!("exercises/{module}.o"),
        })
    };
    let mut out = String::from("# SPDX-License-Identifier: GPL-2.0\n");
    for module in modules {
        let (name, parts) = (format!("{prefix}{module}"), parts(module));
        out += &format!("obj-m += {name}.o\n");
        if parts != format!("{name}.o") {
            out += &format!("{name}-y := {parts}\n");
        }
    }
    // Flags, and what else it has besides.
    let module_s = |left: &str| {
        let of = left.strip_suffix("-y").or(left.strip_suffix("-objs"));
        left == "obj-m" || of.is_some_and(is_stages)
    };
    for line in text.lines() {
        let left = line.split('=').next().unwrap_or_default().trim_end_matches([':', '+', ' ']);
        if !line.starts_with('#') && !line.is_empty() && !module_s(left) {
            out += &format!("{line}\n");
        }
    }
    out
}

/// Reads a learner's file as it is to be built: with the line ends of Linux.
pub fn learners(file: &Path) -> Result<String> {
    let bytes = fs::read(file).doing(|| format!("read {}", file.display()))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        problem(
            format!("{} is not a text: line {line} has bytes that are no UTF-8", file.display()),
            "",
            "save it as UTF-8, without what is strange there",
        )
    })?;
    Ok(text.replace("\r\n", "\n").trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
pub mod tests {
    use super::super::exercise::tests::{SOURCE, STEP};
    use super::*;

    /// A checkout with one stage that has two steps, and a file besides.
    pub fn checkout() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        file(
            "stages/01-x/stage.toml",
            "title = 't'\nmodules = ['m']\nseconds = 1\n[timeline]\ntitle = 't'\n",
        );
        file("stages/01-x/Kbuild", "obj-m := m.o\n");
        file("stages/01-x/m.rs", SOURCE);
        file("stages/01-x/sub/other.rs", "// ANCHOR: o\nlet x = 1;\n// ANCHOR_END: o\n");
        file("stages/01-x/breaks/b.rs", "no source");
        file("stages/01-x/exercises/1-first.toml", STEP);
        let second =
            STEP.replace("'one'", "'two'").replace("first", "second").replace("Do it", "Do two");
        file("stages/01-x/exercises/2-second.toml", &second);
        let root = dir.path().to_owned();
        let paths = Paths { build: root.join("build"), cache: root.join("cache"), root };
        (dir, paths)
    }

    pub fn stage_and_lab(paths: &Paths) -> (Stage, Lab) {
        let stage = Stage::get(paths, "stage-1").unwrap();
        let lab = Lab::read(&stage).unwrap();
        (stage, lab)
    }

    #[test]
    fn solved_steps_are_the_stage_s_and_others_are_stubs() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        let tree = |from| files(&stage, &lab, from_step(from)).unwrap()["m.rs"].clone();
        assert_eq!(tree(3), stripped(SOURCE));
        assert_eq!(
            tree(2),
            "\
fn a() -> Result {
    one();
    Ok(())
}

fn b() -> Result {
    // STEP 2 (10 points): second
    //
    // Do two.
    Err(ENOSYS)
}
"
        );
        let open = |from, step: usize| {
            is_open(&lab.steps[step - 1], &files(&stage, &lab, from_step(from)).unwrap())
        };
        assert!(open(1, 1) && open(2, 2) && !open(2, 1) && !open(3, 2));
        assert!(tree(1).contains("STEP 1 (10 points): first") && !tree(1).contains("one();"));
        let wrong = files(&stage, &lab, |step| match step.number {
            1 => State::Other(&step.wrong[0].replace),
            _ => State::Stub,
        });
        assert!(wrong.unwrap()["m.rs"].starts_with("fn a() -> Result {\n    Ok(())\n}"));
        assert_eq!(solution(&stage, &lab.steps[0]).unwrap()[0].1, "    one();\n    Ok(())\n");
    }

    #[test]
    fn exercises_that_do_not_fit_their_stage_are_refused() {
        for (from, to, says) in [
            ("region = 'one'", "region = 'gone'", "no `ANCHOR: gone`"),
            ("modules = ['m']", "modules = ['n']", "no module `n`"),
            ("file = 'm.rs'", "file = 'n.rs'", "n.rs: "),
            (
                "[[wrong.replace]]\nfile = 'm.rs'\nregion = 'one'",
                "[[wrong.replace]]\nfile = 'm.rs'\nregion = 'two'",
                "which is not its",
            ),
        ] {
            let (_dir, paths) = checkout();
            let file = paths.root.join("stages/01-x/exercises/1-first.toml");
            fs::write(file, STEP.replace(from, to)).unwrap();
            let why = Lab::read(&Stage::get(&paths, "stage-1").unwrap()).err().unwrap().to_string();
            assert!(why.contains(says), "{why}");
        }
        // Two steps in one place, and a number that is left out.
        let (_dir, paths) = checkout();
        let dir = paths.root.join("stages/01-x/exercises");
        fs::write(dir.join("2-second.toml"), STEP.replace("'one'", "'b'")).unwrap();
        fs::write(dir.join("3-third.toml"), STEP.replace("'one'", "'two'")).unwrap();
        let why = |paths: &Paths| {
            Lab::read(&Stage::get(paths, "stage-1").unwrap()).err().unwrap().to_string()
        };
        assert!(why(&paths).contains("`two` and `b` overlap"), "{}", why(&paths));
        fs::rename(dir.join("3-third.toml"), dir.join("4-third.toml")).unwrap();
        fs::remove_file(dir.join("2-second.toml")).unwrap();
        assert!(why(&paths).contains("the steps before it are 1"), "{}", why(&paths));
    }

    #[test]
    fn sources_are_what_is_compiled() {
        let (_dir, paths) = checkout();
        assert_eq!(sources(&paths.root.join("stages/01-x")), ["Kbuild", "m.rs", "sub/other.rs"]);
    }

    #[test]
    fn a_version_is_that_of_the_exercises() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        let before = version(&stage, &lab).unwrap();
        assert_eq!(before, version(&stage, &lab).unwrap());
        fs::write(paths.root.join("stages/01-x/m.rs"), SOURCE.replace("fn b", "fn c")).unwrap();
        assert_ne!(before, version(&stage, &lab).unwrap());
    }

    #[test]
    fn a_kbuild_is_made_for_some_modules() {
        let text = "# c\nobj-m := a.o\nobj-m += b.o\nb-y := b_main.o h.o\nccflags-y := -g\nrustflags-y += -x\n";
        let made = |modules: &[&str], prefix| kbuild(text, modules, prefix, &|m| m.len() == 1);
        assert!(made(&["a"], "").starts_with("# SPDX-License-Identifier: GPL-2.0\nobj-m += a.o\n"));
        assert!(made(&["b", "lab"], "t1_").contains(
            "obj-m += t1_b.o\nt1_b-y := b_main.o h.o\nobj-m += t1_lab.o\nt1_lab-y := exercises/lab.o\n"
        ));
        assert!(made(&["a"], "t1_").contains("t1_a-y := a.o\n"));
        assert!(!made(&["b"], "").contains("a.o"));
        assert!(made(&["a"], "").ends_with("a.o\nccflags-y := -g\nrustflags-y += -x\n"));
    }

    #[test]
    fn line_ends_and_strange_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.rs");
        fs::write(&file, "\u{feff}a\r\nb\r\n").unwrap();
        assert_eq!(learners(&file).unwrap(), "a\nb\n");
        fs::write(&file, b"a\nb\xff\n").unwrap();
        assert!(learners(&file).unwrap_err().to_string().contains("line 2"));
    }
}
