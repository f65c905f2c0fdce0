// SPDX-License-Identifier: GPL-2.0

//! A runtime: a script that the kernel calls into, again and again, from any thread.
//!
//! The script's top level runs once, when the runtime is made. What it leaves behind, mostly
//! global functions, is what the kernel calls later, with the lock of the runtime held:
//!
//! ```ignore
//! let runtime = Runtime::from_file(c"mydevice", &budget, &LIBRARIES)?;
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
//! This is a runtime for process context: its lock is a mutex, and it may sleep for memory.

use kernel::{
    new_mutex,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    task::Task,
    types::ScopeGuard,
};

use super::{
    helpers,
    lua::{
        Budget,
        Libraries,
        Lua,
        Message,
        State, //
    }, //
};

/// How long a script may be, in bytes.
const SCRIPT_MAX: usize = 1 << 20;

// ANCHOR: runtime
/// A script, its state, and the lock that whoever calls into it takes.
///
/// It is reference counted, and lives as long as anybody has it. Its state may end before: see
/// [`Runtime::stop`].
#[doc(alias = "lunatik_object_t")]
#[pin_data]
pub struct Runtime {
    /// `None` once it was stopped.
    #[pin]
    state: Mutex<Option<State>>,
    /// The thread that has the lock, as an address; 0 for none.
    runs_in: Atomic<usize>,
}
// ANCHOR_END: runtime

impl Runtime {
    /// Makes a runtime, and runs `script` in it. `name` stands in the messages of its errors, and
    /// begins with `=`.
    ///
    /// Sleeps. [`ENOMEM`] if there is no memory; [`EINVAL`] if the script fails, and the log says
    /// why.
    #[doc(alias = "lunatik_runtime")]
    pub fn new(
        name: &CStr,
        script: &[u8],
        budget: &Budget,
        libraries: &'static Libraries,
    ) -> Result<Arc<Self>> {
        let mut state = State::new(budget, libraries)?;
        // Nobody else knows it: there is no lock to take yet, and nothing else runs before the
        // script has been loaded.
        state.lua().run(name, script, |result| match result {
            Ok(_) => Ok(()),
            Err(Message(text)) => {
                pr_err!("[runtime] error: message={}\n", BStr::from_bytes(text));
                Err(EINVAL)
            }
        })?;
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(Some(state), "Runtime::state"),
                runs_in: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
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
    /// Sleeps. [`ENXIO`] if the runtime was stopped; [`EDEADLK`] if this thread is in a handler of
    /// the same runtime already: that one has the lock, and a [`Lua`] to use.
    #[doc(alias = "lunatik_run")]
    pub fn run<R>(&self, handler: impl FnOnce(&mut Lua<'_>) -> R) -> Result<R> {
        self.not_inside()?;
        // ANCHOR: run-locks
        let mut state = self.state.lock();
        let state = (*state).as_mut().ok_or(ENXIO)?;
        // ANCHOR_END: run-locks

        self.runs_in.store(current(), Relaxed);
        // Dropped before the lock is.
        let _inside = ScopeGuard::new(|| self.runs_in.store(0, Relaxed));
        Ok(handler(&mut state.lua()))
    }
    // ANCHOR_END: run

    /// Ends the state: all that its script has is dropped, and no handler is called any more.
    ///
    /// Waits for a handler that runs now, which may be for as long as its budget lasts. Stopping
    /// what was stopped does nothing. [`EDEADLK`] if this thread is in a handler of this runtime.
    #[doc(alias = "lunatik_stop")]
    pub fn stop(&self) -> Result {
        self.not_inside()?;
        let state = self.state.lock().take();
        // Not with the lock held: closing it drops objects, which may be other runtimes.
        drop(state);
        Ok(())
    }

    /// Is this thread in a handler of this runtime?
    ///
    /// Only the thread that writes its own address here can find it: if it is there, it is right,
    /// and for any other value it does not matter how old it is.
    fn not_inside(&self) -> Result {
        if self.runs_in.load(Relaxed) == current() {
            return Err(EDEADLK);
        }
        Ok(())
    }
}

fn current() -> usize {
    Task::current_raw() as usize
}
