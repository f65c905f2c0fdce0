// SPDX-License-Identifier: MIT OR Apache-2.0

//! The short form, for `make test`: no reader in Rust costs more than its twin in C, and their
//! machine code says why; and a reader that is made slower is found out.

use std::path::Path;

use serde::Deserialize;

use super::guest::{self, Helpers, Measurement, Mode};
use super::operations::{self, Operation};
use super::report::Leg;
use super::sample::What;
use super::{code, recorded_is_whole};
use crate::kernel::{Flavour, Kernel};
use crate::paths::Paths;
use crate::say::{Result, Times, problem, step};
use crate::test::Tally;
use crate::tools::Toolchain;
use crate::variant::{self, Replace};
use crate::vm::{Clock, Machine};

/// What makes readers slower, to be planted into the stages' sources: slower.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Slower {
    /// The operations that it makes slower, each of which has to be found out.
    operations: Vec<String>,
    /// The regions that are replaced.
    replace: Vec<Replace>,
}

/// The checks.
pub fn test(paths: &Paths, tally: &mut Tally) -> Result<()> {
    let mut times = Times::default();
    let (kernel, toolchain) = Kernel::get(paths, Flavour::Fast, &mut times)?;
    let machine = Machine::get(paths, &kernel, &mut times)?;
    let operations = operations::all();

    let from = guest::sources(paths);
    let ko = guest::build(paths, &kernel, &toolchain, &from, "bench/module", Helpers::Inlined)?;
    let leg = counted(paths, &kernel, &machine, &ko, "test-count")?;
    for operation in &operations {
        if let Some(most) = operation.most {
            let name =
                format!("{}: Rust takes {most:.2} of C's instructions at most", operation.title);
            tally.check(name, || within(&leg, operation));
        }
        if operation.code.is_some() {
            let name = format!("{}: the machine code is that of C", operation.title);
            tally.check(name, || same_code(&ko, &toolchain, operation));
        }
    }
    tally.check("the book's figures are those of the recorded report", || recorded_is_whole(paths));

    let slower: Slower = toml::from_str(include_str!("../../bench/slower.toml"))
        .map_err(|e| problem("slower.toml cannot be read", e.to_string(), ""))?;
    let (folders, home) = (["stages", "runner/bench/module"], "runner/bench/module");
    let tree = variant::tree(paths, "bench/slower", &folders, home, &from, &slower.replace)?;
    let ko =
        guest::build(paths, &kernel, &toolchain, &tree, "bench/slower-module", Helpers::Inlined)?;
    let leg = counted(paths, &kernel, &machine, &ko, "test-slower")?;
    for name in &slower.operations {
        let found = operations.iter().find(|o| o.name == *name);
        let operation = found.ok_or_else(|| problem(format!("there is no `{name}`"), "", ""))?;
        tally.check(format!("{}: what makes it slower is found", operation.title), || {
            found_out(within(&leg, operation), "Rust takes")?;
            match operation.code {
                Some(_) => found_out(same_code(&ko, &toolchain, operation), "machine code"),
                None => Ok(()),
            }
        });
    }
    Ok(())
}

/// Counts the instructions of everything.
fn counted(
    paths: &Paths,
    kernel: &Kernel,
    machine: &Machine,
    ko: &Path,
    name: &str,
) -> Result<Leg> {
    let measurement = Measurement {
        kernel,
        ko,
        user: None,
        modes: &[Mode::Count],
        clock: Clock::Instructions,
        seconds: 60,
        name,
    };
    let samples = measurement.take(paths, machine)?;
    let (flavour, helpers) = (kernel.name.clone(), Helpers::Inlined);
    Ok(Leg { flavour, kernel: kernel.key(), helpers, load: 0.0, samples })
}

/// Rust takes no more than it may.
fn within(leg: &Leg, operation: &Operation) -> Result<()> {
    let Some(most) = operation.most else { return Ok(()) };
    let median = |side| leg.figure(What::Count, &operation.name, side).map(|f| f.median);
    let (Some(ratio), Some(c), Some(rust)) =
        (leg.ratio(What::Count, &operation.name), median("c"), median("rust"))
    else {
        return Err(problem(format!("`{}` was not measured", operation.name), "", ""));
    };
    // A tenth of a per cent is less than one instruction in the longest of them.
    if ratio <= most + 0.001 {
        return Ok(());
    }
    Err(problem(
        format!(
            "Rust takes {rust:.2} instructions and C {c:.2}: {ratio:.3}, and not {most:.2} at most"
        ),
        "",
        "compare the two in the module: llvm-objdump -d --disassemble-symbols=c_...,rs_...",
    ))
}

/// The machine code of both sides is as alike as it has to be.
fn same_code(ko: &Path, toolchain: &Toolchain, operation: &Operation) -> Result<()> {
    let Some(wanted) = operation.code else { return Ok(()) };
    let symbol = |side: &str| format!("{side}_{}", operation.name.replace('-', "_"));
    let compared = code::compare(ko, toolchain, &symbol("c"), &symbol("rs"))?;
    if compared.code <= wanted {
        return Ok(());
    }
    let what = format!("the machine code is not alike: {:?} instead of {wanted:?}", compared.code);
    Err(problem(what, compared.shown, ""))
}

/// It failed, and for the right reason.
fn found_out(result: Result<()>, says: &str) -> Result<()> {
    match result {
        Ok(()) => Err(problem("nobody noticed", "", "")),
        Err(e) if e.to_string().contains(says) => {
            step(format!("          {}", e.to_string().lines().next().unwrap_or_default()));
            Ok(())
        }
        Err(e) => Err(e),
    }
}
