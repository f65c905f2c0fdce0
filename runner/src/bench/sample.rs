// SPDX-License-Identifier: MIT OR Apache-2.0

//! Samples: from a guest's log to a median with its spread.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// What is measured, as the log calls it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Instructions, of `n` operations.
    Count,
    /// Nanoseconds, of `n` operations.
    Time,
    /// Nanoseconds until a grace period is over.
    Wait,
    /// Operations in a millisecond, of `n` readers together.
    Scale,
    /// Cache lines that went from CPU to CPU, in `n` operations of all readers together; in the
    /// log, the turns of each of `n` readers.
    Lines,
}

/// All samples of one side of an operation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Samples {
    /// What was measured.
    pub what: What,
    /// The operation.
    pub operation: String,
    /// `rust`, `c`, or another way to do it.
    pub side: String,
    /// Operations of a sample; for [`What::Scale`], readers.
    pub n: u64,
    /// One for each round.
    pub values: Vec<u64>,
}

/// A median, with the lowest and the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Samples {
    /// For one operation; for [`What::Scale`], of all readers together.
    pub fn figure(&self) -> Figure {
        let mut values = self.values.clone();
        values.sort_unstable();
        let per = if self.what == What::Scale { 1.0 } else { self.n as f64 };
        let at = |i: usize| values.get(i).copied().unwrap_or_default() as f64 / per;
        Figure { median: at(values.len() / 2), low: at(0), high: at(values.len().max(1) - 1) }
    }
}

static LINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\[(count|time|wait|scale|lines)\] sample: op=(\S+) side=(\S+) n=(\d+) values=([\d,]+)$",
    )
    .expect("is tested")
});

/// The samples in a log.
pub fn parse(lines: &[String]) -> Vec<Samples> {
    lines.iter().filter_map(|line| parse_line(line.trim_end())).collect()
}

fn parse_line(line: &str) -> Option<Samples> {
    let parts = LINE.captures(line)?;
    let what = match &parts[1] {
        "count" => What::Count,
        "time" => What::Time,
        "wait" => What::Wait,
        "scale" => What::Scale,
        _ => What::Lines,
    };
    let values: Option<Vec<_>> = parts[5].split(',').map(|value| value.parse().ok()).collect();
    Some(Samples {
        what,
        operation: parts[2].to_owned(),
        side: parts[3].to_owned(),
        n: parts[4].parse().ok().filter(|n| *n > 0)?,
        values: values?,
    })
}

static MARK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^mark: cpu=(\d+) .* transfers=(\d+)$").expect("is tested"));

/// Puts the transfers of cache lines, from the plugin's marks, in the place of the turns in the log.
///
/// Each reader has made two marks in each round. `None` if they do not come out even.
pub fn with_transfers(samples: Vec<Samples>, marks: &str) -> Option<Vec<Samples>> {
    let mut marks = marks.lines().filter_map(|line| {
        let mark = MARK.captures(line)?;
        Some((mark[1].parse().ok()?, mark[2].parse().ok()?))
    });
    let all: Option<Vec<_>> = samples
        .into_iter()
        .map(|mut samples| {
            let readers = samples.n;
            samples.n *= samples.values.first()?;
            for value in &mut samples.values {
                let mut begun: Vec<(u64, u64)> = vec![];
                *value = 0;
                for _ in 0..2 * readers {
                    let (cpu, transfers) = marks.next()?;
                    match begun.iter().position(|(c, _)| *c == cpu) {
                        Some(at) => *value += transfers - begun.swap_remove(at).1,
                        None => begun.push((cpu, transfers)),
                    }
                }
                if !begun.is_empty() {
                    return None;
                }
            }
            Some(samples)
        })
        .collect();
    all.filter(|_| marks.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(line: &str) -> Option<Samples> {
        parse_line(&format!("[    1.234567] rcu_bench: {line}"))
    }

    #[test]
    fn a_line_of_the_module_and_one_of_a_program() {
        let found = samples("[count] sample: op=deref-lock side=c n=4 values=12,40,8").unwrap();
        assert_eq!((&*found.operation, &*found.side), ("deref-lock", "c"));
        assert_eq!(found.figure(), Figure { median: 3.0, low: 2.0, high: 10.0 });
        assert!(samples("guest: [time] sample: op=x side=y n=1 values=1").is_some());
    }

    #[test]
    fn readers_do_not_share_their_rate() {
        let found = samples("[scale] sample: op=walk side=rust n=2 values=7").unwrap();
        assert_eq!(found.figure().median, 7.0);
    }

    #[test]
    fn each_reader_has_two_marks_in_a_round() {
        let line = "[lines] sample: op=deref side=c n=2 values=100,100";
        let mark = |cpu: u64, transfers: u64| {
            format!("mark: cpu={cpu} loads=9 stores=9 transfers={transfers}\n")
        };
        let marks = [(0, 5), (1, 7), (1, 8), (0, 9), (1, 10), (0, 10), (1, 10), (0, 13)];
        let text: String = marks.iter().map(|(cpu, n)| mark(*cpu, *n)).collect();
        let found = with_transfers(vec![samples(line).unwrap()], &text).unwrap();
        assert_eq!((found[0].n, &*found[0].values), (200, &[5, 3][..]));
        let odd = text.lines().skip(1).collect::<Vec<_>>().join("\n");
        assert_eq!(with_transfers(vec![samples(line).unwrap()], &odd), None);
        assert_eq!(with_transfers(vec![samples(line).unwrap()], &text.repeat(2)), None);
    }

    #[test]
    fn half_a_line_is_none() {
        for line in ["op=a side=b n=1 values=", "op=a side=b n=0 values=1", "op=a n=1 values=1"] {
            assert_eq!(samples(&format!("[time] sample: {line}")), None, "{line}");
        }
        assert_eq!(samples("[time] sample: op=a side=b n=1 values=1,,2"), None);
    }
}
