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
    /// One line repeated at some later place: caught, at that place, or where it is counted.
    pub duplicated: usize,
    /// One line that the module did not write, at some place: caught, in the same way.
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
    // The lines of a block are all alike: its first and its last are tried for the others.
    let is = |k: usize| who.get(k).map(|&(_, is)| is);
    let inside = |k: usize| k > 0 && is(k - 1) == is(k) && is(k) == is(k + 1);
    let tried: Vec<usize> = (0..who.len()).filter(|&k| !inside(k)).collect();
    let mut counts = MutationCounts::default();

    for &k in &tried {
        let line = who[k].0;
        let mut broken = log.to_vec();
        let lost = broken.remove(line);
        if check(contract, &broken).is_ok() {
            return Err(format!("nobody misses the line `{}`", lost.text));
        }
        counts.dropped += 1;
    }

    // Where a line can be put: behind each line of the module.
    let gaps = || tried.iter().map(|&k| who[k].0 + 1);
    for &k in &tried {
        let (line, is) = who[k];
        let noticed = noticed(contract, &who, is);
        for gap in gaps().filter(|gap| *gap > line) {
            insert_and_check(contract, log, gap, &log[line], noticed(gap))?;
            counts.duplicated += 1;
        }
    }
    for invented in inventions(contract) {
        for gap in gaps().chain([0]) {
            insert_and_check(contract, log, gap, &log::parse_line(&invented), gap)?;
            counts.invented += 1;
        }
    }
    // One more of a line that may come many times looks like the others.
    for (is, expected) in contract.lines.iter().enumerate() {
        let one_more = log::parse_line(&expected.pattern.example());
        let fits = contract.lines.iter().filter(|e| e.pattern.matches(&one_more.text));
        if expected.times.is_none() || fits.count() != 1 {
            continue;
        }
        let noticed = noticed(contract, &who, is);
        for gap in gaps().chain([0]) {
            insert_and_check(contract, log, gap, &one_more, noticed(gap))?;
            counts.invented += 1;
        }
    }

    let before = closure(contract, &who.iter().map(|&(_, is)| is).collect::<Vec<_>>());
    for (at, &i) in tried.iter().enumerate() {
        for &j in &tried[at + 1..] {
            let (one, other) = (who[i].0, who[j].0);
            let mut order = who.clone();
            (order[i].1, order[j].1) = (order[j].1, order[i].1);
            let broken_promise = order.iter().enumerate().any(|(k, &(_, later))| {
                let earlier = &order[..k];
                earlier.iter().any(|&(_, e)| before[later][e])
            });
            let mut swapped = log.to_vec();
            swapped.swap(one, other);
            let caught = check(contract, &swapped).is_err();
            if caught != broken_promise {
                let verdict = if caught { "refused" } else { "accepted" };
                let (a, b) = (&log[one].text, &log[other].text);
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

/// Puts a line into the log, which has to be noticed at a certain place.
fn insert_and_check(
    contract: &Contract,
    log: &[LogLine],
    at: usize,
    line: &LogLine,
    noticed: usize,
) -> Result<(), String> {
    let mut broken = log.to_vec();
    broken.insert(at, line.clone());
    let text = &line.text;
    match check(contract, &broken) {
        Err(difference) if difference.line == noticed => Ok(()),
        Err(d) => Err(format!("`{text}` at line {} is seen elsewhere:\n{d}", at + 1)),
        Ok(_) => Err(format!("`{text}` at line {} is not noticed", at + 1)),
    }
}

/// Where one more of line `is` of the contract has to be noticed when it is put into the log, as a
/// place in the longer log: at once, unless it is one that may come many times.
fn noticed(contract: &Contract, who: &[(usize, usize)], is: usize) -> impl Fn(usize) -> usize {
    let repeated = |i: usize| contract.lines[i].times.is_some();
    let counter = contract.lines[is].times.as_ref().map(|times| times.counter);
    let present: Vec<usize> = who.iter().map(|&(_, i)| i).chain([is]).collect();
    let before = closure(contract, &present);
    // Nobody waits for a line that may come never.
    let once: Vec<usize> = present.into_iter().filter(|&i| i == is || !repeated(i)).collect();
    let waits = closure(contract, &once);
    move |gap| {
        let Some(counter) = counter else { return gap };
        let (earlier, later) = who.split_at(who.partition_point(|&(line, _)| line < gap));
        let late = earlier.iter().any(|&(_, i)| before[is][i]);
        let early = later.iter().any(|&(_, i)| waits[i][is]);
        // Else it is in the way of a block that has to come before it, or it is counted.
        let tells = |&&(_, i): &&(usize, usize)| i == counter || (repeated(i) && before[i][is]);
        match later.iter().find(tells) {
            Some((line, _)) if !late && !early => line + 1,
            _ => gap,
        }
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

/// `closure[a][b]`: line `a` of the contract must come before line `b`, both of which are among
/// those that are `present`. One that never comes may be missing there, and stands for no order.
fn closure(contract: &Contract, present: &[usize]) -> Vec<Vec<bool>> {
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
    for i in (0..n).filter(|i| !present.contains(i)) {
        before[i].fill(false);
        before.iter_mut().for_each(|row| row[i] = false);
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
        let before = closure(&Contract::parse("c", text).unwrap(), &[0, 1, 2, 3]);
        assert!(before[0][1] && before[1][2] && before[0][2]);
        assert!(!before[2][0] && !before[0][0] && !before[0][3] && !before[3][0]);
    }

    const LIST: &str = "\
module m
m: [l] begin
m: [l] item: {word}
    after [b] go -- wake: the items are made by [b]
    times items of [l] end -- one line for each item
m: [l] kind: {word}
    times kinds of [l] end -- one line for each kind
m: [l] end: items={int} kinds={int}
m: [b] go
m: [b] went
";

    #[test]
    fn lines_that_are_counted() {
        let contract = Contract::parse("c", LIST).unwrap();
        let tried = |log: &str| mutate_and_check(&contract, &log::parse(log)).unwrap();
        let counts = tried(
            "m: [b] go\nm: [l] begin\nm: [l] item: a\nm: [l] item: b\nm: [b] went\nm: [l] item: c\nm: [l] end: items=3 kinds=0",
        );
        assert_eq!((counts.dropped, counts.duplicated), (7, 7 * 8 / 2));
        // Two threads, a stranger, a bare line, an item and a kind, at each place.
        assert_eq!(counts.invented, 6 * 8);
        // `go` and `begin`, each item and each other, and each item and `went`.
        assert_eq!((counts.swaps_accepted, counts.swaps_caught), (1 + 3 + 3, 21 - 7));
        // Without items, nobody waits for what they would have waited for: any two neighbours.
        let counts = tried("m: [l] begin\nm: [b] go\nm: [l] end: items=0 kinds=0\nm: [b] went");
        assert_eq!(counts.swaps_accepted, 3);
        // Of a long block the ends are tried.
        let items = "m: [l] item: a\n".repeat(20);
        let counts = tried(&format!(
            "m: [b] go\nm: [l] begin\n{items}m: [l] end: items=20 kinds=0\nm: [b] went"
        ));
        assert_eq!((counts.dropped, counts.duplicated), (6, 6 * 7 / 2));
        tried(
            "m: [b] go\nm: [l] begin\nm: [l] item: a\nm: [l] kind: x\nm: [l] end: items=1 kinds=1\nm: [b] went",
        );
    }

    #[test]
    fn a_checker_that_does_not_count_is_found_out() {
        let contract = Contract::parse("c", LIST).unwrap();
        let good = log::parse(
            "m: [b] go\nm: [l] begin\nm: [l] item: a\nm: [l] item: b\nm: [l] end: items=2 kinds=0\nm: [b] went",
        );
        let mut blind = contract.clone();
        blind.lines[1].times.as_mut().unwrap().counter = usize::MAX;
        let error = mutate_and_check(&blind, &good).unwrap_err();
        assert_eq!(error, "nobody misses the line `m: [l] item: a`");
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
