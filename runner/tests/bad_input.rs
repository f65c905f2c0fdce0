// SPDX-License-Identifier: MIT OR Apache-2.0

//! What goes wrong on other people's machines, acted out: each case has to end
//! with a clear message and an exit code that is not zero, and to lose nothing.
//!
//! The runner is called as `make` calls it, in this checkout, with a home of
//! its own and, where a tool has to fail, a stand-in for it first in PATH.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A machine of its own: a home, a cache, and a folder of stand-ins.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["bin", "cache/rcu-workshop/tools/bindgen-cli-0.73.2/bin", "cache/rcu-workshop/src"]
        {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let this = Self { dir };
        // Not what these tests are about, and long to build.
        this.file("cache/rcu-workshop/tools/bindgen-cli-0.73.2/bin/bindgen", "");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A stand-in for a tool.
    fn fake(&self, name: &str, script: &str) {
        let path = self.file(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// A source that needs no fetching.
    fn source(&self) {
        self.file("cache/rcu-workshop/src/linux-7.3.4/Makefile", KERNEL_MAKEFILE);
    }

    fn command(&self, words: &[&str], env: &[(&str, &str)]) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(words)
            .current_dir(root())
            .env_clear()
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOME", self.dir.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("ACCEL", "tcg")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(words, env).output().unwrap()
    }

    /// Runs, and expects a failure that says all of `says`.
    fn refuses(&self, words: &[&str], env: &[(&str, &str)], says: &[&str]) {
        failed_and_said(&self.run(words, env), says);
    }
}

const KERNEL_MAKEFILE: &str = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n";

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn failed_and_said(output: &Output, says: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in says {
        assert!(text.contains(words), "`{words}` is missing in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

/// Waits until a program says so, however slow the machine is.
fn says(program: &mut Child, words: &str) {
    let stdout = program.stdout.as_mut().unwrap();
    let mut text = vec![];
    let mut byte = [0];
    // Byte by byte: what follows is read later.
    while !String::from_utf8_lossy(&text).contains(words) {
        let read = stdout.read(&mut byte).unwrap();
        assert_ne!(read, 0, "`{words}` is missing in:\n{}", String::from_utf8_lossy(&text));
        text.extend(byte);
    }
}

#[test]
fn unknown_words() {
    let m = Machine::new();
    m.refuses(&["stage-9", "run"], &[], &["there is no `stage-9`", "make stage-1 run"]);
    m.refuses(&["frobnicate"], &[], &["there is no goal `frobnicate`", "make help"]);
    m.refuses(&["stage-1", "walk"], &[], &["does not know `walk`", "make stage-1 run"]);
    m.refuses(&["run"], &[], &["of which stage?", "make stage-1 run"]);
    m.refuses(&["stage-1", "torture"], &[], &["there is no torture here", "stage.toml"]);
}

#[test]
fn unknown_values() {
    let m = Machine::new();
    m.refuses(&["stage-1", "run"], &[("KERNEL", "slow")], &["flavour `slow`", "KERNEL=fast"]);
    // A user's own script: nothing is built for one that is not there.
    let script = |path| [("SCRIPT", path)];
    m.refuses(&["stage-4", "run"], &script("no/such.lua"), &["no script no/such.lua", "SCRIPT="]);
    m.refuses(&["stage-4", "run"], &script("stages/x/../../.lua"), &["no script"]);
    m.refuses(&["stage-1", "run"], &script("a.lua"), &["stage 1 runs no scripts in Lua"]);
    m.refuses(&["stage-1", "bless"], &[("ARGS", "cco_ms=1")], &["ARGS= does not go with bless"]);
    m.refuses(&["stage-1", "shell"], &[], &["wants a terminal"]);
    m.refuses(&["stage-1", "debug"], &[], &["wants a terminal"]);
    m.refuses(&["stage-1", "test"], &[("C", "x")], &["no `x` among its checks", "self-join"]);
    m.refuses(&["stage-1", "torture"], &[("SECONDS", "long")], &["SECONDS=long", "a number"]);
}

#[test]
fn help_and_doctor_need_nothing() {
    let m = Machine::new();
    for goal in ["help", "doctor"] {
        let output = m.run(&[goal], &[]);
        assert!(output.status.success() && text(&output).contains("make stage-1 run"));
    }
}

#[test]
fn a_path_with_a_space_is_refused_before_anything_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("my workshop");
    fs::create_dir_all(here.join("runner")).unwrap();
    for name in ["Makefile", "runner/bootstrap.sh"] {
        fs::copy(root().join(name), here.join(name)).unwrap();
    }
    let make = Command::new("make").arg("stage-1").arg("run").current_dir(&here).output().unwrap();
    let said = text(&make);
    assert!(!make.status.success());
    assert!(said.contains("an odd character in its path") && said.contains("move it"), "{said}");
    assert!(!here.join("build").exists());
}

#[test]
fn a_missing_tool_that_cannot_be_installed_names_the_command() {
    let m = Machine::new();
    // No rustc that will do, and a package manager without network.
    m.fake("apt-get", "echo 'E: Temporary failure resolving the mirror' >&2; exit 100");
    let says = if nix::unistd::geteuid().is_root() {
        ["apt-get install -y", "on the network?"]
    } else {
        ["sudo apt-get install", "Installing them needs root"]
    };
    m.refuses(&["stage-1"], &[("RUSTC", "/nowhere/rustc")], &says);
}

#[test]
fn an_old_rustc_is_named_with_the_reason() {
    let m = Machine::new();
    m.fake("apt-get", "exit 0");
    m.fake("rustc", "echo 'rustc 1.63.0 (4b91a6ea7 2022-08-08)'; echo 'release: 1.63.0'; echo 'LLVM version: 14.0.6'");
    let rustc = m.path("bin/rustc");
    m.refuses(
        &["stage-1"],
        &[("RUSTC", rustc.to_str().unwrap())],
        &["1.63.0", "1.85.0 or newer is wanted"],
    );
}

#[test]
fn no_network_and_an_empty_cache() {
    let m = Machine::new();
    m.fake("apt-get", "echo 'E: Could not resolve host' >&2; exit 100");
    m.fake("curl", "echo 'curl: (6) Could not resolve host' >&2; exit 6");
    m.refuses(
        &["stage-1"],
        &[],
        &["could not download", "Could not resolve host", "KERNEL_TARBALL=", "KERNEL_PACK="],
    );
}

/// A stand-in for kernel.org on this machine; gives `tarball`, and of the first
/// request for it only the first `cut` bytes.
fn mirror(tarball: Vec<u8>, published: String, cut: Option<usize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut cut = cut;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let n = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..n]).into_owned();
            let body = if request.contains("sha256sums.asc") {
                format!("{published}  linux-7.3.4.tar.xz\n").into_bytes()
            } else {
                tarball.clone()
            };
            let range = request.lines().find_map(|l| l.strip_prefix("Range: bytes="));
            let from = range.and_then(|r| r.trim_end_matches('-').parse::<usize>().ok());
            let from = from.unwrap_or(0).min(body.len());
            let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\nConnection: close\r\n\r\n",
                body.len() - from,
                body.len().saturating_sub(1),
                body.len(),
            );
            let end = match cut {
                Some(cut_at) if !request.contains("sha256sums") => {
                    cut = None;
                    cut_at
                }
                _ => body.len(),
            };
            let _ = stream.write_all(&body[from..end.max(from)]);
        }
    });
    url
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn tar(how: &str, file: &Path, dir: &Path, what: &str) {
    let mut tar = Command::new("tar");
    assert!(tar.arg(how).arg(file).arg("-C").arg(dir).arg(what).status().unwrap().success());
}

/// A tarball with no more than a kernel's version in it.
fn tiny_kernel(m: &Machine) -> Vec<u8> {
    m.file("tar/linux-7.3.4/Makefile", KERNEL_MAKEFILE);
    let file = m.path("linux-7.3.4.tar.xz");
    tar("cJf", &file, &m.path("tar"), "linux-7.3.4");
    fs::read(file).unwrap()
}

#[test]
fn a_tampered_download_is_deleted() {
    let m = Machine::new();
    let tarball = tiny_kernel(&m);
    let url = mirror(tarball, sha256(b"another file"), None);
    m.refuses(
        &["stage-1"],
        &[("KERNEL_FROM", "kernel.org"), ("KERNEL_MIRROR", &url)],
        &["is not what it should be", "kernel.org publishes", "has been deleted"],
    );
    assert!(!m.path("cache/rcu-workshop/downloads/linux-7.3.4.tar.xz").exists());
}

#[test]
fn a_download_that_was_cut_off_goes_on_where_it_stopped() {
    let m = Machine::new();
    m.fake("make", "echo 'stand-in for the build'; exit 2");
    let tarball = tiny_kernel(&m);
    let url = mirror(tarball.clone(), sha256(&tarball), Some(100));
    let env = [("KERNEL_FROM", "kernel.org"), ("KERNEL_MIRROR", url.as_str())];
    // curl itself tries again once; what it has so far is kept.
    let first = m.run(&["stage-1"], &env);
    if !m.path("cache/rcu-workshop/src/linux-7.3.4").exists() {
        failed_and_said(&first, &["could not download"]);
        let part = m.path("cache/rcu-workshop/downloads/linux-7.3.4.tar.partial");
        assert_eq!(fs::metadata(part).unwrap().len(), 100);
        m.run(&["stage-1"], &env);
    }
    let unpacked = m.path("cache/rcu-workshop/src/linux-7.3.4/Makefile");
    assert_eq!(fs::read_to_string(unpacked).unwrap(), KERNEL_MAKEFILE);
}

#[test]
fn tarballs_that_are_none() {
    let m = Machine::new();
    let given = |name: &str, says: &[&str]| {
        let path = m.path(name);
        m.refuses(&["stage-1"], &[("KERNEL_TARBALL", path.to_str().unwrap())], says);
    };
    given("nothing", &["there is no file"]);
    m.file("broken.tar.xz", "not a tarball");
    given("broken.tar.xz", &["could not unpack", "damaged or truncated"]);
    tiny_kernel(&m);
    let whole = fs::read(m.path("linux-7.3.4.tar.xz")).unwrap();
    fs::write(m.path("cut.tar.xz"), &whole[..whole.len() / 2]).unwrap();
    given("cut.tar.xz", &["could not unpack", "damaged or truncated"]);
    m.file("tar/linux-6.1/Makefile", "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 0\nEXTRAVERSION =\n");
    tar("cJf", &m.path("old.tar.xz"), &m.path("tar"), "linux-6.1");
    given("old.tar.xz", &["is Linux 6.1.0", "Linux 7.3"]);
    assert_eq!(fs::read_dir(m.path("cache/rcu-workshop/src")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_while_building() {
    let m = Machine::new();
    m.source();
    m.fake("make", "echo 'fatal error: error writing to x.o: No space left on device' >&2; exit 2");
    m.refuses(&["stage-1"], &[], &["the disk is full", "df -h", "the same command again"]);
}

#[test]
fn an_option_that_the_kernel_does_not_take() {
    let m = Machine::new();
    m.source();
    // Finds O= among its words, as make does, and configures next to nothing there.
    m.fake(
        "make",
        "for w; do case $w in O=*) echo CONFIG_SMP=y > \"${w#O=}/.config\";; esac; done",
    );
    m.refuses(&["stage-1"], &[], &["not what the fragments ask for", "CONFIG_RUST=y"]);
}

#[test]
fn a_second_run_waits_for_the_first_and_both_can_be_interrupted() {
    let m = Machine::new();
    m.source();
    let builds = m.path("builds");
    m.fake("make", &format!("touch '{}'; sleep 60.125", builds.display()));
    let mut first = m.command(&["stage-1"], &[]).process_group(0).spawn().unwrap();
    while !builds.exists() {
        assert_eq!(first.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut second = m.command(&["stage-1"], &[]).process_group(0).spawn().unwrap();
    says(&mut second, "another run is building the debug kernel");
    for child in [first.id(), second.id()] {
        let pid = nix::unistd::Pid::from_raw(child as i32);
        // As a terminal does it: the whole group.
        nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    }
    let began = Instant::now();
    let second = second.wait_with_output().unwrap();
    failed_and_said(&second, &["interrupted"]);
    assert_eq!(first.wait().unwrap().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn kdir_that_cannot_be_used() {
    let m = Machine::new();
    let dir = m.path("kernel");
    let given = |says: &[&str]| {
        m.refuses(&["stage-1"], &[("KDIR", dir.to_str().unwrap())], says);
    };
    given(&["there is no kernel at", "KDIR="]);
    fs::create_dir(&dir).unwrap();
    given(&["has no .config"]);
    m.file("kernel/.config", "CONFIG_MODULES=y\n");
    given(&["without CONFIG_RUST=y"]);
    m.file("kernel/.config", "CONFIG_MODULES=y\nCONFIG_RUST=y\nCONFIG_CC_IS_GCC=y\n");
    given(&["not built with clang"]);
    m.file(
        "kernel/.config",
        "CONFIG_MODULES=y\nCONFIG_RUST=y\nCONFIG_CC_IS_CLANG=y\nCONFIG_RUSTC_VERSION_TEXT=\"rustc 1.90.0 (other)\"\n",
    );
    given(&["configured but not built"]);
    m.file("kernel/arch/x86/boot/bzImage", "");
    m.file("kernel/Module.symvers", "");
    given(&["rust/libkernel.rmeta"]);
    m.file("kernel/rust/libkernel.rmeta", "");
    m.file("kernel/include/config/kernel.release", "7.3.4\n");
    given(&["built by another rustc", "rustc 1.90.0 (other)", "RUSTC="]);
    m.file("kernel/include/config/kernel.release", "6.18.1\n");
    given(&["is Linux 6.18.1", "Linux 7.3"]);
}

#[test]
fn packs_that_cannot_be_used() {
    let m = Machine::new();
    let pack = m.path("pack.tar.gz");
    let given = |says: &[&str]| {
        m.refuses(&["stage-1"], &[("KERNEL_PACK", pack.to_str().unwrap())], says);
    };
    given(&["there is no pack", "make kernel-pack"]);
    fs::write(&pack, "nothing of the kind").unwrap();
    given(&["could not read", "copy it again"]);
    m.file("in/pack.toml", "rustc = \"rustc 1.90.0 (other)\"\nkernels = []\n");
    tar("czf", &pack, &m.path("in"), "pack.toml");
    given(&["built by another rustc", "rustc 1.90.0 (other)", "RUSTC="]);
}

/// A clone with stage 1 in it, where a lab can be done.
fn clone_of_stage_1(m: &Machine) -> PathBuf {
    let here = m.path("clone");
    fs::create_dir_all(here.join("stages")).unwrap();
    for name in ["kernel", "stages/01-phased-state"] {
        let (from, to) = (root().join(name), here.join(name));
        assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
    }
    here
}

#[test]
fn a_lab_loses_nothing_of_the_learner_s() {
    let m = Machine::new();
    let here = clone_of_stage_1(&m);
    let run = |words: &[&str], env: &[(&str, &str)]| {
        m.command(words, env).current_dir(&here).output().unwrap()
    };
    let says = |output: Output, words: &[&str]| {
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        words.iter().for_each(|w| assert!(text.contains(w), "`{w}` is missing in:\n{text}"));
    };
    let mine = here.join("work/01-phased-state/kthread.rs");

    failed_and_said(&run(&["stage-1", "check"], &[]), &["no work for stage 1", "make stage-1 lab"]);
    failed_and_said(&run(&["stage-1", "watch"], &[]), &["no work for stage 1"]);
    failed_and_said(&run(&["stage-1", "run"], &[("WORK", "1")]), &["no work for stage 1"]);
    failed_and_said(&run(&["stage-1", "lab"], &[("FROM", "99")]), &["FROM=99", "a number"]);
    failed_and_said(&run(&["stage-1", "review"], &[]), &["stage 1 has nothing to review"]);
    assert!(!here.join("work").exists());
    says(
        run(&["stage-1", "lab"], &[]),
        &["is yours", "Begin here: work/01-phased-state/kthread.rs:"],
    );
    fs::write(&mine, "mine").unwrap();
    says(run(&["stage-1", "lab"], &[]), &["stays as it is", "make stage-1 reset"]);
    assert_eq!(fs::read(&mine).unwrap(), b"mine");

    failed_and_said(&run(&["stage-1", "check"], &[("STEP", "77")]), &["no step `77`", "STEP=1"]);
    failed_and_said(&run(&["stage-1", "check"], &[("ANSWER", "z")]), &["none of the answers"]);
    failed_and_said(&run(&["stage-1", "run"], &[("WORK", "yes")]), &["WORK=yes", "WORK=1"]);

    for n in 1..4 {
        says(run(&["stage-1", "hint"], &[]), &[&format!("hint {n} of 3")]);
    }
    says(run(&["stage-1", "hint"], &[]), &["hint 1 of 3", "hint 3 of 3", "That was all"]);
    failed_and_said(&run(&["stage-1", "solution"], &[]), &["nobody answered", "Nothing was shown"]);
    failed_and_said(&run(&["stage-1", "reset"], &[]), &["nobody answered", "Nothing was changed"]);
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    let mut yes = m.command(&["stage-1", "reset"], &[]);
    let mut yes = yes.current_dir(&here).stdin(Stdio::piped()).spawn().unwrap();
    yes.stdin.take().unwrap().write_all(b"y\n").unwrap();
    says(yes.wait_with_output().unwrap(), &["work/backup/01-phased-state.1", "is yours"]);
    let backup = here.join("work/backup/01-phased-state.1/kthread.rs");
    assert_eq!(fs::read(backup).unwrap(), b"mine");
    assert!(fs::read_to_string(&mine).unwrap().contains("STEP 1"));

    fs::remove_file(&mine).unwrap();
    failed_and_said(&run(&["stage-1", "check"], &[]), &["has lost kthread.rs", "puts back"]);
    says(run(&["stage-1", "lab"], &[]), &["are there again", "kthread.rs"]);
    fs::write(&mine, b"// \n\xff").unwrap();
    failed_and_said(&run(&["stage-1", "check"], &[]), &["is not a text", "line 2"]);
    says(run(&["progress"], &[]), &["0 of 7 steps", "next: make stage-1 check"]);
    let progress = here.join("work/progress.txt");
    fs::write(&progress, "<<<<<<< HEAD\nstage-1 step-1 done\n").unwrap();
    says(run(&["progress"], &[]), &["line 1", "1 of 7 steps"]);
}
