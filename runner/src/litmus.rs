// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make litmus`: the stages' litmus tests, by herd7 and the kernel's own memory model.
//!
//! Each file says in its header what has to come of it, as the kernel's do: `* Result: Never`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::kernel::{Flavour, Kernel};
use crate::paths::{Paths, read};
use crate::say::{Doing, Result, Times, problem, step};
use crate::stage::Stage;
use crate::tools;

/// `make litmus`
pub fn all(paths: &Paths, times: &mut Times) -> Result<()> {
    let files = files(paths)?;
    let mut tests = vec![];
    for file in files {
        let wanted = wanted(&read(&file)?).map_err(|why| problem(paths.shown(&file), why, ""))?;
        tests.push((file, wanted));
    }
    let Some(herd) = tools::find("herd7") else {
        step(format!(
            "herd7 is not installed: {} litmus tests were read, and NONE was checked.\n\
             It is part of herdtools7, from OCaml's package manager: opam install herdtools7",
            tests.len()
        ));
        return Ok(());
    };
    let (kernel, _) = Kernel::get(paths, Flavour::Fast, times)?;
    let model = kernel.dir.join("source/tools/memory-model");
    let mut failed = 0;
    for (file, wanted) in &tests {
        let mut command = Command::new(&herd);
        command.args(["-conf", "linux-kernel.cfg"]).arg(file).current_dir(&model);
        let out = command.stdin(Stdio::null()).output().doing(|| "run herd7".into())?;
        let said = String::from_utf8_lossy(&out.stdout);
        let seen = observed(&said).unwrap_or("nothing");
        let good = seen == *wanted;
        failed += usize::from(!good);
        let mark = if good { "ok    " } else { "FAILED" };
        step(format!("  {mark}  {}: {seen}, wanted {wanted}", paths.shown(file)));
        if !good {
            step(said.into_owned() + &String::from_utf8_lossy(&out.stderr));
        }
    }
    step(format!("\n{} litmus tests, {failed} failed", tests.len()));
    match failed {
        0 => Ok(()),
        _ => Err(problem("a litmus test failed", "", "each FAILED above says what herd7 saw")),
    }
}

/// The files of all stages; there must be some.
fn files(paths: &Paths) -> Result<Vec<PathBuf>> {
    let mut files = vec![];
    for stage in Stage::all(paths)? {
        for entry in std::fs::read_dir(stage.dir.join("litmus")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "litmus") {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(problem("there is no litmus test here", "", "")),
        false => Ok(files),
    }
}

/// What the header wants.
fn wanted(text: &str) -> std::result::Result<String, &'static str> {
    let mut lines = text.lines().map_while(|line| (!line.starts_with('{')).then_some(line));
    let result = lines.find_map(|line| line.trim().strip_prefix("* Result: "));
    match result {
        Some(result @ ("Never" | "Sometimes" | "Always")) => Ok(result.into()),
        Some(_) => Err("its result is none of Never, Sometimes, Always"),
        None => Err("its header has no line `* Result: Never`"),
    }
}

/// What herd7 saw.
fn observed(said: &str) -> Option<&str> {
    let line = said.lines().find_map(|line| line.strip_prefix("Observation "))?;
    line.split(' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_is_wanted() {
        assert_eq!(wanted("C x\n(*\n * Result: Never\n *)\n{\n}\n"), Ok("Never".into()));
        assert!(wanted("C x\n(*\n * Result: Perhaps\n *)\n").is_err());
        assert!(wanted("C x\n{\n}\n * Result: Never\n").is_err());
    }

    #[test]
    fn herd_s_line_is_found() {
        let said = "Test x Allowed\nObservation x Sometimes 1 3\nTime x 0.01\n";
        assert_eq!(observed(said), Some("Sometimes"));
        assert_eq!(observed("Warning: no\n"), None);
    }

    #[test]
    fn each_litmus_test_of_the_stages_says_what_it_wants() {
        let stages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../stages");
        let mut count = 0;
        for stage in std::fs::read_dir(stages).unwrap().flatten() {
            for file in std::fs::read_dir(stage.path().join("litmus")).into_iter().flatten() {
                let path = file.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(wanted(&text).is_ok(), "{}", path.display());
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                assert!(text.starts_with(&format!("C {name}\n")), "{}", path.display());
                count += 1;
            }
        }
        assert!(count > 0);
    }
}
