// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who checks the checker? Breaks a good log in every small way: each mistake must be caught, and
//! what is no mistake accepted.

use std::fmt;

use super::check::check;
use super::contract::Contract;
use super::log::{self, LogLine};

/// How many broken logs were tried, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MutationCounts {
    /// One line left out: caught.
    pub dropped: usize,
    /// One line repeated at some later place: caught, at that place.
    pub duplicated: usize,
    /// One line that is not in the contract, at some place: caught, at that place.
    pub invented: usize,
    /// Two lines changed places against a promised order: caught.
    pub swaps_caught: usize,
    /// Two lines changed places, and every promise still holds: accepted.
    pub swaps_accepted: usize,
}

impl fmt::Display for MutationCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} dropped, {} duplicated and {} invented lines caught; of {} swaps {} caught, {} rightly accepted",
            self.dropped,
            self.duplicated,
            self.invented,
            self.swaps_caught + self.swaps_accepted,
            self.swaps_caught,
            self.swaps_accepted
        )
    }
}

/// Tries every mutation of a recorded log that meets its contract.
///
/// Whether a swap breaks a promise is decided without the checker: by the transitive closure of
/// the promised order over all pairs of lines.
///
/// # Errors
///
/// The first mutation that the checker misjudges, or why the log is no ground to start from.
pub fn mutate_and_check(contract: &Contract, log: &[LogLine]) -> Result<MutationCounts, String> {
    check(contract, log).map_err(|d| format!("the log itself does not meet the contract:\n{d}"))?;
    let who = identify(contract, log)?;
    let own: Vec<usize> = who.iter().map(|&(line, _)| line).collect();
    let mut counts = MutationCounts::default();

    for &line in &own {
        let mut broken = log.to_vec();
        let lost = broken.remove(line);
        if check(contract, &broken).is_ok() {
            return Err(format!("nobody misses the line `{}`", lost.text));
        }
        counts.dropped += 1;
    }

    // Where a line can be put: behind each line of the module.
    let gaps = || own.iter().map(|line| line + 1);
    for &line in &own {
        for gap in gaps().filter(|gap| *gap > line) {
            insert_and_check(contract, log, gap, &log[line])?;
            counts.duplicated += 1;
        }
    }
    for invented in inventions(contract) {
        for gap in gaps().chain([0]) {
            insert_and_check(contract, log, gap, &log::parse_line(&invented))?;
            counts.invented += 1;
        }
    }

    let before = closure(contract);
    for i in 0..who.len() {
        for j in i + 1..who.len() {
            let mut order = who.clone();
            (order[i].1, order[j].1) = (order[j].1, order[i].1);
            let broken_promise = order.iter().enumerate().any(|(k, &(_, later))| {
                let earlier = &order[..k];
                earlier.iter().any(|&(_, e)| before[later][e])
            });
            let mut swapped = log.to_vec();
            swapped.swap(own[i], own[j]);
            let caught = check(contract, &swapped).is_err();
            if caught != broken_promise {
                let verdict = if caught { "refused" } else { "accepted" };
                let (a, b) = (&log[own[i]].text, &log[own[j]].text);
                return Err(format!("wrongly {verdict}: `{a}` and `{b}` in each other's place"));
            }
            if caught {
                counts.swaps_caught += 1;
            } else {
                counts.swaps_accepted += 1;
            }
        }
    }
    Ok(counts)
}

fn insert_and_check(
    contract: &Contract,
    log: &[LogLine],
    at: usize,
    line: &LogLine,
) -> Result<(), String> {
    let mut broken = log.to_vec();
    broken.insert(at, line.clone());
    let text = &line.text;
    match check(contract, &broken) {
        Err(difference) if difference.line == at => Ok(()),
        Err(d) => Err(format!("`{text}` at line {} is seen elsewhere:\n{d}", at + 1)),
        Ok(_) => Err(format!("`{text}` at line {} is not noticed", at + 1)),
    }
}

/// Which line of the contract each of the module's log lines is, as (log index, contract index).
fn identify(contract: &Contract, log: &[LogLine]) -> Result<Vec<(usize, usize)>, String> {
    let own = log.iter().enumerate().filter(|(_, l)| contract.is_own(&l.text));
    own.map(|(line, LogLine { text, .. })| {
        let lines = contract.lines.iter().enumerate();
        let fitting: Vec<_> = lines.filter(|(_, e)| e.pattern.matches(text)).collect();
        match fitting.as_slice() {
            [(i, _)] => Ok((line, *i)),
            several => {
                let lines: Vec<_> = several.iter().map(|(_, e)| e.line.to_string()).collect();
                let lines = lines.join(" and ");
                Err(format!("`{text}` fits lines {lines} of the contract: make them differ"))
            }
        }
    })
    .collect()
}

/// Lines that the module never writes.
fn inventions(contract: &Contract) -> Vec<String> {
    let module = &contract.module;
    let mut threads: Vec<&str> = contract.lines.iter().map(|e| &*e.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    threads.push("nobody-knows-me");
    let strangers = threads.iter().map(|t| format!("{module}: [{t}] made this up: by=mutation"));
    let bare = format!("{module}: a line without a thread");
    let forbidden = contract.forbidden.iter().map(|f| f.pattern.example());
    let fits = |text: &String| contract.lines.iter().any(|e| e.pattern.matches(text));
    // A contract with `{rest}` may allow what is invented here: that one is no mistake then.
    let all = strangers.chain([bare]).chain(forbidden);
    all.filter(|text| !fits(text)).collect()
}

/// `closure[a][b]`: line `a` of the contract must come before line `b`.
fn closure(contract: &Contract) -> Vec<Vec<bool>> {
    let lines = &contract.lines;
    let n = lines.len();
    let mut before = vec![vec![false; n]; n];
    for b in 0..n {
        // A thread's own order straight from its meaning, not from what the parser made of it.
        for a in 0..b {
            before[a][b] = lines[a].thread == lines[b].thread;
        }
        for after in &lines[b].after {
            before[after.first][b] = true;
        }
    }
    for via in 0..n {
        for a in 0..n {
            for b in 0..n {
                before[a][b] |= before[a][via] && before[via][b];
            }
        }
    }
    before
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_sample_survives_every_mutation() {
        let contract = Contract::parse("sample.trace", sample::CONTRACT).unwrap();
        let counts = mutate_and_check(&contract, &log::parse(sample::LOG)).unwrap();
        let n = contract.lines.len();
        assert_eq!(counts.dropped, n);
        assert_eq!(counts.duplicated, n * (n + 1) / 2);
        // Six threads, a stranger, a bare line and the forbidden one, at each place.
        assert_eq!(counts.invented, 9 * (n + 1));
        assert_eq!(counts.swaps_caught + counts.swaps_accepted, n * (n - 1) / 2);
        // Counted by hand: each `left cco` with the grace period behind it, and the end of the
        // work with that of the second reader.
        assert_eq!(counts.swaps_accepted, 3);
    }

    #[test]
    fn a_small_order_counted_by_hand() {
        // Two threads of two lines; only b's second waits for a's first.
        let text = "module m\nm: [a] 1\nm: [a] 2\nm: [b] 1\nm: [b] 2\n after [a] 1 -- wake: x\n";
        let contract = Contract::parse("c", text).unwrap();
        let log = log::parse("m: [a] 1\nm: [b] 1\nm: [a] 2\nm: [b] 2\n");
        let counts = mutate_and_check(&contract, &log).unwrap();
        // Of a1 b1 a2 b2, these may change places: a1-b1, b1-a2 and a2-b2.
        assert_eq!((counts.swaps_accepted, counts.swaps_caught), (3, 3));
    }

    #[test]
    fn the_oracle_knows_the_closure() {
        let text = "module m\nm: [a] 1\nm: [b] 1\n after [a] 1 -- wake: x\nm: [c] 1\n after [b] 1 -- wake: x\nm: [d] 1\n";
        let before = closure(&Contract::parse("c", text).unwrap());
        assert!(before[0][1] && before[1][2] && before[0][2]);
        assert!(!before[2][0] && !before[0][0] && !before[0][3] && !before[3][0]);
    }

    #[test]
    fn a_checker_that_is_blind_is_found_out() {
        // Without the threads' own order the checker cannot do its work; the oracle still can.
        let text = "module m\nm: [a] 1\nm: [a] 2\n";
        let mut contract = Contract::parse("c", text).unwrap();
        contract.lines[1].after.clear();
        let error = mutate_and_check(&contract, &log::parse("m: [a] 1\nm: [a] 2"));
        let error = error.unwrap_err();
        assert_eq!(error, "wrongly accepted: `m: [a] 1` and `m: [a] 2` in each other's place");
    }

    #[test]
    fn says_why_it_cannot_start() {
        let text = "module m\nm: [a] say: {word}\nm: [a] say: x\n";
        let contract = Contract::parse("c", text).unwrap();
        let error = mutate_and_check(&contract, &log::parse("m: [a] say: x\nm: [a] say: x"));
        assert!(error.unwrap_err().contains("fits lines 2 and 3"));
        let error = mutate_and_check(&contract, &[]);
        assert!(error.unwrap_err().starts_with("the log itself does not meet"));
    }
}
