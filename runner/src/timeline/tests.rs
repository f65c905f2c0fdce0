// SPDX-License-Identifier: MIT OR Apache-2.0
use svg::node::element::tag;
use svg::parser::Event as Node;

use super::*;
use crate::trace::{log, sample};

const CONFIG: &str = r#"
title = "A maintenance phase between two readers"
span = [
    { kind = "reader", begin = "hit cco", end = ["end cco_quickly", "end cco_carefully"] },
    { kind = "grace-period", begin = "hit maint", end = "grace period", label = "first wait" },
    { kind = "work", begin = "hit do_maint", end = "end do_maint", label = "do_maint" },
    { kind = "grace-period", begin = "end do_maint", end = "grace period", label = "second wait" },
]
mark = [{ event = "start cco1" }, { event = "start maint" }, { event = "start cco2", label = "start < & >" }]
"#;

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap_or_else(|e| panic!("{e}"))
}

fn draw(config_text: &str, log_text: &str) -> Timeline {
    let events = log::events(&log::parse(log_text));
    Timeline::new(&config(config_text), "phased_state", &events)
}

fn sample() -> Timeline {
    draw(CONFIG, sample::LOG)
}

/// The sample until (and without) the line that contains `text`.
fn sample_until(text: &str) -> Timeline {
    let end = sample::LOG.find(text).unwrap();
    draw(CONFIG, &sample::LOG[..sample::LOG[..end].rfind('\n').unwrap()])
}

/// Everything at once: long and crowded labels, spans inside spans, and ones that never end.
fn crowded() -> Timeline {
    let config = r#"
title = "A title that is rather too long for one line of a picture, and so has to go on in a second one below it"
span = [
    { kind = "other", begin = "open", end = "close", label = "a transaction around it all" },
    { kind = "reader", begin = "enter", end = "leave", label = "a short reader" },
    { kind = "work", begin = "toil", end = "rest" },
    { kind = "grace-period", begin = "wait", end = "grace period", label = "synchronize_rcu() with a label that nobody can read to its end because it goes on and on" },
]
mark = [{ event = "enter" }, { event = "freed", label = "freed at the very end" }, { event = "toil" }]
"#;
    let mut log = String::new();
    let mut at = 1_000_000;
    let mut line = |thread: &str, event: &str, us: u64| {
        log += &format!(
            "[    {}.{:06}] phased_state: [{thread}] {event}\n",
            at / 1_000_000,
            at % 1_000_000
        );
        at += us;
    };
    line("a-thread-with-a-name-beyond-measure", "open", 100);
    for _ in 0..4 {
        line("a-thread-with-a-name-beyond-measure", "enter", 300);
        line("a-thread-with-a-name-beyond-measure", "leave", 200);
    }
    line("b", "toil", 10);
    line("c", "wait", 10);
    line("a-thread-with-a-name-beyond-measure", "close", 2000);
    line("c", "grace period: which=1", 10);
    line("c", "wait", 10);
    line("c", "freed", 10);
    line("b", "freed", 0);
    draw(config, &log)
}

/// Several versions retired at a time, and freed by another thread.
fn retired() -> Timeline {
    let config = r#"
title = "Retired by one, freed by another"
span = [{ kind = "retired", thread = "updater", begin = "retire", end = "freed", end_thread = "callback", key = "version", label = "version {version}" }]
"#;
    let log = "\
[    1.000000] phased_state: [updater] retire: version=1
[    1.010000] phased_state: [updater] retire: version=2 of=7
[    1.020000] phased_state: [updater] freed: version=1
[    1.025000] phased_state: [updater] retire: nothing
[    1.030000] phased_state: [callback] freed: version=1
[    1.030000] phased_state: [callback] freed: version=9
[    1.040000] phased_state: [updater] retire: version=3
[    1.050000] phased_state: [callback] freed: version=2
[    1.060000] phased_state: [callback] retire: version=4
";
    draw(config, log)
}

fn all() -> Vec<Timeline> {
    let nothing = draw(CONFIG, "");
    let original = sample::LOG.replace("4.5", "94.5").replace("5.", "195.");
    let original = draw(CONFIG, &original);
    // Long numbers on a short axis.
    let mut long = sample();
    long.end_us = 890_000_000_000;
    long.lanes[0].marks[2] =
        Mark { label: "a label that is as long as the axis ".repeat(2), at_us: long.end_us };
    vec![long, sample(), sample_until("end do_maint"), crowded(), retired(), nothing, original]
}

#[test]
fn applies_the_table_to_the_log() {
    let timeline = sample();
    let threads: Vec<&str> = timeline.lanes.iter().map(|l| &*l.thread).collect();
    // No init and no exit: there is nothing to show of them.
    assert_eq!(threads, ["director", "cco1", "maint", "cco2"]);
    let maint = &timeline.lanes[2];
    let spans: Vec<_> = maint.spans().map(|s| (s.kind, &*s.label, s.begin_us, s.end_us)).collect();
    assert_eq!(
        spans,
        [
            (Kind::GracePeriod, "first wait", 514_075, Some(1_031_083)),
            (Kind::Work, "do_maint", 1_031_135, Some(2_231_885)),
            (Kind::GracePeriod, "second wait", 2_231_885, Some(2_571_806)),
        ]
    );
    assert_eq!(maint.rows.len(), 1);
    let marks: Vec<_> = timeline.lanes[0].marks.iter().map(|m| (m.at_us, &*m.label)).collect();
    assert_eq!(
        marks,
        [(1_285, "start cco1"), (511_876, "start maint"), (1_540_775, "start < & >")]
    );
    // The axis ends with what is drawn, not with the unloading long after.
    assert_eq!(timeline.end_us, 2_571_806);
    let span = timeline.lanes[1].spans().next().unwrap();
    assert_eq!((&*span.label, span.end_us), ("reader", Some(1_003_787)));
}

#[test]
fn what_is_not_finished_stays_open() {
    let timeline = sample_until("end do_maint");
    assert_eq!(timeline.lanes[2].spans().last().unwrap().end_us, None);
    assert_eq!(timeline.end_us, 1_542_645);
    assert!(text(&timeline, 80).contains("do_maint (not finished)"));
    assert!(text(&timeline, 80).contains("=▶\n"));
    assert!(text(&timeline, 80).contains("▶ not finished"));
    assert!(svg(&timeline).contains("do_maint (not finished)"));
    assert!(!text(&sample(), 80).contains('▶'));
}

#[test]
fn a_rule_can_be_for_one_thread() {
    let only = CONFIG.replace("{ kind = \"reader\",", "{ kind = \"reader\", thread = \"cco2\",");
    let timeline = draw(&only, sample::LOG);
    let threads: Vec<&str> = timeline.lanes.iter().map(|l| &*l.thread).collect();
    assert_eq!(threads, ["director", "maint", "cco2"]);
    let only =
        CONFIG.replace("{ event = \"start maint\"", "{ thread = \"x\", event = \"start maint\"");
    assert_eq!(draw(&only, sample::LOG).lanes[0].marks.len(), 2);
}

#[test]
fn a_span_can_end_in_another_thread_and_have_a_key() {
    let timeline = retired();
    let threads: Vec<&str> = timeline.lanes.iter().map(|l| &*l.thread).collect();
    assert_eq!(threads, ["updater"]);
    let spans = |row: &Vec<Span>| -> Vec<(String, u64, Option<u64>)> {
        row.iter().map(|s| (s.label.clone(), s.begin_us, s.end_us)).collect()
    };
    let rows: Vec<_> = timeline.lanes[0].rows.iter().map(spans).collect();
    let version = |n: u64, begin, end| (format!("version {n}"), begin, end);
    assert_eq!(
        rows,
        [
            vec![version(1, 0, Some(30_000)), version(3, 40_000, None)],
            vec![version(2, 10_000, Some(50_000))],
        ]
    );
    let told = timeline.describe();
    let sentence = "From 10 ms to 50 ms, updater has something retired that is not freed yet (version 2) for 40 ms.";
    assert!(told.contains(sentence), "{told}");
}

#[test]
fn what_is_retired_differs_from_the_rest_also_without_colour() {
    let drawn = text(&retired(), 60);
    assert!(drawn.contains("-- 40 ms --") && drawn.contains("- retired, and not"), "{drawn}");
    let picture = svg(&retired());
    let nodes: Vec<_> = svg::read(&picture).unwrap().collect();
    let bars = attributes(&nodes, tag::Path);
    // Three, and those of the legend: itself, and what is not finished.
    let dashed = bars.iter().filter(|bar| bar.contains_key("stroke-dasharray"));
    assert_eq!((bars.len(), dashed.count()), (5, 4));
    // Not so any other bar, of which each kind has a sign of its own.
    let picture = svg(&crowded());
    let nodes: Vec<_> = svg::read(&picture).unwrap().collect();
    let bars = attributes(&nodes, tag::Path);
    assert!(!bars.is_empty() && !bars.iter().any(|bar| bar.contains_key("stroke-dasharray")));
}

#[test]
fn only_the_module_s_own_stamped_events_count() {
    let log = "[    1.000000] other: [x] hit cco\nphased_state: [cco1] hit cco\n\
        [    2.000000] phased_state: [a] x\n[    2.500000] phased_state: [cco1] hit cco\n\
        [    3.000000] phased_state: [cco1] end cco_quickly\n";
    let timeline = draw(CONFIG, log);
    let span = timeline.lanes[0].spans().next().unwrap();
    assert_eq!((span.begin_us, span.end_us), (500_000, Some(1_000_000)));
}

#[test]
fn spans_inside_spans_get_rows_of_their_own() {
    let timeline = crowded();
    let rows: Vec<usize> = timeline.lanes[0].rows.iter().map(Vec::len).collect();
    assert_eq!(rows, [1, 4]);
    assert_eq!(timeline.lanes[0].rows[0][0].kind, Kind::Other);
    // Of two that begin together the longer one stands above.
    let span =
        |end_us| Span { kind: Kind::Work, label: String::new(), begin_us: 0, end_us: Some(end_us) };
    assert_eq!(super::rows(vec![span(5), span(9)]), [[span(9)], [span(5)]]);
}

#[test]
fn a_beginning_inside_a_span_belongs_to_it() {
    let log = "[    1.000000] phased_state: [a] hit cco\n[    2.000000] phased_state: [a] hit cco\n\
        [    3.000000] phased_state: [a] end cco_quickly\n[    4.000000] phased_state: [a] end cco_quickly\n";
    let timeline = draw(CONFIG, log);
    let spans: Vec<_> = timeline.lanes[0].spans().map(|s| (s.begin_us, s.end_us)).collect();
    assert_eq!(spans, [(0, Some(2_000_000))]);
}

#[test]
fn a_table_with_a_mistake_is_refused() {
    for (wrong, says) in [
        ("title = 'x'\nspam = []", "unknown field `spam`"),
        (
            "title = 'x'\n[[span]]\nkind = 'writer'\nbegin = 'a'\nend = 'b'",
            "unknown variant `writer`",
        ),
        ("title = 'x'\n[[span]]\nkind = 'work'\nbegin = 'a'", "missing field `end`"),
        ("title = 'x'\n[[mark]]\nevent = 'a'\ncolor = 'red'", "unknown field `color`"),
    ] {
        let error = toml::from_str::<Config>(wrong).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn tells_it_in_sentences() {
    let told = sample().describe();
    for sentence in [
        "At 1.3 ms, director: start cco1. From 3.2 ms to 1004 ms, cco1 is inside a read-side critical section for 1001 ms. At 512 ms",
        "From 514 ms to 1031 ms, maint waits for a grace period (first wait) for 517 ms; it ends after cco1, which it found inside. From 1031",
        "maint works (do_maint) for 1201 ms.",
        "(second wait) for 340 ms; it ends after cco2, which it found inside.",
    ] {
        assert!(told.contains(sentence), "{sentence} | {told}");
    }
    let told = sample_until("end do_maint").describe();
    assert!(told.ends_with("From 1543 ms on, cco2 is inside a read-side critical section; the log ends before it does."), "{told}");
    assert_eq!(draw(CONFIG, "").describe(), "Nothing was logged that could be drawn.");
    // A grace period that does not wait, as a break may show.
    let told = draw(CONFIG, &sample::LOG.replace("4.003912", "4.131208")).describe();
    assert!(told.contains("; cco1, which it found inside, is still there when it ends."), "{told}");
}

#[test]
fn labels_find_room() {
    let labels = [(0.0, 10.0), (5.0, 10.0), (14.0, 10.0), (24.0, 10.0), (24.0, 3.0)];
    let placed = levels(&labels);
    assert_eq!(placed, [2, 1, 0, 1, 0]);
    for (i, a) in labels.iter().enumerate() {
        for (j, b) in labels.iter().enumerate() {
            // On one level they are side by side, and none lies across the line of a higher one.
            let covers = a.0 < b.0 && b.0 < a.0 + a.1;
            assert!(!covers || placed[i] > placed[j], "{i} {j}");
        }
    }
    assert_eq!(levels(&[]), [0; 0]);
}

#[test]
fn the_axis_leaves_room_for_labels() {
    // A label of 40 at the end, one of 30 in the middle, one that is too wide, and one at 0.
    let length = |label: (f64, f64)| axis_length(100.0, [label].into_iter());
    assert_eq!(length((1.0, 40.0)), 60.0);
    assert_eq!(length((0.5, 30.0)), 100.0);
    assert_eq!(length((1.0, 400.0)), 50.0);
    assert_eq!(length((0.0, 400.0)), 100.0);
}

#[test]
fn ticks_are_round_and_few() {
    let ticks = |end_us, most| {
        let timeline = Timeline { title: String::new(), end_us, lanes: Vec::new() };
        timeline.ticks(most)
    };
    assert_eq!(ticks(2_571_806, 9), [0, 500_000, 1_000_000, 1_500_000, 2_000_000, 2_500_000]);
    assert_eq!(ticks(153_000_000, 9).last(), Some(&140_000_000));
    assert_eq!(ticks(1, 9), [0, 1]);
    assert_eq!(ticks(1000, 0), [0, 1000]);
    for end in [3, 17, 999, 12_345, u64::from(u32::MAX)] {
        assert!((2..=9).contains(&ticks(end, 9).len()), "{end}");
    }
    assert_eq!((tick_label(1_500_000), tick_label(200)), ("1500".into(), "0.2".into()));
}

#[test]
fn times_are_short() {
    for (us, text) in [
        (0, "0 ms"),
        (12, "0.012 ms"),
        (1_285, "1.3 ms"),
        (12_499, "12 ms"),
        (60_000_000, "60000 ms"),
    ] {
        assert_eq!(ms(us), text);
    }
}

#[test]
fn the_text_as_it_is_seen() {
    let seen = "\
A maintenance phase between two readers

ms        0       500      1000    1500    2000     2500
          ┬───────┬────────┬───────┬───────┬────────┬─
          start cco1       ┊                         ┊
          │        start maint      start < & >      ┊
director  ▲        ▲       ┊        ▲                ┊
                           ┊                         ┊
          reader           ┊                         ┊
cco1      ████ 1001 ms ████┊                         ┊
                           ┊                         ┊
                   first wait                        ┊
                   │       do_maint            second wait
maint              ░░░░░░░░===== 1201 ms ======░░░░░░┊
                           ┊                         ┊
                           ┊        reader           ┊
cco2                       ┊        ████ 1000 ms ████┊
                           ┊                         ┊
█ in a read-side critical section
░ waiting for a grace period   = working
┊ a grace period ends   ▲ an event
";
    let drawn = text(&sample(), 60);
    assert_eq!(drawn, seen, "{drawn}");
}

#[test]
fn the_text_keeps_within_its_width() {
    for timeline in all() {
        for width in 40..=200 {
            for line in text(&timeline, width).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
        assert!(!text(&timeline, 5).is_empty());
    }
}

#[test]
fn a_mark_hides_no_part_of_a_duration() {
    let drawn = text(&crowded(), 100);
    assert!(!drawn.contains("2.1"), "{drawn}");
    assert!(drawn.contains("░ 2.0 ms ░"), "{drawn}");
    assert!(drawn.contains(" synchronize_rcu() with a label that…\n"), "{drawn}");
}

/// All start tags of a name, with an attribute's numbers.
fn attributes<'a>(nodes: &'a [Node<'_>], tag: &str) -> Vec<&'a svg::node::Attributes> {
    let found = nodes.iter().filter_map(|node| match node {
        Node::Tag(name, _, attributes) if *name == tag && !attributes.is_empty() => {
            Some(attributes)
        }
        _ => None,
    });
    found.collect()
}

fn number(attributes: &svg::node::Attributes, name: &str) -> f64 {
    attributes[name].parse().unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn the_picture_can_be_read_aloud() {
    let picture = svg(&sample());
    let nodes: Vec<_> = svg::read(&picture).unwrap().collect();
    let root = attributes(&nodes, tag::SVG)[0];
    assert_eq!(&*root["role"], "img");
    for id in root["aria-labelledby"].split(' ') {
        assert!(picture.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(
        picture.contains("<desc id=\"timeline-a-maintenance-phase-between-two-readers-desc\">")
    );
    assert!(picture.contains("it ends after cco1, which it found inside."));
    assert!(picture.contains("start &lt; &amp; &gt;"));
    assert!(!nodes.iter().any(|node| matches!(node, Node::Error(_))));
}

#[test]
fn no_text_of_the_picture_overlaps_another_or_leaves_the_card() {
    for timeline in all() {
        let picture = svg(&timeline);
        let nodes: Vec<_> = svg::read(&picture).unwrap().collect();
        let root = attributes(&nodes, tag::SVG)[0];
        let (wide, high) = (number(root, "width"), number(root, "height"));
        let mut boxes: Vec<(f64, f64, f64, f64, String)> = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            let Node::Tag(tag::Text, _, attributes) = node else {
                continue;
            };
            let Some(Node::Text(content)) = nodes.get(i + 1) else {
                continue;
            };
            if attributes.is_empty() {
                continue;
            }
            let content =
                content.trim().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            let (x, y) = (number(attributes, "x"), number(attributes, "y"));
            let size = number(attributes, "font-size");
            let bold = if attributes.contains_key("font-weight") { picture::BOLD } else { 1.0 };
            let width = picture::width(&content, size) * bold;
            let middle = attributes.contains_key("text-anchor");
            let left = if middle { x - width / 2.0 } else { x };
            boxes.push((left, left + width, y - size, y + 3.0, content));
        }
        assert!(!boxes.is_empty());
        for (i, (left, right, top, bottom, text)) in boxes.iter().enumerate() {
            assert!(*left >= 10.0 && *right <= wide - 10.0, "{text}: {left} to {right}");
            assert!(*top >= 10.0 && *bottom <= high - 10.0, "{text}: {top} to {bottom}");
            for (l, r, t, b, other) in &boxes[i + 1..] {
                let apart = right <= l || r <= left || bottom <= t || b <= top;
                assert!(apart, "{text} over {other} in {}", timeline.title);
            }
        }
    }
}

#[test]
fn a_reader_is_seen_to_leave_before_the_grace_period_ends() {
    // In the log it is one microsecond; in the picture it must be more than nothing.
    let timeline = draw(CONFIG, &sample::LOG.replace("4.031208", "4.003913"));
    let picture = svg(&timeline);
    let nodes: Vec<_> = svg::read(&picture).unwrap().collect();
    let lines = attributes(&nodes, tag::Line);
    let ends = lines.iter().filter(|a| a.contains_key("stroke-dasharray"));
    let end = ends.map(|a| number(a, "x1")).find(|x| *x > 50.0).unwrap();
    let readers = attributes(&nodes, tag::Path);
    let reader = readers.iter().find(|a| &*a["fill"] == "#0072b2" && !a.contains_key("transform"));
    let path = &reader.unwrap()["d"];
    let right = path.split('H').nth(1).and_then(|d| d.split('V').next()).unwrap();
    let gap = end - right.parse::<f64>().unwrap();
    assert!((2.5..5.0).contains(&gap), "{gap}");
}

#[test]
fn pictures_on_one_page_do_not_share_ids() {
    let mut other = sample();
    other.title = "Another".to_owned();
    let ids = |picture: &str| -> Vec<String> {
        let parts = picture.split(" id=\"").skip(1);
        parts.map(|p| p.split('"').next().unwrap().to_owned()).collect()
    };
    let (one, other) = (ids(&svg(&sample())), ids(&svg(&other)));
    assert!(one.len() >= 5 && one.iter().all(|id| !other.contains(id)), "{one:?}");
}
