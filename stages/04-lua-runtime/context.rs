// SPDX-License-Identifier: GPL-2.0

//! Where in the kernel something may run, as a type; and a lock that fits it.
//!
//! | type        | may sleep | its lock                          | memory       |
//! |-------------|-----------|-----------------------------------|--------------|
//! | [`Process`] | yes       | a mutex                           | `GFP_KERNEL` |
//! | [`SoftIrq`] | no        | a spin lock, bottom halves off    | `GFP_ATOMIC` |
//! | [`HardIrq`] | no        | a spin lock, interrupts off       | `GFP_ATOMIC` |
//!
//! They are ordered: what never sleeps may be used where sleeping is allowed, and not the other
//! way round. [`Covers`] says so to the compiler. Whether code that is marked [`SoftIrq`] really
//! never sleeps, the compiler does not see; `CONFIG_DEBUG_ATOMIC_SLEEP` reports it.

use kernel::{
    alloc::Flags,
    bindings::spinlock_t,
    ffi::c_char,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        lock::{
            mutex::MutexBackend,
            spinlock::{
                SpinLockBackend,
                SpinLockIrqBackend, //
            },
            Backend,
            Lock, //
        },
        static_lock_class,
        LockClassKey, //
    },
    task::Task,
    types::ScopeGuard,
};

use super::lua::sys;

extern "C" {
    /// Returns what may be done here: 0: sleep; 1: no more than in a softirq; 2: no more than with
    /// interrupts off; 3: nothing. Any context.
    fn helper_context() -> c_int;

    /// Returns the name of what runs here: `process`, `softirq`, `hardirq` or `nmi`. Any context.
    fn helper_context_name() -> *const c_char;

    /// Takes a lock, with bottom halves off. Not with interrupts off.
    fn helper_spin_lock_bh(lock: *mut spinlock_t);

    /// Gives it back.
    fn helper_spin_unlock_bh(lock: *mut spinlock_t);

    /// Takes a lock that nobody has, with bottom halves off.
    fn helper_spin_trylock_bh(lock: *mut spinlock_t) -> bool;
}

// --- Contexts -----------------------------------------------------------------------------------

/// How strict a context is: the larger, the less may be done in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// May sleep.
    Process = sys::klua_context_KLUA_PROCESS,
    /// A softirq, or anything else that may not sleep.
    SoftIrq = sys::klua_context_KLUA_SOFTIRQ,
    /// An interrupt handler, or anything else with interrupts off.
    HardIrq = sys::klua_context_KLUA_HARDIRQ,
    /// Nothing of this module may run: an interrupt that cannot be switched off.
    Nmi,
}

impl Level {
    /// Where are we now?
    pub fn now() -> Self {
        // SAFETY: It may be called anywhere.
        match unsafe { helper_context() } {
            0 => Self::Process,
            1 => Self::SoftIrq,
            2 => Self::HardIrq,
            _ => Self::Nmi,
        }
    }

    /// A word for the log, and for scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::SoftIrq => "softirq",
            Self::HardIrq => "hardirq",
            Self::Nmi => "nmi",
        }
    }
}

/// What a lock is of. With that of a runtime held, that of an object may be taken, and not the other
/// way round: a method that has its object's lock cannot call a script.
#[derive(Clone, Copy)]
pub enum LockOf {
    /// A runtime.
    Runtime,
    /// An object.
    Object,
}

/// The name of what runs here. Any context.
pub fn here() -> &'static CStr {
    // SAFETY: It gives constant strings.
    unsafe { CStr::from_char_ptr(helper_context_name()) }
}

// ANCHOR: context
/// A context: what a runtime, a class or a function is made for.
///
/// The trait is sealed: the three types here are all there are.
pub trait Context: sealed::Sealed + Copy + Send + Sync + Unpin + 'static {
    /// How strict it is.
    const LEVEL: Level;

    /// The lock that may be taken in it, and anywhere milder.
    type Backend: Backend;

    /// For lockdep: which locks are one class, that is, are never held together.
    fn lock_class(of: LockOf) -> Pin<&'static LockClassKey>;

    /// How memory may be allocated in it.
    fn flags() -> Flags {
        match Self::LEVEL {
            Level::Process => GFP_KERNEL,
            _ => GFP_ATOMIC,
        }
    }
}

/// Threads: a system call, a kthread, a worker.
#[derive(Clone, Copy)]
pub struct Process(());

/// Softirqs: timers, network packets.
#[doc(alias = "LUNATIK_OPT_SOFTIRQ")]
#[derive(Clone, Copy)]
pub struct SoftIrq(());

/// Interrupt handlers. (Not on a kernel with `PREEMPT_RT`, not from an NMI, and not from a kprobe:
/// that may lie inside the allocator, whose lock is then held already.)
#[doc(alias = "LUNATIK_OPT_HARDIRQ")]
#[derive(Clone, Copy)]
pub struct HardIrq(());

/// What never sleeps may run anywhere.
pub type Anywhere = HardIrq;

/// What is made for this context may be used in a runtime of the context `C`, too.
#[diagnostic::on_unimplemented(
    message = "what is for `{Self}` context may sleep, which a runtime of `{C}` context cannot",
    label = "not for `{C}` context"
)]
pub trait Covers<C: Context>: Context {}

impl<C: Context> Covers<Process> for C {}
impl Covers<SoftIrq> for SoftIrq {}
impl Covers<SoftIrq> for HardIrq {}
impl Covers<HardIrq> for HardIrq {}
// ANCHOR_END: context

impl Context for Process {
    const LEVEL: Level = Level::Process;
    type Backend = MutexBackend;

    fn lock_class(of: LockOf) -> Pin<&'static LockClassKey> {
        match of {
            LockOf::Runtime => static_lock_class!(),
            LockOf::Object => static_lock_class!(),
        }
    }
}

impl Context for SoftIrq {
    const LEVEL: Level = Level::SoftIrq;
    type Backend = SpinLockBhBackend;

    fn lock_class(of: LockOf) -> Pin<&'static LockClassKey> {
        match of {
            LockOf::Runtime => static_lock_class!(),
            LockOf::Object => static_lock_class!(),
        }
    }
}

impl Context for HardIrq {
    const LEVEL: Level = Level::HardIrq;
    type Backend = SpinLockIrqBackend;

    fn lock_class(of: LockOf) -> Pin<&'static LockClassKey> {
        match of {
            LockOf::Runtime => static_lock_class!(),
            LockOf::Object => static_lock_class!(),
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Process {}
    impl Sealed for super::SoftIrq {}
    impl Sealed for super::HardIrq {}
}

/// May something for the context `C` be used here? [`EPERM`] if not.
pub(crate) fn check<C: Context>() -> Result {
    if Level::now() > C::LEVEL {
        return Err(EPERM);
    }
    Ok(())
}

// --- The lock of softirqs -----------------------------------------------------------------------

/// A spin lock that is taken with bottom halves off, which the kernel crate does not have.
///
/// With them on, a softirq on the same CPU may come while the lock is held, and wait for it for
/// ever: the holder goes on only when the softirq is over.
pub struct SpinLockBhBackend;

// SAFETY: The kernel's spin lock is exclusive, whichever way it is taken. `relock()` is the
// default, which is `lock()`.
unsafe impl Backend for SpinLockBhBackend {
    type State = kernel::bindings::spinlock_t;
    type GuardState = ();

    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut kernel::bindings::lock_class_key,
    ) {
        // SAFETY: By the safety requirements; it is the same kind of lock.
        unsafe { SpinLockBackend::init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: By the safety requirements, it was initialised.
        unsafe { helper_spin_lock_bh(ptr) }
    }

    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &Self::GuardState) {
        // SAFETY: By the safety requirements, the caller has the lock.
        unsafe { helper_spin_unlock_bh(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        // SAFETY: By the safety requirements, it was initialised.
        unsafe { helper_spin_trylock_bh(ptr) }.then_some(())
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: By the safety requirements; it is the same kind of lock.
        unsafe { SpinLockBackend::assert_is_held(ptr) }
    }
}

// --- A lock that knows who has it ---------------------------------------------------------------

// ANCHOR: locked
/// A value, and the lock of a context; who has it already is told so, and does not wait for itself.
///
/// What it does not see is a circle of several locks. lockdep reports that.
#[pin_data]
pub struct Locked<T, C: Context> {
    #[pin]
    value: Lock<T, C::Backend>,
    /// The task that has the lock, as an address; 0 for none.
    held_by: Atomic<usize>,
}
// ANCHOR_END: locked

impl<T: Unpin, C: Context> Locked<T, C> {
    /// Makes one.
    pub fn new(value: T, of: LockOf) -> impl PinInit<Self> {
        let name = match of {
            LockOf::Runtime => c"lua::Runtime",
            LockOf::Object => c"lua::Object",
        };
        pin_init!(Self {
            value <- Lock::new(value, name, C::lock_class(of)),
            held_by: Atomic::new(0),
        })
    }

    // ANCHOR: with
    /// Takes the lock for `work`.
    ///
    /// [`EPERM`] where such a lock may not be taken: a mutex where nothing may sleep, a lock of
    /// softirqs with interrupts off. [`EDEADLK`] if it is the caller who has the lock.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R> {
        // ANCHOR: with-body
        check::<C>()?;
        // The task says enough also for interrupts. While the lock is held, its context is off on
        // this CPU; so what finds its own task here is what has the lock, or what that has called.
        //
        // Only who writes its own address here can find it: if it is there, it is right, and of
        // any other value it does not matter how old it is.
        if self.held_by.load(Relaxed) == current() {
            return Err(EDEADLK);
        }
        // ANCHOR: with-locks
        let mut guard = self.value.lock();
        let value = &mut *guard;
        // ANCHOR_END: with-locks

        self.held_by.store(current(), Relaxed);
        // Dropped before the guard is.
        let _held = ScopeGuard::new(|| self.held_by.store(0, Relaxed));
        Ok(work(value))
        // ANCHOR_END: with-body
    }
    // ANCHOR_END: with

    /// Takes the lock, whatever the context: for who had it in this context a moment ago.
    pub(crate) fn with_again<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut *self.value.lock())
    }
}

fn current() -> usize {
    Task::current_raw() as usize
}
