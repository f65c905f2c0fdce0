// SPDX-License-Identifier: GPL-2.0

//! Torture for Lua in the kernel: ten threads open states and run scripts, good and evil ones,
//! until the time is over.
//!
//! Each script says what has to come of it. All states together have less memory than they want, so
//! that any script may be refused some; nothing else may go wrong. When all threads have ended,
//! nothing may be left: no byte of a state, and no reference to the object that all of them share.

use core::ops::Range;

use kernel::{
    prelude::*,
    str::BStr,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::Delta, //
};

pub mod context;
mod library;
pub mod lua;
pub mod object;

#[path = "../01-phased-state/kthread.rs"]
pub mod kthread;

#[path = "torture/scripts.rs"]
mod scripts;

use kthread::{
    outcome,
    KThread,
    StopToken, //
};
use lua::{
    Budget,
    Message,
    State,
    Value, //
};
use scripts::{
    Want,
    SCRIPTS, //
};

module! {
    type: LuaTorture,
    name: "lua_torture",
    authors: ["The RCU workshop"],
    description: "Torture for Lua in the kernel",
    license: "GPL",
    params: {
        seconds: u32 {
            default: 10,
            description: "How long it lasts, in s",
        },
        threads: u32 {
            default: 10,
            description: "How many threads have a state",
        },
    },
}

/// What scripts may `require()`.
static LIBRARIES: [Option<&lua::Library>; 2] = [Some(&library::KERNEL), None];

/// What a state may use. One that uses it all leaves little to the others, so that some get none,
/// also where threads seldom meet.
const BUDGET: Budget = Budget {
    bytes: 256 << 10,
    all_bytes: 320 << 10,
    steps: 80_000,
    cpu_us: 10_000_000,
    stack: 0,
    output: 4096,
};

// --- What is counted ----------------------------------------------------------------------------

/// States that were opened.
static OPENED: Atomic<u64> = Atomic::new(0);

/// States that were not opened, since there was no memory.
static NOT_OPENED: Atomic<u64> = Atomic::new(0);

/// Scripts with an end as it should be.
static AS_WANTED: Atomic<u64> = Atomic::new(0);

/// Scripts that got no memory, those that want just that among them.
static NO_MEMORY: Atomic<u64> = Atomic::new(0);

/// Scripts that were ended because their thread was to end.
static ENDED: Atomic<u64> = Atomic::new(0);

/// What states have added to the counter that they share.
static ADDED: Atomic<u64> = Atomic::new(0);

/// What must not happen.
static FAILURES: Atomic<u64> = Atomic::new(0);

// --- The threads --------------------------------------------------------------------------------

// ANCHOR: worker
/// Opens a state, runs a few scripts in it, closes it; again and again.
fn worker(number: usize, counter: &Arc<library::Counter>, stop: &StopToken) -> Result {
    let mut first = number;

    while !stop.should_stop() {
        let Ok(mut state) = State::new(&BUDGET, &LIBRARIES) else {
            NOT_OPENED.add(1, Relaxed);
            // Others have all the memory: give them a moment.
            let _ = stop.sleep(Delta::from_millis(1));
            continue;
        };
        OPENED.add(1, Relaxed);
        // Each time another few of them, so that all meet in time.
        for i in first..first + 4 {
            run(i % SCRIPTS.len(), &mut state, stop);
        }
        share(&mut state, counter);
        first += 3;
    }
    Ok(())
}
// ANCHOR_END: worker

/// Runs a script, and holds what comes of it against what it should be.
fn run(number: usize, state: &mut State, stop: &StopToken) {
    let script = &SCRIPTS[number];
    state
        .lua()
        .run(c"=torture", script.text.as_bytes(), |result| match result {
            Ok(Value::Integer(n)) if matches!(script.want, Want::Integer(m) if n == m) => {
                AS_WANTED.add(1, Relaxed);
            }
            Err(Message(text)) if matches!(script.want, Want::Error(e) if has(text, e)) => {
                AS_WANTED.add(1, Relaxed);
                if has(text, "not enough memory") {
                    NO_MEMORY.add(1, Relaxed);
                }
            }
            Err(Message(text)) if has(text, "not enough memory") => NO_MEMORY.add(1, Relaxed),
            // The budget of whoever is to end is spent.
            Err(Message(text)) if stop.should_stop() && has(text, "the budget is spent") => {
                ENDED.add(1, Relaxed);
            }
            // A few of them will do for the log.
            _ if FAILURES.fetch_add(1u64, Relaxed) >= 20 => {}
            other => {
                let text = match other {
                    Err(Message(text)) => text,
                    Ok(_) => b"another value",
                };
                let text = BStr::from_bytes(text);
                pr_err!("[worker] failure: script={number} it says: {text}\n");
            }
        });
}

/// Gives the counter that all states share to a script, which adds to it.
fn share(state: &mut State, counter: &Arc<library::Counter>) {
    let object = lua::ObjectRef::new(counter.as_arc_borrow());
    let defined = state
        .lua()
        .run(c"=share", b"function add(c) c:add(2) return 1 end", |r| {
            r.is_ok()
        });
    let added = defined
        && state
            .lua()
            .call(c"add", &[Value::Object(object)], |result| {
                matches!(result, Ok([Value::Integer(1)]))
            });
    if added {
        ADDED.add(2, Relaxed);
    }
}

fn has(text: &[u8], what: &str) -> bool {
    text.windows(what.len()).any(|w| w == what.as_bytes())
}

/// The director, as a thread of its own: it has the others, and no thread outlives it.
fn director(span: Delta, count: usize, stop: &StopToken) -> Result {
    let counter = Arc::new(library::Counter::new(), GFP_KERNEL)?;
    let mut threads = KVec::new();
    for number in 0..count {
        let counter = counter.clone();
        let thread = KThread::spawn(c"worker", move |stop| worker(number, &counter, stop))?;
        threads.push(thread, GFP_KERNEL)?;
    }
    let seconds = span.as_millis() / 1000;
    pr_info!("[director] start torture: seconds={seconds} threads={count}\n");
    let slept = stop.sleep(span);

    // Stops each and waits for its end. A script sees that, too.
    drop(threads);
    if let Err(e) = slept {
        pr_info!("[director] stopped\n");
        return Err(e);
    }
    report(counter);
    pr_info!("[director] end story\n");
    Ok(())
}

/// Writes down how it went.
fn report(counter: Arc<library::Counter>) {
    let get = |count: &Atomic<u64>| count.load(Relaxed);

    let (opened, not_opened) = (get(&OPENED), get(&NOT_OPENED));
    pr_info!("[director] states: opened={opened} not_opened={not_opened}\n");
    let (wanted, no_memory, ended) = (get(&AS_WANTED), get(&NO_MEMORY), get(&ENDED));
    pr_info!("[director] scripts: as_wanted={wanted} no_memory={no_memory} ended={ended}\n");

    let added = get(&ADDED);
    let counted = counter.get();
    let users = match Arc::into_unique_or_drop(counter) {
        Some(_) => 1,
        None => 2,
    };
    let bytes = lua::all_bytes();
    pr_info!("[director] left: bytes={bytes} users={users} added={added} counted={counted}\n");

    let failures = get(&FAILURES);
    let left = bytes != 0 || users != 1;
    // A script may have added, and have had no memory for its answer.
    let verdict = match (failures, left || counted < added as i64) {
        (0, false) if wanted > 0 && no_memory + not_opened > 0 => "held",
        (0, false) => "unproven",
        (0, true) => "NOT FREED",
        _ => "VIOLATED",
    };
    pr_info!("[director] verdict: failures={failures} {verdict}\n");
}

// --- The module ---------------------------------------------------------------------------------

// ANCHOR: module
struct LuaTorture {
    director: Option<KThread>,
}

impl kernel::Module for LuaTorture {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let seconds = checked("seconds", module_parameters::seconds.value(), 1..86_401)?;
        let threads = checked("threads", module_parameters::threads.value(), 1..65)? as usize;
        let span = Delta::from_secs(seconds.into());
        let director = KThread::create(c"director", move |stop| director(span, threads, stop))?;
        pr_info!("[init] init\n");
        director.start();
        Ok(Self {
            director: Some(director),
        })
    }
}

impl Drop for LuaTorture {
    fn drop(&mut self) {
        if let Some(director) = self.director.take() {
            pr_info!("[exit] exit: director={}\n", outcome(director.join()));
        }
    }
}
// ANCHOR_END: module

/// Checks a parameter.
fn checked(param: &str, value: u32, range: Range<u32>) -> Result<u32> {
    if !range.contains(&value) {
        pr_err!("[init] refused: param={param} value={value}\n");
        return Err(EINVAL);
    }
    Ok(value)
}
