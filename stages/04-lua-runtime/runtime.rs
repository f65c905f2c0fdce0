// SPDX-License-Identifier: GPL-2.0

//! A runtime: a script that the kernel calls into, again and again, from any thread; or, if it is
//! made for that, from softirqs or interrupt handlers.
//!
//! The script's top level runs once, when the runtime is made. What it leaves behind, mostly
//! global functions, is what the kernel calls later, with the lock of the runtime held:
//!
//! ```ignore
//! let runtime = Runtime::<Process>::from_file(c"mydevice", &budget, &LIBRARIES)?;
//!
//! runtime.run(|lua| {
//!     lua.call(c"myread", &[Value::Integer(16), Value::Integer(0)], |result| match result {
//!         Ok([Value::Bytes(bytes)]) => ...
//!     })
//! })?;
//!
//! runtime.stop()?;
//! ```
//!
//! A runtime is always made in process context, and its script's top level may sleep for memory.
//! From then on it never sleeps, if it is not for [`Process`]: memory is `GFP_ATOMIC`, or there
//! is none; nobody else is scheduled. Its budget of time is what keeps such a script from holding
//! up the CPU, so it should be some hundred microseconds. Collecting garbage is not counted in
//! steps: a state for interrupts should be small.
//!
//! # What the types do not catch
//!
//! - A handler that sleeps in a runtime that is not for [`Process`].
//! - A handler that runs another runtime, while a handler of that one runs this: lockdep reports
//!   it, as the locks of runtimes of one context are one class to it.
//! - The last reference to a runtime for [`Process`] that is dropped where nothing may sleep.

use core::ffi::c_void;

use kernel::{
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        Arc,
        ArcBorrow, //
    },
};

use super::{
    context::{
        self,
        Context,
        LockOf,
        Locked,
        Process, //
    },
    helpers,
    lua::{
        Budget,
        Call,
        Libraries,
        Lua,
        Message,
        State, //
    }, //
};

/// How long a script may be, in bytes.
const SCRIPT_MAX: usize = 1 << 20;

/// How many microseconds on a CPU it may at least take to load one.
const LOADING_US: usize = 1_000_000;

// ANCHOR: runtime
/// A script, its state, and the lock that whoever calls into it takes.
///
/// It is reference counted, and lives as long as anybody has it. Its state may end before: see
/// [`Runtime::stop`].
///
/// # Invariants
///
/// It is in an [`Arc`].
#[doc(alias = "lunatik_object_t")]
#[pin_data]
pub struct Runtime<C: Context = Process> {
    /// `None` once it was stopped.
    #[pin]
    state: Locked<Option<State<C>>, C>,
}
// ANCHOR_END: runtime

impl<C: Context> Runtime<C> {
    /// Makes a runtime, and runs `script` in it. `name` stands in the messages of its errors, and
    /// begins with `=`.
    ///
    /// Sleeps, whatever the context `C`: so it is [`EPERM`] where nothing may. [`ENOMEM`] if there
    /// is no memory; [`EINVAL`] if the script fails, and the log says why.
    #[doc(alias = "lunatik_runtime")]
    pub fn new(
        name: &CStr,
        script: &[u8],
        budget: &Budget,
        libraries: &'static Libraries,
    ) -> Result<Arc<Self>> {
        context::check::<Process>()?;
        // A budget for an interrupt is too little for compiling a script. Here there is time.
        let loading = Budget {
            cpu_us: budget.cpu_us.max(LOADING_US),
            ..*budget
        };
        let mut state = State::<C>::new(&loading, libraries)?;
        // Nobody else knows it: there is no lock to take yet, and nothing else runs before the
        // script has been loaded.
        state.lua().run(name, script, |result| match result {
            Ok(_) => Ok(()),
            Err(Message(text)) => {
                pr_err!("[runtime] error: message={}\n", BStr::from_bytes(text));
                Err(EINVAL)
            }
        })?;
        // INVARIANT: It is made in an `Arc`.
        let runtime = Arc::pin_init(
            pin_init!(Self {
                state <- Locked::new(Some(state), LockOf::Runtime),
            }),
            GFP_KERNEL,
        )?;
        let cpu_us = budget.cpu_us;
        let address: *const c_void = Arc::as_ptr(&runtime).cast();
        runtime.state.with(|state| {
            if let Some(state) = state {
                state.limit_time(cpu_us);
                // SAFETY: It is in an `Arc`. What runs in the state has got there by `run()`, with
                // a reference to the runtime; or the state is being closed, and then no function
                // of Rust is called.
                unsafe { state.loaded(address) };
            }
        })?;
        Ok(runtime)
    }

    /// Makes a runtime of the script `/lib/modules/lua/<script>.lua`.
    ///
    /// Besides the errors of [`Runtime::new`] there are those of reading a file, such as
    /// [`ENOENT`].
    pub fn from_file(
        script: &CStr,
        budget: &Budget,
        libraries: &'static Libraries,
    ) -> Result<Arc<Self>> {
        context::check::<Process>()?;
        let script = script.to_bytes();
        if script.contains(&b'/') {
            return Err(EINVAL);
        }
        let script = BStr::from_bytes(script);
        let path = CString::try_from_fmt(fmt!("/lib/modules/lua/{script}.lua"))?;
        let name = CString::try_from_fmt(fmt!("={script}.lua"))?;
        let text = helpers::read_file(&path, SCRIPT_MAX)?;
        Self::new(&name, &text, budget, libraries)
    }

    // ANCHOR: run
    /// Takes the lock and gives Lua to `handler`, which has it until it returns.
    ///
    /// [`ENXIO`] if the runtime was stopped; [`EDEADLK`] if the caller is in a handler of the same
    /// runtime already: that one has the lock, and a [`Lua`] to use; [`EPERM`] where the context
    /// is stricter than `C`.
    #[doc(alias = "lunatik_run")]
    pub fn run<R>(&self, handler: impl FnOnce(&mut Lua<'_, C>) -> R) -> Result<R> {
        self.state.with(|state| match state {
            Some(state) => Ok(handler(&mut state.lua())),
            None => Err(ENXIO),
        })?
    }
    // ANCHOR_END: run

    // ANCHOR: stop
    /// Ends the state: all that its script has is dropped, and no handler is called any more.
    ///
    /// Waits for a handler that runs now, which may be for as long as its budget lasts. Stopping
    /// what was stopped does nothing. [`EDEADLK`] in a handler of this runtime; [`EPERM`] as in
    /// [`Runtime::run`].
    #[doc(alias = "lunatik_stop")]
    pub fn stop(&self) -> Result {
        let state = self.state.with(Option::take)?;
        // Not with the lock held: closing it drops objects, which may be other runtimes.
        drop(state);
        Ok(())
    }
    // ANCHOR_END: stop
}

// ANCHOR: toruntime
impl<C: Context> Call<'_, C> {
    /// The runtime whose script calls.
    ///
    /// [`EAGAIN`] if the script has not been loaded yet: there is no runtime before.
    /// [`EINVAL`] if the runtime is of another context.
    #[doc(alias = "lunatik_toruntime")]
    pub fn runtime<R: Context>(&self) -> Result<ArcBorrow<'_, Runtime<R>>> {
        self.check_context::<R>()?;
        let runtime = self.host().runtime.get();
        if runtime.is_null() {
            return Err(EAGAIN);
        }
        // SAFETY: See `State::loaded()`: while something runs in the state, and we do, the runtime
        // is there; and it is of the context that was just asked for.
        Ok(unsafe { ArcBorrow::from_raw(runtime.cast()) })
    }
}
// ANCHOR_END: toruntime
