// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two reports: what moved.

use super::report::{Leg, Report, significant};
use super::sample::{Samples, What};

/// What moved from one report to another, in lines for the screen.
///
/// Counts are compared only where kernel and compiler are the same, else another compiler would be
/// taken for a change of the source. Times are compared never: they are of a machine and a moment.
pub fn moved(old: &Report, new: &Report) -> Vec<String> {
    let mut lines = vec![];
    for leg in &new.legs {
        let same_leg = |o: &&Leg| (&o.flavour, o.helpers) == (&leg.flavour, leg.helpers);
        let Some(before) = old.legs.iter().find(same_leg) else {
            lines.push(format!("{}: not in the old report", name(leg)));
            continue;
        };
        let compiler = |report: &Report| (report.conditions.rustc.clone(), report.conditions.llvm);
        if before.kernel == leg.kernel && compiler(old) == compiler(new) {
            lines.extend(counts(before, leg));
        } else {
            lines.push(format!(
                "{}: another kernel or compiler ({}, {}), so only ratios are compared",
                name(leg),
                before.kernel,
                old.conditions.rustc,
            ));
            lines.extend(ratios(before, leg));
        }
    }
    lines
}

fn name(leg: &Leg) -> String {
    format!("{}, helpers {}", leg.flavour, format!("{:?}", leg.helpers).to_lowercase())
}

/// Counts whose median is outside of what the other spread over.
fn counts(old: &Leg, new: &Leg) -> Vec<String> {
    let mut lines = vec![];
    for samples in new.samples.iter().filter(|s| s.what == What::Count) {
        let Samples { operation, side, .. } = samples;
        let now = samples.figure();
        let Some(was) = old.figure(What::Count, operation, side) else {
            lines.push(format!("{}: {operation}, {side}: new", name(new)));
            continue;
        };
        if now.median < was.low || now.median > was.high {
            let percent = 100.0 * (now.median / was.median - 1.0);
            lines.push(format!(
                "{}: {operation}, {side}: {} -> {} instructions ({percent:+.1} %)",
                name(new),
                significant(was.median),
                significant(now.median),
            ));
        }
    }
    lines
}

/// Ratios of Rust to C that are not what they were.
fn ratios(old: &Leg, new: &Leg) -> Vec<String> {
    let rust = new.samples.iter().filter(|s| s.what == What::Count && s.side == "rust");
    rust.filter_map(|samples| {
        let operation = &samples.operation;
        let ratio = |leg: &Leg| leg.ratio(What::Count, operation);
        let (was, now) = (ratio(old)?, ratio(new)?);
        let moved = (was - now).abs() > 0.005;
        moved.then(|| format!("{}: {operation}: Rust / C {was:.3} -> {now:.3}", name(new)))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn what_moved_is_named_with_its_old_and_new_figure() {
        assert!(moved(&report(5), &report(5)).is_empty());
        let lines = moved(&report(5), &report(6));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("section, rust: 5 -> 6 instructions (+20.0 %)"), "{lines:?}");
    }

    #[test]
    fn another_kernel_leaves_only_ratios() {
        let mut old = report(5);
        old.legs[0].kernel = "fast-7.3.3-0".into();
        old.legs.truncate(1);
        let lines = moved(&old, &report(6));
        assert!(lines[0].contains("another kernel"), "{lines:?}");
        assert!(lines[1].contains("section: Rust / C 1.000 -> 1.200"), "{lines:?}");
        assert!(lines[2].contains("not in the old report"), "{lines:?}");
    }
}
