// SPDX-License-Identifier: MIT OR Apache-2.0

//! What needs no VM.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use regex::Regex;

use super::Tally;
use crate::book::{self, files};
use crate::kernel::{Flavour, Kernel, clean_environment};
use crate::module;
use crate::paths::{Paths, make_dir, read};
use crate::run;
use crate::say::{Doing, Result, Times, problem, step};
use crate::stage::Stage;
use crate::tools::{Toolchain, lua};
use crate::trace::log;
use crate::trace::mutate::mutate_and_check;
use crate::verdict;

/// The runner's own tests, by cargo, which counts them.
pub fn program(paths: &Paths, tally: &mut Tally) -> Result<()> {
    tests(&mut cargo(paths, "test", &["--no-fail-fast"]), tally)
}

/// The model checks of the stages, where they have one: a package in `model/`, which includes the
/// stage's own files.
pub fn models(paths: &Paths, stages: &[Stage], tally: &mut Tally) -> Result<()> {
    for package in stages.iter().map(|stage| stage.dir.join("model/Cargo.toml")) {
        if package.exists() {
            tests(&mut cargo_on(&package, &paths.build.join("model"), "test", &[]), tally)?;
        }
    }
    Ok(())
}

/// Runs cargo's tests, and counts them.
fn tests(cargo: &mut Command, tally: &mut Tally) -> Result<()> {
    let out = cargo.output().doing(|| "run cargo".into())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (mut passed, mut failed) = (0, 0);
    for line in text.lines().filter(|l| l.starts_with("test result:")) {
        let words: Vec<_> = line.split([' ', ';']).collect();
        let before = |word: &str| {
            let at = words.iter().position(|w| *w == word)?;
            words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
        };
        passed += before("passed").unwrap_or(0);
        failed += before("failed").unwrap_or(0);
    }
    tally.add(passed, failed);
    step(format!("  cargo test: {passed} passed, {failed} failed"));
    if failed > 0 {
        step(text);
    }
    if passed == 0 || (!out.status.success() && failed == 0) {
        return Err(problem("cargo test did not run", String::from_utf8_lossy(&out.stderr), ""));
    }
    Ok(())
}

/// rustfmt and clippy, for the runner and for the modules.
pub fn lint(
    paths: &Paths,
    toolchain: &Toolchain,
    stages: &[Stage],
    tally: &mut Tally,
) -> Result<()> {
    tally.check("runner: rustfmt", || quiet(&mut cargo(paths, "fmt", &["--check"])));
    tally.check("runner: clippy", || {
        quiet(&mut cargo(paths, "clippy", &["--all-targets", "--quiet", "--", "-D", "warnings"]))
    });
    let (kernel, _) = Kernel::get(paths, Flavour::Debug, &mut Times::default())?;
    let style = [kernel.dir.join("source/.rustfmt.toml"), kernel.dir.join(".rustfmt.toml")];
    let style = style.iter().find(|file| file.exists());
    // The tests' own module, and that of `make bench`, held to the same.
    let offsets = paths.root.join("runner/tests/offsets");
    let bench = paths.root.join("runner/bench/module");
    let own = [("offsets".to_owned(), offsets.as_path()), ("bench".to_owned(), bench.as_path())];
    let of_stages = stages.iter().map(|s| (format!("stage {}", s.number), s.dir.as_path()));
    for (who, dir) in own.into_iter().chain(of_stages) {
        tally.check(format!("{who}: rustfmt with the kernel's settings"), || {
            let style = style.ok_or_else(|| problem("the kernel has no .rustfmt.toml", "", ""))?;
            let mut rustfmt = Command::new("rustfmt");
            rustfmt.args(["--check", "--edition", "2021", "--config-path"]).arg(style);
            quiet(rustfmt.args(files(dir, &["rs"])))
        });
        // The kernel's own lints, undocumented unsafe among them, and no warning is left.
        tally.check(format!("{who}: clippy with the kernel's settings"), || {
            let name = format!("clippy/{}", who.replace(' ', "-"));
            // Clippy speaks only of what it compiles.
            let _ = std::fs::remove_dir_all(paths.build.join(&name));
            let built = module::build(paths, &kernel, toolchain, dir, &name, None, &["CLIPPY=1"])?;
            match built.said.as_str() {
                "" => Ok(()),
                said => Err(problem("the compilers are not content", said, "")),
            }
        });
    }
    Ok(())
}

/// The recorded runs keep their contracts, and the checker catches what does not.
pub fn traces(stages: &[Stage], tally: &mut Tally) -> Result<()> {
    for stage in stages {
        for module in &stage.about.modules {
            // The modules besides the first need no recorded run.
            let first = stage.about.modules.first() == Some(module);
            if !first && !stage.file(module, "recorded.dmesg").exists() {
                tally.check(format!("{module}: expected.trace can be read"), || {
                    verdict::contract(stage, module).map(|_| ())
                });
                continue;
            }
            tally.check(format!("{module}: the recorded run meets expected.trace"), || {
                let contract = verdict::contract(stage, module)?;
                verdict::meets(&contract, &log::parse(&run::recorded(stage, module)?))
            });
            tally.check(format!("{module}: the recorded picture is of the recorded run"), || {
                let recorded = std::fs::read_to_string(stage.file(module, "recorded.svg")).ok();
                if recorded == run::recorded_picture(stage, module)? {
                    return Ok(());
                }
                let help = format!("make stage-{} bless MODULE={module}", stage.number);
                Err(problem("recorded.svg is not what recorded.dmesg gives", "", help))
            });
            tally.check(format!("{module}: the checker catches every mutation of it"), || {
                let contract = verdict::contract(stage, module)?;
                let counts =
                    mutate_and_check(&contract, &log::parse(&run::recorded(stage, module)?))
                        .map_err(|why| problem("the checker misjudged a changed log", why, ""))?;
                step(format!("          {counts}"));
                Ok(())
            });
        }
    }
    Ok(())
}

/// The README's own trace is a recorded one.
pub fn readme(paths: &Paths, stages: &[Stage], tally: &mut Tally) -> Result<()> {
    let readme = read(&paths.root.join("README.md"))?;
    let shown: Vec<_> = readme.lines().filter(|line| line.starts_with("[  ")).collect();
    tally.check("the README shows lines of recorded runs, and no others", || {
        let runs = stages.iter().flat_map(|stage| {
            let modules = stage.about.modules.iter();
            modules.filter_map(|module| run::recorded(stage, module).ok())
        });
        let recorded: Vec<_> = runs.collect();
        let lines = recorded.iter().flat_map(|run| run.lines());
        let other = shown.iter().find(|line| !lines.clone().any(|r| r == **line));
        match other {
            None if shown.len() >= 10 => Ok(()),
            None => Err(problem("the README has no trace", "", "")),
            Some(line) => Err(problem(
                "the README shows a line that no recorded run has",
                line,
                "copy the lines anew from recorded.dmesg after `make stage-1 bless`",
            )),
        }
    });
    Ok(())
}

/// The book builds, and shows what it says it shows.
pub fn book(paths: &Paths, tally: &mut Tally) -> Result<()> {
    let counted = |tally: &mut Tally, name: &str, check: fn(&Paths) -> Result<usize>| {
        tally.check(name, || match check(paths)? {
            0 => Err(problem("there was nothing to check", "", "")),
            n => {
                step(format!("          {n} checked"));
                Ok(())
            }
        });
    };
    counted(tally, "anchors are there once, and closed", book::anchors);
    counted(tally, "what the book includes is there", book::includes);
    counted(tally, "the book's Rust comes from sources that are compiled", book::blocks);
    counted(tally, "the commands that the book names exist", book::commands);
    tally.check("the book builds without warnings", || book::build(paths, &mut Times::default()));
    counted(tally, "the book's links lead somewhere", book::links);
    Ok(())
}

/// Each stage builds with Kbuild alone, and nothing of the runner around it.
pub fn alone(
    paths: &Paths,
    toolchain: &Toolchain,
    stages: &[Stage],
    tally: &mut Tally,
) -> Result<()> {
    let (kernel, _) = Kernel::get(paths, Flavour::Fast, &mut Times::default())?;
    let dir = tempfile::tempdir_in(paths.build_dir("")?).doing(|| "make a folder".into())?;
    let copy = make_dir(dir.path().join("stages"))?;
    quiet(Command::new("cp").arg("-r").arg(paths.root.join("stages/.")).arg(&copy))?;
    for stage in stages {
        tally.check(format!("stage {}: make -C $KDIR M=... modules", stage.number), || {
            let here = copy.join(&stage.folder);
            let mut make = Command::new("make");
            make.arg("-C").arg(&kernel.dir).arg(format!("M={}", here.display())).arg("modules");
            make.args(toolchain.make_args(paths));
            clean_environment(&mut make);
            if lua::is_wanted(&here) {
                lua::ready(paths, &mut Times::default())?;
            }
            if let Some(dir) = toolchain.libclang() {
                make.env("LIBCLANG_PATH", dir);
            }
            quiet(&mut make)?;
            match kos(&here, stage).find(|ko| !ko.exists()) {
                None => Ok(()),
                Some(ko) => Err(problem(format!("{} was not made", ko.display()), "", "")),
            }
        });
        let name = format!("stage {}: no instruction for floating-point numbers", stage.number);
        tally.check(name, || {
            for ko in kos(&copy.join(&stage.folder), stage) {
                let mut objdump = Command::new(toolchain.llvm_program("llvm-objdump"));
                let out = objdump.args(["--disassemble", "--no-show-raw-insn"]).arg(&ko).output();
                let out = out.doing(|| format!("disassemble {}", ko.display()))?;
                let text = String::from_utf8_lossy(&out.stdout);
                if let Some(line) = floating_point(&text) {
                    return Err(problem(
                        format!("{} uses the floating-point unit", ko.display()),
                        line,
                        "the kernel does not save those registers: what a program had in them is lost",
                    ));
                }
                if text.lines().count() < 10 {
                    return Err(problem(format!("{} has no code", ko.display()), "", ""));
                }
            }
            Ok(())
        });
    }
    Ok(())
}

/// The modules of a stage that was built in `dir`.
fn kos<'a>(dir: &'a Path, stage: &'a Stage) -> impl Iterator<Item = PathBuf> + 'a {
    stage.about.modules.iter().map(move |module| dir.join(format!("{module}.ko")))
}

/// The first line of a disassembly with a register of the floating-point unit.
fn floating_point(disassembly: &str) -> Option<&str> {
    static REGISTER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"%(?:[xyz]?mm\d+|st\b)").expect("is a constant"));
    disassembly.lines().find(|line| REGISTER.is_match(line))
}

/// Cargo, as bootstrap.sh found it, on the runner.
fn cargo(paths: &Paths, verb: &str, args: &[&str]) -> Command {
    cargo_on(&paths.root.join("runner/Cargo.toml"), &paths.build.join("runner"), verb, args)
}

/// Cargo, on some package, built into some folder.
fn cargo_on(package: &Path, target: &Path, verb: &str, args: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or("cargo".into()));
    cargo.arg(verb).arg("--manifest-path").arg(package);
    if verb != "fmt" {
        cargo.arg("--locked").arg("--target-dir").arg(target);
    }
    // The kernel's compiler is not the runner's; make's words are not for cargo's children.
    cargo.args(args).env_remove("RUSTC").env_remove("MAKEFLAGS").stdin(Stdio::null());
    cargo
}

/// Runs a command that has nothing to say when all is well.
fn quiet(command: &mut Command) -> Result<()> {
    let out = command.output().doing(|| format!("run {:?}", command.get_program()))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    Err(problem(format!("{:?} failed", command.get_program()), said, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_of_the_floating_point_unit_are_seen() {
        let integers =
            "  10: movq %rsp, %rax\n  13: callq <memmove>\n  18: leaq (%rsi,%rdi), %r8\n";
        assert_eq!(floating_point(integers), None);
        for line in ["  20: addsd %xmm1, %xmm0", "  24: fldl %st(0)", "  28: vmovaps %ymm2, (%rdi)"]
        {
            assert_eq!(floating_point(&format!("{integers}{line}\n")), Some(line));
        }
    }
}
