// SPDX-License-Identifier: MIT OR Apache-2.0

//! The report: all samples with the conditions under which they were taken, and the same as tables.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::guest::Helpers;
use super::operations::{Group, Operation};
use super::sample::{Figure, Samples, What};
use crate::say::{Result, problem};

/// All that was measured.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// Under which conditions.
    pub conditions: Conditions,
    /// What, on which kernel.
    pub legs: Vec<Leg>,
}

/// Conditions that hold for all of it.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub struct Conditions {
    /// The compiler, with its LLVM's major version.
    pub rustc: String,
    /// LLVM's major version.
    pub llvm: u32,
    /// QEMU's version.
    pub qemu: String,
    /// What times were taken under: KVM or TCG.
    pub accel: String,
    /// How many CPUs the guest has for times, and this machine.
    pub cpus: [u64; 2],
}

/// The samples of one module on one kernel.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub struct Leg {
    /// `fast` or `preempt`.
    pub flavour: String,
    /// The version, with a key of configuration and compiler: two of the same name are the same.
    pub kernel: String,
    /// How the module was built.
    pub helpers: Helpers,
    /// What was running on this machine besides, when times were taken: its load average.
    pub load: f64,
    /// The samples.
    pub samples: Vec<Samples>,
}

impl Leg {
    /// The samples of one side of an operation.
    pub fn samples(&self, what: What, operation: &str, side: &str) -> Option<&Samples> {
        let is = |s: &&Samples| s.what == what && s.operation == operation && s.side == side;
        self.samples.iter().find(is)
    }

    /// Their median and spread.
    pub fn figure(&self, what: What, operation: &str, side: &str) -> Option<Figure> {
        self.samples(what, operation, side).map(Samples::figure)
    }

    /// Rust's median over C's.
    pub fn ratio(&self, what: What, operation: &str) -> Option<f64> {
        let median = |side| self.figure(what, operation, side).map(|figure| figure.median);
        let (c, rust) = (median("c")?, median("rust")?);
        (c > 0.0).then_some(rust / c)
    }
}

/// What has to stand by every figure.
pub const NOT_TIME: &str = "Instruction counts are not time: what an instruction takes depends on \
    which it is, on caches and on the pipeline, and QEMU has none of these.";

/// And by times of a machine that had other work.
const BUSY: &str = " The machine was busy with other work when these were taken: of medians believe \
    the order of magnitude, and rather the lowest of a spread.";

/// And by every time.
const SMALL: &str = "Times are of this machine, and a few per cent between two sides are noise. \
    Instruction counts are not time, and these times are no instruction counts.";

impl Report {
    /// The leg of a flavour.
    pub fn leg(&self, flavour: &str, helpers: Helpers) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.flavour == flavour && leg.helpers == helpers)
    }

    /// What has to stand by times.
    fn of_times(&self) -> String {
        let busy = self.legs.iter().any(|leg| leg.load > 0.5);
        SMALL.to_owned() + if busy { BUSY } else { "" }
    }

    /// The legs with inlined helpers.
    fn inlined(&self) -> impl Iterator<Item = &Leg> {
        self.legs.iter().filter(|leg| leg.helpers == Helpers::Inlined)
    }

    /// The report as text.
    pub fn markdown(&self, operations: &[Operation]) -> String {
        let mut text = String::from("# What RCU costs\n\n");
        text += "Made by `make bench`; `report.json` beside it has every sample.\n\n";
        let mut part = |title: &str, anchor: &str, body: &str| {
            if !body.is_empty() {
                let _ = write!(
                    text,
                    "## {title}\n\n<!-- ANCHOR: {anchor} -->\n{body}<!-- ANCHOR_END: {anchor} -->\n\n"
                );
            }
        };
        part("Conditions", "conditions", &self.conditions());
        let count = |group| self.table(operations, group, What::Count);
        part("Instructions: readers", "count-read", &count(Group::Read));
        part("Instructions: what else there is", "count-contrast", &count(Group::Contrast));
        part("Instructions: updaters", "count-update", &count(Group::Update));
        part("Helpers inlined, and called", "helpers", &self.helpers(operations));
        let time = |group| self.table(operations, group, What::Time);
        part("Time: readers", "time-read", &time(Group::Read));
        part("Time: what else there is", "time-contrast", &time(Group::Contrast));
        part("Time: updaters", "time-update", &time(Group::Update));
        part("Time: grace periods", "wait", &self.waits());
        part("Readers on several CPUs", "scale", &self.scaling(operations));
        part("Cache lines", "lines", &self.lines(operations));
        part("In user space", "user", &self.user(operations));
        text
    }

    fn conditions(&self) -> String {
        let Conditions { rustc, llvm, qemu, accel, cpus: [guest, host] } = &self.conditions;
        let mut text = format!(
            "- instructions: QEMU {qemu}, TCG, `-icount shift=0`, one CPU; times: {accel}, \
             {guest} CPUs of {host}\n- {rustc}, LLVM {llvm}\n"
        );
        for leg in self.inlined() {
            let Leg { flavour, kernel, load, .. } = leg;
            let _ = writeln!(
                text,
                "- `{flavour}`: kernel {kernel}; load average of the machine before times were taken: {load:.1}"
            );
        }
        let (exact, all, worst) = self.repeatability();
        let _ = writeln!(
            text,
            "- of {all} counts of readers and locks, {exact} were the same in every round; the widest \
             spread was {worst:.1} %"
        );
        text
    }

    /// How many counts did not vary, of how many, and the widest spread in per cent.
    fn repeatability(&self) -> (usize, usize, f64) {
        let counts: Vec<_> = self
            .legs
            .iter()
            .flat_map(|leg| &leg.samples)
            .filter(|s| s.what == What::Count)
            .filter(|s| !s.operation.contains("update") && !s.operation.contains("user"))
            .map(Samples::figure)
            .filter(|figure| figure.median > 0.0)
            .collect();
        let exact = counts.iter().filter(|f| f.low == f.high).count();
        let spread = counts.iter().map(|f| 100.0 * (f.high - f.low) / f.median);
        (exact, counts.len(), spread.fold(0.0, f64::max))
    }

    /// C beside Rust, for each kernel.
    fn table(&self, operations: &[Operation], group: Group, what: What) -> String {
        let legs: Vec<_> = self.inlined().collect();
        let mut rows = vec![];
        for operation in operations.iter().filter(|o| o.group == group) {
            let mut cells = vec![operation.title.clone()];
            for leg in &legs {
                let cell = |side| {
                    let figure = leg.figure(what, &operation.name, side);
                    figure.map_or(String::new(), |figure| shown(figure, what))
                };
                cells.extend([cell("c"), cell("rust")]);
                let ratio = leg.ratio(what, &operation.name);
                cells.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.3}")));
            }
            if cells[1..].iter().any(|cell| !cell.is_empty()) {
                rows.push(cells);
            }
        }
        let unit = if what == What::Count { "instructions" } else { "ns" };
        let mut head = vec![format!("One operation, in {unit}")];
        for leg in &legs {
            let name = &leg.flavour;
            head.extend([format!("{name}: C"), format!("{name}: Rust"), "Rust / C".into()]);
        }
        table(
            &head,
            &rows,
            &if what == What::Count { NOT_TIME.to_owned() } else { self.of_times() },
        )
    }

    /// Rust with helpers inlined and called.
    fn helpers(&self, operations: &[Operation]) -> String {
        let mut rows = vec![];
        let pairs: Vec<_> = self
            .inlined()
            .filter_map(|leg| Some((leg, self.leg(&leg.flavour, Helpers::Called)?)))
            .collect();
        for operation in operations {
            let mut cells = vec![operation.title.clone()];
            for (inlined, called) in &pairs {
                for leg in [inlined, called] {
                    let figure = leg.figure(What::Count, &operation.name, "rust");
                    cells.push(figure.map_or(String::new(), |f| shown(f, What::Count)));
                    let ratio = leg.ratio(What::Count, &operation.name);
                    cells.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.3}")));
                }
            }
            if cells.iter().skip(1).all(|cell| !cell.is_empty()) {
                rows.push(cells);
            }
        }
        let mut head = vec!["One operation in Rust, in instructions".to_owned()];
        for (leg, _) in &pairs {
            let name = &leg.flavour;
            head.extend([format!("{name}: inlined"), "/ C".into()]);
            head.extend([format!("{name}: called"), "/ C".into()]);
        }
        table(&head, &rows, NOT_TIME)
    }

    /// Grace periods, in milliseconds.
    fn waits(&self) -> String {
        let mut rows = vec![];
        for (name, title) in WAITS {
            let mut cells = vec![title.to_owned()];
            for leg in self.inlined() {
                for load in ["idle", "readers"] {
                    let figure = leg.figure(What::Wait, name, load);
                    cells.push(figure.map_or(String::new(), |f| {
                        let ms = |ns: f64| significant(ns / 1e6);
                        format!("{} ({}..{})", ms(f.median), ms(f.low), ms(f.high))
                    }));
                }
            }
            if cells[1..].iter().any(|cell| !cell.is_empty()) {
                rows.push(cells);
            }
        }
        let mut head = vec!["A wait, in ms: median (lowest..highest)".to_owned()];
        for leg in self.inlined() {
            let name = &leg.flavour;
            head.extend([format!("{name}: idle"), format!("{name}: readers on the other CPUs")]);
        }
        table(&head, &rows, &self.of_times())
    }

    /// Operations in a microsecond, of 1 to N readers together.
    fn scaling(&self, operations: &[Operation]) -> String {
        let mut rows = vec![];
        let mut most = 1;
        for leg in self.inlined() {
            for (operation, side, points) in scaling(leg) {
                let title = operations.iter().find(|o| o.name == operation);
                let title = title.map_or(operation, |o| &o.title);
                let mut cells = vec![format!("{title}, {}", side_title(side)), leg.flavour.clone()];
                let first = points.first().map_or(1.0, |(_, f)| f.median.max(1.0));
                for (readers, figure) in &points {
                    most = most.max(*readers);
                    let rate = significant(figure.median / 1000.0);
                    cells.push(format!("{rate} (x {:.2})", figure.median / first));
                }
                rows.push(cells);
            }
        }
        let mut head = vec!["Operations in a microsecond".to_owned(), "kernel".into()];
        head.extend((1..=most).map(|readers| match readers {
            1 => "1 reader".to_owned(),
            n => format!("{n} readers"),
        }));
        table(&head, &rows, &self.of_times())
    }

    /// Cache lines that went from CPU to CPU.
    fn lines(&self, operations: &[Operation]) -> String {
        let mut rows: Vec<Vec<String>> = vec![];
        let legs: Vec<_> = self.inlined().collect();
        let Some(first) = legs.first() else { return String::new() };
        for samples in first.samples.iter().filter(|s| s.what == What::Lines) {
            let Samples { operation, side, .. } = samples;
            let title = operations.iter().find(|o| o.name == *operation);
            let title = title.map_or(&**operation, |o| &o.title);
            let mut cells = vec![format!("{title}, {}", side_title(side))];
            for leg in &legs {
                let figure = leg.figure(What::Lines, operation, side);
                cells.push(figure.map_or(String::new(), |Figure { median, low, high }| {
                    format!("{median:.4} ({low:.4}..{high:.4})")
                }));
            }
            rows.push(cells);
        }
        let mut head = vec!["Transfers in one operation, readers on all CPUs".to_owned()];
        head.extend(legs.iter().map(|leg| leg.flavour.clone()));
        let note = format!("Of a model: caches without end, lines of 64 bytes. {NOT_TIME}");
        table(&head, &rows, &note)
    }

    /// Readers of RCU do not make any cache line go from CPU to CPU, or next to none.
    pub fn nothing_is_shared(&self, operations: &[Operation]) -> Result<()> {
        const MOST: f64 = 0.01;

        let readers = || operations.iter().filter(|o| o.group == Group::Read);
        let mut wrong = vec![];
        for leg in self.inlined() {
            let lines = || leg.samples.iter().filter(|s| s.what == What::Lines);
            if lines().next().is_none() {
                wrong.push(format!("  {}: it was not measured", leg.flavour));
            }
            for samples in lines().filter(|s| readers().any(|o| o.name == s.operation)) {
                let transfers = samples.figure().median;
                if transfers >= MOST {
                    let Samples { operation, side, .. } = samples;
                    wrong.push(format!("  {}: {operation}, {side}: {transfers:.4}", leg.flavour));
                }
            }
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(problem(
                format!(
                    "it is not shown that readers of RCU share nothing: {MOST} transfers an operation or more"
                ),
                wrong.join("\n"),
                "a very busy machine? Then again; else see what these loops write to",
            )),
        }
    }

    /// Libraries in user space.
    fn user(&self, operations: &[Operation]) -> String {
        let Some(leg) = self.inlined().next() else { return String::new() };
        let mut rows = vec![];
        for operation in operations.iter().filter(|o| o.group == Group::User) {
            let mut sides: Vec<_> =
                leg.samples.iter().filter(|s| s.operation == operation.name).collect();
            sides.dedup_by(|a, b| a.side == b.side);
            let mut names: Vec<_> = sides.iter().map(|s| &s.side).collect();
            names.sort();
            names.dedup();
            for side in names {
                let cell = |what| {
                    let figure = leg.figure(what, &operation.name, side);
                    figure.map_or(String::new(), |figure| shown(figure, what))
                };
                rows.push(vec![
                    operation.title.clone(),
                    side.clone(),
                    cell(What::Count),
                    cell(What::Time),
                ]);
            }
        }
        let head = ["One operation", "library", "instructions", "ns"].map(str::to_owned);
        table(&head, &rows, &self.of_times())
    }
}

/// The ways to wait for a grace period.
pub const WAITS: [(&str, &str); 5] = [
    ("synchronize", "`synchronize_rcu()`"),
    ("expedited", "`synchronize_rcu_expedited()`"),
    ("update-synchronize", "publish, `RcuRetired::synchronize()`"),
    ("toy-every-cpu", "toy that visits every CPU"),
    ("toy-batches", "toy whose CPUs report"),
];

/// What a side is called.
pub fn side_title(side: &str) -> &str {
    match side {
        "c" => "C",
        "rust" => "Rust",
        "upstream" => "kernel crate",
        other => other,
    }
}

/// An operation and a side of it, with a figure for each number of readers.
pub type Scaling<'a> = (&'a str, &'a str, Vec<(u64, Figure)>);

/// The operations of a leg that were measured on several CPUs.
pub fn scaling(leg: &Leg) -> Vec<Scaling<'_>> {
    let mut found: Vec<Scaling<'_>> = vec![];
    for samples in leg.samples.iter().filter(|s| s.what == What::Scale) {
        let point = (samples.n, samples.figure());
        let (operation, side) = (&*samples.operation, &*samples.side);
        match found.iter_mut().find(|(o, s, _)| (*o, *s) == (operation, side)) {
            Some((_, _, points)) => points.push(point),
            None => found.push((operation, side, vec![point])),
        }
    }
    found
}

/// A median, and what it spreads over if it does.
fn shown(figure: Figure, what: What) -> String {
    let Figure { median, low, high } = figure;
    match what {
        What::Count if low == high => exact(median),
        What::Count => format!("{} ({}..{})", exact(median), exact(low), exact(high)),
        _ => format!("{} ({}..{})", significant(median), significant(low), significant(high)),
    }
}

/// A number with three digits that count, or as many as stand before the point.
pub fn significant(number: f64) -> String {
    let digits = match number {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        n if n >= 1.0 => 2,
        n if n >= 0.1 => 3,
        _ => 4,
    };
    without_zeros(format!("{number:.digits$}"))
}

/// A count, which may have halves or quarters: its loop may take another way in each fourth turn.
fn exact(number: f64) -> String {
    without_zeros(format!("{number:.2}"))
}

fn without_zeros(text: String) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A table, with what has to stand by it.
fn table(head: &[String], rows: &[Vec<String>], note: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head);
    text += &format!("|---|{}\n", "--:|".repeat(head.len() - 1));
    for row in rows {
        let mut row = row.clone();
        row.resize(head.len(), String::new());
        text += &line(&row);
    }
    text + "\n*" + note + "*\n"
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A report with one leg, in which Rust takes `rust` instructions for a section.
    pub fn report(rust: u64) -> Report {
        let samples = |what, side: &str, n, values: &[u64]| Samples {
            what,
            operation: "section".into(),
            side: side.into(),
            n,
            values: values.to_vec(),
        };
        let samples = vec![
            samples(What::Count, "c", 10, &[50, 50, 50]),
            samples(What::Count, "rust", 10, &[10 * rust; 3]),
            samples(What::Time, "c", 10, &[40, 50, 60]),
            samples(What::Scale, "rust", 1, &[9]),
            samples(What::Scale, "rust", 2, &[18]),
            samples(What::Lines, "rust", 1000, &[rust - 4]),
        ];
        let leg = |helpers| Leg {
            flavour: "fast".into(),
            kernel: "fast-7.3.4-0".into(),
            helpers,
            load: 1.0,
            samples: samples.clone(),
        };
        Report {
            conditions: Conditions {
                rustc: "rustc 1".into(),
                llvm: 22,
                qemu: "7.2".into(),
                accel: "TCG".into(),
                cpus: [2, 2],
            },
            legs: vec![leg(Helpers::Inlined), leg(Helpers::Called)],
        }
    }

    #[test]
    fn every_table_says_what_it_is_not() {
        let text = report(6).markdown(&super::super::operations::all());
        for anchor in text.lines().filter(|l| l.contains("ANCHOR: ") && !l.contains("conditions")) {
            let rest = &text[text.find(anchor).unwrap()..];
            let part = &rest[..rest.find("ANCHOR_END").unwrap()];
            assert!(part.contains("Instruction counts are not time"), "{anchor}");
        }
        assert!(text.contains("| read-side section, empty | 5 | 6 | 1.200 |"), "{text}");
        assert!(text.contains("0.018 (x 2.00)"), "{text}");
    }

    #[test]
    fn what_was_not_measured_is_not_there() {
        let text = report(5).markdown(&super::super::operations::all());
        assert!(!text.contains("mutex") && !text.contains("In user space"), "{text}");
    }

    #[test]
    fn readers_that_share_are_named() {
        let shared = |rust| report(rust).nothing_is_shared(&super::super::operations::all());
        assert!(shared(13).is_ok());
        assert!(shared(14).unwrap_err().to_string().contains("fast: section, rust: 0.0100"));
        let mut none = report(5);
        none.legs[0].samples.clear();
        let error = none.nothing_is_shared(&[]).unwrap_err().to_string();
        assert!(error.contains("fast: it was not measured"), "{error}");
    }

    #[test]
    fn numbers_have_the_digits_that_they_deserve() {
        let numbers = [1234.5, 12.34, 12.0, 0.127, 0.00832, 0.0].map(significant);
        assert_eq!(numbers, ["1234", "12.3", "12", "0.127", "0.0083", "0"]);
        assert_eq!([172.5, 265.0].map(exact), ["172.5", "265"]);
    }
}
