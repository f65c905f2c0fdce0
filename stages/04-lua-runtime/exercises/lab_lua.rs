// SPDX-License-Identifier: GPL-2.0

//! What the lab holds lua.rs, context.rs, object.rs and device.rs against.
//!
//! Scripts call functions of this module, and say what came of it.

use kernel::{
    new_spinlock_irq,
    prelude::*,
    str::BStr,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        UniqueArc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};

use context::Process;
use kthread::KThread;
use lua::{
    Budget,
    Call,
    Class,
    ClassOf,
    Entry,
    Failure,
    Function,
    Library,
    Message,
    Object,
    Returned,
    Shared,
    Single,
    State,
    Value, //
};
use object::Lent;
use probe::{
    until,
    yes, //
};
use runtime::Runtime;

#[path = "../context.rs"]
pub mod context;
#[path = "../device.rs"]
mod device;
#[path = "../helpers.rs"]
mod helpers;
#[path = "../../01-phased-state/kthread.rs"]
pub mod kthread;
#[path = "../lua.rs"]
pub mod lua;
#[path = "../object.rs"]
pub mod object;
#[path = "../../02-rcu-read-guard/exercises/probe.rs"]
mod probe;
#[path = "../runtime.rs"]
pub mod runtime;

module! {
    type: LabLua,
    name: "lab_lua",
    authors: ["The RCU workshop"],
    description: "What the lab holds this stage's Rust against",
    license: "GPL",
    params: {
        step: u32 {
            default: 0,
            description: "The step of the lab",
        },
        n: u32 {
            default: 0,
            description: "The run's number",
        },
    },
}

/// What a state may use here.
const BUDGET: Budget = Budget {
    bytes: 512 << 10,
    all_bytes: 8 << 20,
    steps: 10_000_000,
    // A slow machine makes time short.
    cpu_us: 60_000_000,
    stack: 0,
    output: 4096,
};

/// What device.rs wants to know; in the stage the module's parameters say it.
mod params {
    use kernel::prelude::*;

    use super::lua::Budget;

    pub(crate) struct Params {
        pub(crate) budget: Budget,
        pub(crate) exit_us: usize,
        pub(crate) states: u32,
        pub(crate) script: usize,
        pub(crate) measure: bool,
    }

    impl Params {
        pub(crate) fn get() -> Result<Self> {
            Ok(Self {
                budget: super::BUDGET,
                exit_us: super::BUDGET.cpu_us,
                states: 4,
                script: 4096,
                measure: false,
            })
        }
    }
}

// --- What scripts get ---------------------------------------------------------------------------

/// How many things functions hold at the moment.
static HELD: Atomic<i64> = Atomic::new(0);

/// Something that has to be dropped.
struct Held;

impl Held {
    fn new() -> Self {
        HELD.add(1, Relaxed);
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Relaxed);
    }
}

/// A function that returns what an expression says.
macro_rules! functions {
    ($($type:ident, $name:literal, $call:ident => $result:expr;)*) => {$(
        struct $type;

        impl Function for $type {
            type Context = Process;
            const NAME: &'static CStr = $name;

            fn call($call: &mut Call<'_, Process>) -> Result<Returned, Failure> {
                let _held = Held::new();
                $result
            }
        }
    )*};
}

functions! {
    Nothing, c"nothing", _call => Ok(Returned::Nothing);
    Empty, c"empty", _call => Ok(Returned::Nil);
    Truth, c"truth", _call => Ok(Returned::Boolean(true));
    Number, c"number", _call => Ok(Returned::Integer(module_parameters::n.value().into()));
    Long, c"long", _call => text(1000, b'x').map(Returned::Bytes);
    Huge, c"huge", _call => text(2 << 20, b'x').map(Returned::Bytes);
    Small, c"small", call => {
        let mut text = KVec::new();
        text.extend_from_slice(b"small", call.flags())?;
        Ok(Returned::Small(text))
    };
    Always, c"always", _call => Ok(Returned::Text(c"always"));
    Fails, c"fails", _call => Err(EIO.into());
    Wants, c"wants", call => call.integer(2).map(Returned::Integer);
    WantsField, c"field", call => {
        let size = call.table(1)?.integer::<u8>(c"size")?;
        Ok(Returned::Integer(size.into()))
    };
    HowManyHeld, c"held", _call => Ok(Returned::Integer(HELD.load(Relaxed) - 1));
    NewCounter, c"counter", call => {
        Ok(Returned::Object(Object::new(UniqueArc::new(Counter::new(), call.flags())?)))
    };
    NewOther, c"other", call => {
        let other = Other(Atomic::new(-1), Atomic::new(0));
        Ok(Returned::Object(Object::new(UniqueArc::new(other, call.flags())?)))
    };
    Add, c"add", call => {
        let counter = call.object::<Counter>(1)?;
        counter.0.add(call.integer(2)?, Relaxed);
        Ok(Returned::Integer(counter.0.load(Relaxed)))
    };
    Again, c"again", call => {
        let runtime = call.runtime::<Process>()?;
        Ok(Returned::Integer(errno(runtime.run(|_| ())).into()))
    };
}

fn text(length: usize, of: u8) -> Result<KVVec<u8>, Failure> {
    let mut text = KVVec::new();
    text.resize(length, of, GFP_KERNEL)?;
    Ok(text)
}

fn errno<T>(result: Result<T>) -> i32 {
    result.err().map_or(0, Error::to_errno)
}

/// How many objects were dropped.
static DROPS: Atomic<u64> = Atomic::new(0);

/// An object with a number.
struct Counter(Atomic<i64>);

impl Counter {
    fn new() -> Self {
        Self(Atomic::new(0))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        DROPS.add(1, Relaxed);
    }
}

static COUNTER: ClassOf<Counter> = ClassOf::new(c"counter", &[Entry::END]);

impl Class for Counter {
    type Context = Process;
    type Sharing = Shared;

    fn class() -> &'static ClassOf<Self> {
        &COUNTER
    }
}

/// Another, for which the first may be taken by mistake.
struct Other(Atomic<i64>, Atomic<i64>);

static OTHER: ClassOf<Other> = ClassOf::new(c"other", &[Entry::END]);

impl Class for Other {
    type Context = Process;
    type Sharing = Single;

    fn class() -> &'static ClassOf<Self> {
        &OTHER
    }
}

static PROBE: Library = Library::new(
    c"probe",
    &[
        Entry::of::<Nothing>(),
        Entry::of::<Empty>(),
        Entry::of::<Truth>(),
        Entry::of::<Number>(),
        Entry::of::<Long>(),
        Entry::of::<Huge>(),
        Entry::of::<Small>(),
        Entry::of::<Always>(),
        Entry::of::<Fails>(),
        Entry::of::<Wants>(),
        Entry::of::<WantsField>(),
        Entry::of::<HowManyHeld>(),
        Entry::of::<Add>(),
        Entry::of::<Again>(),
        Entry::making::<NewCounter, Counter>(&COUNTER),
        Entry::making::<NewOther, Other>(&OTHER),
        Entry::END,
    ],
);

/// What scripts may `require()`.
static LIBRARIES: [Option<&lua::Library>; 2] = [Some(&PROBE), None];

// --- The steps ----------------------------------------------------------------------------------

/// What stands before each script.
const BEGIN: &str = "\
local p = require('probe')
local function try(f, ...)
    local _, what = pcall(f, ...)
    return tostring(what)
end
";

/// Runs a script in a state of its own, and writes down what it returns.
fn say(what: &str, script: &str, n: u32) -> Result {
    let mut state = State::<Process>::new(&BUDGET, &LIBRARIES)?;
    let mut whole = KVec::new();
    whole.extend_from_slice(BEGIN.as_bytes(), GFP_KERNEL)?;
    whole.extend_from_slice(script.as_bytes(), GFP_KERNEL)?;
    state.lua().run(c"=lab", &whole, |result| match result {
        Ok(Value::Bytes(said)) => {
            pr_info!("[probe] {what}: {} n={n}\n", BStr::from_bytes(said));
        }
        Ok(_) => pr_info!("[probe] {what}: (no string) n={n}\n"),
        Err(Message(text)) => {
            pr_info!("[probe] {what}: error={} n={n}\n", BStr::from_bytes(text));
        }
    });
    Ok(())
}

/// Step 1.
fn values(n: u32) -> Result {
    say(
        "values",
        "return table.concat({select('#', p.nothing()), select('#', p.empty()),
            tostring(p.empty()), tostring(p.truth()), p.number()}, ',')",
        n,
    )?;
    say(
        "strings",
        "return table.concat({#p.long(), p.small(), p.always()}, ',')",
        n,
    )?;
    say(
        "error",
        "local why = try(p.fails) return why .. ' held=' .. p.held()",
        n,
    )?;
    say(
        "huge",
        "local why = try(p.huge) return why .. ' held=' .. p.held()",
        n,
    )
}

/// Step 2.
fn failures(n: u32) -> Result {
    say("errno", "return try(p.fails)", n)?;
    say("argument", "return try(p.wants, 1, 'x')", n)?;
    say(
        "field",
        "return try(p.field, {size = 1000}) .. '; ' .. try(p.field, {size = 7})",
        n,
    )
}

/// Step 3.
fn objects(n: u32) -> Result {
    say(
        "counter",
        "local c = p.counter() p.add(c, 3) return p.add(c, p.number() - 3) .. ''",
        n,
    )?;
    say(
        "others",
        "return try(p.add, p.other(), 1) .. '; ' .. try(p.add, 5, 1)",
        n,
    )?;
    say(
        "closed",
        "local c = p.counter() c:close() return try(p.add, c, 1)",
        n,
    )
}

/// Step 4.
static HOLDS: Atomic<bool> = Atomic::new(false);
static LEFT: Atomic<bool> = Atomic::new(false);

fn locked(n: u32) -> Result {
    let script = b"local p = require('probe')
        function again() return p.again() end
        function number() return p.number() end";
    let runtime = Runtime::<Process>::new(c"=lab", script, &BUDGET, &LIBRARIES)?;
    let call = |name: &CStr| {
        let called = runtime.run(|lua| {
            lua.call(name, &[], |result| match result {
                Ok([Value::Integer(value)]) => value,
                _ => 0,
            })
        });
        called.unwrap_or_else(|e| e.to_errno().into())
    };
    pr_info!("[probe] again: errno={} n={n}\n", call(c"again"));
    pr_info!("[probe] after: value={} n={n}\n", call(c"number"));

    // Another thread has it for a while.
    let theirs = runtime.clone();
    let thread = KThread::spawn(c"lab", move |_| {
        theirs.run(|_| {
            HOLDS.store(true, Relaxed);
            fsleep(Delta::from_millis(200));
            LEFT.store(true, Relaxed);
        })
    })?;
    until(|| HOLDS.load(Relaxed));
    let left = runtime.run(|_| LEFT.load(Relaxed));
    pr_info!(
        "[probe] other: waited={} n={n}\n",
        yes(matches!(left, Ok(true)))
    );
    let _ = thread.join();

    // Where a mutex must not be taken.
    let atomic = KBox::pin_init(new_spinlock_irq!(()), GFP_KERNEL)?;
    let held = atomic.lock();
    let refused = errno(runtime.run(|_| ()));
    drop(held);
    pr_info!("[probe] atomic: errno={refused} n={n}\n");

    let (first, second) = (errno(runtime.stop()), errno(runtime.stop()));
    let stopped = errno(runtime.run(|_| ()));
    pr_info!("[probe] stopped: errno={first},{second},{stopped} n={n}\n");
    Ok(())
}

/// Step 5.
fn lent(n: u32) -> Result {
    let lent = KBox::pin_init(Lent::<u32, Process>::new(), GFP_KERNEL)?;
    let look = || match lent.with(|what| *what) {
        Ok(what) => i64::from(what),
        Err(e) => e.to_errno().into(),
    };
    let before = look();
    let mut inside = 0;
    let mut twice = 0;
    let mut still = 0;
    let result = errno(lent.lend(&n, || {
        inside = look();
        twice = errno(lent.lend(&1, || ()));
        still = look();
    }));
    pr_info!("[probe] lent: errno={result} inside={inside} n={n}\n");
    pr_info!("[probe] ends: before={before} after={} n={n}\n", look());
    pr_info!("[probe] twice: errno={twice} still={still} n={n}\n");
    Ok(())
}

/// Step 6.
fn pinned(n: u32) -> Result {
    let mut state = State::<Process>::new(&BUDGET, &LIBRARIES)?;
    let collect = |state: &mut State| {
        for _ in 0..2 {
            let script = b"collectgarbage() collectgarbage()";
            state.lua().run(c"=lab", script, |_| ());
        }
        DROPS.load(Relaxed)
    };
    let new = || -> Result<Pin<UniqueArc<Counter>>> {
        Ok(UniqueArc::new(Counter::new(), GFP_KERNEL)?.into())
    };
    let attached = state.lua().attach::<Counter>(new()?)?;
    let early = collect(&mut state);
    // Where nothing of Lua may be done.
    let atomic = KBox::pin_init(new_spinlock_irq!(()), GFP_KERNEL)?;
    let held = atomic.lock();
    drop(attached);
    drop(held);
    let done = collect(&mut state);
    pr_info!("[probe] pinned: early={early} done={done} n={n}\n");

    let mut refused = 0;
    for _ in 0..100 {
        refused += u32::from(state.lua().attach::<Counter>(new()?).is_err());
    }
    pr_info!("[probe] often: refused={refused} n={n}\n");

    // One whose state is gone.
    let last = state.lua().attach::<Counter>(new()?);
    drop(state);
    drop(last);
    pr_info!("[probe] all: dropped={} n={n}\n", DROPS.load(Relaxed));
    Ok(())
}

struct LabLua {
    _device: Option<Pin<KBox<device::Device>>>,
}

impl kernel::Module for LabLua {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let n = module_parameters::n.value();
        let mut device = None;
        match module_parameters::step.value() {
            1 => values(n)?,
            2 => failures(n)?,
            3 => objects(n)?,
            4 => locked(n)?,
            5 => lent(n)?,
            6 => pinned(n)?,
            7 => device = Some(KBox::pin_init(device::Device::new(), GFP_KERNEL)?),
            _ => return Err(EINVAL),
        }
        Ok(Self { _device: device })
    }
}
