// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who read, who waited for a grace period, who worked: one picture of a module's log.
//!
//! A stage says in the `[timeline]` table of its `stage.toml` which events begin and end what.
//! [`Timeline::new`] applies that to a log; [`svg`] and [`text`] draw it.

mod picture;
mod plain;

pub use picture::svg;
pub use plain::text;

use std::cmp::Reverse;

use serde::Deserialize;

use crate::trace::log::Event;

/// The `[timeline]` table of a stage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The picture's heading.
    pub title: String,
    /// What takes time.
    #[serde(default, rename = "span")]
    pub spans: Vec<SpanRule>,
    /// What happens at one moment.
    #[serde(default, rename = "mark")]
    pub marks: Vec<MarkRule>,
}

/// One `[[timeline.span]]`: from an event of a thread to the next of the ending ones of that
/// thread, or of the one that is named for it. Further beginnings in between belong to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanRule {
    /// What it is.
    pub kind: Kind,
    /// The event that begins it.
    pub begin: String,
    /// The event, or one of the events, that end it.
    pub end: OneOrMany,
    /// Only in this thread.
    pub thread: Option<String>,
    /// The thread that logs the end, if not the one that logged the beginning.
    pub end_thread: Option<String>,
    /// A field: an end belongs to the beginning with the same value of it, so that several may be
    /// open at a time. Events without it are left alone.
    pub key: Option<String>,
    /// What to write above it; the kind if it is not given. `{version}` is replaced by the value
    /// of the key, if `version` is the key.
    pub label: Option<String>,
}

/// One `[[timeline.mark]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkRule {
    /// The event.
    pub event: String,
    /// Only in this thread.
    pub thread: Option<String>,
    /// What to write above it; the event if it is not given.
    pub label: Option<String>,
}

/// `end = "x"` or `end = ["x", "y"]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One event.
    One(String),
    /// Any of these.
    Many(Vec<String>),
}

impl OneOrMany {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

/// What a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A read-side critical section.
    Reader,
    /// Waiting for a grace period.
    GracePeriod,
    /// Work outside of both.
    Work,
    /// From unpublishing something to freeing it.
    Retired,
    /// Anything else.
    Other,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Reader, Self::GracePeriod, Self::Work, Self::Retired, Self::Other];

    fn label(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::GracePeriod => "grace period",
            Self::Work => "work",
            Self::Retired => "retired",
            Self::Other => "other",
        }
    }

    /// What the legend calls it.
    fn legend(self) -> &'static str {
        match self {
            Self::Reader => "in a read-side critical section",
            Self::GracePeriod => "waiting for a grace period",
            Self::Work => "working",
            Self::Retired => "retired, and not freed yet",
            Self::Other => "something else",
        }
    }
}

const LEGEND_MARK: &str = "an event";
const LEGEND_LINE: &str = "a grace period ends";
const LEGEND_OPEN: &str = "not finished";

/// What is drawn. Times are microseconds since the module's first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// The heading.
    pub title: String,
    /// Where the time axis ends; never 0.
    pub end_us: u64,
    /// One for each thread that has something to show, in the order of their first events.
    pub lanes: Vec<Lane>,
}

/// What one thread did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Its name.
    pub thread: String,
    /// Its spans. Those of one row do not overlap; there are several rows only if some do.
    pub rows: Vec<Vec<Span>>,
    /// Its moments, drawn in the first row.
    pub marks: Vec<Mark>,
}

/// Something that takes time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub kind: Kind,
    /// What stands above it.
    pub label: String,
    /// When it begins.
    pub begin_us: u64,
    /// When it ends; `None` if the log ends first.
    pub end_us: Option<u64>,
}

/// Something that happens at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What stands above it.
    pub label: String,
    /// When it happens.
    pub at_us: u64,
}

impl Timeline {
    /// Applies a stage's table to the events of a module. Events without a stamp are left out.
    pub fn new(config: &Config, module: &str, events: &[Event]) -> Self {
        let stamped = events.iter().filter(|e| e.module == module);
        let stamped: Vec<(u64, &Event)> = stamped.filter_map(|e| Some((e.time_us?, e))).collect();
        let first = stamped.first().map_or(0, |(time, _)| *time);
        // Stamps are taken on different CPUs and may go back a little.
        let stamped: Vec<(u64, &Event)> =
            stamped.into_iter().map(|(time, event)| (time.saturating_sub(first), event)).collect();

        let mut threads: Vec<&str> = Vec::new();
        for (_, event) in &stamped {
            if !threads.contains(&&*event.thread) {
                threads.push(&event.thread);
            }
        }
        let lanes = threads.iter().map(|thread| Lane::new(config, thread, &stamped));
        let lanes: Vec<Lane> =
            lanes.filter(|lane| !lane.rows.is_empty() || !lane.marks.is_empty()).collect();

        // The log may go on long after the story, but an open span lasts as long as the log.
        let last = stamped.iter().map(|(time, _)| *time).max().unwrap_or(0);
        let span_ends = lanes.iter().flat_map(Lane::spans).map(|s| s.end_us.unwrap_or(last));
        let marks = lanes.iter().flat_map(|lane| &lane.marks).map(|m| m.at_us);
        let end_us = span_ends.chain(marks).max().unwrap_or(0).max(1);
        Self { title: config.title.clone(), end_us, lanes }
    }

    /// The picture in sentences: for those who do not see it, and to check it by.
    pub fn describe(&self) -> String {
        let mut told: Vec<(u64, String)> = Vec::new();
        for lane in &self.lanes {
            let thread = &lane.thread;
            for mark in &lane.marks {
                let at = ms(mark.at_us);
                told.push((mark.at_us, format!("At {at}, {thread}: {}.", mark.label)));
            }
            for span in lane.spans() {
                told.push((span.begin_us, self.describe_span(thread, span)));
            }
        }
        told.sort_by_key(|(time, _)| *time);
        let sentences: Vec<String> = told.into_iter().map(|(_, sentence)| sentence).collect();
        if sentences.is_empty() {
            return "Nothing was logged that could be drawn.".to_owned();
        }
        sentences.join(" ")
    }

    fn describe_span(&self, thread: &str, span: &Span) -> String {
        let does = match span.kind {
            Kind::Reader => "is inside a read-side critical section",
            Kind::GracePeriod => "waits for a grace period",
            Kind::Work => "works",
            Kind::Retired => "has something retired that is not freed yet",
            Kind::Other => "is busy",
        };
        let label = if span.label == span.kind.label() {
            String::new()
        } else {
            format!(" ({})", span.label)
        };
        let begin = ms(span.begin_us);
        let Some(end) = span.end_us else {
            return format!(
                "From {begin} on, {thread} {does}{label}; the log ends before it does."
            );
        };
        let length = ms(end.saturating_sub(span.begin_us));
        let mut told = format!("From {begin} to {}, {thread} {does}{label} for {length}", ms(end));
        for (reader, left) in self.readers_found_by(span) {
            told += &if left {
                format!("; it ends after {reader}, which it found inside")
            } else {
                format!("; {reader}, which it found inside, is still there when it ends")
            };
        }
        told + "."
    }

    /// The readers that a grace period has to wait for, and whether they left before it ended.
    fn readers_found_by(&self, wait: &Span) -> Vec<(&str, bool)> {
        if wait.kind != Kind::GracePeriod {
            return Vec::new();
        }
        let spans =
            self.lanes.iter().flat_map(|lane| lane.spans().map(|span| (&*lane.thread, span)));
        let inside = |span: &Span| {
            let began = span.begin_us < wait.begin_us;
            span.kind == Kind::Reader && began && span.end_us.is_none_or(|e| e > wait.begin_us)
        };
        let found = spans.filter(|(_, span)| inside(span));
        let left = |span: &Span| matches!((span.end_us, wait.end_us), (Some(r), Some(w)) if r <= w);
        found.map(|(thread, span)| (thread, left(span))).collect()
    }

    /// How far along the axis a time is, from 0 to 1.
    fn share(&self, us: u64) -> f64 {
        us as f64 / self.end_us as f64
    }

    /// Where grace periods end.
    fn grace_period_ends(&self) -> impl Iterator<Item = u64> {
        let spans = self.lanes.iter().flat_map(Lane::spans);
        let waits = spans.filter(|span| span.kind == Kind::GracePeriod);
        waits.filter_map(|span| span.end_us)
    }

    fn has_kind(&self, kind: Kind) -> bool {
        let mut spans = self.lanes.iter().flat_map(Lane::spans);
        spans.any(|span| span.kind == kind)
    }

    fn has_marks(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.marks.is_empty())
    }

    fn has_open_spans(&self) -> bool {
        let mut spans = self.lanes.iter().flat_map(Lane::spans);
        spans.any(|span| span.end_us.is_none())
    }

    /// Round times for the axis: at most `most` of them, from 0.
    fn ticks(&self, most: u64) -> Vec<u64> {
        let steps = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
        let fits = |step: &u64| self.end_us / step < most.max(2);
        let step = steps.take(50).find(fits).unwrap_or(self.end_us);
        (0..=self.end_us / step).map(|i| i * step).collect()
    }
}

impl SpanRule {
    /// The spans that begin in a thread.
    fn spans(&self, thread: &str, events: &[(u64, &Event)]) -> Vec<Span> {
        let end_thread = self.end_thread.as_deref().unwrap_or(thread);
        let label = self.label.as_deref().unwrap_or(self.kind.label());
        let span = |(value, begin_us): (&str, u64), end_us| Span {
            kind: self.kind,
            label: match &self.key {
                Some(key) => label.replace(&format!("{{{key}}}"), value),
                None => label.to_owned(),
            },
            begin_us,
            end_us,
        };
        let mut spans = Vec::new();
        // The value of the key, and when it began; there is but one where there is no key.
        let mut open: Vec<(&str, u64)> = Vec::new();
        for &(time, event) in events {
            let Some(value) = self.value(event) else { continue };
            let at = open.iter().position(|(v, _)| *v == value);
            // One event may end a span and begin the next.
            let ends = event.thread == end_thread && self.end.has(&event.name);
            if let Some(at) = at.filter(|_| ends) {
                let began = open.remove(at);
                spans.push(span(began, Some(time.max(began.1))));
            }
            let begins = event.thread == thread && self.begin == event.name;
            if begins && (ends || at.is_none()) {
                open.push((value, time));
            }
        }
        spans.extend(open.into_iter().map(|began| span(began, None)));
        spans
    }

    /// What tells this span of an event from others.
    fn value<'a>(&self, event: &'a Event) -> Option<&'a str> {
        let Some(key) = &self.key else { return Some("") };
        event.fields.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }
}

impl Lane {
    /// `events` are those of all threads: another one may end what this one began.
    fn new(config: &Config, thread: &str, events: &[(u64, &Event)]) -> Self {
        let applies = |only: &Option<String>| only.as_deref().is_none_or(|t| t == thread);
        let mut spans: Vec<Span> = Vec::new();
        for rule in config.spans.iter().filter(|rule| applies(&rule.thread)) {
            spans.extend(rule.spans(thread, events));
        }
        let mut marks: Vec<Mark> = Vec::new();
        for rule in config.marks.iter().filter(|rule| applies(&rule.thread)) {
            let label = rule.label.as_ref().unwrap_or(&rule.event);
            let times = events.iter().filter(|(_, e)| e.thread == thread && e.name == rule.event);
            marks.extend(times.map(|&(at_us, _)| Mark { label: label.clone(), at_us }));
        }
        marks.sort_by_key(|mark| mark.at_us);
        Self { thread: thread.to_owned(), rows: rows(spans), marks }
    }

    /// All its spans.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.rows.iter().flatten()
    }

    /// The rows to draw; a thread that has only marks needs one for them.
    fn drawn_rows(&self) -> impl Iterator<Item = Row<'_>> {
        let rows = self.rows.len().max(1);
        (0..rows).map(|i| Row {
            spans: self.rows.get(i).map_or(&[], Vec::as_slice),
            marks: if i == 0 { &self.marks } else { &[] },
        })
    }
}

/// Puts each span into the first row where it overlaps nothing; the longer ones first, so that
/// what is inside another stands below it.
fn rows(mut spans: Vec<Span>) -> Vec<Vec<Span>> {
    let end = |span: &Span| span.end_us.unwrap_or(u64::MAX);
    spans.sort_by_key(|span| (span.begin_us, Reverse(end(span))));
    let mut rows: Vec<Vec<Span>> = Vec::new();
    for span in spans {
        let free = |row: &&mut Vec<Span>| row.iter().all(|other| end(other) <= span.begin_us);
        match rows.iter_mut().find(free) {
            Some(row) => row.push(span),
            None => rows.push(vec![span]),
        }
    }
    rows
}

/// What is drawn side by side.
struct Row<'a> {
    spans: &'a [Span],
    marks: &'a [Mark],
}

/// What stands above a row: when, and what.
struct Label {
    at_us: u64,
    text: String,
    of_mark: bool,
}

impl Row<'_> {
    /// Its labels in the order of time.
    fn labels(&self) -> Vec<Label> {
        let marks = self.marks.iter().map(|mark| Label {
            at_us: mark.at_us,
            text: mark.label.clone(),
            of_mark: true,
        });
        let spans = self.spans.iter().map(|span| Label {
            at_us: span.begin_us,
            text: match span.end_us {
                Some(_) => span.label.clone(),
                None => format!("{} ({LEGEND_OPEN})", span.label),
            },
            of_mark: false,
        });
        let mut labels: Vec<Label> = marks.chain(spans).collect();
        labels.sort_by_key(|label| label.at_us);
        labels
    }
}

/// On which level above its row each label finds room; 0 is the lowest.
///
/// Labels are in order, and begin at the thing that they name: from a high one a line goes down to
/// it. Such a line takes its place on the levels below, so that no label lies across it.
fn levels(labels: &[(f64, f64)]) -> Vec<usize> {
    // From the last label to the first: where each level is taken from. This grows upwards.
    let mut taken_from: Vec<f64> = Vec::new();
    let mut levels = vec![0; labels.len()];
    for (i, &(start, width)) in labels.iter().enumerate().rev() {
        let free = taken_from.iter().position(|from| start + width <= *from);
        let level = free.unwrap_or(taken_from.len());
        taken_from.resize(taken_from.len().max(level + 1), start);
        taken_from[..=level].fill(start);
        levels[i] = level;
    }
    levels
}

/// How long the axis can be when each label, given by its time's share of the axis and its width,
/// has to end within `room`. No label is wider than half of it, so the axis is not shorter than that.
fn axis_length(room: f64, labels: impl Iterator<Item = (f64, f64)>) -> f64 {
    let later = labels.filter(|(share, _)| *share > 0.0);
    let fits = later.map(|(share, width)| (room - width.min(room / 2.0)) / share);
    fits.fold(room, f64::min)
}

/// A time for people: fewer digits the longer it is.
fn ms(us: u64) -> String {
    let ms = us as f64 / 1000.0;
    match us {
        0 => "0 ms".to_owned(),
        1..1_000 => format!("{ms:.3} ms"),
        1_000..10_000 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

/// A time at the axis: all of its digits, and no more.
fn tick_label(us: u64) -> String {
    (us as f64 / 1000.0).to_string()
}

#[cfg(test)]
mod tests;
