// SPDX-License-Identifier: GPL-2.0

//! The library `kernel`, which scripts get with `require("kernel")`: a few functions that show how
//! values and errors go from Lua to Rust and back.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        ClockSource,
        Monotonic, //
    },
};

use super::lua::{
    Call,
    Class,
    ClassOf,
    Entry,
    Failure,
    Function,
    Library,
    Object,
    Returned,
    Share,
    Value, //
};

// ANCHOR: add
/// `add(a, b)`: a sum that does not wrap around.
struct Add;

impl Function for Add {
    const NAME: &'static CStr = c"add";

    fn call(call: &mut Call<'_>) -> Result<Returned, Failure> {
        let sum = call.integer(1)?.checked_add(call.integer(2)?);
        Ok(Returned::Integer(sum.ok_or(EOVERFLOW)?))
    }
}
// ANCHOR_END: add

/// `upper(s)`: a string made in Rust.
struct Upper;

impl Function for Upper {
    const NAME: &'static CStr = c"upper";

    fn call(call: &mut Call<'_>) -> Result<Returned, Failure> {
        let mut text = KVVec::new();
        text.extend_from_slice(call.bytes(1)?, GFP_KERNEL)?;
        text.make_ascii_uppercase();
        Ok(Returned::Bytes(text))
    }
}

/// `pid()`: on whose behalf does this script run?
struct Pid;

impl Function for Pid {
    const NAME: &'static CStr = c"pid";

    fn call(_call: &mut Call<'_>) -> Result<Returned, Failure> {
        Ok(Returned::Integer(kernel::current!().pid().into()))
    }
}

/// `nothing()`: what a call costs.
struct Nothing;

impl Function for Nothing {
    const NAME: &'static CStr = c"nothing";

    fn call(_call: &mut Call<'_>) -> Result<Returned, Failure> {
        Ok(Returned::Nothing)
    }
}

/// `time_ns()`: nanoseconds since some moment.
struct TimeNs;

impl Function for TimeNs {
    const NAME: &'static CStr = c"time_ns";

    fn call(_call: &mut Call<'_>) -> Result<Returned, Failure> {
        Ok(Returned::Integer(Monotonic::ktime_get()))
    }
}

// ANCHOR: held
/// How many [`Held`] there are: 0 whenever no script is in a Rust function.
static HELD: Atomic<i64> = Atomic::new(0);

/// Something that has to be dropped, such as the guard of a lock.
pub(crate) struct Held;

impl Held {
    pub(crate) fn new() -> Self {
        HELD.add(1, Relaxed);
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Relaxed);
    }
}

/// `hold(what)`: holds something, and leaves in the way that is asked for.
struct Hold;

impl Function for Hold {
    const NAME: &'static CStr = c"hold";

    fn call(call: &mut Call<'_>) -> Result<Returned, Failure> {
        let _held = Held::new();
        match call.bytes(1)? {
            b"error" => Err(EIO.into()),
            b"argument" => Err(Failure::Argument {
                index: 2,
                expected: c"something else",
            }),
            // The string is too large for the state, so that C raises when it has this.
            b"large" => {
                let mut text = KVVec::new();
                text.resize(32 << 20, b'x', GFP_KERNEL)?;
                Ok(Returned::Bytes(text))
            }
            // A function of the script, which may fail in its own ways.
            b"call" => {
                let fine =
                    call.lua()
                        .call(c"called", &[Value::Integer(1)], |result| match result {
                            Ok([_]) => true,
                            Err(_) => false,
                        });
                Ok(Returned::Boolean(fine))
            }
            _ => Ok(Returned::Nil),
        }
    }
}

/// `held()`: how many things are held?
struct HowManyHeld;

impl Function for HowManyHeld {
    const NAME: &'static CStr = c"held";

    fn call(_call: &mut Call<'_>) -> Result<Returned, Failure> {
        Ok(Returned::Integer(HELD.load(Relaxed)))
    }
}
// ANCHOR_END: held

// ANCHOR: counter
/// A number that several states may add to.
pub(crate) struct Counter(Atomic<i64>);

impl Counter {
    /// Makes one that is 0.
    pub(crate) fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// What it is.
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

static COUNTER: ClassOf<Counter> = ClassOf::new(
    c"counter",
    &[
        Entry::of::<CounterAdd>(),
        Entry::of::<CounterGet>(),
        Entry::END,
    ],
);

impl Class for Counter {
    fn class() -> &'static ClassOf<Self> {
        &COUNTER
    }
}

impl Share for Counter {}

/// `counter()`: makes one.
struct NewCounter;

impl Function for NewCounter {
    const NAME: &'static CStr = c"counter";

    fn call(_call: &mut Call<'_>) -> Result<Returned, Failure> {
        let counter = Arc::new(Counter::new(), GFP_KERNEL)?;
        Ok(Returned::Object(Object::new(counter)))
    }
}

/// `counter:add(n)`: adds to it, and gives what it was before.
struct CounterAdd;

impl Function for CounterAdd {
    const NAME: &'static CStr = c"add";

    fn call(call: &mut Call<'_>) -> Result<Returned, Failure> {
        let counter = call.object::<Counter>(1)?;
        Ok(Returned::Integer(
            counter.0.fetch_add(call.integer(2)?, Relaxed),
        ))
    }
}

/// `counter:get()`: what it is.
struct CounterGet;

impl Function for CounterGet {
    const NAME: &'static CStr = c"get";

    fn call(call: &mut Call<'_>) -> Result<Returned, Failure> {
        Ok(Returned::Integer(call.object::<Counter>(1)?.get()))
    }
}
// ANCHOR_END: counter

/// The library.
pub(crate) static KERNEL: Library = Library::new(
    c"kernel",
    &[
        Entry::of::<Add>(),
        Entry::of::<Upper>(),
        Entry::of::<Pid>(),
        Entry::of::<TimeNs>(),
        Entry::of::<Nothing>(),
        Entry::of::<Hold>(),
        Entry::of::<HowManyHeld>(),
        Entry::making::<NewCounter, Counter>(&COUNTER),
        Entry::END,
    ],
);
