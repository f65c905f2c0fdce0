// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel log lines, as a serial console or dmesg prints them.

use std::sync::LazyLock;

use regex::Regex;

/// One line of a kernel log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The kernel's stamp in microseconds since boot; `None` for a line without one.
    pub time_us: Option<u64>,
    /// The message: no stamp, no escape sequences, no white space at its end.
    pub text: String,
    /// The whole line, cleaned of escape sequences only: this is what a person is shown.
    pub raw: String,
}

/// A line of the shape `<module>: [<thread>] <event>[: key=value ...]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since boot, where the line has a stamp.
    pub time_us: Option<u64>,
    /// Who logs: the prefix of `pr_info!`.
    pub module: String,
    /// The thread, or what stands for one (`init`, `exit`).
    pub thread: String,
    /// The event's name, up to the colon: `hit cco`.
    pub name: String,
    /// What follows the colon, in the order of the line.
    pub fields: Vec<(String, String)>,
    /// Index of the line in the log.
    pub line: usize,
}

/// Terminal escape sequences: CSI (colours, cursor), OSC (titles), and two-byte ones.
static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])").unwrap()
});

/// `[    3.101234] `, perhaps with a level before it and the caller (PRINTK_CALLER) behind it.
static STAMP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:<\d+>)?\[ *(\d{1,12})\.(\d{6})\](?:\[ *[TC]\d+\])? ?").unwrap()
});

static EVENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(\w+): \[([^\]\s]+)\] (\S.*)$").unwrap());

/// Splits a log into lines. Empty lines are dropped, so indices count what can be seen.
pub fn parse(log: &str) -> Vec<LogLine> {
    let lines = log.split('\n').map(parse_line);
    lines.filter(|line| !line.raw.is_empty()).collect()
}

/// Reads one line.
pub fn parse_line(line: &str) -> LogLine {
    let clean = ESCAPE.replace_all(line, "");
    // The console ends lines with \r\n; a lone \r or another control character is noise as well.
    let raw: String = clean.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    let raw = raw.trim_end().to_owned();
    // A program in the guest may have left an unfinished line in front of the kernel's.
    let Some(stamp) = STAMP.captures(&raw) else {
        let text = raw.clone();
        return LogLine { time_us: None, text, raw };
    };
    let number = |i: usize| stamp[i].parse::<u64>().expect("digits, and few of them");
    LogLine {
        time_us: Some(number(1) * 1_000_000 + number(2)),
        text: raw[stamp.get_match().end()..].to_owned(),
        raw,
    }
}

/// The events among the lines, of every module that logs in this shape.
pub fn events(lines: &[LogLine]) -> Vec<Event> {
    let indexed = lines.iter().enumerate();
    indexed.filter_map(|(index, line)| event(line, index)).collect()
}

fn event(line: &LogLine, index: usize) -> Option<Event> {
    let parts = EVENT.captures(&line.text)?;
    let (name, rest) = split_name(parts.get(3)?.as_str());
    let fields = rest.split_whitespace().filter_map(|word| word.split_once('='));
    Some(Event {
        time_us: line.time_us,
        module: parts[1].to_owned(),
        thread: parts[2].to_owned(),
        name: name.to_owned(),
        fields: fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        line: index,
    })
}

/// Splits `<event>: key=value ...` into the name and the rest.
pub(super) fn split_name(body: &str) -> (&str, &str) {
    let (name, rest) = body.split_once(": ").unwrap_or((body, ""));
    (name.trim_end_matches(':'), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stamp_and_text() {
        let line = parse_line("[    3.101234] phased_state: [maint] hit maint\r");
        assert_eq!(line.time_us, Some(3_101_234));
        assert_eq!(line.text, "phased_state: [maint] hit maint");
        assert_eq!(line.raw, "[    3.101234] phased_state: [maint] hit maint");
    }

    #[test]
    fn copes_with_what_a_console_does() {
        for (line, time_us, text) in [
            ("\x1b[32m[   12.000001] \x1b[0m\x1b[33mrcu\x1b[0m: x", 12_000_001, "rcu: x"),
            ("<6>[    0.000000] Linux version", 0, "Linux version"),
            ("[    1.000000][  T123] a: [b] c", 1_000_000, "a: [b] c"),
            ("\x1b[?7l\x1bc\x1b]0;title\x07[    1.000000] a", 1_000_000, "a"),
            ("# insmod x.ko[    1.500000] a: [b] c", 1_500_000, "a: [b] c"),
            ("\r[99999.500000]  indented", 99_999_500_000, " indented"),
        ] {
            let read = parse_line(line);
            assert_eq!((read.time_us, &*read.text), (Some(time_us), text), "{line:?}");
        }
        let bare = parse_line("no stamp [ 1.5] here");
        assert_eq!((bare.time_us, &*bare.text), (None, "no stamp [ 1.5] here"));
        assert_eq!(parse_line("a\rb\x07\tc").text, "ab\tc");
        assert_eq!(parse("a\r\n\r\n\n\x1b[0m\nb").len(), 2);
    }

    #[test]
    fn reads_events_and_leaves_the_rest() {
        let lines = parse(
            "[    1.000000] random: crng init done\n\
             [    2.000000] phased_state: [maint] grace period: which=1 ms=623\n\
             [    2.100000] phased_state: loading out-of-tree module taints kernel.\n\
             [    2.200000] audit: type=1106 msg='a: [b] c'\n\
             phased_state: [cco1] hit cco\n\
             [    2.300000] phased_state: [] nobody\n\
             [    2.400000] phased_state: [cco1]",
        );
        let events = events(&lines);
        assert_eq!(events.len(), 2);
        let first = &events[0];
        assert_eq!(
            (&*first.module, &*first.thread, &*first.name, first.line),
            ("phased_state", "maint", "grace period", 1)
        );
        assert_eq!(first.time_us, Some(2_000_000));
        assert_eq!(first.fields[0], ("which".into(), "1".into()));
        assert_eq!(first.fields.last(), Some(&("ms".into(), "623".into())));
        assert_eq!((events[1].time_us, &*events[1].name), (None, "hit cco"));
        assert_eq!(events[1].line, 4);
    }

    #[test]
    fn a_name_ends_at_the_colon() {
        assert_eq!(split_name("hit cco"), ("hit cco", ""));
        assert_eq!(split_name("init: a=1 b=2"), ("init", "a=1 b=2"));
        assert_eq!(split_name("done:"), ("done", ""));
    }
}
