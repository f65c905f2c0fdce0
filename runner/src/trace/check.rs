// SPDX-License-Identifier: MIT OR Apache-2.0
//! Holds the log of one load against a contract, and says where it first differs.

use std::fmt;

use super::contract::{Contract, Expected, Kind};
use super::log::LogLine;

/// A log line that is what the contract expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Index in [`Contract::lines`].
    pub expected: usize,
    /// Index in the log.
    pub line: usize,
}

/// The first place where a log breaks its contract. [`fmt::Display`] tells it to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In which way.
    pub kind: Wrong,
    /// Index in the log; its length where lines are missing at the end.
    pub line: usize,
    /// The line, and up to two on either side.
    pub context: Vec<LogLine>,
    /// Index of the line in `context`; its length where the log has ended.
    pub at: usize,
    /// The lines that could have come here: nothing that they wait for was outstanding.
    pub expected: Vec<Wanted>,
    /// The lines of the contract that the log has nowhere.
    pub missing: Vec<Wanted>,
}

/// In which way a line differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The contract has no such line; perhaps it has one of this name with other fields.
    Unexpected {
        /// The line of the same thread and event.
        similar: Option<Wanted>,
    },
    /// The line was there before, at this index.
    Duplicated {
        /// Index in the log of the first one.
        first: usize,
    },
    /// It comes before something that must come first.
    OutOfOrder {
        /// What must come first, and why.
        unmet: Vec<Unmet>,
    },
    /// It is one that may come many times, and its thread has gone on already.
    Late {
        /// The line of the same thread that has to come behind all of them.
        behind: Wanted,
        /// Index in the log where that one is.
        first: usize,
    },
    /// It announces another number of lines than there were.
    Count {
        /// The line that is counted.
        counted: Wanted,
        /// The field with the number.
        field: String,
        /// The number, as the line has it.
        announced: String,
        /// How many came.
        came: usize,
        /// The contract's explanation.
        why: String,
    },
    /// The contract forbids it.
    Forbidden {
        /// The `forbid` line.
        by: Wanted,
    },
    /// The log ends, and lines are missing.
    Missing,
}

/// A line of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its text.
    pub text: String,
    /// Its line number in the file.
    pub line: usize,
}

/// Something that must come first, and has not come yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The line that must come first.
    pub first: Wanted,
    /// What makes it so.
    pub kind: Kind,
    /// The contract's explanation.
    pub why: String,
    /// Line number in the contract of the clause that asks for it.
    pub clause: usize,
    /// Index in the log where it does come; `None` if it never does.
    pub comes_at: Option<usize>,
}

/// Holds the log of one load and unload against its contract.
///
/// Lines of others are not looked at: whether the kernel complained is for [`super::splat`].
///
/// # Errors
///
/// The first difference.
pub fn check(contract: &Contract, log: &[LogLine]) -> Result<Vec<Pair>, Box<Difference>> {
    let checker = Checker { contract, log };
    // Where in the log each line of the contract was found: once, or as often as it came.
    let mut found: Vec<Vec<usize>> = vec![Vec::new(); contract.lines.len()];
    for (line, LogLine { text, .. }) in log.iter().enumerate() {
        if !contract.is_own(text) {
            continue;
        }
        let placed = checker.place(&found, text).and_then(|expected| {
            checker.count(expected, &found, text)?;
            Ok(expected)
        });
        match placed {
            Ok(expected) => found[expected].push(line),
            Err(kind) => return Err(checker.difference(kind, line, &found)),
        }
    }
    if (0..found.len()).any(|i| checker.is_due(i, &found)) {
        return Err(checker.difference(Wrong::Missing, log.len(), &found));
    }
    let pairs = found
        .iter()
        .enumerate()
        .flat_map(|(expected, lines)| lines.iter().map(move |&line| Pair { expected, line }));
    let mut pairs: Vec<Pair> = pairs.collect();
    pairs.sort_by_key(|pair| pair.line);
    Ok(pairs)
}

struct Checker<'a> {
    contract: &'a Contract,
    log: &'a [LogLine],
}

impl Checker<'_> {
    /// Which line of the contract this is, given which ones came before it.
    fn place(&self, found: &[Vec<usize>], text: &str) -> Result<usize, Wrong> {
        let Contract { lines, forbidden, .. } = self.contract;
        if let Some(by) = forbidden.iter().find(|f| f.pattern.matches(text)) {
            let by = Wanted { text: by.pattern.to_string(), line: by.line };
            return Err(Wrong::Forbidden { by });
        }
        let fits = |&i: &usize| lines[i].pattern.matches(text);
        let fitting: Vec<usize> = (0..lines.len()).filter(fits).collect();
        let open = |&i: &usize| found[i].is_empty() || lines[i].times.is_some();
        let ready = |&i: &usize| self.is_ready(i, found);
        if let Some(i) = fitting.iter().copied().find(ready) {
            return Ok(i);
        }
        if let Some(i) = fitting.iter().copied().find(open) {
            return Err(self.late(i, found).unwrap_or_else(|| {
                let unmet = self.unmet(&lines[i], found);
                Wrong::OutOfOrder { unmet }
            }));
        }
        if let Some(&first) = fitting.iter().find_map(|&i| found[i].first()) {
            return Err(Wrong::Duplicated { first });
        }
        // Of several with this name the one that is written most alike.
        let similar = lines.iter().filter(|e| {
            let start = format!("{}: {}", self.contract.module, e.short());
            let rest = text.strip_prefix(&start);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        });
        let alike = |e: &&Expected| {
            let both = e.pattern.as_str().bytes().zip(text.bytes());
            both.take_while(|(a, b)| a == b).count()
        };
        let similar = similar.max_by_key(alike).map(Wanted::from);
        Err(Wrong::Unexpected { similar })
    }

    /// Whether a line has to come still.
    fn is_due(&self, i: usize, found: &[Vec<usize>]) -> bool {
        found[i].is_empty() && self.contract.lines[i].times.is_none()
    }

    /// Whether a line can come now.
    fn is_ready(&self, i: usize, found: &[Vec<usize>]) -> bool {
        let Expected { after, times, .. } = &self.contract.lines[i];
        let open =
            if times.is_some() { self.late(i, found).is_none() } else { found[i].is_empty() };
        open && after.iter().all(|a| !found[a.first].is_empty())
    }

    /// Of a line that may come many times: what says that it is too late for it.
    fn late(&self, i: usize, found: &[Vec<usize>]) -> Option<Wrong> {
        let lines = &self.contract.lines;
        lines[i].times.as_ref()?;
        let behind = (i + 1..lines.len()).filter(|&j| lines[j].thread == lines[i].thread);
        let came = behind.filter_map(|j| Some((*found[j].first()?, j)));
        let (first, j) = came.min()?;
        Some(Wrong::Late { behind: Wanted::from(&lines[j]), first })
    }

    /// Whether line `i`, with this text, announces as many lines of each kind as there were.
    fn count(&self, i: usize, found: &[Vec<usize>], text: &str) -> Result<(), Wrong> {
        for (counted, came) in self.contract.lines.iter().zip(found) {
            let Some(times) = counted.times.as_ref().filter(|times| times.counter == i) else {
                continue;
            };
            let mut fields = text.split_whitespace().filter_map(|word| word.split_once('='));
            let number = fields.find(|(field, _)| *field == times.field);
            let announced = number.map_or("", |(_, number)| number);
            if announced.parse() != Ok(came.len()) {
                return Err(Wrong::Count {
                    counted: counted.into(),
                    field: times.field.clone(),
                    announced: announced.to_owned(),
                    came: came.len(),
                    why: times.why.clone(),
                });
            }
        }
        Ok(())
    }

    fn unmet(&self, expected: &Expected, found: &[Vec<usize>]) -> Vec<Unmet> {
        let unmet = expected.after.iter().filter(|a| found[a.first].is_empty());
        unmet
            .map(|after| {
                let first = &self.contract.lines[after.first];
                Unmet {
                    first: first.into(),
                    kind: after.kind,
                    why: after.why.clone(),
                    clause: after.line,
                    comes_at: self.log.iter().position(|l| first.pattern.matches(&l.text)),
                }
            })
            .collect()
    }

    fn difference(&self, kind: Wrong, line: usize, found: &[Vec<usize>]) -> Box<Difference> {
        let start = line.saturating_sub(2);
        let end = self.log.len().min(line + 3);
        let lines = &self.contract.lines;
        let ready = (0..lines.len()).filter(|&i| self.is_ready(i, found));
        let nowhere = lines.iter().filter(|e| {
            let mut log = self.log.iter();
            e.times.is_none() && !log.any(|l| e.pattern.matches(&l.text))
        });
        Box::new(Difference {
            kind,
            line,
            context: self.log[start..end].to_vec(),
            at: line - start,
            expected: ready.map(|i| Wanted::from(&lines[i])).collect(),
            missing: nowhere.map(Wanted::from).collect(),
        })
    }
}

impl From<&Expected> for Wanted {
    fn from(expected: &Expected) -> Self {
        Self { text: expected.pattern.to_string(), line: expected.line }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "    {}   (line {} of the contract)", self.text, self.line)
    }
}

impl std::error::Error for Difference {}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Wrong::Unexpected { .. } => "the contract does not have this line",
            Wrong::Duplicated { .. } => "this line comes a second time",
            Wrong::OutOfOrder { .. } => "this line comes too early",
            Wrong::Late { .. } => "this line comes too late",
            Wrong::Count { .. } => "this line announces another number of lines than came",
            Wrong::Forbidden { .. } => "this line must never come",
            Wrong::Missing => "the log ends, and lines are missing",
        };
        // Counted from the load's first line; the stamps below tell where that is in a longer log.
        writeln!(f, "The log differs at its line {}: {what}.\n", self.line + 1)?;
        for (i, line) in self.context.iter().enumerate() {
            let mark = if i == self.at { '>' } else { ' ' };
            writeln!(f, "  {mark} {}", line.raw)?;
        }
        if self.at == self.context.len() {
            writeln!(f, "  > (end of the log)")?;
        }
        writeln!(f)?;
        match &self.kind {
            Wrong::Unexpected { similar } => {
                if let Some(similar) = similar {
                    writeln!(f, "It has this event, but written otherwise:\n{similar}")?;
                }
                // Where that line could have come here, it has just been told.
                if !similar.as_ref().is_some_and(|s| self.expected.contains(s)) {
                    self.list(f, "What could come here:", &self.expected)?;
                }
            }
            Wrong::Duplicated { first } => {
                let first = first + 1;
                writeln!(f, "Line {first} of the log has it already; the contract wants it once.")?;
                self.list(f, "What could come here:", &self.expected)?;
            }
            Wrong::OutOfOrder { unmet } => {
                unmet.iter().try_for_each(|unmet| write!(f, "{unmet}"))?
            }
            Wrong::Late { behind, first } => {
                let first = first + 1;
                writeln!(
                    f,
                    "All of its kind have to come before line {first} of the log, which is"
                )?;
                writeln!(f, "{behind}")?;
            }
            Wrong::Count { counted, field, announced, came, why } => {
                writeln!(
                    f,
                    "`{field}={announced}` is to count the lines of this kind:\n{counted}"
                )?;
                writeln!(f, "    why: {why}")?;
                writeln!(f, "    {announced} announced, {came} came.")?;
            }
            Wrong::Forbidden { by } => writeln!(f, "It is forbidden by:\n{by}")?,
            Wrong::Missing => self.list(f, "What should come next:", &self.expected)?,
        }
        // At the end of a log this may be the very list that was just shown.
        let told = self.kind == Wrong::Missing && self.missing == self.expected;
        if !told {
            self.list(f, "Nowhere in the log:", &self.missing)?;
        }
        Ok(())
    }
}

impl Difference {
    fn list(&self, f: &mut fmt::Formatter<'_>, title: &str, lines: &[Wanted]) -> fmt::Result {
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(f, "{title}")?;
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "This has to come first:\n{}", self.first)?;
        writeln!(f, "    why ({}): {}", self.kind, self.why)?;
        match self.comes_at {
            Some(line) => writeln!(f, "    It comes only later, as line {} of the log.", line + 1),
            None => writeln!(f, "    It never comes."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{log, sample};
    use super::*;

    fn sample() -> (Contract, Vec<LogLine>) {
        let contract = Contract::parse("sample.trace", sample::CONTRACT).unwrap();
        (contract, log::parse(sample::LOG))
    }

    fn index(log: &[LogLine], text: &str) -> usize {
        let found = log.iter().position(|l| l.text.contains(text));
        found.unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_good_log_meets_its_contract() {
        let (contract, log) = sample();
        let pairs = check(&contract, &log).unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(pairs.len(), contract.lines.len());
        for Pair { expected, line } in pairs {
            assert!(contract.lines[expected].pattern.matches(&log[line].text));
        }
    }

    #[test]
    fn any_order_that_is_not_promised_will_do() {
        let (contract, mut log) = sample();
        let (left, gp) = (index(&log, "left cco"), index(&log, "which=1"));
        log.swap(left, gp);
        assert!(check(&contract, &log).is_ok());
    }

    #[test]
    fn a_grace_period_that_ends_too_early() {
        let (contract, mut log) = sample();
        let (end, gp) = (index(&log, "end cco_quickly"), index(&log, "which=1"));
        log.swap(end, gp);
        let difference = check(&contract, &log).unwrap_err();
        assert_eq!(difference.line, end);
        let told = "\
The log differs at its line 9: this line comes too early.

    [    3.514200] phased_state: [maint] hit maint
    [    3.700000] random: crng init done
  > [    4.031208] phased_state: [maint] grace period: which=1 ms=516
    [    4.003950] phased_state: [cco1] left cco
    [    4.003912] phased_state: [cco1] end cco_quickly

This has to come first:
    phased_state: [cco1] end cco_quickly   (line 17 of the contract)
    why (grace period): synchronize_rcu() returns only when the reader has left
    It comes only later, as line 11 of the log.
";
        assert_eq!(difference.to_string(), told);
    }

    #[test]
    fn a_line_that_is_lost() {
        let (contract, mut log) = sample();
        log.remove(index(&log, "hit cco_quickly"));
        let difference = check(&contract, &log).unwrap_err();
        assert_eq!(difference.line, index(&log, "start maint"));
        assert_eq!(difference.missing.len(), 1);
        let told = difference.to_string();
        assert!(
            told.contains("  > [    3.512001] phased_state: [director] start maint\n"),
            "{told}"
        );
        assert!(told.contains("why (handshake): the director waits until the reader is inside (timing in the original)\n    It never comes.\n"), "{told}");
        assert!(
            told.contains("Nowhere in the log:\n    phased_state: [cco1] hit cco_quickly "),
            "{told}"
        );
    }

    #[test]
    fn a_line_that_nobody_promised() {
        let (contract, mut log) = sample();
        log.insert(3, log::parse_line("[    3.002000] phased_state: [cco1] lost my way"));
        let told = check(&contract, &log).unwrap_err().to_string();
        assert!(
            told.starts_with(
                "The log differs at its line 4: the contract does not have this line."
            ),
            "{told}"
        );
        assert!(
            told.contains("What could come here:\n    phased_state: [cco1] hit cco   (line 14"),
            "{told}"
        );

        let (contract, mut log) = sample();
        let gp = index(&log, "which=1");
        log[gp] = log::parse_line("phased_state: [maint] grace period: which=1 ms=soon");
        let told = check(&contract, &log).unwrap_err().to_string();
        assert!(
            told.contains(
                "written otherwise:\n    phased_state: [maint] grace period: which=1 ms={int} "
            ),
            "{told}"
        );
        assert!(!told.contains("What could come here"), "{told}");

        let (contract, mut log) = sample();
        log.push(log::parse_line("phased_state: unknown parameter 'cco_mss' ignored"));
        assert_eq!(check(&contract, &log).unwrap_err().line, log.len() - 1);
    }

    #[test]
    fn a_line_that_comes_twice() {
        let (contract, mut log) = sample();
        log.insert(7, log[3].clone());
        let difference = check(&contract, &log).unwrap_err();
        assert_eq!(difference.kind, Wrong::Duplicated { first: 3 });
        assert!(difference.to_string().contains("Line 4 of the log has it already"));
        assert!(difference.missing.is_empty());
    }

    #[test]
    fn a_line_that_is_forbidden() {
        let (contract, mut log) = sample();
        log.push(log::parse_line("phased_state: [cco2] gave up after 5 s"));
        let told = check(&contract, &log).unwrap_err().to_string();
        assert!(told.contains("this line must never come"), "{told}");
        assert!(
            told.contains("forbidden by:\n    phased_state: [{word}] gave up{rest} "),
            "{told}"
        );
    }

    #[test]
    fn a_log_that_ends_early() {
        let (contract, mut log) = sample();
        log.truncate(index(&log, "end maint"));
        let difference = check(&contract, &log).unwrap_err();
        assert_eq!((&difference.kind, difference.line), (&Wrong::Missing, log.len()));
        let told = difference.to_string();
        assert!(told.contains("which=2 ms=339\n  > (end of the log)\n"), "{told}");
        assert!(
            told.contains("What should come next:\n    phased_state: [maint] end maint "),
            "{told}"
        );
        assert_eq!(difference.missing.len(), 3);

        let told = check(&contract, &[]).unwrap_err().to_string();
        assert!(told.contains("  > (end of the log)\n"), "{told}");
        assert!(told.contains("[init] init"), "{told}");

        let (contract, mut log) = sample();
        log.pop();
        let told = check(&contract, &log).unwrap_err().to_string();
        assert_eq!(told.matches("[exit] unloaded").count(), 1, "{told}");
    }

    const LIST: &str = "\
module m
m: [l] begin
m: [l] item: {rest}
    after [b] go -- wake: the items are made by [b]
    times items of [l] end -- one line for each item
m: [l] kind: {word}
    times kinds of [l] end -- one line for each kind
m: [l] total
m: [l] end: items={int} kinds={int}
m: [b] go
";

    /// The difference of a log that begins well, and goes on with `rest`.
    fn list(rest: &str) -> Result<usize, Box<Difference>> {
        let contract = Contract::parse("c", LIST).unwrap();
        check(&contract, &log::parse(&format!("m: [b] go\nm: [l] begin\n{rest}"))).map(|p| p.len())
    }

    #[test]
    fn a_line_that_is_counted_comes_as_often_as_announced() {
        for (rest, lines) in [
            ("m: [l] total\nm: [l] end: items=0 kinds=0", 4),
            ("m: [l] item: a\nm: [l] item: b\nm: [l] total\nm: [l] end: items=2 kinds=0", 6),
            // Twice the same is two.
            ("m: [l] item: a\nm: [l] item: a\nm: [l] total\nm: [l] end: items=2 kinds=0", 6),
            ("m: [l] item: a\nm: [l] kind: a\nm: [l] total\nm: [l] end: items=1 kinds=1", 6),
        ] {
            assert_eq!(list(rest).unwrap_or_else(|d| panic!("{d}")), lines, "{rest}");
        }
    }

    #[test]
    fn too_few_and_too_many_lines() {
        let difference =
            list("m: [l] item: a\nm: [l] item: b\nm: [l] total\nm: [l] end: items=3 kinds=0");
        let told = "\
The log differs at its line 6: this line announces another number of lines than came.

    m: [l] item: b
    m: [l] total
  > m: [l] end: items=3 kinds=0

`items=3` is to count the lines of this kind:
    m: [l] item: {rest}   (line 3 of the contract)
    why: one line for each item
    3 announced, 2 came.
";
        assert_eq!(difference.unwrap_err().to_string(), told);
        for (rest, line, says) in [
            (
                "m: [l] item: a\nm: [l] total\nm: [l] end: items=0 kinds=0",
                4,
                "0 announced, 1 came.",
            ),
            ("m: [l] total\nm: [l] end: items=0 kinds=2", 3, "2 announced, 0 came."),
            ("m: [l] total\nm: [l] end: items=-1 kinds=0", 3, "-1 announced, 0 came."),
        ] {
            let difference = list(rest).unwrap_err();
            assert_eq!(difference.line, line, "{difference}");
            assert!(difference.to_string().contains(says), "{difference}");
        }
    }

    #[test]
    fn lines_that_are_counted_are_one_block() {
        // After the next line of the thread, even one that comes many times itself.
        for (rest, line, behind) in [
            ("m: [l] kind: a\nm: [l] item: a", 3, "m: [l] kind: {word} "),
            ("m: [l] total\nm: [l] item: a", 3, "m: [l] total "),
            ("m: [l] total\nm: [l] end: items=0 kinds=0\nm: [l] item: a", 4, "m: [l] total "),
        ] {
            let difference = list(rest).unwrap_err();
            assert_eq!(difference.line, line, "{difference}");
            let told = difference.to_string();
            assert!(told.contains("this line comes too late"), "{told}");
            assert!(
                told.contains(&format!("before line 3 of the log, which is\n    {behind}")),
                "{told}"
            );
        }
        // Before the line of the thread that stands above it, or another that it waits for.
        let contract = Contract::parse("c", LIST).unwrap();
        for log in ["m: [l] kind: a", "m: [l] begin\nm: [l] item: a"] {
            let difference = check(&contract, &log::parse(log)).unwrap_err();
            assert!(matches!(difference.kind, Wrong::OutOfOrder { .. }), "{difference}");
        }
        // What may come never is not missed, but told where it could come.
        let told = list("").unwrap_err().to_string();
        let (next, nowhere) = told.split_once("Nowhere in the log:").unwrap();
        assert!(next.contains("m: [l] item: ") && next.contains("m: [l] total "), "{told}");
        assert!(!nowhere.contains("m: [l] item: "), "{told}");
    }

    #[test]
    fn two_patterns_that_fit_one_line() {
        let text = "module m\nm: [a] say: x\nm: [a] say: {rest}\n";
        let contract = Contract::parse("c", text).unwrap();
        assert!(check(&contract, &log::parse("m: [a] say: x\nm: [a] say: x")).is_ok());
        assert!(check(&contract, &log::parse("m: [a] say: y\nm: [a] say: x")).is_err());
    }
}
