// SPDX-License-Identifier: MIT OR Apache-2.0

//! The learner's folder of a stage: `work/NN-name/`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::exercise::Lab;
use super::progress::Progress;
use super::tree::{self, Files, from_step, learners, sources, stripped};
use crate::paths::{Paths, make_dir, read, write};
use crate::say::{Doing, Result, note, problem};
use crate::stage::Stage;

/// What a learner has.
pub struct Work {
    /// The files of the exercises, ready to be built.
    pub files: Files,
}

/// Where the work of a stage is.
pub fn dir(paths: &Paths, stage: &Stage) -> PathBuf {
    paths.root.join("work").join(&stage.folder)
}

/// Is there any?  A folder that [`lend`] has made is none.
pub fn is_there(paths: &Paths, stage: &Stage) -> bool {
    dir(paths, stage).is_dir() && !is_lent(paths, stage)
}

/// An error if there is none.
pub fn must_be_there(paths: &Paths, stage: &Stage) -> Result<()> {
    match is_there(paths, stage) {
        true => Ok(()),
        false => Err(problem(
            format!("there is no work for stage {} yet", stage.number),
            format!("It would be in work/{}.", stage.folder),
            format!("make stage-{} lab", stage.number),
        )),
    }
}

/// Where a learner has no folder of an earlier stage, an editor finds the stage's own files.
pub fn lend(paths: &Paths, stage: &Stage) -> Result<()> {
    let dir = dir(paths, stage);
    if fs::symlink_metadata(&dir).is_ok() {
        return Ok(());
    }
    make_dir(paths.root.join("work"))?;
    symlink(lent(stage), &dir).doing(|| format!("make {}", dir.display()))
}

fn lent(stage: &Stage) -> PathBuf {
    Path::new("../stages").join(&stage.folder)
}

fn is_lent(paths: &Paths, stage: &Stage) -> bool {
    fs::read_link(dir(paths, stage)).is_ok_and(|to| to == lent(stage))
}

impl Work {
    /// Reads it, and says what is strange about it.
    pub fn open(paths: &Paths, stage: &Stage, lab: &Lab, progress: &Progress) -> Result<Self> {
        let dir = dir(paths, stage);
        let n = stage.number;
        must_be_there(paths, stage)?;
        let missing: Vec<_> = lab.files().into_iter().filter(|f| !dir.join(f).is_file()).collect();
        if !missing.is_empty() {
            return Err(problem(
                format!("work/{} has lost {}", stage.folder, missing.join(" and ")),
                "Nothing else was touched.",
                format!("make stage-{n} lab   puts back what is missing, as it was at the start"),
            ));
        }
        let mut files = Files::new();
        for name in lab.files() {
            files.insert(name.to_owned(), learners(&dir.join(name))?);
        }
        for remark in remarks(&dir, stage, lab)? {
            note(remark);
        }
        let version = tree::version(stage, lab)?;
        if progress.stage(n).made_from.is_some_and(|made| made != version) {
            note(format!(
                "this work was begun with another version of the exercises.  If it does not fit any\n\
                 more, `make stage-{n} reset` begins anew and keeps a backup"
            ));
        }
        Ok(Self { files })
    }
}

/// What a learner may wonder about: files that the check does not look at.
fn remarks(dir: &Path, stage: &Stage, lab: &Lab) -> Result<Vec<String>> {
    let mut remarks = vec![];
    let own = sources(&stage.dir);
    for name in sources(dir).iter().filter(|name| !lab.files().contains(&name.as_str())) {
        if !own.contains(name) {
            remarks.push(format!("{name} is no file of this stage: the check does without it"));
        } else if learners(&dir.join(name))? != stripped(&read(&stage.dir.join(name))?) {
            remarks.push(format!("{name} has no exercise in it: the check takes the stage's own"));
        }
    }
    Ok(remarks)
}

/// What [`begin`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun {
    /// A new folder, with this many files.
    New(usize),
    /// These were missing, and are there again.
    Mended(Vec<String>),
    /// Nothing: all was there.
    There,
}

/// Makes the folder; what is there already stays as it is.
pub fn begin(paths: &Paths, stage: &Stage, lab: &Lab, from: usize) -> Result<Begun> {
    let dir = dir(paths, stage);
    if is_lent(paths, stage) {
        fs::remove_file(&dir).doing(|| format!("remove the link {}", dir.display()))?;
    }
    let new = !dir.exists();
    if !new && !dir.is_dir() {
        return Err(problem(
            format!("work/{} is no folder", stage.folder),
            "It is in the way, and may be yours, so it stays.",
            "move it away, and give the same command again",
        ));
    }
    let mut texts = tree::files(stage, lab, from_step(from))?;
    for name in sources(&stage.dir) {
        if !texts.contains_key(&name) {
            texts.insert(name.clone(), stripped(&read(&stage.dir.join(&name))?));
        }
    }
    let mut made = vec![];
    for (name, text) in texts {
        let file = dir.join(&name);
        if fs::symlink_metadata(&file).is_err() {
            make_dir(file.parent().unwrap_or(&dir).to_owned())?;
            write(&file, text)?;
            made.push(name);
        }
    }
    Ok(match made {
        made if made.is_empty() => Begun::There,
        made if new => Begun::New(made.len()),
        made => Begun::Mended(made),
    })
}

/// Moves the folder away; gives its new place.
pub fn put_away(paths: &Paths, stage: &Stage) -> Result<PathBuf> {
    let backups = make_dir(paths.root.join("work/backup"))?;
    let free = (1..).map(|i| backups.join(format!("{}.{i}", stage.folder)));
    let place = free.into_iter().find(|place| !place.exists()).unwrap_or(backups);
    fs::rename(dir(paths, stage), &place)
        .doing(|| format!("move the work to {}", place.display()))?;
    Ok(place)
}

/// The files that stand in place of the stages' own: those of this stage, and of
/// earlier ones each that passes: whose steps are all done.
pub fn overlay(
    paths: &Paths,
    stage: &Stage,
    files: &Files,
    progress: &Progress,
) -> Result<BTreeMap<(String, String), String>> {
    let mut changed = BTreeMap::new();
    for earlier in Stage::all(paths)?.into_iter().filter(|s| s.number < stage.number) {
        let Some(lab) = Lab::peek(&earlier)? else { continue };
        if !is_there(paths, &earlier) {
            continue;
        }
        let (dir, mine) = (dir(paths, &earlier), progress.stage(earlier.number));
        let mut taken = vec![];
        for name in lab.files() {
            let mut steps = lab.steps.iter().filter(|s| s.replace.iter().any(|r| r.file == name));
            if !steps.all(|step| mine.step(step.number).done) {
                continue;
            }
            let Ok(text) = learners(&dir.join(name)) else { continue };
            if uses(stage, &earlier, name)? {
                taken.push(name);
            }
            changed.insert((earlier.folder.clone(), name.to_owned()), text);
        }
        if !taken.is_empty() {
            note(format!("with your own {} of stage {}", taken.join(" and "), earlier.number));
        }
    }
    for (name, text) in files {
        changed.insert((stage.folder.clone(), name.clone()), text.clone());
    }
    Ok(changed)
}

/// Does a stage name this file of an earlier one?
fn uses(stage: &Stage, earlier: &Stage, name: &str) -> Result<bool> {
    let name = format!("{}/{name}", earlier.folder);
    for source in sources(&stage.dir) {
        if read(&stage.dir.join(source))?.contains(&name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The line of a file where a step's stub begins, if it is there still.
pub fn place(dir: &Path, lab: &Lab, number: usize) -> Option<(String, usize)> {
    let step = lab.step(number)?;
    let mark = format!("STEP {number} (");
    step.replace.iter().find_map(|replace| {
        let text = fs::read_to_string(dir.join(&replace.file)).ok()?;
        let line = text.lines().position(|line| line.contains(&mark))?;
        Some((replace.file.clone(), line + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{checkout, stage_and_lab};
    use super::*;

    fn open(paths: &Paths) -> Result<Work> {
        let (stage, lab) = stage_and_lab(paths);
        Work::open(paths, &stage, &lab, &Progress::read(paths)?)
    }

    #[test]
    fn a_folder_is_made_and_nothing_in_it_overwritten() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        let why = open(&paths).err().unwrap();
        assert!(why.to_string().contains("no work for stage 1"), "{why}");
        assert_eq!(why.help().unwrap().to_string(), "make stage-1 lab");
        assert_eq!(begin(&paths, &stage, &lab, 1).unwrap(), Begun::New(3));
        assert_eq!(begin(&paths, &stage, &lab, 2).unwrap(), Begun::There);
        let mine = dir(&paths, &stage).join("m.rs");
        assert!(read(&mine).unwrap().contains("STEP 1"));
        assert_eq!(place(&dir(&paths, &stage), &lab, 2), Some(("m.rs".into(), 9)));
        // Anchors are not for learners, in no file.
        assert_eq!(read(&dir(&paths, &stage).join("sub/other.rs")).unwrap(), "let x = 1;\n");
        assert!(!dir(&paths, &stage).join("breaks").exists());
    }

    #[test]
    fn half_deleted_work_is_mended_on_request() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        begin(&paths, &stage, &lab, 1).unwrap();
        let there = dir(&paths, &stage).join("sub/other.rs");
        fs::write(&there, "mine").unwrap();
        fs::remove_file(dir(&paths, &stage).join("m.rs")).unwrap();
        let why = open(&paths).err().unwrap().to_string();
        assert!(why.contains("has lost m.rs"), "{why}");
        assert_eq!(begin(&paths, &stage, &lab, 1).unwrap(), Begun::Mended(vec!["m.rs".into()]));
        assert_eq!(read(&there).unwrap(), "mine");
        assert!(open(&paths).is_ok());
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_stays() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        fs::create_dir(paths.root.join("work")).unwrap();
        fs::write(dir(&paths, &stage), "mine").unwrap();
        assert!(begin(&paths, &stage, &lab, 1).unwrap_err().to_string().contains("is no folder"));
        assert_eq!(read(&dir(&paths, &stage)).unwrap(), "mine");
    }

    #[test]
    fn what_the_check_leaves_out_is_said() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        begin(&paths, &stage, &lab, 1).unwrap();
        let work = dir(&paths, &stage);
        assert!(remarks(&work, &stage, &lab).unwrap().is_empty());
        fs::write(work.join("helper.rs"), "").unwrap();
        fs::write(work.join(".m.rs.swp.rs"), "").unwrap();
        fs::write(work.join("notes.txt"), "").unwrap();
        fs::write(work.join("sub/other.rs"), "let x = 2;\n").unwrap();
        let said = remarks(&work, &stage, &lab).unwrap();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("helper.rs is no file of this stage"));
        assert!(said[1].contains("sub/other.rs has no exercise in it"));
        // Line ends alone are no change.
        fs::write(work.join("sub/other.rs"), "let x = 1;\r\n").unwrap();
        assert_eq!(remarks(&work, &stage, &lab).unwrap().len(), 1);
    }

    #[test]
    fn work_of_windows_is_read_like_any_other() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        begin(&paths, &stage, &lab, 1).unwrap();
        let mine = dir(&paths, &stage).join("m.rs");
        let text = read(&mine).unwrap();
        fs::write(&mine, text.replace('\n', "\r\n")).unwrap();
        assert_eq!(open(&paths).unwrap().files["m.rs"], text);
    }

    #[test]
    fn backups_do_not_meet() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        for i in 1..3 {
            begin(&paths, &stage, &lab, 1).unwrap();
            let place = put_away(&paths, &stage).unwrap();
            assert!(
                place.ends_with(format!("work/backup/01-x.{i}")) && place.join("m.rs").exists()
            );
            assert!(!dir(&paths, &stage).exists());
        }
    }

    #[test]
    fn a_later_stage_stands_on_the_learner_s_own_files_where_these_pass() {
        let (_dir, paths) = checkout();
        // A second file, which is that of the second step.
        let at = |name: &str| paths.root.join("stages/01-x").join(name);
        let step = read(&at("exercises/2-second.toml")).unwrap();
        write(&at("exercises/2-second.toml"), step.replace("'m.rs'", "'n.rs'")).unwrap();
        write(&at("n.rs"), read(&at("m.rs")).unwrap()).unwrap();
        let (first, lab) = stage_and_lab(&paths);
        let toml = "title = 't'\nmodules = ['k']\nseconds = 1\n[timeline]\ntitle = 't'\n";
        fs::create_dir_all(paths.root.join("stages/02-y")).unwrap();
        write(&paths.root.join("stages/02-y/stage.toml"), toml).unwrap();
        write(&paths.root.join("stages/02-y/k.rs"), "#[path = \"../01-x/m.rs\"]\nmod m;").unwrap();
        let second = Stage::get(&paths, "stage-2").unwrap();
        assert!(uses(&second, &first, "m.rs").unwrap() && !uses(&second, &first, "n.rs").unwrap());

        begin(&paths, &first, &lab, 1).unwrap();
        let mine = dir(&paths, &first);
        write(&mine.join("m.rs"), "mine\r\n").unwrap();
        let mut progress = Progress::read(&paths).unwrap();
        let files = Files::from([("k.rs".into(), "k".into())]);
        let over = |progress: &Progress| {
            let over = overlay(&paths, &second, &files, progress).unwrap();
            over.into_iter().map(|((_, name), text)| (name, text)).collect::<Files>()
        };
        assert_eq!(over(&progress), files);
        // The first step passes, and with it its file.
        progress.stage_mut(1).step_mut(1).done = true;
        let with_mine =
            Files::from([("m.rs".into(), "mine\n".into()), ("k.rs".into(), "k".into())]);
        assert_eq!(over(&progress), with_mine);
        // Not if it is gone.
        fs::remove_file(mine.join("m.rs")).unwrap();
        assert_eq!(over(&progress), files);
    }

    #[test]
    fn a_folder_that_was_lent_to_an_editor_is_no_work() {
        let (_dir, paths) = checkout();
        let (stage, lab) = stage_and_lab(&paths);
        lend(&paths, &stage).unwrap();
        let mine = dir(&paths, &stage);
        assert_eq!(read(&mine.join("m.rs")).unwrap(), super::super::exercise::tests::SOURCE);
        assert!(!is_there(&paths, &stage) && open(&paths).is_err());
        // The lab begins as if it were not there, and leaves the stage's files alone.
        assert_eq!(begin(&paths, &stage, &lab, 1).unwrap(), Begun::New(3));
        assert!(is_there(&paths, &stage) && read(&mine.join("m.rs")).unwrap().contains("STEP 1"));
        assert!(read(&stage.dir.join("m.rs")).unwrap().contains("ANCHOR"));
        // What is there is not replaced.
        lend(&paths, &stage).unwrap();
        assert!(is_there(&paths, &stage));
    }
}
