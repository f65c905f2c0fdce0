// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a guest does between its first and its last word: sections, each a
//! script between two marks in the log, so that several checks share a boot
//! and their lines can be told apart.

use std::path::{Path, PathBuf};

use crate::module::Built;
use crate::paths::{Paths, var};
use crate::say::{Doing, Result, problem};
use crate::stage::Stage;
use crate::vm::Root;

/// A session under construction.
pub struct Session {
    root: Root,
    body: String,
}

impl Session {
    /// A guest with the modules that were built, and the stage's guest scripts in /workshop;
    /// its examples in /workshop/examples.
    pub fn new(paths: &Paths, stage: &Stage, built: &Built) -> Result<Self> {
        let this = Self::without_modules(paths, stage)?;
        this.add_modules(stage, built, "")?;
        Ok(this)
    }

    /// A guest with the stage's scripts alone.
    pub fn without_modules(paths: &Paths, stage: &Stage) -> Result<Self> {
        let this = Self::empty(paths)?;
        for (folder, below) in [("guest", ""), ("examples", "examples/")] {
            for entry in std::fs::read_dir(stage.dir.join(folder)).into_iter().flatten().flatten() {
                this.add(
                    &entry.path(),
                    &format!("{below}{}", entry.file_name().to_string_lossy()),
                )?;
            }
        }
        Ok(this)
    }

    /// A guest with nothing but the runner's own scripts.
    pub fn empty(paths: &Paths) -> Result<Self> {
        Ok(Self { root: Root::new(paths)?, body: String::new() })
    }

    /// Adds the modules that were built, in a folder of /workshop.
    pub fn add_modules(&self, stage: &Stage, built: &Built, folder: &str) -> Result<()> {
        for module in stage.about.modules.iter().filter(|module| built.has(module)) {
            self.root.add(&built.ko(module)?, Path::new(folder).join(format!("{module}.ko")))?;
        }
        Ok(())
    }

    /// Sets limits of the kernel, where it has them, and says so.
    pub fn raise(&mut self, limits: &[String]) {
        for limit in limits {
            let (file, value) = limit.split_once('=').unwrap_or((limit, ""));
            self.body +=
                &format!("[ -e {file} ] && echo {value} > {file} && say \"set {limit}\"\n");
        }
    }

    /// Puts one more file into the guest's /workshop.
    pub fn add(&self, file: &Path, name: &str) -> Result<()> {
        self.root.add(file, name)
    }

    /// Writes a script of this session alone.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        self.root.write(name, text)
    }

    /// Adds a section.
    pub fn section(&mut self, name: &str, args: &str, script: &str) {
        self.body += &format!("export ARGS='{args}'\nsection {name} /workshop/{script}\n");
    }

    /// The root, ready to boot.
    pub fn finish(self) -> Result<Root> {
        self.root.session(&self.body)?;
        Ok(self.root)
    }
}

/// The guest script that runs scripts in Lua, where a stage has one.
const RUNS_LUA: &str = "script.sh";

/// A user's own script, `SCRIPT=path.lua`.
pub struct Lua {
    path: PathBuf,
}

impl Lua {
    /// The one that this run asks for, if it does.
    pub fn wanted(stage: &Stage) -> Result<Option<Self>> {
        let Some(path) = var("SCRIPT").filter(|path| path.ends_with(".lua")) else {
            return Ok(None);
        };
        Self::find(stage, &path).map(Some)
    }

    fn find(stage: &Stage, path: &str) -> Result<Self> {
        let help = format!("make stage-{} run SCRIPT=path/to/script.lua", stage.number);
        if !stage.dir.join("guest").join(RUNS_LUA).is_file() {
            let what = format!("stage {} runs no scripts in Lua", stage.number);
            return Err(problem(what, "", "make stage-4 run SCRIPT=path/to/script.lua"));
        }
        match std::fs::metadata(path) {
            Ok(file) if file.is_file() => {}
            Ok(_) => return Err(problem(format!("{path} is not a file"), "", help)),
            Err(e) => {
                let why = format!("{e}.  It was looked for from the workshop's own folder.");
                return Err(problem(format!("there is no script {path}"), why, help));
            }
        }
        std::fs::read(path).doing(|| format!("read {path}"))?;
        Ok(Self { path: path.into() })
    }

    /// Puts it into the guest, with the name that its messages are to have.
    pub fn add(&self, session: &Session) -> Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        session.add(&self.path, "script.lua")?;
        session.write("script.name", &name)
    }

    /// What it has printed, of the lines of its section.
    pub fn printed(lines: &[String]) -> Vec<&str> {
        lines.iter().filter_map(|line| Some(line.split_once("guest: prints: ")?.1)).collect()
    }
}

/// The guest script of this run: `SCRIPT=`, or the module's own.
pub fn script(stage: &Stage, module: &str) -> Result<String> {
    let name = var("SCRIPT").unwrap_or_else(|| module.to_owned());
    if name.ends_with(".lua") {
        return Ok(RUNS_LUA.into());
    }
    let file = format!("{}.sh", name.trim_end_matches(".sh"));
    if stage.dir.join("guest").join(&file).is_file() {
        return Ok(file);
    }
    Err(problem(
        format!("there is no stages/{}/guest/{file}", stage.folder),
        "",
        "SCRIPT= names a script of the stage's guest/ folder, or, where it ends with .lua, a file",
    ))
}

/// The lines between the marks of a section; to the end, where it has none. Where a section
/// was begun again, a `+` behind its name, only the last time counts.
pub fn lines_of<'a>(lines: &'a [String], name: &str) -> &'a [String] {
    let is_begin = |line: &String| {
        let of = line.rsplit_once("guest: begin ");
        of.is_some_and(|(_, of)| of.trim_end_matches('+') == name)
    };
    let begin = lines.iter().rposition(is_begin);
    let Some(begin) = begin else { return &[] };
    let end = lines.iter().position(|l| l.ends_with(&format!("guest: end {name}")));
    &lines[begin + 1..end.unwrap_or(lines.len())]
}

/// A second load that is taken back at once shows what the first left behind.
pub fn again(module: &str) -> String {
    format!("any-moment.sh {module} 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_has_the_lines_between_its_marks_from_its_last_begin_on() {
        let log = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let lines = log("[1] guest: begin a\nx\n[2] guest: end a\n[3] guest: begin a-b\ny");
        assert_eq!(lines_of(&lines, "a"), ["x"]);
        assert_eq!(lines_of(&lines, "a-b"), ["y"]);
        assert!(lines_of(&lines, "b").is_empty());
        let lines = log("guest: begin a\nx\nguest: begin a+\ny\nguest: begin a++\nz\nguest: end a");
        assert_eq!(lines_of(&lines, "a"), ["z"]);
    }

    #[test]
    fn what_a_script_printed_is_told_from_the_rest() {
        let lines =
            ["[ 1.0] guest: prints: a b", "[ 1.1] x: [lua] print: a b", "[ 1.2] guest: prints: "];
        assert_eq!(Lua::printed(&lines.map(str::to_owned)), ["a b", ""]);
    }
}
