// SPDX-License-Identifier: MIT OR Apache-2.0
//! The timeline as an SVG picture that reads alike on light and dark pages, small and large,
//! in colour and without.

use svg::Document;
use svg::node::element::{
    Circle, Definitions, Description, Group, Line, Path, Pattern, Polygon, Rectangle, Text, Title,
};

use super::{
    Kind, LEGEND_LINE, LEGEND_MARK, LEGEND_OPEN, Row, Span, Timeline, axis_length, levels, ms,
    tick_label,
};

const WIDTH: f64 = 820.0;
const PADDING: f64 = 20.0;
const FONT: f64 = 13.0;
const SMALL: f64 = 12.0;
const LABEL_HEIGHT: f64 = 18.0;
const BAR_HEIGHT: f64 = 24.0;
const LANE_GAP: f64 = 18.0;
/// How much wider than others bold letters are.
pub(super) const BOLD: f64 = 1.15;
/// Keeps labels apart: before and behind the text.
const LABEL_MARGIN: f64 = 12.0;
const SWATCH: f64 = 24.0;
/// A reader's bar stops this short of its end: a grace period often ends a hair later, and the
/// eye must see which came first.
const BREATH: f64 = 3.0;

const CARD: &str = "#fcfbf8";
const FRAME: &str = "#d7d3c8";
const GRID: &str = "#e9e6de";
const INK: &str = "#22262b";
const FAINT_INK: &str = "#5b6168";

/// The colours of Okabe and Ito, which all kinds of colour blindness tell apart.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Reader => "#0072b2",
        Kind::GracePeriod => "#d55e00",
        Kind::Work => "#00815e",
        Kind::Retired => "#a2437c",
        Kind::Other => "#6b6b6b",
    }
}

fn tint(kind: Kind) -> &'static str {
    match kind {
        Kind::Reader => "#0072b2",
        Kind::GracePeriod => "#fdebdb",
        Kind::Work => "#dcf3ea",
        Kind::Retired => "#fbf0f6",
        Kind::Other => "#f1f1f1",
    }
}

/// Draws the timeline.
pub fn svg(timeline: &Timeline) -> String {
    let painter = Painter::new(timeline);
    painter.document().to_string() + "\n"
}

struct Painter<'a> {
    timeline: &'a Timeline,
    /// Begins the ids, which must differ between the pictures of one page.
    id: String,
    /// Where the time axis begins and ends.
    left: f64,
    right: f64,
}

impl<'a> Painter<'a> {
    fn new(timeline: &'a Timeline) -> Self {
        let mut id = String::from("timeline");
        for word in timeline.title.split(|c: char| !c.is_ascii_alphanumeric()) {
            if !word.is_empty() {
                id = id + "-" + &word.to_ascii_lowercase();
            }
        }
        let names = timeline.lanes.iter().map(|lane| width(&lane.thread, FONT) * BOLD);
        let gutter = names.fold(0.0, f64::max).min(150.0);
        let left = PADDING + gutter + 22.0;
        // The last labels may reach beyond the axis, which leaves room for them.
        let room = WIDTH - PADDING - left;
        let rows = timeline.lanes.iter().flat_map(|lane| lane.drawn_rows());
        let labels = rows.flat_map(|row| row.labels());
        let labels = labels.map(|l| (timeline.share(l.at_us), label_width(&l.text)));
        let right = left + axis_length(room, labels).min(room - 8.0);
        Self { timeline, id, left, right }
    }

    fn x(&self, us: u64) -> f64 {
        self.left + self.timeline.share(us) * (self.right - self.left)
    }

    fn document(&self) -> Document {
        let timeline = self.timeline;
        let heading = wrap(&timeline.title, 16.0, (WIDTH - 2.0 * PADDING) / BOLD);
        let mut y = PADDING + 14.0;
        let mut text = Group::new();
        for line in &heading {
            text = text.add(write(PADDING, y, 16.0, line).set("font-weight", 600));
            y += 21.0;
        }
        let top = y;
        y += 8.0;

        let (mut bars, mut labels) = (Group::new(), Group::new());
        for (i, lane) in timeline.lanes.iter().enumerate() {
            if i > 0 {
                let line = rule(PADDING, y, WIDTH - PADDING, y, GRID);
                bars = bars.add(line);
                y += LANE_GAP / 2.0;
            }
            for (row, content) in lane.drawn_rows().enumerate() {
                let placed = self.labels(&content);
                let high = placed.iter().map(|label| label.level + 1).max().unwrap_or(0);
                y += high as f64 * LABEL_HEIGHT;
                if row == 0 {
                    let name = shorten(&lane.thread, FONT, 150.0 / BOLD);
                    let name = write(PADDING, y + 16.5, FONT, &name);
                    labels = labels.add(name.set("font-weight", 600));
                }
                bars = self.bars(bars, &content, y);
                labels = self.above(labels, &content, &placed, y);
                y += BAR_HEIGHT + 4.0;
            }
            y += LANE_GAP / 2.0;
        }
        if timeline.lanes.is_empty() {
            labels = labels.add(write(PADDING, y + 14.0, FONT, &timeline.describe()));
            y += 30.0;
        }

        let bottom = y;
        let (grid, axis) = self.axis(top, bottom);
        let mut ends = Group::new();
        for end in timeline.grace_period_ends() {
            ends = ends.add(dashed(self.x(end), top, bottom));
        }
        y += 46.0;
        let legend = self.legend(&mut y);

        let height = (y + PADDING).ceil();
        let card = Rectangle::new()
            .set("x", 0.5)
            .set("y", 0.5)
            .set("width", WIDTH - 1.0)
            .set("height", height - 1.0)
            .set("rx", 10)
            .set("fill", CARD)
            .set("stroke", FRAME);
        Document::new()
            .set("viewBox", (0, 0, WIDTH, height))
            .set("width", WIDTH)
            .set("height", height)
            .set("role", "img")
            .set("aria-labelledby", format!("{0}-title {0}-desc", self.id))
            .set("font-family", "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif")
            .set("fill", INK)
            .add(Title::new(&timeline.title).set("id", format!("{}-title", self.id)))
            .add(
                Description::new()
                    .set("id", format!("{}-desc", self.id))
                    .add(svg::node::Text::new(timeline.describe())),
            )
            .add(self.patterns())
            .add(card)
            .add(text)
            .add(grid)
            .add(bars)
            .add(ends)
            .add(labels)
            .add(axis)
            .add(legend)
    }

    /// Colour is never the only difference: stripes, dots and lines tell the kinds apart as well.
    /// What is retired is hollow, in a dashed frame.
    fn patterns(&self) -> Definitions {
        let tile = |kind: Kind, size: f64| {
            let ground =
                Rectangle::new().set("width", size).set("height", size).set("fill", tint(kind));
            Pattern::new()
                .set("id", self.pattern(kind))
                .set("width", size)
                .set("height", size)
                .set("patternUnits", "userSpaceOnUse")
                .add(ground)
        };
        let stripe = rule(0.0, 0.0, 0.0, 8.0, colour(Kind::GracePeriod)).set("stroke-width", 5);
        let dot = Circle::new()
            .set("cx", 3.5)
            .set("cy", 3.5)
            .set("r", 1.5)
            .set("fill", colour(Kind::Work));
        let line = rule(0.0, 3.0, 6.0, 3.0, colour(Kind::Other));
        Definitions::new()
            .add(tile(Kind::GracePeriod, 8.0).set("patternTransform", "rotate(45)").add(stripe))
            .add(tile(Kind::Work, 7.0).add(dot))
            .add(tile(Kind::Other, 6.0).add(line))
    }

    fn pattern(&self, kind: Kind) -> String {
        format!("{}-{}", self.id, kind.label().replace(' ', "-"))
    }

    fn fill(&self, kind: Kind) -> String {
        match kind {
            Kind::Reader => colour(kind).to_owned(),
            Kind::Retired => tint(kind).to_owned(),
            _ => format!("url(#{})", self.pattern(kind)),
        }
    }

    /// From where to where a span's bar goes.
    fn extent(&self, span: &Span) -> (f64, f64) {
        let begin = self.x(span.begin_us);
        let end = self.x(span.end_us.unwrap_or(self.timeline.end_us));
        let end = match (span.kind, span.end_us) {
            // Wide enough for its torn edge, which may stand out a little.
            (_, None) => end.max(begin + 8.0),
            (Kind::Reader, Some(_)) => end - BREATH,
            _ => end,
        };
        (begin, end.max(begin + 2.0))
    }

    fn bars(&self, mut group: Group, row: &Row<'_>, y: f64) -> Group {
        let middle = y + BAR_HEIGHT / 2.0;
        group = group.add(rule(self.left, middle, self.right, middle, FRAME));
        for span in row.spans {
            let (begin, end) = self.extent(span);
            group = group.add(self.bar(span.kind, begin, end, y, span.end_us.is_none()));
        }
        group
    }

    /// A bar; one that is not finished is torn off at its right.
    fn bar(&self, kind: Kind, begin: f64, end: f64, y: f64, open: bool) -> Path {
        let (begin, end) = (round(begin), round(end));
        let bottom = y + BAR_HEIGHT;
        let mut shape = format!("M{begin} {bottom}V{y}H{end}");
        if open {
            let tooth = BAR_HEIGHT / 6.0;
            for i in 1..=6 {
                let x = if i % 2 == 1 { end - 5.0 } else { end };
                shape += &format!("L{} {}", round(x), round(y + f64::from(i) * tooth));
            }
        } else {
            shape += &format!("V{bottom}");
        }
        let bar = Path::new()
            .set("d", shape + "Z")
            .set("fill", self.fill(kind))
            .set("stroke", colour(kind))
            .set("stroke-width", 1.2)
            .set("stroke-linejoin", "round");
        if kind == Kind::Retired { bar.set("stroke-dasharray", "4 2") } else { bar }
    }

    /// What stands above a row and on its bars.
    fn above(&self, mut group: Group, row: &Row<'_>, placed: &[Placed], y: f64) -> Group {
        for label in placed {
            let base = y - 7.0 - label.level as f64 * LABEL_HEIGHT;
            if label.level > 0 || label.of_mark {
                let foot = if label.of_mark { y + BAR_HEIGHT / 2.0 } else { y };
                let line = rule(label.x, base - 9.0, label.x, foot, FAINT_INK);
                group = group.add(line.set("stroke-width", 0.8));
            }
            if label.of_mark {
                group = group.add(diamond(label.x, y + BAR_HEIGHT / 2.0));
            }
        }
        // All lines first: a label's halo then cuts what runs behind it.
        for label in placed {
            let base = y - 7.0 - label.level as f64 * LABEL_HEIGHT;
            group = group.add(halo(write(label.x + 4.0, base, SMALL, &label.text)));
        }
        for span in row.spans {
            let Some(end_us) = span.end_us else { continue };
            let (begin, end) = self.extent(span);
            let length = ms(end_us.saturating_sub(span.begin_us));
            let (need, middle) = (width(&length, SMALL) + 10.0, (begin + end) / 2.0);
            let hidden =
                row.marks.iter().any(|mark| (self.x(mark.at_us) - middle).abs() < need / 2.0 + 6.0);
            if need + 8.0 > end - begin || hidden {
                continue;
            }
            let solid = span.kind == Kind::Reader;
            if !solid {
                let plate = Rectangle::new()
                    .set("x", round(middle - need / 2.0))
                    .set("y", y + 4.0)
                    .set("width", round(need))
                    .set("height", BAR_HEIGHT - 8.0)
                    .set("rx", 3)
                    .set("fill", CARD);
                group = group.add(plate);
            }
            let text = write(middle, y + 16.5, SMALL, &length).set("text-anchor", "middle");
            group = group.add(if solid { text.set("fill", "#ffffff") } else { text });
        }
        group
    }

    /// The labels of a row, where they go.
    fn labels(&self, row: &Row<'_>) -> Vec<Placed> {
        let room = (WIDTH - PADDING - self.left) / 2.0;
        let placed = row.labels().into_iter().map(|label| Placed {
            x: self.x(label.at_us),
            level: 0,
            text: shorten(&label.text, SMALL, room - LABEL_MARGIN),
            of_mark: label.of_mark,
        });
        let mut placed: Vec<Placed> = placed.collect();
        let sizes = placed.iter().map(|label| (label.x, label_width(&label.text)));
        let levels = levels(&sizes.collect::<Vec<_>>());
        for (label, level) in placed.iter_mut().zip(levels) {
            label.level = level;
        }
        placed
    }

    /// The lines behind the lanes, and the axis below them.
    fn axis(&self, top: f64, bottom: f64) -> (Group, Group) {
        let (mut grid, mut axis) = (Group::new(), Group::new());
        if self.timeline.lanes.is_empty() {
            return (grid, axis);
        }
        axis = axis.add(rule(self.left, bottom, self.right, bottom, INK));
        let mut free_from = 0.0;
        for tick in self.timeline.ticks(9) {
            let x = self.x(tick);
            grid = grid.add(rule(x, top, x, bottom, GRID));
            axis = axis.add(rule(x, bottom, x, bottom + 5.0, INK));
            let text = tick_label(tick);
            let half = width(&text, SMALL) / 2.0;
            if x - half < free_from {
                continue;
            }
            free_from = x + half + 6.0;
            let text = write(x, bottom + 18.0, SMALL, &text);
            axis = axis.add(text.set("text-anchor", "middle").set("fill", FAINT_INK));
        }
        let unit = write(PADDING, bottom + 18.0, SMALL, "ms").set("fill", FAINT_INK);
        (grid, axis.add(unit))
    }

    /// Explains what is in the picture, and nothing else; moves `y` to its last line.
    fn legend(&self, y: &mut f64) -> Group {
        let timeline = self.timeline;
        // Each sign is drawn around the middle of the line's left end.
        let bar = |kind, open| {
            let bar = self.bar(kind, 0.0, SWATCH, -BAR_HEIGHT / 2.0, open);
            bar.set("transform", "scale(1 0.6)")
        };
        let kinds = Kind::ALL.into_iter().filter(|kind| timeline.has_kind(*kind));
        let mut entries: Vec<(Group, f64, &str)> =
            kinds.map(|kind| (Group::new().add(bar(kind, false)), SWATCH, kind.legend())).collect();
        if timeline.has_open_spans() {
            let torn = bar(Kind::Other, true).set("fill", CARD);
            entries.push((Group::new().add(torn), SWATCH, LEGEND_OPEN));
        }
        if timeline.grace_period_ends().next().is_some() {
            entries.push((Group::new().add(dashed(6.0, -10.0, 10.0)), 12.0, LEGEND_LINE));
        }
        if timeline.has_marks() {
            entries.push((Group::new().add(diamond(6.0, 0.0)), 12.0, LEGEND_MARK));
        }

        let mut legend = Group::new();
        let mut x = PADDING;
        for (sign, wide, text) in entries {
            let end = x + wide + 8.0 + width(text, SMALL);
            if x > PADDING && end > WIDTH - PADDING {
                x = PADDING;
                *y += 26.0;
            }
            let place = format!("translate({} {})", round(x), round(*y));
            let text_x = x + wide + 8.0;
            legend =
                legend.add(sign.set("transform", place)).add(write(text_x, *y + 4.5, SMALL, text));
            x = text_x + width(text, SMALL) + 10.0;
        }
        legend
    }
}

/// A label that has its place.
struct Placed {
    x: f64,
    level: usize,
    text: String,
    of_mark: bool,
}

/// How much room a label takes, with a little at its sides.
fn label_width(text: &str) -> f64 {
    width(text, SMALL) + LABEL_MARGIN
}

/// A tenth of a pixel is enough, and keeps the file small.
fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn write(x: f64, y: f64, size: f64, text: &str) -> Text {
    Text::new(text).set("x", round(x)).set("y", round(y)).set("font-size", size)
}

/// A border in the card's colour, so that lines behind a text do not run through it.
fn halo(text: Text) -> Text {
    text.set("stroke", CARD)
        .set("stroke-width", 4)
        .set("stroke-linejoin", "round")
        .set("paint-order", "stroke")
}

fn rule(x1: f64, y1: f64, x2: f64, y2: f64, colour: &str) -> Line {
    Line::new()
        .set("x1", round(x1))
        .set("y1", round(y1))
        .set("x2", round(x2))
        .set("y2", round(y2))
        .set("stroke", colour)
}

fn dashed(x: f64, top: f64, bottom: f64) -> Line {
    rule(x, top, x, bottom, colour(Kind::GracePeriod))
        .set("stroke-width", 1.6)
        .set("stroke-dasharray", "5 3")
}

fn diamond(x: f64, y: f64) -> Polygon {
    let (x, y) = (round(x), round(y));
    let corners = [(x, y - 5.5), (x + 5.5, y), (x, y + 5.5), (x - 5.5, y)];
    let corners = corners.map(|(x, y)| format!("{},{}", round(x), round(y)));
    Polygon::new()
        .set("points", corners.join(" "))
        .set("fill", INK)
        .set("stroke", CARD)
        .set("stroke-width", 1.4)
}

/// How wide a text is at most: those who look have other fonts, and DejaVu Sans is a wide one.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.34,
        'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '-' | '/' => 0.42,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '…' => 1.0,
        '_' => 0.5,
        c if c.is_ascii_uppercase() => 0.78,
        c if c.is_ascii() => 0.64,
        _ => 1.0,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// Cuts a text that is wider than `room`.
fn shorten(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut kept = text.to_owned();
    while !kept.is_empty() && width(&kept, size) + size > room {
        kept.pop();
    }
    kept.trim_end().to_owned() + "…"
}

/// Breaks a text into lines between its words.
fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line, size) + width(word, size) + size < room => {
                *line = format!("{line} {word}");
            }
            _ => lines.push(shorten(word, size, room)),
        }
    }
    lines
}
