// SPDX-License-Identifier: GPL-2.0

//! The loops: each operation as often as it is asked for, in Rust here and in C in `twins.c`.
//!
//! They use the stages' own types as anybody would. What is measured is theirs and nothing made
//! for it.

use kernel::{
    ffi::c_void,
    prelude::*,
    sync::{
        rcu,
        Arc,
        Mutex,
        SpinLock, //
    },
};

use super::{
    guard::rcu_read,
    list::RcuList,
    rcu::{
        Rcu,
        RcuLock,
        RcuWrite, //
    },
    retired::{
        CallbackDrop,
        DropContext,
        InCallback, //
    },
    toy::guard::ToyGuard,
};

/// Does an operation `n` times. Returns something that depends on what was read, or how often it
/// was done.
///
/// # Safety
///
/// `of` must be what the loop is written for, and valid.
pub type Body = unsafe extern "C" fn(of: *const c_void, n: u64) -> u64;

/// What is read and written: `struct value` in C.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Value {
    /// What it is found by.
    pub key: u64,
    /// What is read.
    pub number: u64,
}

impl Value {
    /// A value that is found by its number.
    pub const fn new(number: u64) -> Self {
        Self {
            key: number,
            number,
        }
    }
}

/// A value that has something to drop, though nothing happens then.
pub struct Dropped(pub Value);

impl Drop for Dropped {
    fn drop(&mut self) {}
}

// SAFETY: Nothing happens.
unsafe impl CallbackDrop for Dropped {}

/// Defines loops. What stands between the bars is what `of` is, the number of the turn, and a sum
/// to add to.
macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident |$of:ident: &$type:ty, $i:ident, $sum:ident| $once:block)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Safety
            ///
            /// As for [`Body`].
            #[no_mangle]
            pub unsafe extern "C" fn $name($of: *const c_void, n: u64) -> u64 {
                // SAFETY: By the safety requirements.
                let $of = unsafe { &*$of.cast::<$type>() };
                #[allow(unused_mut, reason = "not all of them read")]
                let mut $sum = 0u64;
                for $i in 0..n {
                    $once
                }
                $sum
            }
        )*
    };
}

bodies! {
    /// Nothing: what a loop costs, and the measuring.
    rs_loop |_of: &(), _i, sum| {
        // As C's `barrier()`.
        // SAFETY: It does nothing.
        unsafe { core::arch::asm!("", options(nostack, preserves_flags)) };
    }

    /// An empty section, by our guard.
    rs_section |_of: &(), _i, sum| {
        rcu_read(|_| ());
    }

    /// An empty section, by the kernel crate's guard.
    rs_section_upstream |_of: &(), _i, sum| {
        drop(rcu::read_lock());
    }

    /// An empty section of a toy.
    rs_toy |_of: &(), _i, sum| {
        drop(ToyGuard::new());
    }
}

// ANCHOR: deref
bodies! {
    /// A section in which a published pointer is dereferenced.
    rs_deref |of: &Rcu<Value>, _i, sum| {
        rcu_read(|guard| {
            if let Some(value) = of.read(guard) {
                sum += value.number;
            }
        });
    }
}
// ANCHOR_END: deref

bodies! {
    /// The same, where there is always a value.
    rs_deref_lock |of: &RcuLock<Value>, _i, sum| {
        rcu_read(|guard| sum += of.read(guard).number);
    }
}

// ANCHOR: walk
bodies! {
    /// A walk through a list.
    rs_walk |of: &RcuList<Value>, _i, sum| {
        rcu_read(|guard| {
            for value in of.iter(guard) {
                sum += value.number;
            }
        });
    }
}
// ANCHOR_END: walk

bodies! {
    /// A search in a list, for each key in turn.
    rs_find |of: &RcuList<Value>, i, sum| {
        let key = i % 64;
        rcu_read(|guard| {
            if let Some(value) = of.iter(guard).find(|value| value.key == key) {
                sum += value.number;
            }
        });
    }

    /// What readers might do instead: a spinlock.
    rs_spin |of: &SpinLock<Value>, _i, sum| {
        sum += of.lock().number;
    }

    /// What readers might do instead: a mutex.
    rs_mutex |of: &Mutex<Value>, _i, sum| {
        sum += of.lock().number;
    }

    /// What readers might do instead: a reference count.
    rs_refcount |of: &Arc<Value>, _i, sum| {
        let mine = of.clone();
        sum += mine.number;
    }
}

/// Publishes `n` values, and retires those before; stops when there is no memory.
///
/// # Safety
///
/// `of` must be an `RcuWrite<T, D>` that nobody else has.
#[inline]
unsafe fn update<T, D>(of: *const c_void, n: u64, make: impl Fn(u64) -> T) -> u64
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    // SAFETY: By the safety requirements.
    let cell = unsafe { &mut *of.cast_mut().cast::<RcuWrite<T, D>>() };
    for i in 0..n {
        match cell.update(make(i), GFP_ATOMIC) {
            Ok(old) => old.defer(),
            Err(_) => return i,
        }
    }
    n
}

/// Updates whose old values go by `kfree_rcu()`.
///
/// # Safety
///
/// `of` must be an `RcuWrite<Value>` that nobody else has.
#[no_mangle]
pub unsafe extern "C" fn rs_update_kfree(of: *const c_void, n: u64) -> u64 {
    // SAFETY: By the safety requirements.
    unsafe { update::<Value, super::retired::InProcess>(of, n, Value::new) }
}

/// Updates whose old values go by `call_rcu()`.
///
/// # Safety
///
/// `of` must be an `RcuWrite<Dropped, InCallback>` that nobody else has.
#[no_mangle]
pub unsafe extern "C" fn rs_update_call(of: *const c_void, n: u64) -> u64 {
    // SAFETY: By the safety requirements.
    unsafe { update::<_, InCallback>(of, n, |i| Dropped(Value::new(i))) }
}

/// Updates whose old values go by `call_rcu()` and a worker.
///
/// # Safety
///
/// `of` must be an `RcuWrite<Dropped>` that nobody else has.
#[no_mangle]
pub unsafe extern "C" fn rs_update_process(of: *const c_void, n: u64) -> u64 {
    // SAFETY: By the safety requirements.
    unsafe { update::<_, super::retired::InProcess>(of, n, |i| Dropped(Value::new(i))) }
}

// The twins.
extern "C" {
    pub(super) fn c_nothing(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_loop(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_section(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_toy(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_deref(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_deref_lock(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_walk(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_find(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_update_kfree(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_update_call(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_update_realloc(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_spin(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_rwlock(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_mutex(of: *const c_void, n: u64) -> u64;
    pub(super) fn c_refcount(of: *const c_void, n: u64) -> u64;
}
