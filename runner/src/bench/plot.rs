// SPDX-License-Identifier: MIT OR Apache-2.0

//! The report's pictures.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::guest::Helpers;
use super::operations::{Group, Operation};
use super::report::{Leg, NOT_TIME, Report, WAITS, scaling, side_title, significant};
use super::sample::{Figure, What};
use crate::say::{Result, problem};

type Drawn<T = ()> = std::result::Result<T, Box<dyn Error>>;
/// A picture, if there is anything to be seen on it.
type Picture = Drawn<Option<String>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Colours that those can tell apart, too, who see fewer.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
];

const WIDTH: u32 = 900;
const LABELS: i32 = 300;

/// All pictures, with the names of their files.
pub fn all(report: &Report, operations: &[Operation]) -> Result<Vec<(&'static str, String)>> {
    let failed = |e: Box<dyn Error>| problem("a plot could not be drawn", e.to_string(), "");
    let all = [
        ("instructions.svg", bars(report, operations, What::Count)),
        ("time.svg", bars(report, operations, What::Time)),
        ("grace-periods.svg", waits(report)),
        ("readers.svg", readers(report, operations)),
    ];
    all.into_iter()
        .filter_map(|(name, drawn)| match drawn {
            Ok(None) => None,
            Ok(Some(text)) => Some(Ok((name, text))),
            Err(e) => Some(Err(failed(e))),
        })
        .collect()
}

/// A bar from the left to a median, with a line over the spread.
struct Bar {
    series: usize,
    figure: Figure,
}

/// Bars in groups.
struct Bars {
    title: String,
    note: String,
    unit: &'static str,
    series: Vec<String>,
    groups: Vec<(String, Vec<Bar>)>,
}

fn inlined(report: &Report) -> impl Iterator<Item = &Leg> {
    report.legs.iter().filter(|leg| leg.helpers == Helpers::Inlined)
}

/// What one operation of the kernel takes.
fn bars(report: &Report, operations: &[Operation], what: What) -> Picture {
    let legs: Vec<_> = inlined(report).collect();
    let sides = ["c", "rust"];
    let series = legs
        .iter()
        .flat_map(|leg| sides.map(|side| format!("{}, {}", side_title(side), leg.flavour)))
        .collect();
    let of_kernel = operations.iter().filter(|o| o.group != Group::User && o.name != "loop");
    let groups = of_kernel.filter_map(|operation| {
        let at = |(i, leg): (usize, &&Leg)| {
            sides
                .iter()
                .enumerate()
                .filter_map(move |(j, side)| {
                    let figure = leg.figure(what, &operation.name, side)?;
                    Some(Bar { series: i * sides.len() + j, figure })
                })
                .collect::<Vec<_>>()
        };
        let bars: Vec<_> = legs.iter().enumerate().flat_map(at).collect();
        (!bars.is_empty()).then(|| (operation.title.replace('`', ""), bars))
    });
    let groups: Vec<_> = groups.collect();
    let (title, unit) = match what {
        What::Count => ("Instructions of one operation", "instructions"),
        _ => ("Time of one operation", "nanoseconds"),
    };
    let note = NOT_TIME.to_owned();
    draw_bars(&Bars { title: title.into(), note, unit, series, groups })
}

/// How long a grace period takes.
fn waits(report: &Report) -> Picture {
    let legs: Vec<_> = inlined(report).collect();
    let loads = [("idle", "otherwise idle"), ("readers", "readers on the other CPUs")];
    let series = legs
        .iter()
        .flat_map(|leg| loads.map(|(_, load)| format!("{}, {load}", leg.flavour)))
        .collect();
    let groups = WAITS.iter().filter_map(|(name, title)| {
        let mut bars = vec![];
        for (i, leg) in legs.iter().enumerate() {
            for (j, (load, _)) in loads.iter().enumerate() {
                if let Some(Figure { median, low, high }) = leg.figure(What::Wait, name, load) {
                    let ms = |ns: f64| ns / 1e6;
                    let figure = Figure { median: ms(median), low: ms(low), high: ms(high) };
                    bars.push(Bar { series: i * loads.len() + j, figure });
                }
            }
        }
        (!bars.is_empty()).then(|| (title.replace('`', ""), bars))
    });
    let groups: Vec<_> = groups.collect();
    let note = "Instruction counts are not time, and these are times, of this machine.".to_owned();
    let title = "A grace period".to_owned();
    draw_bars(&Bars { title, note, unit: "milliseconds", series, groups })
}

fn draw_bars(bars: &Bars) -> Picture {
    let Bars { title, note, unit, series, groups } = bars;
    let lines: usize = groups.iter().map(|(_, bars)| bars.len() + 1).sum();
    if lines == 0 {
        return Ok(None);
    }
    let figures = || groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.figure);
    let low = figures().map(|f| f.low).fold(f64::MAX, f64::min).max(1e-3) / 1.5;
    let high = figures().map(|f| f.high).fold(low, f64::max) * 3.0;
    picture(13 * lines as u32 + 130, title, note, series, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(20)
            .x_label_area_size(40)
            .set_label_area_size(LabelAreaPosition::Left, LABELS)
            .build_cartesian_2d((low..high).log_scale(), 0.0..lines as f64)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().y_labels(0).x_desc(format!("{unit} (logarithmic)"));
        mesh.x_label_formatter(&|x| significant(*x)).x_label_style(font(12)).draw()?;
        let mut y = lines as f64;
        for (label, bars) in groups {
            let middle = y - bars.len() as f64 / 2.0;
            let (_, at) = chart.backend_coord(&(low, middle));
            let right = font(12).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(
                label.clone(),
                (LABELS - 10, at - area.get_base_pixel().1),
                right,
            ))?;
            for Bar { series, figure } in bars {
                let colour = COLOURS[series % COLOURS.len()];
                let bar = [(low, y), (figure.median.max(low), y - 1.0)];
                chart.draw_series([Rectangle::new(bar, colour.filled())])?;
                let (x, top) = chart.backend_coord(&(figure.high.max(figure.median), y));
                let (_, bottom) = chart.backend_coord(&(figure.high, y - 1.0));
                let (base_x, base_y) = area.get_base_pixel();
                let middle = (top + bottom) / 2 - base_y;
                if figure.high > figure.low {
                    let (from, _) = chart.backend_coord(&(figure.low, y));
                    let spread = vec![(from - base_x, middle), (x - base_x, middle)];
                    area.draw(&PathElement::new(spread, BLACK.stroke_width(1)))?;
                }
                let beside = font(11).pos(Pos::new(HPos::Left, VPos::Center));
                let number = significant(figure.median);
                area.draw(&Text::new(number, (x - base_x + 5, middle), beside))?;
                y -= 1.0;
            }
            y -= 1.0;
        }
        Ok(())
    })
    .map(Some)
}

/// What readers on several CPUs get done together.
fn readers(report: &Report, operations: &[Operation]) -> Picture {
    let Some(leg) = inlined(report).next() else { return Ok(None) };
    // One side of each: that Rust and C are alike is not what this picture is about.
    let mut lines = scaling(leg);
    let has_rust: Vec<_> =
        lines.iter().filter(|(_, side, _)| *side == "rust").map(|(o, ..)| o.to_string()).collect();
    lines.retain(|(o, side, _)| *side == "rust" || !has_rust.iter().any(|has| has == o));
    let most = lines.iter().flat_map(|(_, _, points)| points).map(|(n, _)| *n).max();
    let Some(most) = most.filter(|most| *most > 1) else { return Ok(None) };
    let title = |name: &str| {
        let operation = operations.iter().find(|o| o.name == name);
        operation.map_or(name.to_owned(), |o| o.title.replace('`', ""))
    };
    let series: Vec<_> = lines
        .iter()
        .map(|(operation, side, _)| format!("{}: {}", side_title(side), title(operation)))
        .collect();
    let note = "Instruction counts are not time, and these are times, of this machine.";
    let height = 380 + 20 * series.len() as u32 / 2;
    picture(height, "Readers on several CPUs", note, &series, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(20)
            .margin_left(15)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.9..most as f64 + 0.1, 0.0..most as f64 + 0.5)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_labels(most as usize + 1).x_label_formatter(&|x| match x.fract() {
            0.0 => significant(*x),
            _ => String::new(),
        });
        mesh.x_desc("readers, each on a CPU of its own");
        mesh.y_desc("operations done together, one reader being 1");
        mesh.x_label_style(font(12)).y_label_style(font(12)).draw()?;
        for (i, (_, _, points)) in lines.iter().enumerate() {
            let first = points.first().map_or(1.0, |(_, f)| f.median.max(1.0));
            let points: Vec<_> =
                points.iter().map(|(n, f)| (*n as f64, f.median / first)).collect();
            let colour = COLOURS[i % COLOURS.len()];
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
            chart.draw_series(points.iter().map(|at| Circle::new(*at, 4, colour.filled())))?;
        }
        Ok(())
    })
    .map(Some)
}

/// A picture with a title above, and names of colours and a note below.
fn picture(
    height: u32,
    title: &str,
    note: &str,
    series: &[String],
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Drawn<String> {
    const ROW: u32 = 18;
    let mut text = String::new();
    {
        let rows = series.len().div_ceil(2) as u32;
        let below = 20 + ROW * (rows + note_lines(note).len() as u32);
        let height = height + below;
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let (upper, lower) = area.split_vertically(height - below);
        let area = upper.titled(title, font(18))?;
        draw(&area)?;
        for (i, name) in series.iter().enumerate() {
            let (x, y) = (30 + 430 * (i as i32 % 2), 10 + ROW as i32 * (i as i32 / 2));
            let colour = COLOURS[i % COLOURS.len()];
            lower.draw(&Rectangle::new([(x, y), (x + 12, y + 12)], colour.filled()))?;
            lower.draw(&Text::new(name.clone(), (x + 20, y), font(12)))?;
        }
        for (i, line) in note_lines(note).into_iter().enumerate() {
            let y = (ROW * (rows + i as u32)) as i32 + 14;
            lower.draw(&Text::new(line, (30, y), font(12)))?;
        }
        lower.present()?;
    }
    // A page of the book has it in its text, where an empty line would end it.
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.collect::<Vec<_>>().join("\n") + "\n")
}

/// A note in lines that fit.
fn note_lines(note: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in note.split(' ') {
        if lines.last().is_some_and(|line| line.len() + word.len() > 120) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            *line += word;
        }
    }
    lines
}

fn font(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}

#[cfg(test)]
mod tests {
    use super::super::{operations, report::tests::report};
    use super::*;

    #[test]
    fn every_picture_says_what_it_is_not_and_fits_into_a_page() {
        let all = all(&report(6), &operations::all()).unwrap();
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["instructions.svg", "time.svg", "readers.svg"]);
        for (name, text) in &all {
            assert!(text.contains("Instruction counts are not time"), "{name}");
            assert!(text.starts_with("<svg") && !text.contains("\n\n"), "{name}");
        }
        let (_, bars) = &all[0];
        assert!(bars.contains("read-side section, empty") && bars.contains("Rust, fast"), "{bars}");
    }
}
