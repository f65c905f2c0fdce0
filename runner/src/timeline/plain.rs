// SPDX-License-Identifier: MIT OR Apache-2.0
//! The timeline in characters, for a terminal.

use super::{
    Kind, LEGEND_LINE, LEGEND_MARK, LEGEND_OPEN, Mark, Row, Span, Timeline, axis_length, levels,
    ms, tick_label,
};

const MARK: char = '▲';
const END: char = '┊';
const OPEN: char = '▶';
const LEADER: char = '│';

fn bar(kind: Kind) -> char {
    match kind {
        Kind::Reader => '█',
        Kind::GracePeriod => '░',
        Kind::Work => '=',
        Kind::Retired => '-',
        Kind::Other => '~',
    }
}

/// Draws the timeline, at most `width` characters wide (and as if for 40 if it is less).
pub fn text(timeline: &Timeline, width: usize) -> String {
    Printer::new(timeline, width.max(40)).print()
}

struct Printer<'a> {
    timeline: &'a Timeline,
    width: usize,
    /// The first and the last column of the time axis.
    left: usize,
    right: usize,
}

impl<'a> Printer<'a> {
    fn new(timeline: &'a Timeline, width: usize) -> Self {
        let names = timeline.lanes.iter().map(|lane| length(&lane.thread));
        let left = names.max().unwrap_or(0).min(width / 4) + 2;
        // The last labels may reach beyond the axis, which leaves room for them.
        let room = width - 1 - left;
        let rows = timeline.lanes.iter().flat_map(|lane| lane.drawn_rows());
        let labels = rows.flat_map(|row| row.labels());
        let labels = labels.map(|l| (timeline.share(l.at_us), length(&l.text) as f64));
        let right = left + axis_length(room as f64, labels) as usize;
        Self { timeline, width, left, right }
    }

    fn column(&self, us: u64) -> usize {
        let offset = self.timeline.share(us) * (self.right - self.left) as f64;
        self.left + offset.round() as usize
    }

    fn print(&self) -> String {
        let timeline = self.timeline;
        let mut lines = vec![clip(&timeline.title, self.width), String::new()];
        if timeline.lanes.is_empty() {
            lines.push(timeline.describe());
            return lines.join("\n") + "\n";
        }
        lines.extend(self.ruler());
        for lane in &timeline.lanes {
            for (i, row) in lane.drawn_rows().enumerate() {
                let name = if i == 0 { &*lane.thread } else { "" };
                lines.extend(self.row(name, &row));
            }
            // The lines at the ends of grace periods go on between the lanes.
            lines.push(self.blank().text());
        }
        lines.extend(self.legend());
        let lines = lines.iter().map(|line| line.trim_end());
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    fn ruler(&self) -> [String; 2] {
        let columns = self.right - self.left + 1;
        let widest = tick_label(self.timeline.end_us / 1000 * 1000).len() + 3;
        let (mut numbers, mut line) = (Canvas::new(self.width), Canvas::new(self.width));
        numbers.put(0, "ms");
        for column in self.left..=self.right {
            line.set(column, '─');
        }
        let mut free_from = 0;
        for tick in self.timeline.ticks((columns / widest) as u64) {
            let column = self.column(tick);
            line.set(column, '┬');
            let text = tick_label(tick);
            if column >= free_from && column + text.len() <= self.width {
                numbers.put(column, &text);
                free_from = column + text.len() + 1;
            }
        }
        [numbers.text(), line.text()]
    }

    /// A line with nothing but the ends of grace periods.
    fn blank(&self) -> Canvas {
        let mut canvas = Canvas::new(self.width);
        for end in self.timeline.grace_period_ends() {
            canvas.set(self.column(end), END);
        }
        canvas
    }

    fn row(&self, name: &str, row: &Row<'_>) -> Vec<String> {
        let labels = row.labels();
        let room = (self.width - 1 - self.left) / 2;
        let places: Vec<(usize, String)> = labels
            .iter()
            .map(|label| {
                let column = self.column(label.at_us);
                (column, clip(&label.text, room))
            })
            .collect();
        // Two blanks between labels, as there may be blanks inside of them.
        let sizes = places.iter().map(|(column, text)| (*column as f64, (length(text) + 2) as f64));
        let levels = levels(&sizes.collect::<Vec<_>>());
        let high = levels.iter().map(|level| level + 1).max().unwrap_or(0);
        let mut above = vec![self.blank(); high];
        for ((column, _), &level) in places.iter().zip(&levels) {
            for line in &mut above[..level] {
                line.set(*column, LEADER);
            }
        }
        for ((column, text), &level) in places.iter().zip(&levels) {
            above[level].put(*column, text);
        }

        let mut line = self.blank();
        line.put(0, &clip(name, self.left - 2));
        for span in row.spans {
            self.bar(&mut line, span, row.marks);
        }
        for mark in row.marks {
            line.set(self.column(mark.at_us), MARK);
        }
        above.reverse();
        above.push(line);
        above.iter().map(Canvas::text).collect()
    }

    fn bar(&self, line: &mut Canvas, span: &Span, marks: &[Mark]) {
        let begin = self.column(span.begin_us);
        // The column where it ends belongs to what comes next.
        let end = match span.end_us {
            Some(end) => self.column(end).max(begin + 1),
            None => self.right + 1,
        };
        for column in begin..end {
            line.set(column, bar(span.kind));
        }
        let Some(end_us) = span.end_us else {
            line.set(self.right, OPEN);
            return;
        };
        let text = format!(" {} ", ms(end_us.saturating_sub(span.begin_us)));
        if end - begin < text.len() + 2 {
            return;
        }
        let start = begin + (end - begin - text.len()) / 2;
        let place = start..start + text.len();
        let mut marks = marks.iter().map(|mark| self.column(mark.at_us));
        if !marks.any(|column| place.contains(&column)) {
            line.put(start, &text);
        }
    }

    fn legend(&self) -> Vec<String> {
        let timeline = self.timeline;
        let kinds = Kind::ALL.into_iter().filter(|kind| timeline.has_kind(*kind));
        let mut entries: Vec<(char, &str)> = kinds.map(|kind| (bar(kind), kind.legend())).collect();
        if timeline.has_open_spans() {
            entries.push((OPEN, LEGEND_OPEN));
        }
        if timeline.grace_period_ends().next().is_some() {
            entries.push((END, LEGEND_LINE));
        }
        if timeline.has_marks() {
            entries.push((MARK, LEGEND_MARK));
        }
        let mut lines: Vec<String> = Vec::new();
        for (sign, text) in entries {
            let entry = format!("{sign} {text}");
            match lines.last_mut() {
                Some(line) if length(line) + 3 + length(&entry) <= self.width => {
                    *line += "   ";
                    *line += &entry;
                }
                _ => lines.push(clip(&entry, self.width)),
            }
        }
        lines
    }
}

/// One line of characters.
#[derive(Clone)]
struct Canvas(Vec<char>);

impl Canvas {
    fn new(width: usize) -> Self {
        Self(vec![' '; width])
    }

    fn set(&mut self, column: usize, c: char) {
        if let Some(cell) = self.0.get_mut(column) {
            *cell = c;
        }
    }

    fn put(&mut self, column: usize, text: &str) {
        for (column, c) in (column..).zip(text.chars()) {
            self.set(column, c);
        }
    }

    fn text(&self) -> String {
        self.0.iter().collect()
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Cuts a text that is longer than `room`.
fn clip(text: &str, room: usize) -> String {
    if length(text) <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    kept + "…"
}
