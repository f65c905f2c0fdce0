// SPDX-License-Identifier: MIT OR Apache-2.0

//! A stage's folder and its stage.toml.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;
use serde::Deserialize;

use crate::paths::{Paths, read, var};
use crate::say::{Result, problem};
use crate::timeline;

/// A stage.
pub struct Stage {
    /// 1 to 5.
    pub number: u32,
    /// `01-phased-state`.
    pub folder: String,
    /// Its sources.
    pub dir: PathBuf,
    /// stage.toml.
    pub about: About,
}

/// stage.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// One line.
    pub title: String,
    /// The modules, the first being what `run` runs.
    pub modules: Vec<String>,
    /// How long the default run of the guest script takes at most, in seconds,
    /// on `fast` under TCG; deadlines are made from it.
    pub seconds: u64,
    /// About how long the default story takes, in seconds: `make test` unloads
    /// the modules at moments all over it, and a little after its end.
    #[serde(default = "three_seconds")]
    pub story: f64,
    /// Other speeds of the same story, for `SCALE=`.
    #[serde(default)]
    pub scale: BTreeMap<String, Scale>,
    /// Parameters that `make test` loads a module with, by the module's name.
    #[serde(default)]
    pub test_args: BTreeMap<String, String>,
    /// What `torture` runs, where a stage has it.
    pub torture: Option<Torture>,
    /// The parts of its recorded logs that pages of the book show by themselves.
    #[serde(default, rename = "part")]
    pub parts: Vec<Part>,
    /// How its timeline is drawn.
    pub timeline: timeline::Config,
    /// The same for modules that tell another story, by the module's name.
    #[serde(default)]
    pub timelines: BTreeMap<String, timeline::Config>,
}

/// A part of a recorded log: the line that matches `begin`, and all after it, up to the line before
/// the one that matches `until`, or to the end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The name of its anchor.
    pub name: String,
    /// A regular expression.
    pub begin: String,
    /// Another one.
    pub until: String,
}

fn three_seconds() -> f64 {
    3.0
}

/// Modules that try for a while to break what the stage has built.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Torture {
    /// The modules; each has a parameter `seconds`.
    pub modules: Vec<String>,
    /// How long each of them runs, if `SECONDS=` does not say otherwise.
    pub seconds: u64,
}

/// A named set of module parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// What it is, for the screen.
    pub about: String,
    /// Module parameters.
    pub args: String,
    /// As in [`About`].
    pub seconds: u64,
    /// Limits of the kernel that it needs raised: `name=value` of /proc/sys or
    /// /sys/module, written before the module is loaded, and said.
    #[serde(default)]
    pub limits: Vec<String>,
}

impl About {
    /// Reads stage.toml, or says what is wrong with it.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let about: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        let tortured = about.torture.iter().flat_map(|torture| &torture.modules);
        let mut named = about.test_args.keys().chain(about.timelines.keys()).chain(tortured);
        match named.find(|name| !about.modules.contains(name)) {
            None => Ok(about),
            Some(name) => Err(format!("`{name}` is not among its modules")),
        }
    }
}

impl Stage {
    /// All stages of the checkout, by number.
    pub fn all(paths: &Paths) -> Result<Vec<Self>> {
        let mut stages = vec![];
        let entries = std::fs::read_dir(paths.root.join("stages"))
            .map_err(|e| problem("there is no stages/", e.to_string(), ""))?;
        for entry in entries.flatten() {
            let folder = entry.file_name().to_string_lossy().into_owned();
            let Some(number) = folder.split('-').next().and_then(|n| n.parse().ok()) else {
                continue;
            };
            let dir = entry.path();
            if !dir.join("stage.toml").exists() {
                continue;
            }
            let about = About::parse(&read(&dir.join("stage.toml"))?).map_err(|why| {
                problem(format!("stages/{folder}/stage.toml cannot be read"), why, "")
            })?;
            stages.push(Self { number, folder, dir, about });
        }
        stages.sort_by_key(|s| s.number);
        Ok(stages)
    }

    /// The stage of `stage-N`.
    pub fn get(paths: &Paths, word: &str) -> Result<Self> {
        let stages = Self::all(paths)?;
        let list: Vec<_> =
            stages.iter().map(|s| format!("  stage-{}  {}", s.number, s.about.title)).collect();
        let number = word.strip_prefix("stage-").and_then(|n| n.parse::<u32>().ok());
        stages.into_iter().find(|s| Some(s.number) == number).ok_or_else(|| {
            problem(
                format!("there is no `{word}`"),
                format!("The stages of this checkout are\n{}", list.join("\n")),
                "make stage-1 run",
            )
        })
    }

    /// The module of this run: `MODULE=`, or the stage's first.
    pub fn module(&self) -> Result<&str> {
        self.module_named(var("MODULE").as_deref())
    }

    /// The module of a name; without one, the stage's first.
    pub fn module_named(&self, name: Option<&str>) -> Result<&str> {
        let first = self.about.modules.first().map(String::as_str).unwrap_or_default();
        let Some(name) = name else { return Ok(first) };
        self.about.modules.iter().find(|m| *m == name).map(String::as_str).ok_or_else(|| {
            problem(
                format!("stage {} has no module `{name}`", self.number),
                format!("It has: {}", self.about.modules.join(", ")),
                format!("make stage-{} run MODULE={first}", self.number),
            )
        })
    }

    /// The parameters for the module: `SCALE=`'s, then `ARGS=`, which win.
    pub fn module_args(&self) -> Result<String> {
        let mut args = self.scale()?.map(|s| s.args.clone()).unwrap_or_default();
        if let Some(given) = var("ARGS") {
            // They go through the guest's shell.
            let plain = |c: char| c.is_ascii_alphanumeric() || " =_,.-".contains(c);
            if let Some(bad) = given.chars().find(|c| !plain(*c)) {
                return Err(problem(
                    format!("ARGS has a `{bad}`"),
                    "Module parameters are words like cco_ms=2000.",
                    "make stage-1 run ARGS=\"cco_ms=2000 gap_ms=100\"",
                ));
            }
            args = format!("{args} {given}");
        }
        Ok(args.trim().to_owned())
    }

    /// The stage's entry for `SCALE=`.
    pub fn scale(&self) -> Result<Option<&Scale>> {
        let Some(name) = var("SCALE") else { return Ok(None) };
        self.about.scale.get(&name).map(Some).ok_or_else(|| {
            let known = self.about.scale.iter();
            let known: Vec<_> = known.map(|(n, s)| format!("  SCALE={n}: {}", s.about)).collect();
            problem(
                format!("stage {} has no scale `{name}`", self.number),
                known.join("\n"),
                "leave SCALE= away for the default",
            )
        })
    }

    /// How the timeline of a module is drawn.
    pub fn timeline(&self, module: &str) -> &timeline::Config {
        self.about.timelines.get(module).unwrap_or(&self.about.timeline)
    }

    /// The lines of a log, as they are recorded: with anchors around the stage's parts, as far as
    /// they are in this log.
    pub fn recordable(&self, lines: &[String]) -> Result<String> {
        anchored(&self.about.parts, lines).map_err(|why| {
            problem(format!("a `[[part]]` of {}/stage.toml: {why}", self.folder), "", "")
        })
    }

    /// A file that goes with a module: `expected.trace`, `recorded.dmesg`.  A
    /// stage's first module has the plain names, others put theirs in front.
    pub fn file(&self, module: &str, name: &str) -> PathBuf {
        match self.about.modules.first() {
            Some(first) if first == module => self.dir.join(name),
            _ => self.dir.join(format!("{module}.{name}")),
        }
    }
}

fn anchored(parts: &[Part], lines: &[String]) -> std::result::Result<String, String> {
    let find = |pattern: &str, from: usize| -> std::result::Result<Option<usize>, String> {
        let regex = Regex::new(pattern).map_err(|e| e.to_string())?;
        let at = lines.iter().skip(from).position(|line| regex.is_match(line));
        Ok(at.map(|at| from + at))
    };
    let mut marks = vec![];
    for part in parts {
        if let Some(begin) = find(&part.begin, 0)? {
            let end = find(&part.until, begin + 1)?.unwrap_or(lines.len());
            marks.push((begin, format!("# ANCHOR: {}\n", part.name)));
            marks.push((end, format!("# ANCHOR_END: {}\n", part.name)));
        }
    }
    let mut text = String::new();
    for at in 0..=lines.len() {
        text.extend(marks.iter().filter(|(mark, _)| *mark == at).map(|(_, line)| &**line));
        if let Some(line) = lines.get(at) {
            text += line;
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_log() {
        let part = |name: &str, begin: &str, until: &str| Part {
            name: name.into(),
            begin: begin.into(),
            until: until.into(),
        };
        let lines = ["a 1", "b 1", "b 2", "c 1"].map(str::to_owned);
        let parts = [part("bs", "^b", "^c"), part("rest", "c", "d"), part("no", "d", "a")];
        assert_eq!(
            anchored(&parts, &lines).unwrap(),
            "a 1\n# ANCHOR: bs\nb 1\nb 2\n# ANCHOR_END: bs\n# ANCHOR: rest\nc 1\n# ANCHOR_END: rest\n",
        );
        assert!(anchored(&[part("bad", "(", "c")], &lines).is_err());
    }

    const ABOUT: &str = "title = 't'\nmodules = ['a', 'b']\nseconds = 1\n";

    #[test]
    fn a_module_may_have_a_timeline_of_its_own() {
        let text = format!("{ABOUT}[timeline]\ntitle = 't'\n[timelines.b]\ntitle = 'u'");
        let about = About::parse(&text).unwrap();
        let (folder, dir) = (String::new(), PathBuf::new());
        let stage = Stage { number: 1, folder, dir, about };
        assert_eq!((&*stage.timeline("a").title, &*stage.timeline("b").title), ("t", "u"));
    }

    #[test]
    fn what_a_stage_says_of_its_modules() {
        let parse = |more: &str| About::parse(&format!("{ABOUT}{more}\n[timeline]\ntitle = 't'"));
        let about = parse("story = 1.5\n[test_args]\nb = 'seconds=10'").unwrap();
        assert_eq!((about.story, &*about.test_args["b"]), (1.5, "seconds=10"));
        assert!(about.torture.is_none());
        let about = parse("[torture]\nmodules = ['b']\nseconds = 60").unwrap();
        assert_eq!((about.story, about.torture.unwrap().seconds), (3.0, 60));
        for wrong in [
            "[test_args]\nc = ''",
            "[torture]\nmodules = ['b', 'c']\nseconds = 60",
            "[timelines.c]\ntitle = ''",
        ] {
            assert_eq!(parse(wrong).err().unwrap(), "`c` is not among its modules");
        }
        assert!(parse("[torture]\nmodules = []").err().unwrap().contains("missing field"));
    }
}
