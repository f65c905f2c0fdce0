// SPDX-License-Identifier: MIT OR Apache-2.0

//! The words after `make`, and what each does.

use crate::kernel;
use crate::paths::Paths;
use crate::say::{Result, Times, problem, step};
use crate::stage::Stage;
use crate::{bench, book, breaks, debug, doctor, house, lab, litmus, run, test, torture};

/// A goal: the word, one line of help, and the work.
struct Goal<W> {
    word: &'static str,
    help: &'static str,
    work: W,
}

type Work = fn(&Paths, &mut Times) -> Result<()>;
type StageWork = fn(&Paths, &Stage, &mut Times) -> Result<()>;

const EVERYBODY: &[Goal<Work>] = &[
    Goal { word: "help", help: "this page", work: help },
    Goal {
        word: "doctor",
        help: "what is here, what is missing, and how to get it",
        work: doctor::show,
    },
    Goal {
        word: "progress",
        help: "the labs: what you have solved, and what is next",
        work: lab::progress,
    },
    Goal { word: "kernel", help: "build both kernels ahead", work: kernel::build_all },
    Goal {
        word: "kernel-pack",
        help: "put the built kernels into a file for other machines",
        work: kernel::make_pack,
    },
    Goal { word: "book", help: "make the book, into build/book", work: book::build },
    Goal {
        word: "serve",
        help: "show the book in a browser, and follow changes",
        work: book::serve,
    },
    Goal {
        word: "test",
        help: "all tests; the last line is `N passed, N failed`",
        work: test::all,
    },
    Goal { word: "torture", help: "every stage's torture, on both kernels", work: torture::all },
    Goal {
        word: "litmus",
        help: "the litmus tests, by herd7 and the kernel's memory model, where it is installed",
        work: litmus::all,
    },
    Goal {
        word: "bench",
        help: "what RCU costs, in Rust and in C: build/bench/report.md",
        work: bench::bench,
    },
    Goal {
        word: "bench-compare",
        help: "what moved since another report; OLD=report.json",
        work: bench::bench_compare,
    },
    Goal {
        word: "bench-bless",
        help: "make the last report the one that the book shows",
        work: bench::bench_bless,
    },
    Goal { word: "clean", help: "remove build/ (kernels and tools stay)", work: house::clean },
    Goal {
        word: "uninstall",
        help: "list what lies outside this folder, ask, remove it",
        work: house::uninstall,
    },
];

const VERBS: &[Goal<StageWork>] = &[
    Goal {
        word: "run",
        help: "run it in a VM: its log, the verdict on it, a timeline",
        work: run::run,
    },
    Goal { word: "shell", help: "a guest to type in, with the module at hand", work: run::shell },
    Goal {
        word: "debug",
        help: "the same, with QEMU's door for gdb open, and symbols for gdb",
        work: debug::debug,
    },
    Goal {
        word: "timeline",
        help: "the timeline of the last run again, and as a picture",
        work: run::timeline,
    },
    Goal { word: "bless", help: "record a run anew: recorded.dmesg", work: run::bless },
    Goal {
        word: "break",
        help: "what goes wrong without a safety step: a list, or one with B=name",
        work: breaks::break_it,
    },
    Goal {
        word: "refuse",
        help: "what the compiler does not let through; one with R=name",
        work: breaks::refuse,
    },
    Goal {
        word: "torture",
        help: "try for a minute to break what it has built, on both kernels",
        work: torture::stage,
    },
    Goal {
        word: "test",
        help: "its part of `make test`; C=name: one of its checks/, or `exercises`",
        work: test::stage,
    },
];

const LABS: &[Goal<StageWork>] = &[
    Goal {
        word: "lab",
        help: "begin: work/ gets its source with the essential parts left out",
        work: lab::lab,
    },
    Goal {
        word: "check",
        help: "build and run your work: what is right, the points, what is next",
        work: lab::check,
    },
    Goal { word: "watch", help: "the same, each time you save", work: lab::watch },
    Goal { word: "hint", help: "the next of three hints for the step", work: lab::hint },
    Goal {
        word: "solution",
        help: "how the stage does it: after you have, or if you give up",
        work: lab::solution,
    },
    Goal { word: "reset", help: "begin anew; asks, and keeps a backup", work: lab::reset },
    Goal {
        word: "review",
        help: "a patch with mistakes in it: find them; HINT=1 helps, SHOW=1 gives up",
        work: lab::review,
    },
    Goal {
        word: "rust-analyzer",
        help: "let your editor understand your work and the kernel crate",
        work: lab::rust_analyzer,
    },
];

const VARIABLES: &[(&str, &str)] = &[
    ("KERNEL=fast|debug", "which kernel (debug: every check on, the default)"),
    ("ARGS=\"cco_ms=2000\"", "parameters for the module"),
    ("B=name, R=name, C=name", "one break, one refusal, one check"),
    ("WORK=1", "run your own work from the lab"),
    ("FROM=3", "lab, reset: with the steps before the third solved"),
    ("STEP=2", "check, hint, solution: of this step alone"),
    ("ANSWER=b", "check: answers the question of the step"),
    ("HINT=1, SHOW=1", "review: where to look; all of it"),
    ("SCALE=original", "another speed of the same story, where a stage has one"),
    ("MODULE=name", "another module of the stage"),
    ("SCRIPT=path.lua", "stage-4 run: your own script, in the kernel"),
    ("SCRIPT=name", "another script of the stage's guest/ folder"),
    ("WAIT=1", "debug: the guest waits for gdb before its first instruction"),
    ("SECONDS=600", "how long each torture lasts (60)"),
    ("SHORT=1", "bench: only what `make test` does of it"),
    ("OLD=file", "bench-compare: a report.json that is kept from before"),
    ("CPUS=4", "CPUs of the guest (2)"),
    ("ACCEL=tcg|kvm", "what runs the guest (KVM where it works)"),
    ("DEADLINE=600", "seconds that a guest may take to boot, and for its work"),
    ("KDIR=dir", "a built kernel of your own"),
    ("KERNEL_PACK=file", "kernels that another machine built"),
    ("KERNEL_TARBALL=file", "the kernel's source from a file"),
    ("KERNEL_FROM=debian|kernel.org", "where the source comes from (Debian's package on Debian)"),
    ("KERNEL_MIRROR=url", "another folder with kernel.org's tarball and its sha256sums.asc"),
    ("RUSTC=path", "the compiler of kernel and modules"),
];

/// Does what the words say, in their order.
pub fn run(words: Vec<String>) -> Result<()> {
    let paths = Paths::find()?;
    let mut times = Times::default();
    // All of them, before the first does anything.
    known(&paths, &words)?;
    let mut words = words.into_iter().peekable();
    if words.peek().is_none() {
        return help(&paths, &mut times);
    }
    while let Some(word) = words.next() {
        if word.starts_with("stage-") {
            let stage = Stage::get(&paths, &word)?;
            let mut verbs: Vec<_> = vec![];
            while let Some(verb) = words.next_if(|next| !next.starts_with("stage-")) {
                verbs.push(verb_of(&verb).ok_or_else(|| unknown_verb(&word, &verb))?);
            }
            if verbs.is_empty() {
                run::build(&paths, &stage, &mut times)?;
            }
            for verb in verbs {
                (verb.work)(&paths, &stage, &mut times)?;
            }
        } else if let Some(goal) = find(EVERYBODY, &word) {
            (goal.work)(&paths, &mut times)?;
        } else {
            return Err(unknown_goal(&word));
        }
    }
    times.print();
    Ok(())
}

fn find<W>(goals: &'static [Goal<W>], word: &str) -> Option<&'static Goal<W>> {
    goals.iter().find(|goal| goal.word == word)
}

/// A stage's verb, a reader's or a learner's.
fn verb_of(word: &str) -> Option<&'static Goal<StageWork>> {
    find(VERBS, word).or_else(|| find(LABS, word))
}

/// Would `run` know what to do with these words?
pub fn known(paths: &Paths, words: &[String]) -> Result<()> {
    let mut stage = None;
    for word in words {
        if word.starts_with("stage-") {
            Stage::get(paths, word)?;
            stage = Some(word);
        } else if let Some(stage) = stage {
            verb_of(word).ok_or_else(|| unknown_verb(stage, word))?;
        } else if find(EVERYBODY, word).is_none() {
            return Err(unknown_goal(word));
        }
    }
    Ok(())
}

fn unknown_goal(word: &str) -> miette::Report {
    if verb_of(word).is_some() {
        return problem(
            format!("`make {word}` of which stage?"),
            "",
            format!("make stage-1 {word}"),
        );
    }
    problem(
        format!("there is no goal `{word}`"),
        "",
        "`make help` lists all goals, `make stage-1 run` runs the first stage",
    )
}

fn unknown_verb(stage: &str, verb: &str) -> miette::Report {
    let list: Vec<_> = VERBS
        .iter()
        .chain(LABS)
        .map(|v| format!("  make {stage} {:14} {}", v.word, v.help))
        .collect();
    problem(
        format!("`{stage}` does not know `{verb}`"),
        list.join("\n"),
        format!("make {stage} run"),
    )
}

fn help(paths: &Paths, _: &mut Times) -> Result<()> {
    step(
        "RCU in the Linux kernel, in Rust: five stages, each a module that runs in a VM.\n\nBegin with\n\n  make stage-1 run\n\nThe stages",
    );
    for stage in Stage::all(paths)? {
        step(format!("  stage-{}         {}", stage.number, stage.about.title));
    }
    step("\nA stage: make stage-N ...\n  (nothing)       build it");
    for verb in VERBS {
        step(format!("  {:15} {}", verb.word, verb.help));
    }
    step("\nA lab: build the stage yourself: make stage-N ...");
    for verb in LABS {
        step(format!("  {:15} {}", verb.word, verb.help));
    }
    step("\nEverybody: make ...");
    for goal in EVERYBODY {
        step(format!("  {:15} {}", goal.word, goal.help));
    }
    step("\nVariables, after the goals: make stage-1 run KERNEL=fast");
    for (name, about) in VARIABLES {
        step(format!("  {name:30} {about}"));
    }
    Ok(())
}
