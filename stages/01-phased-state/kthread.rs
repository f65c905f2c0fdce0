// SPDX-License-Identifier: GPL-2.0

//! Kernel threads that run a closure and belong to a handle.
//!
//! [`KThread`] is the handle: as long as it exists, so does the thread, and when it is dropped,
//! the thread is stopped and waited for. [`StopToken`] is what the closure gets: it tells the
//! thread when to leave.
//!
//! Stopping is a request, not a kill: the closure has to ask, and then has to return.
//!
//! # Examples
//!
//! ```ignore
//! let blinker = KThread::spawn(c"blinker", |stop| {
//!     while !stop.should_stop() {
//!         pr_info!("blink\n");
//!         stop.sleep(Delta::from_millis(500))?;
//!     }
//!     Ok(())
//! })?;
//!
//! // ...
//!
//! blinker.join()?; // Or just drop it, if the result does not matter.
//! ```
//!
//! # What the types do not catch
//!
//! - [`core::mem::forget`] of a handle is safe Rust, and leaves a thread without an owner. If it
//!   still lives when its module is unloaded, it goes on in memory that is no longer there. The
//!   same holds for a handle in a cycle of reference counts, which is never dropped, and for a
//!   handle that its own thread drops (see [`KThread::join`]).
//! - [`Task::wake_up`] is safe, too, and for any task that somebody can find. A thread that was
//!   created and not started begins when it is woken, whoever does that. If it also ends, and its
//!   task is freed, all before [`KThread::create`] has taken its reference, there is none to take.
//!   (C as well relies on it that nobody wakes the thread of somebody else.)
//! - Two threads that join each other wait for ever.
//! - A closure that never looks at its token cannot be stopped: whoever joins it waits for as
//!   long as it runs.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use core::{
    cell::UnsafeCell,
    mem::ManuallyDrop, //
};

use kernel::{
    bindings,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    prelude::*,
    sync::aref::ARef,
    task::{
        might_sleep,
        Task,
        MAX_SCHEDULE_TIMEOUT, //
    },
    time::{
        msecs_to_jiffies,
        Delta,
        Instant,
        Jiffies,
        Monotonic, //
    },
    types::NotThreadSafe,
};

// ANCHOR: stop-token
/// Evidence that the current thread is a kernel thread that a [`KThread`] started.
///
/// The type is neither `Send` nor `Sync`, because what it says holds on this thread only; and the
/// closure gets it by reference, so that it cannot be kept for later either.
///
/// # Invariants
///
/// An instance exists only on the stack of `threadfn()`, that is, in a kernel thread.
pub struct StopToken(NotThreadSafe);
// ANCHOR_END: stop-token

impl StopToken {
    // ANCHOR: should-stop
    /// Returns whether somebody wants this thread to leave.
    ///
    /// Once `true`, it stays `true`. May be called in any context, also in an RCU read-side
    /// critical section: a loop there has to poll it, for nothing else ends that loop.
    #[doc(alias = "kthread_should_stop")]
    #[inline]
    pub fn should_stop(&self) -> bool {
        // SAFETY: By the type invariants, the current task is a kernel thread.
        unsafe { bindings::kthread_should_stop() }
    }
    // ANCHOR_END: should-stop

    /// Sleeps for at least `span`, or until this thread is to stop.
    ///
    /// Returns [`EINTR`] if it is to stop, so that a closure leaves with `stop.sleep(span)?`.
    ///
    /// Must not be called in atomic context, nor in an RCU read-side critical section. The
    /// compiler does not see that; `CONFIG_DEBUG_ATOMIC_SLEEP` reports it.
    pub fn sleep(&self, span: Delta) -> Result {
        // ANCHOR: sleep-body
        let start = Instant::<Monotonic>::now();

        loop {
            if self.should_stop() {
                return Err(EINTR);
            }
            let slept = start.elapsed();
            if slept >= span {
                return Ok(());
            }
            let left = (span - slept).as_millis_ceil();
            self.nap(msecs_to_jiffies(left.try_into().unwrap_or(u32::MAX)));
        }
        // ANCHOR_END: sleep-body
    }

    /// Sleeps until `condition` holds, or until this thread is to stop.
    ///
    /// Returns [`EINTR`] if it is to stop first. Whoever makes the condition true need not know
    /// who waits for it: this looks again with each tick of the timer.
    ///
    /// Must not be called in atomic context; see [`StopToken::sleep`].
    pub fn wait_until(&self, mut condition: impl FnMut() -> bool) -> Result {
        loop {
            if condition() {
                return Ok(());
            }
            if self.should_stop() {
                return Err(EINTR);
            }
            self.nap(1);
        }
    }

    /// Sleeps for `jiffies`, less if this thread is to stop or is woken for another reason.
    ///
    /// A stop request is not lost, wherever it falls: `kthread_stop()` sets `TIF_NOTIFY_SIGNAL`
    /// before it wakes the thread, and a thread for which that is set does not fall asleep
    /// interruptibly.
    fn nap(&self, jiffies: Jiffies) {
        might_sleep();
        // SAFETY: This thread may sleep, which is for the caller to see to, and any timeout that
        // is not negative is valid.
        unsafe {
            bindings::schedule_timeout_interruptible(
                jiffies.try_into().unwrap_or(MAX_SCHEDULE_TIMEOUT),
            )
        };
    }
}

// ANCHOR: kthread
/// A kernel thread, owned: dropping the handle stops the thread and waits for its end.
///
/// # Invariants
///
/// - `task` is a kernel thread that was made by [`KThread::create`] with `slot` as its data.
/// - `kthread_stop()` was called for `task` if and only if `joined` is set; and then the thread
///   is gone.
/// - As long as the thread may still take its closure out of `slot`, nothing else looks into it.
#[must_use = "a thread whose handle is dropped is stopped at once"]
pub struct KThread {
    task: ARef<Task>,
    joined: bool,
    /// A `Slot<F>`, whatever `F` is: all that is left to do with it is to drop it.
    slot: ManuallyDrop<KBox<dyn Send>>,
}

/// Where the closure waits for its thread: `None` once the thread has taken it.
///
/// It belongs to the handle. If it belonged to the thread, a thread that is stopped before it
/// ever ran would leak it, because such a thread never calls its function.
type Slot<F> = UnsafeCell<Option<F>>;
// ANCHOR_END: kthread

// SAFETY: The methods that take `&KThread`, `start()` and `is_current()`, use only `task`, which
// is `Sync`. None reaches `slot`. (`KThread` is `Send` by itself: `join()` and `drop()`, on
// whatever thread, may drop the closure there, and the closure is `Send`.)
unsafe impl Sync for KThread {}

impl KThread {
    // ANCHOR: create
    /// Creates a thread that will run `closure`; it sleeps until [`KThread::start`].
    ///
    /// The closure's captures are dropped by the thread when the closure is done, or, if it never
    /// ran, together with the handle. `name` is what `ps` shows, of which the kernel keeps 15
    /// bytes in `comm`.
    ///
    /// Sleeps: another thread (`kthreadd`) does the work. Fails with [`ENOMEM`] or
    /// [`EAGAIN`] if there is no memory or no room for another task, and with [`EINTR`] if the
    /// caller is killed meanwhile; the closure is dropped then.
    ///
    /// A thread that was created and not started is in uninterruptible sleep. After two minutes
    /// the hung-task detector takes it for one that is stuck.
    #[doc(alias = "kthread_create")]
    #[doc(alias = "kthread_create_on_node")]
    pub fn create<F>(name: &CStr, closure: F) -> Result<Self>
    where
        F: FnOnce(&StopToken) -> Result + Send + 'static,
    {
        // ANCHOR: create-body
        let slot: KBox<Slot<F>> = KBox::new(UnsafeCell::new(Some(closure)), GFP_KERNEL)?;

        // SAFETY: The format takes one string, which is what it gets, and which is copied.
        // `threadfn::<F>` gets the `Slot<F>` that it wants, and finds it alive:
        //
        //   the handle's thread                     the new thread
        //   -------------------                     --------------
        //   fills the slot
        //   kthread_create_on_node()  -- starts ->  kthread(): sleeps
        //   start()                   -- wakes -->  threadfn(): takes the closure
        //                                           the closure runs and is gone
        //   kthread_stop() returns    <-- exit ---  kthread_exit()
        //   frees the slot
        //
        // A thread that is not stopped by its handle runs only if the handle was forgotten, and
        // then so was the slot; or if it dropped its own handle, after it took the closure. If
        // this call fails, no thread has seen the slot, nor will.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(threadfn::<F>),
                slot.get().cast(),
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;

        // SAFETY: The new task is valid: it does not end before it is started or stopped, and only
        // we do that (see the module for who might). `Task` is a transparent wrapper of
        // `task_struct`.
        let task = ARef::from(unsafe { &*task.cast::<Task>() });

        // INVARIANT: `task` was just made with `slot`, and nobody has stopped it.
        Ok(Self {
            task,
            joined: false,
            slot: ManuallyDrop::new(slot),
        })
        // ANCHOR_END: create-body
    }
    // ANCHOR_END: create

    /// Creates a thread and starts it: [`KThread::create`], then [`KThread::start`].
    #[doc(alias = "kthread_run")]
    pub fn spawn<F>(name: &CStr, closure: F) -> Result<Self>
    where
        F: FnOnce(&StopToken) -> Result + Send + 'static,
    {
        let thread = Self::create(name, closure)?;
        thread.start();
        Ok(thread)
    }

    /// Starts the thread.
    ///
    /// What the caller did before is visible to the closure. Starting a thread twice, or when its
    /// closure has returned, does no harm: it is one of the spurious wakeups that every sleep in
    /// the kernel has to expect. Does not sleep.
    #[doc(alias = "wake_up_process")]
    pub fn start(&self) {
        self.task.wake_up();
    }

    // ANCHOR: join
    /// Stops the thread, waits for its end, and gives the result of its closure.
    ///
    /// That is [`EINTR`] if the thread was never started, or not soon enough to run: then the
    /// closure was not called. It is dropped here.
    ///
    /// Sleeps until the closure has returned. Interruptible waits of the thread end at once;
    /// others do not: a thread that waits for a grace period leaves when that is over.
    ///
    /// A thread cannot join itself: that gives [`EDEADLK`], and the thread runs on without a
    /// handle, with a warning in the log. If its module is unloaded now, it is lost.
    #[doc(alias = "kthread_stop")]
    pub fn join(mut self) -> Result {
        // ANCHOR: join-body
        if self.is_current() {
            return Err(EDEADLK);
        }
        self.stop()
        // ANCHOR_END: join-body
    }
    // ANCHOR_END: join

    /// Stops the thread and waits for its end. The caller sees to it that this happens once, and
    /// not in the thread itself.
    fn stop(&mut self) -> Result {
        // INVARIANT: `kthread_stop()` is called for `task` right now.
        self.joined = true;

        // SAFETY: By the type invariants, `task` is a kernel thread, to which we hold a
        // reference, and it was not stopped before.
        to_result(unsafe { bindings::kthread_stop(self.task.as_ptr()) })
    }

    /// Returns whether the thread of this handle is the one that asks.
    fn is_current(&self) -> bool {
        self.task.as_ptr() == Task::current_raw()
    }
}

// ANCHOR: drop
impl Drop for KThread {
    /// Stops the thread and waits for its end, as [`KThread::join`] does, and drops the result.
    ///
    /// In the thread itself it does neither, as that would be for ever: it warns and lets it run.
    fn drop(&mut self) {
        // ANCHOR: drop-body
        if !self.joined && self.is_current() {
            // Nearly always the closure got here, or what it calls, and the slot is empty. But a
            // timer may drop a handle too, in an interrupt of the very thread that is about to
            // look into its slot: so the slot is not freed.
            pr_warn!("[kthread] self-join: a thread goes on without a handle\n");
            return;
        }
        if !self.joined {
            // Whoever cares for the result calls `join()`.
            let _ = self.stop();
        }

        // SAFETY: The thread is gone, so nobody looks into the slot, and neither does this handle
        // from here on. The closure is dropped with it, if it is still there.
        unsafe { ManuallyDrop::drop(&mut self.slot) };
        // ANCHOR_END: drop-body
    }
}
// ANCHOR_END: drop

// ANCHOR: threadfn
/// The function of each thread: takes the closure out of its slot and calls it.
///
/// # Safety
///
/// `slot` must point to a `Slot<F>` that stays valid, and is not accessed by anyone else, until
/// the closure is taken out.
unsafe extern "C" fn threadfn<F>(slot: *mut c_void) -> c_int
where
    F: FnOnce(&StopToken) -> Result + Send + 'static,
{
    // ANCHOR: threadfn-body
    // SAFETY: By the safety requirements, the slot is valid, and ours alone.
    let closure = unsafe { (*slot.cast::<Option<F>>()).take() };

    from_result(|| {
        // The kernel calls this function once for each thread, so there is a closure. If there
        // were none, an error is a better answer than a panic.
        let closure = closure.ok_or(EINVAL)?;

        // INVARIANT: This is a kernel thread, and the closure gets no more than a reference.
        closure(&StopToken(NotThreadSafe))?;
        Ok(0)
    })
    // ANCHOR_END: threadfn-body
}
// ANCHOR_END: threadfn

/// What became of a thread that was joined, in a word for the log.
pub fn outcome(result: Result) -> &'static str {
    match result {
        Ok(()) => "finished",
        Err(EINTR) => "stopped",
        Err(_) => "failed",
    }
}
