// SPDX-License-Identifier: MIT OR Apache-2.0
//! `expected.trace`: what a module promises to log, and in which order.
//!
//! ```text
//! # a comment
//! module phased_state
//! phased_state: [director] start cco1
//! phased_state: [cco1] hit cco
//!     after [director] start cco1 -- wake: "start" is logged before the thread is woken
//! phased_state: [maint] grace period: which=1 ms={int}
//! forbid phased_state: [{word}] gave up{rest}
//! ```
//!
//! - Each line occurs exactly once, unless `times` says otherwise. The lines of one thread come in
//!   the order of the file.
//! - Between threads only `after` promises an order; everything else may come in any.
//! - `after` names one line by its `[thread] event`, or, where a thread logs that event more than
//!   once, by as much of the line as tells it apart: `after [maint] grace period: which=1`.
//! - `{int}` is a number, `{word}` anything without white space, `{rest}` anything, even nothing.
//!
//! A line may come any number of times, also never, where a later line of its thread counts:
//!
//! ```text
//! rcu_guard: [lister] process: pid={int} comm={rest}
//!     times processes of [lister] end list -- one line for each process
//! rcu_guard: [lister] end list: processes={int}
//! ```
//!
//! - The counting line comes once, and its field, an `{int}`, says how many came before it.
//! - In the order of its thread the repeated line is one block: all of it comes after the line
//!   before, and before the line behind. `after` below it holds for each; `after` cannot name it,
//!   but can name the line that counts.

use std::fmt;
use std::sync::LazyLock;

use miette::{LabeledSpan, NamedSource, Report, miette};
use regex::{Captures, Regex};

use super::log;

/// The promise of one module, for one load and unload of it.
#[derive(Debug, Clone)]
pub struct Contract {
    /// The module's name, which its log lines begin with.
    pub module: String,
    /// The lines that must come, in the order of the file.
    pub lines: Vec<Expected>,
    /// The lines that must not come.
    pub forbidden: Vec<Forbidden>,
}

/// A line that must come: exactly once, or as often as another line says.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its text, with placeholders.
    pub pattern: Pattern,
    /// The thread that logs it.
    pub thread: String,
    /// The event: the text between the thread and the colon.
    pub name: String,
    /// What must have come before it, the thread's own order first.
    pub after: Vec<After>,
    /// What says how often it comes; `None` for once.
    pub times: Option<Times>,
    /// Its line number in the file, from 1.
    pub line: usize,
}

/// How often a line comes.
#[derive(Debug, Clone)]
pub struct Times {
    /// The field that has the number.
    pub field: String,
    /// Index in [`Contract::lines`] of the line with that field.
    pub counter: usize,
    /// The author's words on it.
    pub why: String,
}

/// Why a line can come only after another one.
#[derive(Debug, Clone)]
pub struct After {
    /// Index in [`Contract::lines`] of the one that comes first.
    pub first: usize,
    /// What makes it so.
    pub kind: Kind,
    /// The author's words on it.
    pub why: String,
    /// The clause's line number in the file, or that of the line itself for a thread's own order.
    pub line: usize,
}

/// A line that must not come.
#[derive(Debug, Clone)]
pub struct Forbidden {
    /// Its text, with placeholders.
    pub pattern: Pattern,
    /// Its line number in the file, from 1.
    pub line: usize,
}

/// What makes one line come after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One thread does one after the other.
    Program,
    /// A thread cannot run before it is created.
    Spawn,
    /// A thread goes on only after it is woken.
    Wake,
    /// One thread waits for another's signal.
    Handshake,
    /// A grace period ends only after the readers that it found.
    GracePeriod,
}

impl Kind {
    /// All kinds, as the file writes them.
    const NAMES: [(&'static str, Kind); 5] = [
        ("program", Kind::Program),
        ("spawn", Kind::Spawn),
        ("wake", Kind::Wake),
        ("handshake", Kind::Handshake),
        ("grace period", Kind::GracePeriod),
    ];

    fn parse(name: &str) -> Option<Self> {
        let row = Self::NAMES.iter().find(|row| row.0 == name)?;
        Some(row.1)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = Self::NAMES.iter().find(|row| row.1 == *self);
        f.write_str(row.expect("each kind has a name").0)
    }
}

/// A line's text with placeholders, and how to recognise it.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    /// The longest part without a placeholder.
    literal: String,
    regex: Regex,
}

/// The placeholders: name, what it matches, an example.
const PLACEHOLDERS: [(&str, &str, &str); 3] =
    [("int", r"-?\d+", "7"), ("word", r"\S+", "something"), ("rest", r".*", "")];

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{([^{}]*)\}").unwrap());

impl Pattern {
    /// Reads a text; the error is the placeholder that does not exist.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut regex, mut end) = (String::from("^"), 0);
        for found in PLACEHOLDER.captures_iter(text) {
            let whole = found.get_match();
            let row = PLACEHOLDERS.iter().find(|row| row.0 == &found[1]);
            let (_, matches, _) = row.ok_or(whole.as_str())?;
            regex += &regex::escape(&text[end..whole.start()]);
            regex += matches;
            end = whole.end();
        }
        regex += &regex::escape(&text[end..]);
        let literal = PLACEHOLDER.split(text).max_by_key(|part| part.len());
        Ok(Self {
            text: text.to_owned(),
            literal: literal.unwrap_or_default().to_owned(),
            regex: Regex::new(&(regex + "$")).expect("escaped text and our own patterns"),
        })
    }

    /// The text as the file has it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a log line's text is of this pattern.
    pub fn matches(&self, text: &str) -> bool {
        // Most lines are told apart without the regex, which costs more.
        text.contains(&self.literal) && self.regex.is_match(text)
    }

    /// A text of this pattern.
    pub fn example(&self) -> String {
        let fill = |found: &Captures<'_>| {
            let row = PLACEHOLDERS.iter().find(|row| row.0 == &found[1]);
            row.expect("checked when it was parsed").2
        };
        PLACEHOLDER.replace_all(&self.text, fill).into_owned()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Contract {
    /// Reads a contract; `name` is what errors call the file.
    ///
    /// # Errors
    ///
    /// A report with the line's number, and what to write instead.
    pub fn parse(name: &str, text: &str) -> miette::Result<Self> {
        Parser { name, text }.contract()
    }

    /// Whether a log line is one that the module wrote, as opposed to what others write, and to
    /// what the kernel's loader writes about the module under the module's name.
    pub fn is_own(&self, text: &str) -> bool {
        let rest = text.strip_prefix(&*self.module).and_then(|rest| rest.strip_prefix(':'));
        rest.is_some_and(|rest| !rest.contains("taint") || !LOADER.is_match(rest))
    }

    /// The line of the same thread that comes before line `i`. One that may come any number of
    /// times cannot be waited for; the checker sees to it that it does not come later.
    fn own_order(&self, i: usize) -> Option<After> {
        let first = self.same_thread_before(i).rfind(|&j| self.lines[j].times.is_none())?;
        let Expected { thread, line, .. } = &self.lines[i];
        let why = format!("[{thread}] does one after the other");
        Some(After { first, kind: Kind::Program, why, line: *line })
    }

    /// The lines of the thread of line `i` that stand before it.
    fn same_thread_before(&self, i: usize) -> impl DoubleEndedIterator<Item = usize> {
        (0..i).filter(move |&j| self.lines[j].thread == self.lines[i].thread)
    }
}

/// What the loader says about any module of ours: it is not the kernel's own, nor signed.
static LOADER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^ (?:loading |module ).* ?(?:taints|tainting) kernel").unwrap());

/// `after` or `times` as it is written, before its target is looked up.
struct Clause<'a, W> {
    owner: usize,
    target: &'a str,
    /// The kind of order, or the field that counts.
    what: W,
    why: &'a str,
    line: usize,
}

struct Parser<'a> {
    name: &'a str,
    text: &'a str,
}

impl<'a> Parser<'a> {
    fn contract(&self) -> miette::Result<Contract> {
        let mut contract: Option<Contract> = None;
        let (mut afters, mut times) = (Vec::new(), Vec::new());
        for (line, text) in (1..).zip(self.text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            let rest = rest.trim_start();
            match (&mut contract, word) {
                (None, "module") => contract = Some(self.module(line, rest)?),
                (None, _) => return Err(self.no_module(line)),
                (Some(known), "module") => {
                    let message = format!("a second module, after `{}`", known.module);
                    return Err(self.error(line, message, "a contract is for one module"));
                }
                (Some(known), "after") => afters.push(self.after(line, rest, known)?),
                (Some(known), "times") => times.push(self.times(line, rest, known)?),
                (Some(known), "forbid") => {
                    self.prefix(line, rest, &known.module)?;
                    let pattern = self.pattern(line, rest)?;
                    known.forbidden.push(Forbidden { pattern, line });
                }
                (Some(known), _) => {
                    let expected = self.expected(line, text, known)?;
                    known.lines.push(expected);
                }
            }
        }
        let mut contract = contract.ok_or_else(|| self.no_module(1))?;
        for clause in &times {
            let counted = self.counted(clause, &contract)?;
            contract.lines[clause.owner].times = Some(counted);
        }
        for clause in &times {
            self.refuse_counted_counter(clause, &contract)?;
        }
        for i in 0..contract.lines.len() {
            let own_order = contract.own_order(i);
            contract.lines[i].after.extend(own_order);
        }
        for clause in &afters {
            let after = self.comes_after(clause, &contract)?;
            contract.lines[clause.owner].after.push(after);
        }
        self.refuse_cycles(&contract)?;
        Ok(contract)
    }

    fn module(&self, line: usize, name: &str) -> miette::Result<Contract> {
        static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\w+$").unwrap());
        if !NAME.is_match(name) {
            let message = format!("`{name}` is not a module's name");
            let help =
                "write the name that the log lines begin with, such as `module phased_state`";
            return Err(self.error(line, message, help));
        }
        Ok(Contract { module: name.to_owned(), lines: Vec::new(), forbidden: Vec::new() })
    }

    fn no_module(&self, line: usize) -> Report {
        self.error(
            line,
            "no module is named before this",
            "write `module NAME` first, such as `module phased_state`",
        )
    }

    /// Refuses a line that does not begin with the module's name.
    fn prefix(&self, line: usize, text: &str, module: &str) -> miette::Result<()> {
        let rest = text.strip_prefix(module);
        if rest.is_some_and(|rest| rest.starts_with(": ")) {
            return Ok(());
        }
        let word = text.split_whitespace().next().unwrap_or_default();
        let help =
            format!("begin with `{module}: [thread] event`, `after`, `times`, `forbid` or `#`");
        Err(self.error(line, format!("`{word}` is not known here"), help))
    }

    fn pattern(&self, line: usize, text: &str) -> miette::Result<Pattern> {
        Pattern::parse(text).map_err(|unknown| {
            let message = format!("`{unknown}` is not a placeholder");
            self.error(line, message, "there are {int}, {word} and {rest}")
        })
    }

    fn expected(&self, line: usize, text: &str, so_far: &Contract) -> miette::Result<Expected> {
        static BODY: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^\w+: \[([^\]\s]+)\] (\S.*)$").unwrap());

        let module = &so_far.module;
        self.prefix(line, text, module)?;
        let Some(parts) = BODY.captures(text) else {
            let help = format!(
                "write `{module}: [thread] event` or `{module}: [thread] event: key=value`"
            );
            return Err(self.error(line, "the line names no thread or no event", help));
        };
        if let Some(twin) = so_far.lines.iter().find(|e| e.pattern.as_str() == text) {
            let message = format!("the same as line {}", twin.line);
            let help = "tell them apart by a field, such as `which=2`; a line that comes again and again stands here once, with `times` below it";
            return Err(self.error(line, message, help));
        }
        Ok(Expected {
            pattern: self.pattern(line, text)?,
            name: log::split_name(&parts[2]).0.to_owned(),
            thread: parts[1].to_owned(),
            after: Vec::new(),
            times: None,
            line,
        })
    }

    /// The index of the line that a clause stands below.
    fn owner(&self, line: usize, clause: &str, so_far: &Contract) -> miette::Result<usize> {
        so_far.lines.len().checked_sub(1).ok_or_else(|| {
            let message = format!("`{clause}` belongs to a line, and there is none yet");
            self.error(line, message, "write it below the line that it is about")
        })
    }

    fn after(
        &self,
        line: usize,
        text: &'a str,
        so_far: &Contract,
    ) -> miette::Result<Clause<'a, Kind>> {
        let owner = self.owner(line, "after", so_far)?;
        let parts = text.split_once(" -- ").and_then(|(target, reason)| {
            let (kind, why) = reason.split_once(": ")?;
            Some((target.trim(), kind.trim(), why.trim()))
        });
        let Some((target, kind, why)) = parts else {
            let help = "write `after [thread] event -- kind: why it is so`";
            return Err(self.error(line, "the clause does not say why", help));
        };
        let what = Kind::parse(kind).ok_or_else(|| {
            let names = Kind::NAMES.map(|(name, _)| name).join(", ");
            let message = format!("`{kind}` is not a kind of order");
            self.error(line, message, format!("write one of: {names}"))
        })?;
        Ok(Clause { owner, target, what, why, line })
    }

    fn times(
        &self,
        line: usize,
        text: &'a str,
        so_far: &Contract,
    ) -> miette::Result<Clause<'a, &'a str>> {
        let owner = self.owner(line, "times", so_far)?;
        let parts = text.split_once(" of ").and_then(|(field, rest)| {
            let (target, why) = rest.split_once(" -- ")?;
            Some((field.trim(), target.trim(), why.trim()))
        });
        let Some((what, target, why)) = parts else {
            let help = "write `times field of [thread] event -- why it is so`";
            return Err(self.error(line, "the clause does not say what counts, and why", help));
        };
        Ok(Clause { owner, target, what, why, line })
    }

    /// The index of the line that a clause names.
    fn resolve<W>(&self, clause: &Clause<'_, W>, contract: &Contract) -> miette::Result<usize> {
        let Clause { target, line, .. } = *clause;
        let named: Vec<usize> =
            (0..contract.lines.len()).filter(|&i| contract.lines[i].is_named(target)).collect();
        let &[index] = named.as_slice() else {
            let (message, help) = if named.is_empty() {
                let thread = target.split(' ').next().unwrap_or_default();
                let known = contract.lines.iter().map(Expected::short);
                let mut known: Vec<_> = known.filter(|s| s.starts_with(thread)).collect();
                known.dedup();
                let help = if known.is_empty() {
                    "write `[thread] event` as in the line that is meant".to_owned()
                } else {
                    format!("{thread} logs: {}", known.join(", "))
                };
                (format!("no line is named `{target}`"), help)
            } else {
                let lines: Vec<_> =
                    named.iter().map(|&i| contract.lines[i].line.to_string()).collect();
                let message = format!("`{target}` is the name of lines {}", lines.join(" and "));
                let help = format!("say which, as in `{target}: which=1`");
                (message, help)
            };
            return Err(self.error(line, message, help));
        };
        Ok(index)
    }

    fn comes_after(&self, clause: &Clause<'_, Kind>, contract: &Contract) -> miette::Result<After> {
        let first = self.resolve(clause, contract)?;
        if let Some(times) = &contract.lines[first].times {
            let message = format!("`{}` may come many times, or never", clause.target);
            let counter = contract.lines[times.counter].short();
            let help = format!("name the line that counts them: `after {counter}`");
            return Err(self.error(clause.line, message, help));
        }
        Ok(After { first, kind: clause.what, why: clause.why.to_owned(), line: clause.line })
    }

    /// How often a clause lets its line come.
    fn counted(&self, clause: &Clause<'_, &str>, contract: &Contract) -> miette::Result<Times> {
        let Clause { owner, target, what: field, line, .. } = *clause;
        let counter = self.resolve(clause, contract)?;
        let (repeated, counting) = (&contract.lines[owner], &contract.lines[counter]);
        let wrong = |message: String, help: &str| Err(self.error(line, message, help));
        if repeated.times.is_some() {
            return wrong("a second `times` for one line".into(), "one line counts, once");
        }
        if counting.thread != repeated.thread {
            let message = format!("`{target}` is of another thread than what it counts");
            return wrong(message, "let the thread count its own lines: only it knows the order");
        }
        if counter <= owner {
            let message = format!("`{target}` does not come behind what it counts");
            return wrong(
                message,
                "the line that counts stands below, and is logged when all came",
            );
        }
        let number = format!("{field}={{int}}");
        if !counting.pattern.as_str().split_whitespace().any(|word| word == number) {
            let message = format!("`{target}` has no field `{number}`");
            return wrong(message, "write the field's name as in the line that counts");
        }
        Ok(Times { field: field.to_owned(), counter, why: clause.why.to_owned() })
    }

    fn refuse_counted_counter(
        &self,
        clause: &Clause<'_, &str>,
        contract: &Contract,
    ) -> miette::Result<()> {
        let counter = contract.lines[clause.owner].times.as_ref().map(|times| times.counter);
        if counter.is_some_and(|counter| contract.lines[counter].times.is_some()) {
            let message = format!("`{}` counts, and so comes once itself", clause.target);
            return Err(self.error(clause.line, message, "take away the `times` below that line"));
        }
        Ok(())
    }

    /// Takes away, again and again, what waits for nothing. What is left waits for itself.
    fn refuse_cycles(&self, contract: &Contract) -> miette::Result<()> {
        let mut left: Vec<usize> = (0..contract.lines.len()).collect();
        // A line that may come never is waited for by nobody, but must not be impossible either.
        let firsts = |i: usize| {
            let clauses = contract.lines[i].after.iter().map(|a| a.first);
            clauses.chain(contract.same_thread_before(i))
        };
        loop {
            let waits = |&i: &usize| firsts(i).any(|first| left.contains(&first));
            let still: Vec<usize> = left.iter().copied().filter(waits).collect();
            if still.is_empty() {
                return Ok(());
            }
            if still.len() == left.len() {
                break;
            }
            left = still;
        }
        // Walking back from any of them must come round; the first one met twice is in the circle.
        let mut path = vec![left[0]];
        let circle = loop {
            let back = firsts(path[path.len() - 1]).find(|i| left.contains(i));
            let back = back.expect("what is left waits for something that is left");
            if let Some(start) = path.iter().position(|&i| i == back) {
                break path.split_off(start);
            }
            path.push(back);
        };
        // The thread's own order is given, so the mistake is in a clause: point at one.
        let mut clauses = circle.iter().flat_map(|&i| {
            let Expected { after, line, .. } = &contract.lines[i];
            after.iter().filter(move |a| a.line != *line)
        });
        let clause = clauses.find(|a| circle.contains(&a.first));
        let line = clause.map_or(contract.lines[circle[0]].line, |a| a.line);
        let mut names: Vec<_> = circle.iter().map(|&i| contract.lines[i].short()).collect();
        names.push(names[0].clone());
        let message = format!("the order goes round in a circle: {}", names.join(" after "));
        let help = "remove the `after` that is not true; the lines of one thread come in the order of the file";
        Err(self.error(line, message, help))
    }

    fn error(&self, line: usize, message: impl fmt::Display, help: impl fmt::Display) -> Report {
        let start: usize = self.text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let length = self.text[start..].lines().next().map_or(0, str::len);
        miette!(
            labels = vec![LabeledSpan::at(start..start + length, "here")],
            help = help.to_string(),
            "{}:{line}: {message}",
            self.name
        )
        .with_source_code(NamedSource::new(self.name, self.text.to_owned()))
    }
}

impl Expected {
    /// `[thread] event`, the name that `after` uses.
    pub fn short(&self) -> String {
        format!("[{}] {}", self.thread, self.name)
    }

    /// Whether `after` means this line: by its name, or by its name and fields as far as written.
    fn is_named(&self, target: &str) -> bool {
        let (_, body) = self.pattern.as_str().split_once(": ").unwrap_or_default();
        let rest = body.strip_prefix(target);
        target == self.short()
            || rest.is_some_and(|rest| {
                rest.is_empty() || (target.contains(": ") && rest.starts_with(' '))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    const HEAD: &str = "module m\nm: [a] one\nm: [a] two: n=1\nm: [a] two: n=2\nm: [b] three\n";

    fn parse(more: &str) -> miette::Result<Contract> {
        Contract::parse("expected.trace", &format!("{HEAD}{more}"))
    }

    #[test]
    fn reads_the_sample() {
        let contract = Contract::parse("sample.trace", sample::CONTRACT).unwrap();
        assert_eq!(contract.module, "phased_state");
        assert_eq!((contract.lines.len(), contract.forbidden.len()), (20, 1));
        let line = |name: &str| {
            let found = contract.lines.iter().find(|e| e.short() == name);
            found.unwrap_or_else(|| panic!("{name}"))
        };
        let gp = line("[maint] grace period");
        let firsts: Vec<_> =
            gp.after.iter().map(|a| (contract.lines[a.first].short(), a.kind)).collect();
        assert_eq!(
            firsts,
            [
                ("[maint] hit maint".to_owned(), Kind::Program),
                ("[cco1] end cco_quickly".to_owned(), Kind::GracePeriod)
            ]
        );
        assert!(gp.after[1].why.starts_with("synchronize_rcu() returns"));
        let source = sample::CONTRACT.lines().nth(gp.after[1].line - 1).unwrap();
        assert!(source.trim().starts_with("after [cco1] end cco_quickly"));
        // The two readers log the same event; neither waits for the other.
        assert_eq!(line("[cco2] hit cco").after.len(), 1);
    }

    #[test]
    fn placeholders_match() {
        let pattern = Pattern::parse("m: [{word}] a.b({int}){rest}").unwrap();
        for (text, yes) in [
            ("m: [x/0] a.b(-12)", true),
            ("m: [x] a.b(1) and more", true),
            ("m: [x] aXb(1)", false),
            ("m: [x y] a.b(1)", false),
            ("m: [x] a.b(one)", false),
            (" m: [x] a.b(1)", false),
        ] {
            assert_eq!(pattern.matches(text), yes, "{text}");
        }
        assert_eq!(pattern.example(), "m: [something] a.b(7)");
        assert!(pattern.matches(&pattern.example()));
        assert!(!Pattern::parse("m: [a] b").unwrap().matches("m: [a] b more"));
    }

    #[test]
    fn after_tells_lines_apart() {
        for target in ["[a] two: n=2", "[a] one", "[b] three"] {
            let text = format!("m: [c] x\n after {target} -- wake: so it is");
            assert!(parse(&text).is_ok(), "{target}");
        }
        // A name is not the beginning of another name, nor a value of another value.
        let text = "m: [c] one more: k=1 v=2\nm: [c] one: k=12\nm: [d] x\nafter [c] one -- program: y\nafter [c] one more: k=1 -- program: z";
        let contract = parse(text).unwrap();
        let firsts: Vec<_> = contract.lines[6].after.iter().map(|a| a.first).collect();
        assert_eq!(firsts, [5, 4]);
        let text = "m: [c] k: n=12\nm: [c] k: n=1 v=2\nm: [d] x\nafter [c] k: n=1 -- program: y";
        assert_eq!(parse(text).unwrap().lines[6].after[0].first, 5);
    }

    /// A lister that counts what it lists, from line 6 on.
    const LIST: &str = "m: [l] begin\nm: [l] item: {rest}\n times items of [l] end -- one each\nm: [l] end: items={int} of={word}\n";

    #[test]
    fn a_line_can_come_as_often_as_another_says() {
        let contract = parse(LIST).unwrap();
        let (item, end) = (&contract.lines[5], &contract.lines[6]);
        let times = item.times.as_ref().unwrap();
        assert_eq!((&*times.field, times.counter, &*times.why), ("items", 6, "one each"));
        assert!(end.times.is_none());
        // Nobody waits for what may never come.
        let firsts = |e: &Expected| e.after.iter().map(|a| a.first).collect::<Vec<_>>();
        assert_eq!((firsts(item), firsts(end)), (vec![4], vec![4]));
        // It itself may have to wait.
        let more = LIST.replace(" times", " after [b] three -- wake: x\n times");
        assert_eq!(firsts(&parse(&more).unwrap().lines[5]), [4, 3]);
    }

    #[test]
    fn what_counts_has_to_be_there_to_count() {
        for (more, line, message, help) in [
            ("times n of [l] end", 6, "does not say what counts, and why", "times field of"),
            ("times items [l] end -- x", 6, "does not say what counts", "times field of"),
            ("times n of [a] five -- x", 6, "no line is named `[a] five`", "[a] logs: [a] one"),
            ("times n of [a] two -- x", 6, "the name of lines 3 and 4", "which=1"),
            ("times n of [a] two: n=1 -- x", 6, "of another thread", "count its own lines"),
            ("times n of [b] three -- x", 6, "does not come behind", "stands below"),
            ("m: [a] x\ntimes n of [a] two: n=1 -- x", 7, "does not come behind", "all came"),
            (&*LIST.replace("items={int}", "n={int}"), 8, "has no field `items={int}`", "name"),
            (&*LIST.replace("items={int}", "items={word}"), 8, "no field `items={int}`", "name"),
            (&*LIST.replace("times items", "times item"), 8, "no field `item={int}`", "name"),
            (
                &*LIST.replace("one each\n", "x\n times items of [l] end -- y\n"),
                9,
                "a second `times`",
                "once",
            ),
            (
                &*format!("{LIST} times n of [l] all -- z\nm: [l] all: n={{int}}"),
                8,
                "`[l] end` counts, and so comes once itself",
                "take away",
            ),
            (
                &*format!("{LIST}m: [d] x\n after [l] item -- wake: x"),
                11,
                "`[l] item` may come many times, or never",
                "name the line that counts them: `after [l] end`",
            ),
            // It could come only never.
            (
                &*format!(
                    "{}m: [d] x\n after [l] end -- wake: y",
                    LIST.replace(" times", " after [d] x -- wake: x\n times")
                ),
                8,
                "circle: ",
                "remove",
            ),
        ] {
            check(&parse(more).unwrap_err(), line, message, help);
        }
        let error = Contract::parse("expected.trace", "module m\ntimes n of [a] b -- x");
        check(&error.unwrap_err(), 2, "`times` belongs to a line", "below");
    }

    #[test]
    fn errors_name_the_line_and_the_remedy() {
        for (more, line, message, help) in [
            ("before [a] one -- wake: x", 6, "`before` is not known", "`after`, `times`, `forbid`"),
            ("other: [a] one", 6, "`other:` is not known", "`m: [thread] event`"),
            ("forbid gave up", 6, "`gave` is not known", "`m: [thread] event`"),
            ("m: hello", 6, "names no thread", "`m: [thread] event`"),
            ("m: [a]", 6, "names no thread or no event", "key=value"),
            ("\nm: [a] one", 7, "the same as line 2", "which=2"),
            ("m: [a] n={number}", 6, "`{number}` is not a placeholder", "{int}, {word} and {rest}"),
            ("forbid m: [{any}] x", 6, "`{any}`", "{word}"),
            (
                "after [a] four -- wake: x",
                6,
                "no line is named `[a] four`",
                "[a] logs: [a] one, [a] two",
            ),
            ("after [x] y -- wake: x", 6, "no line is named", "`[thread] event`"),
            ("after [a] two -- wake: x", 6, "the name of lines 3 and 4", "`[a] two: which=1`"),
            ("after [a] one", 6, "does not say why", "-- kind: why"),
            ("after [a] one -- because", 6, "does not say why", "-- kind: why"),
            (
                "after [a] one -- luck: x",
                6,
                "`luck` is not a kind",
                "program, spawn, wake, handshake, grace period",
            ),
            ("module n", 6, "a second module, after `m`", "one module"),
            ("after [b] three -- wake: x", 6, "circle: [b] three after [b] three", "remove"),
            (
                "m: [b] four\nm: [a] five\nafter [b] six -- wake: x\nm: [b] six\nafter [a] five -- wake: y",
                8,
                "[a] five after [b] six after [a] five",
                "remove",
            ),
            (
                "m: [b] four\n after [a] six -- wake: x\nm: [a] six\nm: [a] seven\nm: [b] eight\nm: [a] nine\nm: [a] ten\n after [b] three -- wake: y\nm: [c] z\n after [a] nine -- wake: y\n after [b] eight -- wake: z\nm: [a] last\nafter [d] x -- wake: y\nm: [d] x\nafter [a] last -- wake: z",
                18,
                "[a] last after [d] x after [a] last",
                "remove",
            ),
        ] {
            check(&parse(more).unwrap_err(), line, message, help);
        }
        for (text, line, message) in [
            ("", 1, "no module is named"),
            ("# only a comment\n", 1, "no module is named"),
            ("# c\n\nm: [a] one", 3, "no module is named"),
            ("module two words", 1, "not a module's name"),
            ("module", 1, "not a module's name"),
            ("module m\nafter [a] b -- wake: x", 2, "there is none yet"),
        ] {
            let error = Contract::parse("expected.trace", text).unwrap_err();
            check(&error, line, message, "");
        }
    }

    fn check(error: &Report, line: usize, message: &str, help: &str) {
        let said = error.to_string();
        assert!(said.starts_with(&format!("expected.trace:{line}: ")), "{line} {said}");
        assert!(said.contains(message), "{message} | {said}");
        let remedy = error.help().map(|h| h.to_string()).unwrap_or_default();
        assert!(!remedy.is_empty() && remedy.contains(help), "{help} | {remedy}");
        // The label is on that line, inside of the source.
        let label = error.labels().and_then(|mut labels| labels.next()).unwrap();
        let source = error.source_code().unwrap();
        let span = source.read_span(label.inner(), 0, 0).unwrap();
        assert_eq!(span.line() + 1, line, "{said}");
    }

    #[test]
    fn own_lines_are_the_module_s() {
        let contract = parse("").unwrap();
        assert!(contract.is_own("m: [a] one"));
        assert!(contract.is_own("m: without a thread"));
        for other in [
            "mm: [a] one",
            "x: m: [a] one",
            "m: loading out-of-tree module taints kernel.",
            "m: module verification failed: signature and/or required key missing - tainting kernel",
            "m: module license 'MIT' taints kernel.",
        ] {
            assert!(!contract.is_own(other), "{other}");
        }
    }
}
