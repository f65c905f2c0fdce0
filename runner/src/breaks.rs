// SPDX-License-Identifier: MIT OR Apache-2.0

//! A stage's breaks, refusals and checks: what goes wrong without one of its
//! safety steps, what the compiler does not let through, and what has to go well
//! besides the stage's own story.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use crate::kernel::{Flavour, Kernel};
use crate::module::{self, Built};
use crate::paths::{Paths, var, write};
use crate::say::{Result, Times, last_lines, problem, step};
use crate::session::{self, Session, lines_of};
use crate::stage::Stage;
use crate::tools::{Toolchain, lua};
use crate::trace::splat;
use crate::variant::Variant;
use crate::verdict;
use crate::vm::{Boot, Machine, Plan, session_limit};

static SYSROOT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"/\S*/rustlib/src/rust/").expect("is a constant"));

/// The folders of a stage's variants.
pub const BREAKS: &str = "breaks";
/// See [`BREAKS`].
pub const REFUSALS: &str = "refusals";
/// See [`BREAKS`].
pub const CHECKS: &str = "checks";

/// `make stage-N break [B=name]`
pub fn break_it(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    let Some(name) = var("B") else { return list(stage, BREAKS, "break B") };
    let broken = find(stage, BREAKS, &name)?;
    step(format!("{name}: {}", broken.title));
    for flavour in flavours(&broken)? {
        let case = Case { stage, kind: BREAKS, name: &name, variant: &broken, flavour };
        let seen = show(paths, &case, times, &mut |line| println!("{line}"))?;
        step(format!("\n-- what broke, on {flavour}\n"));
        for line in &seen.around_key {
            step(line);
        }
        step(format!("\n{}", broken.explanation.trim_end()));
        step(format!(
            "\nVERDICT: it broke as expected.  The whole console: {}\n",
            seen.console.display()
        ));
    }
    Ok(())
}

/// `make stage-N refuse [R=name]`
pub fn refuse(paths: &Paths, stage: &Stage, times: &mut Times) -> Result<()> {
    let (kernel, toolchain) = Kernel::get(paths, Flavour::wanted()?, times)?;
    let all = match var("R") {
        Some(name) => vec![(name.clone(), find(stage, REFUSALS, &name)?)],
        None => Variant::all(stage, REFUSALS)?,
    };
    for (name, refusal) in all {
        let said = refused(paths, stage, &kernel, &toolchain, &name, &refusal)?;
        step(format!("-- {name}: {}\n", refusal.title));
        step(said);
        step(format!("{}\n", refusal.explanation));
    }
    step("VERDICT: each was refused with the error that was expected, where it was expected.");
    Ok(())
}

/// What a break has shown.
pub struct Seen {
    /// The key line with some around it, marked.
    pub around_key: Vec<String>,
    /// The section's lines.
    pub lines: Vec<String>,
    /// What it ran on.
    pub stamp: String,
    /// Where the console is.
    pub console: PathBuf,
}

/// A variant that is booted.
pub struct Case<'a> {
    /// The stage that it is one of.
    pub stage: &'a Stage,
    /// [`BREAKS`] or [`CHECKS`].
    pub kind: &'static str,
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub variant: &'a Variant,
    /// The kernel that it runs on.
    pub flavour: Flavour,
}

impl Case<'_> {
    /// How long its script takes at most.
    pub fn seconds(&self) -> u64 {
        self.variant.seconds.unwrap_or(self.stage.about.seconds)
    }

    /// Its folder below `build/`.
    fn place(&self) -> String {
        format!("{}/{}-{}", self.kind, self.stage.folder, self.name)
    }

    /// Builds it; all of the stage's modules, or just the one that it is about.
    fn build(
        &self,
        paths: &Paths,
        kernel: &Kernel,
        toolchain: &Toolchain,
        module: &str,
    ) -> Result<Built> {
        let &Self { stage, variant, .. } = self;
        let own = || module::own(paths, kernel, toolchain, stage);
        if variant.replace.is_empty() {
            return own();
        }
        let place = self.place();
        let tree = variant.make(paths, stage, &place)?;
        // A program is built with all of them, and so is a script's second module.
        let all =
            !variant.programs.is_empty() || loads_others(variant, module, &stage.about.modules);
        let mut extra = vec![];
        if lua::is_wanted(&tree) && !variant.changes("lua") {
            extra.push(format!("KLUA_BUILT={}", own()?.dir.display()));
        }
        let extra: Vec<_> = extra.iter().map(String::as_str).collect();
        module::build(paths, kernel, toolchain, &tree, &place, (!all).then_some(module), &extra)
    }

    /// Builds it, and puts its modules into a session, in a folder of its name; gives the one
    /// that it is about.
    pub fn put(
        &self,
        paths: &Paths,
        kernel: &Kernel,
        toolchain: &Toolchain,
        session: &Session,
    ) -> Result<&str> {
        let &Self { stage, name, variant, .. } = self;
        let module = stage.module_named(variant.module.as_deref())?;
        let built = self.build(paths, kernel, toolchain, module)?;
        session.add_modules(stage, &built, name)?;
        if let Some(name) = &variant.beside {
            let variant = &find(stage, self.kind, name)?;
            Case { name, variant, ..*self }.put(paths, kernel, toolchain, session)?;
        }
        for program in &variant.programs {
            let name = program.rsplit('/').next().unwrap_or(program);
            session.add(&built.dir.join(program), name)?;
        }
        Ok(module)
    }

    /// The same, and gives the session a section of it.
    pub fn add(
        &self,
        paths: &Paths,
        kernel: &Kernel,
        toolchain: &Toolchain,
        session: &mut Session,
    ) -> Result<()> {
        let &Self { stage, name, variant, .. } = self;
        let module = self.put(paths, kernel, toolchain, session)?;
        let script = match &variant.script {
            Some(text) => {
                session.write(&format!("{name}/variant.sh"), text)?;
                format!("{name}/variant.sh")
            }
            None => session::script(stage, module)?,
        };
        session.section(name, &variant.args, &format!("from.sh {name} {script}"));
        Ok(())
    }

    /// Builds and boots it; gives the boot, and the first lines of a record of it.
    fn boot(
        &self,
        paths: &Paths,
        times: &mut Times,
        watch: &mut dyn FnMut(&str),
    ) -> Result<(Boot, String)> {
        let &Self { stage, name, variant, flavour, .. } = self;
        let (kernel, toolchain) = Kernel::get(paths, flavour, times)?;
        let mut machine = Machine::get(paths, &kernel, times)?;
        if variant.counts {
            machine = machine.counting_instructions();
        }
        let mut session = Session::without_modules(paths, stage)?;
        session.raise(&variant.limits);
        self.add(paths, &kernel, &toolchain, &mut session)?;
        let root = session.finish()?;
        let console = paths.build_dir(&self.place())?.join(format!("console-{flavour}.log"));
        let plan = Plan {
            kernel: &kernel,
            root: &root,
            limit: session_limit(&kernel, self.seconds()),
            // To count takes time.
            boot_limit: variant.counts.then_some(Duration::from_secs(300)),
            params: &variant.params.iter().map(String::as_str).collect::<Vec<_>>(),
            console: &console,
        };
        let mut inside = false;
        let boot = machine.boot(&plan, &mut |line| {
            inside |= line.ends_with(&format!("guest: begin {name}"));
            if inside {
                watch(line);
                let _ = std::io::stdout().flush();
            }
        })?;
        let stamp = format!(
            "# SPDX-License-Identifier: GPL-2.0\n# The break `{name}`, recorded by `make stage-{} bless B={name}`; not edited.\n# kernel: Linux {}\n# rustc: {}\n# machine: {}\n",
            stage.number,
            kernel.release,
            toolchain.version,
            machine.describe()?,
        );
        Ok((boot, stamp))
    }

    /// The error that it did not show what it is to show.
    fn silent(&self, what: &str, why: &str, boot: &Boot) -> miette::Report {
        let lines = lines_of(&boot.lines, self.name);
        problem(
            format!("`{}` {what} on {}: {why}", self.name, self.flavour),
            format!("It ended as {:?}.\n{}", boot.end, last_lines(&lines.join("\n"), 30)),
            format!("the whole console is {}", boot.console.display()),
        )
    }
}

/// Does the script of a variant name other modules of the stage than its own?
fn loads_others(variant: &Variant, module: &str, modules: &[String]) -> bool {
    let script = variant.script.as_deref().unwrap_or_default();
    let mut words = script.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.any(|word| word != module && modules.iter().any(|other| other == word))
}

/// Builds and boots a break, and verifies that it broke.
pub fn show(
    paths: &Paths,
    case: &Case<'_>,
    times: &mut Times,
    watch: &mut dyn FnMut(&str),
) -> Result<Seen> {
    let (boot, stamp) = case.boot(paths, times, watch)?;
    let lines = lines_of(&boot.lines, case.name).to_vec();
    let key =
        shown(case.variant, &lines).map_err(|why| case.silent("did not break", &why, &boot))?;
    let around_key = lines
        .iter()
        .enumerate()
        .filter(|(i, _)| i.abs_diff(key) <= 6)
        .map(|(i, line)| format!("{} {line}", if i == key { ">>" } else { "  " }))
        .collect();
    Ok(Seen { around_key, lines, stamp, console: boot.console })
}

/// Builds and boots a check, and verifies that it shows what it is to show, that
/// the kernel had nothing else to complain about, and that no step failed.
pub fn check(
    paths: &Paths,
    case: &Case<'_>,
    times: &mut Times,
    watch: &mut dyn FnMut(&str),
) -> Result<()> {
    let (boot, _) = case.boot(paths, times, watch)?;
    verdict::clean_but(&boot, &case.variant.expect.splats)?;
    checked(case, &boot)
}

/// Did a check show what it is to show?
pub fn checked(case: &Case<'_>, boot: &Boot) -> Result<()> {
    match shown(case.variant, lines_of(&boot.lines, case.name)) {
        Ok(_) => Ok(()),
        Err(why) => Err(case.silent("did not do what it should", &why, boot)),
    }
}

/// Does the log show what the variant is to show?  Gives the key line.
pub fn shown(variant: &Variant, lines: &[String]) -> std::result::Result<usize, String> {
    let expect = &variant.expect;
    let position = |pattern: &String| -> std::result::Result<Option<usize>, String> {
        let regex = Regex::new(pattern).map_err(|e| e.to_string())?;
        Ok(lines.iter().position(|line| regex.is_match(line)))
    };
    let mut key = None;
    for pattern in &expect.lines {
        let at = position(pattern)?.ok_or_else(|| format!("no line matches `{pattern}`"))?;
        key.get_or_insert(at);
    }
    let mut last: Option<(&String, usize)> = None;
    for pattern in &expect.order {
        let at = position(pattern)?.ok_or_else(|| format!("no line matches `{pattern}`"))?;
        if let Some((earlier, _)) = last.filter(|(_, before)| at <= *before) {
            return Err(format!("`{pattern}` does not come after `{earlier}`"));
        }
        last = Some((pattern, at));
    }
    let splats = splat::find(&verdict::parse(lines));
    for kind in &expect.splats {
        let splat = splats.iter().find(|s| s.kind == kind);
        let splat = splat.ok_or_else(|| format!("there is no splat of the kind `{kind}`"))?;
        key.get_or_insert(splat.line);
    }
    for pattern in &expect.never {
        if let Some(at) = position(pattern)? {
            return Err(format!("a line matches `{pattern}`: {}", lines[at]));
        }
    }
    key.ok_or_else(|| "it expects nothing, so it shows nothing".into())
}

/// Records what a break shows, for the book.
pub fn record(paths: &Paths, stage: &Stage, name: &str, times: &mut Times) -> Result<()> {
    let broken = find(stage, BREAKS, name)?;
    for flavour in flavours(&broken)? {
        let case = Case { stage, kind: BREAKS, name, variant: &broken, flavour };
        let seen = show(paths, &case, times, &mut |line| println!("{line}"))?;
        let file = recorded(stage, name, flavour);
        write(&file, seen.stamp + &stage.recordable(&seen.lines)?)?;
        step(format!("recorded in {}", file.display()));
    }
    Ok(())
}

/// Records what the compiler says of a refusal, for the book.
pub fn record_refusal(paths: &Paths, stage: &Stage, name: &str, times: &mut Times) -> Result<()> {
    let (kernel, toolchain) = Kernel::get(paths, Flavour::wanted()?, times)?;
    let refusal = find(stage, REFUSALS, name)?;
    let said = refused(paths, stage, &kernel, &toolchain, name, &refusal)?;
    let file = recorded_message(stage, name);
    write(&file, message(stage, name, &toolchain, &said))?;
    step(format!("recorded in {}", file.display()));
    Ok(())
}

/// A refusal's message, stamped.  The compiler's version decides how it is put.
pub fn message(stage: &Stage, name: &str, toolchain: &Toolchain, said: &str) -> String {
    format!(
        "# SPDX-License-Identifier: GPL-2.0\n# The refusal `{name}`, recorded by `make stage-{} bless R={name}`; not edited.\n# rustc: {}\n{}\n",
        stage.number,
        toolchain.version,
        said.trim_end(),
    )
}

/// A line's number before its text, or in a place, which may be a closure's name.
static NUMBERS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^ *\d* *(\||-->)|(\.rs):\d+:\d+(?:: \d+:\d+)?").expect("is tested")
});

/// A compiler's message without the numbers of its lines, which any edit above them moves.
pub fn unnumbered(message: &str) -> String {
    NUMBERS.replace_all(message, "$1$2").into_owned()
}

/// Where the message of a refusal is recorded.
pub fn recorded_message(stage: &Stage, name: &str) -> PathBuf {
    stage.dir.join(format!("refusals/{name}.stderr"))
}

/// The recorded log of a break.
pub fn recorded(stage: &Stage, name: &str, flavour: Flavour) -> PathBuf {
    stage.dir.join(format!("breaks/{name}.{flavour}.dmesg"))
}

/// The flavours that a variant is made for.
pub fn made_for(variant: &Variant) -> Result<Vec<Flavour>> {
    let named = |flavour: &Flavour| variant.flavours.contains(&flavour.to_string());
    let flavours: Vec<_> = Flavour::ALL.into_iter().filter(named).collect();
    if flavours.is_empty() || flavours.len() != variant.flavours.len() {
        return Err(problem(
            format!("`{}` names no flavour, or an unknown one", variant.title),
            "",
            "flavours = [\"debug\"], [\"fast\"] or both",
        ));
    }
    Ok(flavours)
}

/// Those of them that this run wants.
pub fn flavours(variant: &Variant) -> Result<Vec<Flavour>> {
    let flavours = made_for(variant)?;
    let Some(only) = var("KERNEL").map(|_| Flavour::wanted()).transpose()? else {
        return Ok(flavours);
    };
    match flavours.contains(&only) {
        true => Ok(vec![only]),
        false => Err(problem(
            format!("this is not made for `{only}`"),
            variant.title.clone(),
            format!("leave KERNEL= away: it runs on {}", variant.flavours.join(" and ")),
        )),
    }
}

/// Compiles a refusal, and gives the compiler's message if it is the expected
/// one, with its first place in a replaced region.
pub fn refused(
    paths: &Paths,
    stage: &Stage,
    kernel: &Kernel,
    toolchain: &Toolchain,
    name: &str,
    refusal: &Variant,
) -> Result<String> {
    let wanted = refusal.expect.error.as_deref().ok_or_else(|| {
        problem(
            format!("the refusal `{name}` expects no error"),
            "",
            "[expect] error = \"E0373\", or the name of a lint",
        )
    })?;
    let module = stage.module_named(refusal.module.as_deref())?;
    let place = format!("refusals/{}-{name}", stage.folder);
    let tree = refusal.make(paths, stage, &place)?;
    // Else a type with a long name, such as a closure's in a deep folder, goes into a file.
    let whole_types = ["KRUSTFLAGS=-Zwrite-long-types-to-disk=no"];
    let said =
        match module::build(paths, kernel, toolchain, &tree, &place, Some(module), &whole_types) {
            Ok(_) => {
                return Err(problem(
                    format!("the refusal `{name}` compiles"),
                    refusal.title.clone(),
                    "",
                ));
            }
            Err(error) => error.to_string(),
        };
    points_there(&said, wanted, refusal, &tree).map_err(|why| {
        problem(format!("the refusal `{name}` is refused otherwise: {why}"), said.clone(), "")
    })?;
    // The message as the compiler gave it, without the folders of this machine.
    let said = said.split_once('\n').map_or("", |(_, rest)| rest);
    // Nor the one that the compiler itself lies in.
    let said = SYSROOT.replace_all(said, "");
    let said = said.replace(&format!("{}/", paths.shown(&tree)), "");
    Ok(match std::fs::read_link(kernel.dir.join("source")) {
        Ok(source) => said.replace(&format!("{}/", source.display()), ""),
        Err(_) => said,
    })
}

/// The first error of a message is the wanted one: that has the code, or its
/// notes name the lint that made it an error.
pub fn is_error(said: &str, wanted: &str) -> std::result::Result<(), String> {
    let (first, rest) = first_error(said)?;
    let is_code = wanted.strip_prefix('E').is_some_and(|n| n.parse::<u32>().is_ok());
    // `#[deny(unused_must_use)]` in the source, `-D unused-must-use` among the options.
    let names = |line: &str| {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c));
        words.any(|word| word.replace('-', "_") == wanted)
    };
    let found = match is_code {
        true => first.starts_with(&format!("error[{wanted}]")),
        false => {
            let mut notes = rest.skip_while(|line| !line.contains("note: "));
            first.starts_with("error: ") && notes.any(names)
        }
    };
    match found {
        true => Ok(()),
        false => Err(format!("`{first}` is not {wanted}")),
    }
}

/// The first error of a message: its headline, and the lines up to the next one.
fn first_error(
    said: &str,
) -> std::result::Result<(&str, impl Iterator<Item = &str>), &'static str> {
    let headline = |line: &&str| line.starts_with("error") || line.starts_with("warning");
    let mut lines = said.lines().skip_while(|l| !l.starts_with("error"));
    let first = lines.next().ok_or("the compiler names no error")?;
    Ok((first, lines.take_while(move |line| !headline(line))))
}

/// A place that the compiler names, as a file of the stage's folder `tree`: `toy/guard.rs`.
fn in_stage(place: &Path, tree: &Path) -> String {
    let place: Vec<_> = place.iter().map(|part| part.to_string_lossy()).collect();
    let folder = tree.file_name().unwrap_or_default().to_string_lossy();
    // Where it does not say, it is a file of the folder itself.
    let at = place.iter().rposition(|part| *part == folder);
    let begin = at.map_or(place.len().saturating_sub(1), |at| at + 1);
    place[begin..].join("/")
}

/// The first error is the wanted one, and points into a replaced region.
fn points_there(
    said: &str,
    wanted: &str,
    refusal: &Variant,
    tree: &Path,
) -> std::result::Result<(), String> {
    is_error(said, wanted)?;
    let (_, mut lines) = first_error(said)?;
    let place =
        lines.find_map(|l| l.trim_start().strip_prefix("--> ")).ok_or("no place is named")?;
    let mut parts = place.rsplitn(3, ':').skip(1);
    let line: usize = parts.next().and_then(|n| n.parse().ok()).ok_or("no line is named")?;
    let file = in_stage(Path::new(parts.next().unwrap_or_default()), tree);
    let regions = refusal.lines_of(tree, &file).map_err(|e| e.to_string())?;
    if regions.iter().any(|region| region.contains(&line)) {
        return Ok(());
    }
    Err(format!("it points to line {line} of {file}, which is not the refusal's own"))
}

/// The stage's variant of a kind and a name.
pub fn find(stage: &Stage, kind: &str, name: &str) -> Result<Variant> {
    let file = stage.dir.join(kind).join(format!("{name}.toml"));
    if file.is_file() {
        return Variant::read(&file);
    }
    let known: Vec<_> =
        Variant::all(stage, kind)?.iter().map(|(n, v)| format!("  {n:24} {}", v.title)).collect();
    Err(problem(
        format!("stage {} has no `{name}` among its {kind}", stage.number),
        known.join("\n"),
        "",
    ))
}

fn list(stage: &Stage, kind: &str, verb: &str) -> Result<()> {
    let all = Variant::all(stage, kind)?;
    for (name, variant) in &all {
        step(format!("  {name:24} {}", variant.title));
    }
    if let Some((name, _)) = all.first() {
        step(format!("\nmake stage-{} {verb}={name}", stage.number));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(expect: &str) -> Variant {
        toml::from_str(&format!("title = \"t\"\nreplace = []\n[expect]\n{expect}")).unwrap()
    }

    fn log(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|l| (*l).to_owned()).collect()
    }

    #[test]
    fn a_message_is_the_same_when_its_lines_moved() {
        let at = |n: u32, of: &str| {
            let gap = " ".repeat(n.to_string().len());
            format!(
                "error[E0373]: no\n{gap}--> a.rs:{n}:5\n{gap} |\n{n} | let {of} = 1;\n{gap} | ^^^\n"
            )
        };
        assert_eq!(unnumbered(&at(99, "a")), unnumbered(&at(1034, "a")));
        assert_ne!(unnumbered(&at(99, "a")), unnumbered(&at(99, "b")));
    }

    #[test]
    fn all_modules_are_built_where_a_script_names_another_one() {
        let modules = ["one", "one_more"].map(str::to_owned);
        let loads = |script: &str| {
            let mut variant = variant("");
            variant.script = Some(script.into());
            loads_others(&variant, "one", &modules)
        };
        assert!(!loads_others(&variant(""), "one", &modules));
        assert!(!loads("load one $ARGS &&\n\twait_for 'one: end'"));
        assert!(loads("load one; load one_more seconds=2"));
    }

    #[test]
    fn a_break_has_to_show_everything_that_it_expects() {
        let lines = log(&["[    1.0] a: [b] c", "[    2.0] BUG: scheduling while atomic: x/1/0x2"]);
        assert_eq!(shown(&variant("lines = [\"b. c$\"]"), &lines), Ok(0));
        assert_eq!(shown(&variant("splats = [\"schedule-in-atomic\"]"), &lines), Ok(1));
        assert!(
            shown(&variant("lines = [\"b. c$\", \"zzz\"]"), &lines).unwrap_err().contains("`zzz`")
        );
        assert!(shown(&variant("splats = [\"kasan\"]"), &lines).unwrap_err().contains("`kasan`"));
        assert!(shown(&variant("lines = [\"c\"]\nnever = [\"BUG\"]"), &lines).is_err());
    }

    #[test]
    fn a_break_shows_its_lines_in_their_order() {
        let lines = log(&["a", "b", "c"]);
        let order =
            |order: &str| shown(&variant(&format!("lines = ['b']\norder = {order}")), &lines);
        assert_eq!(order("['a', 'c']"), Ok(1));
        assert!(order("['a', 'c', 'b']").unwrap_err().contains("`b` does not come after `c`"));
        assert!(order("['a', 'd']").unwrap_err().contains("`d`"));
    }

    #[test]
    fn a_break_that_expects_nothing_is_none() {
        assert!(shown(&variant(""), &log(&["x"])).is_err());
    }

    #[test]
    fn a_refusal_has_to_point_into_its_own_region() {
        let dir = tempfile::tempdir().unwrap();
        let text = "a\n// ANCHOR: one\nbad\n// ANCHOR_END: one\n";
        std::fs::write(dir.path().join("x.rs"), text).unwrap();
        let refusal: Variant = toml::from_str(
            "title = \"t\"\n[[replace]]\nfile = \"x.rs\"\nregion = \"one\"\nwith = \"bad\"\n",
        )
        .unwrap();
        let at = |line| format!("warning: w\nerror[E0373]: closure\n --> build/x.rs:{line}:5\n");
        let check = |said: String, code| points_there(&said, code, &refusal, dir.path());
        assert_eq!(check(at(3), "E0373"), Ok(()));
        assert!(check(at(3), "E0277").is_err());
        assert!(check(at(1), "E0373").is_err());
        assert!(check("no error at all".into(), "E0373").is_err());

        // A file of the same name in a folder of the stage is another one.
        let tree = Path::new("/checkout/build/refusals/r/stages/02-x");
        let inside = |place: &str| in_stage(Path::new(place), tree);
        assert_eq!(inside("build/refusals/r/stages/02-x/toy/x.rs"), "toy/x.rs");
        assert_eq!(inside("build/refusals/r/stages/02-x/x.rs"), "x.rs");
        assert_eq!(inside("x.rs"), "x.rs");
    }

    #[test]
    fn a_refusal_can_be_a_lint_s() {
        let said = "\
warning: unused_must_use, says somebody
error: unused `RcuRetired` that must be used
  --> story.rs:7:5
   |
7  |     prices.update(new)?; // unused_mut
   |     ^^^^^^^^^^^^^^^^^^
   |
   = note: dropping it reclaims it later
";
        let defined = "\
note: the lint level is defined here
  --> main.rs:22:9
   |
22 | #![deny(unused_must_use)]
   |         ^^^^^^^^^^^^^^^
";
        let option = "   = note: `-D unused-must-use` implied by `-D warnings`\n";
        for note in [defined, option] {
            let all = format!("{said}{note}\nerror: aborting due to 1 previous error\n");
            assert_eq!(is_error(&all, "unused_must_use"), Ok(()), "{all}");
            // The name is in the source only, and the other is none of a lint.
            assert!(is_error(&all, "unused_mut").is_err());
            assert!(is_error(&all, "unused").is_err());
            assert!(is_error(&all, "E0277").is_err());
        }
        // A note of another message, and an error with a code.
        assert!(is_error(&format!("{said}\nwarning: x\n{defined}"), "unused_must_use").is_err());
        let coded = format!("error[E0277]: x\n{defined}");
        assert_eq!(is_error(&coded, "E0277"), Ok(()));
        assert!(is_error(&coded, "unused_must_use").is_err());
    }
}
