// SPDX-License-Identifier: GPL-2.0

//! The library `kernel`, which scripts get with `require("kernel")`: a few functions that show how
//! values and errors go from Lua to Rust and back.

use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        UniqueArc, //
    },
    task::Task,
    time::{
        ClockSource,
        Monotonic, //
    },
};

use super::{
    context::{
        self,
        Anywhere,
        Process,
        SoftIrq, //
    },
    lua::{
        Call,
        Class,
        ClassOf,
        Entry,
        Failure,
        Function,
        Library,
        Object,
        Returned,
        Shared,
        Single,
        Value, //
    },
    object::{
        Guarded,
        Method,
        Monitor,
        Monitored, //
    }, //
};

// ANCHOR: add
/// `add(a, b)`: a sum that does not wrap around.
struct Add;

impl Function for Add {
    type Context = Anywhere;
    const NAME: &'static CStr = c"add";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        let sum = call.integer(1)?.checked_add(call.integer(2)?);
        Ok(Returned::Integer(sum.ok_or(EOVERFLOW)?))
    }
}
// ANCHOR_END: add

/// `upper(s)`: a string made in Rust.
struct Upper;

impl Function for Upper {
    type Context = Anywhere;
    const NAME: &'static CStr = c"upper";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        let mut text = KVec::new();
        text.extend_from_slice(call.bytes(1)?, call.flags())?;
        text.make_ascii_uppercase();
        Ok(Returned::Small(text))
    }
}

/// `pid()`: on whose behalf does this script run?
struct Pid;

impl Function for Pid {
    type Context = Process;
    const NAME: &'static CStr = c"pid";

    fn call(_call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        Ok(Returned::Integer(kernel::current!().pid().into()))
    }
}

/// `context()`: what does this script run in?
struct WhichContext;

impl Function for WhichContext {
    type Context = Anywhere;
    const NAME: &'static CStr = c"context";

    fn call(_call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        Ok(Returned::Text(context::here()))
    }
}

/// `ready()`: has the script of this runtime been loaded?
struct Ready;

impl Function for Ready {
    type Context = Anywhere;
    const NAME: &'static CStr = c"ready";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        Ok(Returned::Boolean(call.is_ready()))
    }
}

/// `nothing()`: what a call costs.
struct Nothing;

impl Function for Nothing {
    type Context = Anywhere;
    const NAME: &'static CStr = c"nothing";

    fn call(_call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        Ok(Returned::Nothing)
    }
}

/// `time_ns()`: nanoseconds since some moment.
struct TimeNs;

impl Function for TimeNs {
    type Context = Anywhere;
    const NAME: &'static CStr = c"time_ns";

    fn call(_call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
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
    type Context = Process;
    const NAME: &'static CStr = c"hold";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
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
    type Context = Anywhere;
    const NAME: &'static CStr = c"held";

    fn call(_call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
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
    type Context = Anywhere;
    type Sharing = Shared;

    fn class() -> &'static ClassOf<Self> {
        &COUNTER
    }
}

/// `counter()`: makes one.
struct NewCounter;

impl Function for NewCounter {
    type Context = Anywhere;
    const NAME: &'static CStr = c"counter";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        let counter = UniqueArc::new(Counter::new(), call.flags())?;
        Ok(Returned::Object(Object::new(counter)))
    }
}

/// `counter:add(n)`: adds to it, and gives what it was before.
struct CounterAdd;

impl Function for CounterAdd {
    type Context = Anywhere;
    const NAME: &'static CStr = c"add";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        let counter = call.object::<Counter>(1)?;
        Ok(Returned::Integer(
            counter.0.fetch_add(call.integer(2)?, Relaxed),
        ))
    }
}

/// `counter:get()`: what it is.
struct CounterGet;

impl Function for CounterGet {
    type Context = Anywhere;
    const NAME: &'static CStr = c"get";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        Ok(Returned::Integer(call.object::<Counter>(1)?.get()))
    }
}
// ANCHOR_END: counter

// ANCHOR: stack
/// Some numbers, the last of which is taken first. Several states may use one.
///
/// There is no lock in it, and nothing atomic: as a [`Monitor`] it is used by one at a time.
pub(crate) struct Stack {
    numbers: KVec<i64>,
    size: usize,
    name: [u8; 16],
    name_length: usize,
}

impl Stack {
    /// Makes one, with memory for all that it may hold.
    pub(crate) fn new(size: u8, name: &[u8], flags: Flags) -> Result<Self> {
        let size = size.into();
        let mut copy = [0; 16];
        copy.get_mut(..name.len())
            .ok_or(EINVAL)?
            .copy_from_slice(name);
        Ok(Self {
            numbers: KVec::with_capacity(size, flags)?,
            size,
            name: copy,
            name_length: name.len(),
        })
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}

static STACK: ClassOf<Monitor<Stack>> = ClassOf::new(
    c"stack",
    &[
        Entry::of::<Guarded<StackPush>>(),
        Entry::of::<Guarded<StackPop>>(),
        Entry::of::<Guarded<StackName>>(),
        Entry::of::<Guarded<StackCount>>(),
        Entry::END,
    ],
);

impl Monitored for Stack {
    // Also for timers and network packets; so its lock is a spin lock.
    type Context = SoftIrq;

    fn class() -> &'static ClassOf<Monitor<Self>> {
        &STACK
    }
}

/// `stack{size = n, name = s, first = n}`: makes one. `first` may be absent.
struct NewStack;

impl Function for NewStack {
    type Context = SoftIrq;
    const NAME: &'static CStr = c"stack";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        let flags = call.flags();
        let mut name = [0; 16];
        let mut options = call.table(1)?;
        let size = options.integer::<u8>(c"size")?;
        let first = options.integer_or(c"first", 0)?;
        let length = options.bytes(c"name", &mut name)?;

        let mut stack = Stack::new(size, name.get(..length).unwrap_or_default(), flags)?;
        stack.numbers.push(first, flags)?;
        let stack = UniqueArc::pin_init(Monitor::new(stack), flags)?;
        Ok(Returned::Object(Object::pinned(stack)))
    }
}

/// `stack:push(n)`.
struct StackPush;

impl Method for StackPush {
    type Of = Stack;
    const NAME: &'static CStr = c"push";

    fn call(stack: &mut Stack, call: &Call<'_, SoftIrq>) -> Result<Returned, Failure> {
        let number = call.integer(2)?;
        if stack.len() >= stack.size {
            return Err(ENOSPC.into());
        }
        stack.numbers.push(number, call.flags())?;
        Ok(Returned::Nothing)
    }
}

/// `stack:pop()`: the last number, or `nil`.
struct StackPop;

impl Method for StackPop {
    type Of = Stack;
    const NAME: &'static CStr = c"pop";

    fn call(stack: &mut Stack, _call: &Call<'_, SoftIrq>) -> Result<Returned, Failure> {
        Ok(match stack.numbers.pop() {
            Some(number) => Returned::Integer(number),
            None => Returned::Nil,
        })
    }
}

/// `stack:name()`.
struct StackName;

impl Method for StackName {
    type Of = Stack;
    const NAME: &'static CStr = c"name";

    fn call(stack: &mut Stack, call: &Call<'_, SoftIrq>) -> Result<Returned, Failure> {
        let mut name = KVec::new();
        let bytes = stack.name.get(..stack.name_length).unwrap_or_default();
        name.extend_from_slice(bytes, call.flags())?;
        Ok(Returned::Small(name))
    }
}

/// `stack:count()`.
struct StackCount;

impl Method for StackCount {
    type Of = Stack;
    const NAME: &'static CStr = c"count";

    fn call(stack: &mut Stack, _call: &Call<'_, SoftIrq>) -> Result<Returned, Failure> {
        Ok(Returned::Integer(stack.len() as i64))
    }
}
// ANCHOR_END: stack

// ANCHOR: task
/// A task: something that the object does not own, but has a reference to.
///
/// (What the C API calls `LUNATIK_OPT_EXTERNAL`.)
struct TaskObject(ARef<Task>);

static TASK: ClassOf<TaskObject> = ClassOf::new(c"task", &[Entry::of::<TaskPid>(), Entry::END]);

impl Class for TaskObject {
    type Context = Process;
    type Sharing = Single;

    fn class() -> &'static ClassOf<Self> {
        &TASK
    }
}

/// `task()`: the task that runs this script.
struct CurrentTask;

impl Function for CurrentTask {
    type Context = Process;
    const NAME: &'static CStr = c"task";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        let task = TaskObject(ARef::from(&**kernel::current!()));
        let task = UniqueArc::new(task, call.flags())?;
        Ok(Returned::Object(Object::new(task)))
    }
}

/// `task:pid()`: its number, also when it does not run any more.
struct TaskPid;

impl Function for TaskPid {
    type Context = Process;
    const NAME: &'static CStr = c"pid";

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        let task = call.object::<TaskObject>(1)?;
        Ok(Returned::Integer(task.0.pid().into()))
    }
}
// ANCHOR_END: task

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
        Entry::of::<WhichContext>(),
        Entry::of::<Ready>(),
        Entry::making::<NewCounter, Counter>(&COUNTER),
        Entry::making::<NewStack, Monitor<Stack>>(&STACK),
        Entry::making::<CurrentTask, TaskObject>(&TASK),
        Entry::END,
    ],
);
