// SPDX-License-Identifier: MIT OR Apache-2.0

//! The book: building it, serving it, and what mdBook itself does not check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use regex::Regex;

use crate::goals;
use crate::interrupt;
use crate::paths::{Paths, read};
use crate::say::{Doing, Result, Times, problem, step};
use crate::tools::{Crate, Tools, install_crates};
use crate::variant::region;

/// `make book`
pub fn build(paths: &Paths, times: &mut Times) -> Result<()> {
    let dir = paths.build_dir("book")?;
    let mut mdbook = mdbook(paths, Tools::get().pinned.mdbook(), times)?;
    mdbook.args(["build", "book", "--dest-dir"]).arg(&dir).current_dir(&paths.root);
    let out = interrupt::output(&mut mdbook).doing(|| "run mdbook".into())?;
    interrupt::check()?;
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    // mdBook warns of a missing file, and goes on with a hole in the page.
    if !out.status.success() || said.contains("WARN") || said.contains("ERROR") {
        return Err(problem("the book could not be built without warnings", said, ""));
    }
    step(format!("the book: {}", dir.join("index.html").display()));
    Ok(())
}

/// `make serve`
pub fn serve(paths: &Paths, times: &mut Times) -> Result<()> {
    let dir = paths.build_dir("book-served")?;
    let mut mdbook = mdbook(paths, Tools::get().pinned.mdbook_server(), times)?;
    mdbook.args(["serve", "book", "--dest-dir"]).arg(dir).current_dir(&paths.root);
    interrupt::die_with_parent(&mut mdbook);
    step("Ctrl-C ends it.");
    mdbook.status().doing(|| "run mdbook".into())?;
    Ok(())
}

/// Installs what the book is made with.
pub fn ready(paths: &Paths, times: &mut Times) -> Result<()> {
    mdbook(paths, Tools::get().pinned.mdbook(), times).map(|_| ())
}

/// The pinned mdBook, which finds its preprocessor in PATH.
fn mdbook(paths: &Paths, mdbook: Crate, times: &mut Times) -> Result<Command> {
    let pinned = Tools::get().pinned;
    let [program, mermaid] = install_crates(paths, [mdbook, pinned.mermaid()], times)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = mermaid.parent().map(Path::to_owned);
    let path = std::env::join_paths(first.into_iter().chain(std::env::split_paths(&path)))
        .map_err(|e| problem("PATH cannot be used", e.to_string(), ""))?;
    let mut command = Command::new(program);
    command.env("PATH", path);
    Ok(command)
}

static INCLUDE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{#include ([^}:]+?)(?::([^}]*))?\}\}").expect("is tested"));

/// What a page says above a range of lines about the first of them: a log that is recorded
/// anew may be longer.
static SHOWS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^<!-- shows: (.+) -->$").expect("is tested"));

/// Every file and anchor that a page includes exists, the anchor once and closed; and a range
/// of lines begins with what it is to show.
pub fn includes(paths: &Paths) -> Result<usize> {
    let mut wrong = vec![];
    let mut count = 0;
    for page in pages(paths) {
        let text = read(&page)?;
        let mut shows = None;
        for (number, line) in text.lines().enumerate() {
            if let Some(said) = SHOWS.captures(line) {
                shows = Some(said[1].to_owned());
            }
            for include in INCLUDE.captures_iter(line) {
                count += 1;
                let file = page.parent().unwrap_or(&page).join(&include[1]);
                let anchor = include.get(2).map(|a| a.as_str());
                let shown = shows.take().map_or(Ok(()), |what| begins_with(&file, anchor, &what));
                if let Err(why) = included(&file, anchor).and(shown) {
                    let page = paths.shown(&page);
                    wrong.push(format!("{page}:{}: {why}", number + 1));
                }
            }
        }
    }
    report("an include would be an empty block or a hole", wrong)?;
    Ok(count)
}

/// Is `what` in the first line of a range?
fn begins_with(file: &Path, range: Option<&str>, what: &str) -> std::result::Result<(), String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let begin = range.and_then(|range| range.split(':').next()?.parse::<usize>().ok());
    let line = begin.and_then(|begin| text.lines().nth(begin.checked_sub(1)?)).unwrap_or_default();
    match line.contains(what) {
        true => Ok(()),
        false => Err(format!("the range does not begin with `{what}`, but with `{line}`")),
    }
}

fn included(file: &Path, anchor: Option<&str>) -> std::result::Result<(), String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file).map_err(|e| format!("{name}: {e}"))?;
    match anchor {
        // A range of lines.
        Some(range) if range.split(':').all(|n| n.is_empty() || n.parse::<usize>().is_ok()) => {
            let end = range.split(':').next_back().and_then(|n| n.parse::<usize>().ok());
            match end {
                Some(end) if end > text.lines().count() => Err(format!("{name} has no line {end}")),
                _ => Ok(()),
            }
        }
        Some(anchor) => region(&text, anchor).map(|_| ()).map_err(|why| format!("{name}: {why}")),
        // A whole file must not show its markers.
        None if text.contains("ANCHOR") => {
            Err(format!("{name} has anchors, which a reader would see: include it by one of them"))
        }
        None => Ok(()),
    }
}

/// Every block of Rust in the book comes from a source that is compiled.
pub fn blocks(paths: &Paths) -> Result<usize> {
    let mut wrong = vec![];
    let mut count = 0;
    for page in pages(paths) {
        let text = read(&page)?;
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if !line.trim_start().starts_with("```rust") {
                continue;
            }
            count += 1;
            let body = lines.by_ref().take_while(|(_, line)| !line.trim_start().starts_with("```"));
            if body.filter(|(_, line)| !line.trim().is_empty()).any(|(_, l)| !INCLUDE.is_match(l)) {
                let page = paths.shown(&page);
                wrong.push(format!("{page}:{}", number + 1));
            }
        }
    }
    report("a block of Rust is written into the book, where nothing compiles it", wrong)?;
    Ok(count)
}

/// Every anchor of the modules' sources is there once, and closed.
pub fn anchors(paths: &Paths) -> Result<usize> {
    let mut wrong = vec![];
    let mut count = 0;
    let sources = ["stages", "runner/bench/module"];
    let sources =
        sources.iter().flat_map(|dir| files(&paths.root.join(dir), &["rs", "c", "h", "sh"]));
    for file in sources {
        let text = read(&file)?;
        let marks = text.lines().filter_map(|l| {
            l.split_once("ANCHOR: ").or_else(|| l.split_once("ANCHOR_END: ")).map(|(_, name)| name)
        });
        let names: BTreeSet<_> = marks.map(str::trim).collect();
        for name in names {
            count += 1;
            if let Err(why) = region(&text, name) {
                let file = paths.shown(&file);
                wrong.push(format!("{file}: {why}"));
            }
        }
    }
    report("an anchor is doubled or not closed", wrong)?;
    Ok(count)
}

/// Every `make` command that a page tells the reader to type exists.
pub fn commands(paths: &Paths) -> Result<usize> {
    let mut wrong = vec![];
    let mut count = 0;
    let mut pages = pages(paths);
    pages.push(paths.root.join("README.md"));
    for page in pages {
        for (number, command) in typed(&read(&page)?) {
            count += 1;
            let words = command.split('#').next().unwrap_or_default().split_whitespace().skip(1);
            let words: Vec<_> = words.filter(|w| !w.contains('=')).map(str::to_owned).collect();
            if let Err(why) = goals::known(paths, &words) {
                let page = paths.shown(&page);
                wrong.push(format!("{page}:{number}: `{command}`: {why}"));
            }
        }
    }
    report("a command that a page tells the reader to type does not exist", wrong)?;
    Ok(count)
}

static INLINE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"`(make [^`]+)`").expect("is tested"));

/// The calls of make with goals, in shell blocks and in the running text, with
/// the numbers of their lines.
fn typed(text: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut fenced = false;
    let mut found = vec![];
    // `make -C` calls Kbuild, not the workshop, and stage-N is none.
    let ours = |command: &str| !command.contains(" -C ") && !command.contains("stage-N");
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            inside = !fenced && matches!(language, "sh" | "console" | "shell" | "bash");
            fenced = !fenced;
        } else if inside {
            let line = line.trim_start_matches("$ ");
            if line.starts_with("make ") && ours(line) {
                found.push((number + 1, line.to_owned()));
            }
        } else if !fenced {
            let commands = INLINE.captures_iter(line).map(|c| c[1].to_owned());
            found.extend(commands.filter(|c| ours(c)).map(|c| (number + 1, c)));
        }
    }
    found
}

static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?:href|src)="([^"]*)""#).expect("is tested"));
static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"\bid="([^"]*)""#).expect("is tested"));

/// Every internal link of the built book leads somewhere, also behind its `#`,
/// and no page shows a marker.
pub fn links(paths: &Paths) -> Result<usize> {
    let book = paths.build.join("book");
    let html = files(&book, &["html"]);
    let mut texts = BTreeMap::new();
    for file in html {
        let text = read(&file)?;
        texts.insert(file, text);
    }
    let mut wrong = vec![];
    let mut count = 0;
    for (page, text) in &texts {
        let name = page.strip_prefix(&book).unwrap_or(page).display().to_string();
        if text.contains("ANCHOR: ") || text.contains("ANCHOR_END") || text.contains("{{#") {
            wrong.push(format!("{name} shows a marker"));
        }
        // These two are made for another place than the one they lie in.
        if name == "404.html" || name == "toc.html" {
            continue;
        }
        for link in LINK.captures_iter(text).map(|c| c[1].replace("&amp;", "&")) {
            if link.contains("://") || link.starts_with("mailto:") || link.starts_with("data:") {
                continue;
            }
            count += 1;
            let (path, id) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap_or(page).join(path),
            };
            let target = plain(&target);
            if !target.exists() {
                wrong.push(format!("{name}: nothing is at {link}"));
            } else if let Some(there) = texts.get(&target).filter(|_| !id.is_empty()) {
                if !ID.captures_iter(there).any(|c| &c[1] == id) {
                    wrong.push(format!("{name}: {link} leads to a page without that place"));
                }
            }
        }
    }
    report("links of the book lead nowhere", wrong)?;
    Ok(count)
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn report(what: &str, wrong: Vec<String>) -> Result<()> {
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(problem(what, wrong.join("\n"), "")),
    }
}

fn pages(paths: &Paths) -> Vec<PathBuf> {
    files(&paths.root.join("book/src"), &["md"])
}

/// All files below a folder with one of these extensions, in order.
pub fn files(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout with one page and one source.
    fn checkout(page: &str, source: &str) -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        for (name, text) in [
            ("book/src/page.md", page),
            ("stages/01-x/x.rs", source),
            (
                "stages/01-x/stage.toml",
                "title = \"t\"\nmodules = [\"x\"]\nseconds = 1\n[timeline]\ntitle = \"t\"\n",
            ),
            ("README.md", ""),
        ] {
            let file = root.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let paths = Paths { build: root.join("build"), cache: root.join("cache"), root };
        (dir, paths)
    }

    const SOURCE: &str = "// ANCHOR: one\nx\n// ANCHOR_END: one\n";

    fn include(what: &str) -> String {
        format!("```rust\n{{{{#include ../../stages/01-x/{what}}}}}\n```\n")
    }

    #[test]
    fn an_include_needs_its_file_its_anchor_and_its_end() {
        let check = |page: &str, source| includes(&checkout(&include(page), source).1);
        assert_eq!(check("x.rs:one", SOURCE).unwrap(), 1);
        assert!(check("y.rs:one", SOURCE).is_err());
        let message = check("x.rs:two", SOURCE).unwrap_err().to_string();
        assert!(message.contains("book/src/page.md:2") && message.contains("ANCHOR: two"));
        assert!(check("x.rs:one", "// ANCHOR: one\nx\n").is_err());
        assert!(check("x.rs", SOURCE).is_err(), "a whole file would show its markers");
        assert!(check("x.rs:1:3", SOURCE).is_ok());
        assert!(check("x.rs:1:4", SOURCE).is_err());
    }

    #[test]
    fn a_range_begins_with_what_it_is_to_show() {
        let check = |what: &str| {
            let page = format!("<!-- shows: {what} -->\n{}", include("x.rs:2:2"));
            includes(&checkout(&page, SOURCE).1)
        };
        assert_eq!(check("x").unwrap(), 1);
        assert!(check("ANCHOR").is_err());
    }

    #[test]
    fn rust_is_included_and_not_written() {
        let check = |page: &str| blocks(&checkout(page, SOURCE).1);
        assert_eq!(check(&include("x.rs:one")).unwrap(), 1);
        assert!(check("```rust,ignore\nlet x = 1;\n```\n").is_err());
        assert_eq!(check("```text\nlet x = 1;\n```\n").unwrap(), 0);
    }

    #[test]
    fn anchors_are_there_once_and_closed() {
        let check = |source: &str| anchors(&checkout("", source).1);
        assert_eq!(check(SOURCE).unwrap(), 1);
        assert!(check(&SOURCE.repeat(2)).is_err());
        assert!(check("// ANCHOR: one\n").is_err());
        assert!(check("// ANCHOR_END: one\n").is_err());
    }

    #[test]
    fn commands_have_to_exist() {
        let check = |line: &str| commands(&checkout(&format!("```sh\n{line}\n```\n"), SOURCE).1);
        assert_eq!(check("make stage-1 run KERNEL=fast   # why").unwrap(), 1);
        assert_eq!(check("$ make doctor").unwrap(), 1);
        assert_eq!(check("make -C $KDIR M=$PWD modules").unwrap(), 0);
        assert_eq!(commands(&checkout("type `make doctor`", SOURCE).1).unwrap(), 1);
        assert!(commands(&checkout("type `make tea`", SOURCE).1).is_err());
        for line in ["make stage-1 fly", "make stage-7 run", "make coffee", "make run"] {
            assert!(check(line).is_err(), "{line}");
        }
    }

    #[test]
    fn links_have_to_lead_somewhere() {
        let (_dir, paths) = checkout("", SOURCE);
        let book = paths.build.join("book");
        std::fs::create_dir_all(&book).unwrap();
        std::fs::write(book.join("b.html"), "<h2 id=\"there\">").unwrap();
        let check = |html: &str| {
            std::fs::write(book.join("a.html"), html).unwrap();
            links(&paths)
        };
        assert_eq!(check("<a href=\"b.html#there\"><a href=\"https://x.org\">").unwrap(), 1);
        assert!(check("<a href=\"c.html\">").is_err());
        assert!(check("<a href=\"b.html#nowhere\">").is_err());
        assert!(check("<pre>// ANCHOR: one</pre>").is_err());
    }
}
