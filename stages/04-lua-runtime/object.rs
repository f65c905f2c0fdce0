// SPDX-License-Identifier: GPL-2.0

//! More that a script can be given, and that Rust can keep of a script.
//!
//! | type                 | what it is                                                           |
//! |----------------------|----------------------------------------------------------------------|
//! | [`Monitor`]          | an object whose methods run one at a time, in whatever state         |
//! | [`Pinned`]           | a value of a state that is not collected as long as Rust has this    |
//! | [`Attached`]         | an object of one state that Rust uses again and again in callbacks   |
//! | [`Lent`]             | what such an object is of: something that is there for one callback  |
//! | [`Table`]            | the fields of a table that a script has given                        |

use core::{
    ffi::c_void,
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        UniqueArc, //
    },
    types::ScopeGuard,
};

use super::{
    context::{
        Context,
        Covers,
        LockOf,
        Locked, //
    },
    lua::{
        sys,
        Call,
        Class,
        ClassOf,
        Failure,
        Frame,
        Function,
        Lua,
        ObjectRef,
        Returned,
        Shared,
        Value, //
    },
};

// --- Monitors -----------------------------------------------------------------------------------

// ANCHOR: monitor
/// A type whose objects are used by one method at a time.
pub trait Monitored: Send + Unpin + Sized + 'static {
    /// As of [`Class`]. It says which lock it is.
    type Context: Context;

    /// The class of the monitor: a static of the type's own.
    fn class() -> &'static ClassOf<Monitor<Self>>;
}

/// A value that several states may use, and the lock that its methods take.
///
/// The value itself need not be `Sync`: nobody gets at it without the lock.
#[doc(alias = "LUNATIK_OPT_MONITOR")]
#[pin_data]
pub struct Monitor<T: Monitored> {
    #[pin]
    value: Locked<T, T::Context>,
}

impl<T: Monitored> Monitor<T> {
    /// Makes one.
    pub fn new(value: T) -> impl PinInit<Self> {
        pin_init!(Self {
            value <- Locked::new(value, LockOf::Object),
        })
    }

    /// Takes the lock for `work`: see [`Locked::with`].
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R> {
        self.value.with(work)
    }
}

impl<T: Monitored> Class for Monitor<T> {
    type Context = T::Context;
    type Sharing = Shared;

    fn class() -> &'static ClassOf<Self> {
        T::class()
    }
}

/// A method of a monitor.
///
/// It gets the call by a shared reference, and calling Lua takes an exclusive one. So no script
/// runs while the lock is held, and none can ask for it once more.
pub trait Method {
    /// What it is a method of.
    type Of: Monitored;

    /// What scripts call it.
    const NAME: &'static CStr;

    /// Runs it, with the lock held.
    fn call(
        this: &mut Self::Of,
        call: &Call<'_, <Self::Of as Monitored>::Context>,
    ) -> Result<Returned, Failure>;
}

/// A method as a function that takes the lock: what stands in a class.
pub struct Guarded<M>(PhantomData<M>);

impl<M: Method> Function for Guarded<M> {
    type Context = <M::Of as Monitored>::Context;
    const NAME: &'static CStr = M::NAME;

    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure> {
        let call = &*call;
        call.object::<Monitor<M::Of>>(1)?
            .with(|this| M::call(this, call))?
    }
}
// ANCHOR_END: monitor

// --- What Rust keeps of a state -----------------------------------------------------------------

/// How many values of a state may be pinned at a time.
const PINS: usize = 32;

const FREE: i32 = 0;
const USED: i32 = 1;
/// Nobody has it any more, and Lua still keeps the value.
const RELEASED: i32 = 2;

/// The pinned values of a state: Lua keeps each in its registry, under the address of its slot.
///
/// A handle may be dropped anywhere, where the state cannot be used: in an interrupt, or after
/// the state was closed. So that only leaves a note here, and who next uses the state sees to it.
///
/// ```text
///   drops a handle               uses the state
///   --------------               --------------
///   slot = RELEASED
///   noted = 1 (Release)  ------> noted = 0 was 1 (Full)
///                                sees slot == RELEASED: unpins it, slot = FREE
/// ```
///
/// A note that comes after the exchange is found the next time.
pub(super) struct Pins {
    noted: Atomic<i32>,
    slots: [Atomic<i32>; PINS],
}

impl Pins {
    pub(super) fn new() -> Result<Arc<Self>> {
        let pins = Self {
            noted: Atomic::new(0),
            slots: [const { Atomic::new(FREE) }; PINS],
        };
        Ok(Arc::new(pins, GFP_KERNEL)?)
    }

    /// Has `unpin` take out of Lua's registry what was released. For who has the state.
    pub(super) fn sweep(&self, mut unpin: impl FnMut(*const c_void)) {
        // ANCHOR: sweep-body
        if self.noted.load(Relaxed) == 0 || self.noted.xchg(0, Full) == 0 {
            return;
        }
        for slot in &self.slots {
            if slot.load(Acquire) == RELEASED {
                unpin((&raw const *slot).cast());
                slot.store(FREE, Relaxed);
            }
        }
        // ANCHOR_END: sweep-body
    }

    /// Takes a slot. For who has the state.
    fn take(pins: &Arc<Self>) -> Result<Pinned> {
        for (index, slot) in pins.slots.iter().enumerate() {
            // Only who has the state makes a slot of `FREE` anything else.
            if slot.load(Relaxed) == FREE {
                slot.store(USED, Relaxed);
                return Ok(Pinned {
                    pins: pins.clone(),
                    index,
                });
            }
        }
        Err(ENOSPC)
    }
}

// ANCHOR: pinned
/// A value of a state that Lua does not collect as long as this exists: a function of the script
/// to call later, a table, an object.
///
/// It may be dropped anywhere, also when its state is gone. Lua lets go of the value when the
/// state is used next.
#[doc(alias = "lunatik_registerobject")]
#[doc(alias = "lunatik_unregisterobject")]
pub struct Pinned {
    pins: Arc<Pins>,
    index: usize,
}
// ANCHOR_END: pinned

impl Pinned {
    /// The key of the value in Lua's registry: an address that is in no other state's.
    #[doc(alias = "lunatik_getregistry")]
    pub(super) fn key(&self) -> *const c_void {
        match self.pins.slots.get(self.index) {
            Some(slot) => (&raw const *slot).cast(),
            None => core::ptr::null(),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // ANCHOR: pinned-drop-body
        if let Some(slot) = self.pins.slots.get(self.index) {
            slot.store(RELEASED, Release);
            self.pins.noted.store(1, Release);
        }
        // ANCHOR_END: pinned-drop-body
    }
}

impl<C: Context> Call<'_, C> {
    /// Pins an argument, whatever it is.
    ///
    /// [`ENOSPC`] if too many values of the state are pinned.
    pub fn pin(&mut self, index: u32) -> Result<Pinned, Failure> {
        let failure = Failure::Argument {
            index,
            expected: c"value",
        };
        let Ok(place) = c_int::try_from(index) else {
            return Err(failure);
        };
        if place == 0 || place > self.count() {
            return Err(failure);
        }
        let lua = self.lua();
        let pinned = Pins::take(&lua.host.pins)?;
        // SAFETY: The state is ours as long as we have `lua`, and that many arguments are on its
        // stack.
        let failed = unsafe {
            sys::klua_pin(
                lua.state,
                lua.thread,
                place,
                core::ptr::null(),
                pinned.key(),
            )
        };
        match failed {
            0 => Ok(pinned),
            _ => Err(ENOMEM.into()),
        }
    }
}

// --- Objects for callbacks ----------------------------------------------------------------------

// ANCHOR: attached
/// An object of one state that Rust made, and uses again and again: a callback gives it to a
/// handler with [`Attached::value`], and nothing has to be allocated then.
///
/// Dropping it detaches it: the script may still have the object.
#[doc(alias = "lunatik_attach")]
#[doc(alias = "lunatik_detach")]
pub struct Attached<T: Class> {
    pinned: Pinned,
    object: Arc<T>,
}

impl<C: Context> Lua<'_, C> {
    /// Makes an object of this state, for callbacks.
    pub fn attach<T: Class>(&mut self, object: Pin<UniqueArc<T>>) -> Result<Attached<T>>
    where
        T::Context: Covers<C>,
    {
        let object: Arc<T> = object.into();
        let pinned = Pins::take(&self.host.pins)?;
        let raw = Value::<C>::Object(ObjectRef::one_of_its_own(object.as_arc_borrow())).to_raw();
        // SAFETY: The state is ours as long as we have `self`, and the object is valid.
        let failed = unsafe { sys::klua_pin(self.state, self.thread, 0, &raw, pinned.key()) };
        match failed {
            0 => Ok(Attached { pinned, object }),
            _ => Err(ENOMEM),
        }
    }
}

impl<T: Class> Attached<T> {
    /// The object, for a call in its state. (In another it is `nil`.)
    pub fn value<C: Context>(&self) -> Value<'_, C> {
        Value::Pinned(&self.pinned)
    }
}

impl<T: Class> core::ops::Deref for Attached<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}
// ANCHOR_END: attached

// ANCHOR: lent
/// What is in an object for callbacks: something that is there only while a callback lends it.
///
/// A script may keep the object. Outside of a callback its methods find nothing: [`ENXIO`].
///
/// # Invariants
///
/// A pointer in `what` is valid as long as it is there, that is, until the lock is taken and it is
/// taken out.
#[pin_data]
pub struct Lent<T, C: Context> {
    #[pin]
    what: Locked<Option<Borrowed<T>>, C>,
}

/// A reference without a lifetime.
struct Borrowed<T>(NonNull<T>);

// SAFETY: It is a shared reference.
unsafe impl<T: Sync> Send for Borrowed<T> {}

impl<T: Sync + 'static, C: Context> Lent<T, C> {
    /// Makes one, with nothing in it.
    pub fn new() -> impl PinInit<Self> {
        // INVARIANT: There is no pointer.
        pin_init!(Self {
            what <- Locked::new(None, LockOf::Object),
        })
    }

    /// Lends `what` for as long as `work` runs.
    ///
    /// [`EBUSY`] if something is lent already.
    pub fn lend<R>(&self, what: &T, work: impl FnOnce() -> R) -> Result<R> {
        // ANCHOR: lend-body
        self.what.with(|place| match place {
            Some(_) => Err(EBUSY),
            None => {
                // INVARIANT: `what` is borrowed until this function is over, and before that the
                // pointer is taken out.
                *place = Some(Borrowed(NonNull::from(what)));
                Ok(())
            }
        })??;
        // ANCHOR: lent-ends
        let _lent = ScopeGuard::new(|| self.what.with_again(|place| *place = None));
        // ANCHOR_END: lent-ends
        Ok(work())
        // ANCHOR_END: lend-body
    }

    /// Looks at what is lent. [`ENXIO`] if nothing is.
    pub fn with<R>(&self, work: impl FnOnce(&T) -> R) -> Result<R> {
        self.what.with(|place| match place {
            // SAFETY: By the type invariants: the lock is held.
            Some(Borrowed(what)) => Ok(work(unsafe { what.as_ref() })),
            None => Err(ENXIO),
        })?
    }
}
// ANCHOR_END: lent

// --- Tables -------------------------------------------------------------------------------------

// ANCHOR: table
/// A table that is an argument: its fields are read by name, and checked.
///
/// No metamethod is called: a field is what is in the table itself.
pub struct Table<'c, 'a, C: Context> {
    call: &'c mut Call<'a, C>,
    index: u32,
}

impl<'a, C: Context> Call<'a, C> {
    /// An argument that has to be a table.
    pub fn table(&mut self, index: u32) -> Result<Table<'_, 'a, C>, Failure> {
        let mut table = Table { call: self, index };
        // A field that nobody has: to see whether it is a table.
        table.field(c"", |_| ())?;
        Ok(table)
    }
}

impl<C: Context> Table<'_, '_, C> {
    /// A field that has to be an integer, and to fit into `T`.
    #[doc(alias = "lunatik_setinteger")]
    pub fn integer<T: TryFrom<i64>>(&mut self, name: &'static CStr) -> Result<T, Failure> {
        self.maybe_integer(name)?.ok_or(Failure::Field {
            name,
            expected: c"integer",
        })
    }

    /// A field that may be absent.
    #[doc(alias = "lunatik_optinteger")]
    pub fn integer_or<T: TryFrom<i64>>(
        &mut self,
        name: &'static CStr,
        default: T,
    ) -> Result<T, Failure> {
        Ok(self.maybe_integer(name)?.unwrap_or(default))
    }

    fn maybe_integer<T: TryFrom<i64>>(
        &mut self,
        name: &'static CStr,
    ) -> Result<Option<T>, Failure> {
        let found = self.field(name, |value| match value {
            Value::Nil => Ok(None),
            Value::Integer(n) => Ok(Some(n)),
            _ => Err(c"integer"),
        })?;
        let fits = match found {
            Ok(None) => return Ok(None),
            Ok(Some(n)) => T::try_from(n).map_err(|_| c"integer in range"),
            Err(expected) => Err(expected),
        };
        fits.map(Some)
            .map_err(|expected| Failure::Field { name, expected })
    }

    /// A field that has to be a string of at most as many bytes as `buffer` has. Returns its length.
    ///
    /// One that is longer is refused, not cut.
    #[doc(alias = "lunatik_setstring")]
    pub fn bytes(&mut self, name: &'static CStr, buffer: &mut [u8]) -> Result<usize, Failure> {
        self.field(name, |value| match value {
            Value::Bytes(bytes) => match buffer.get_mut(..bytes.len()) {
                Some(place) => {
                    place.copy_from_slice(bytes);
                    Ok(bytes.len())
                }
                None => Err(c"shorter string"),
            },
            _ => Err(c"string"),
        })?
        .map_err(|expected| Failure::Field { name, expected })
    }

    fn field<R>(
        &mut self,
        name: &'static CStr,
        work: impl FnOnce(Value<'_, C>) -> R,
    ) -> Result<R, Failure> {
        let index = self.index;
        let failure = Failure::Argument {
            index,
            expected: c"table",
        };
        let place = c_int::try_from(index).unwrap_or(0);
        if place == 0 || place > self.call.count() {
            return Err(failure);
        }
        let mut lua = self.call.lua();
        let (state, thread) = (lua.state, lua.thread);
        let _frame = Frame::new(&mut lua);
        let mut raw = sys::klua_value::default();
        // SAFETY: The state is ours as long as we have `lua`. C looks whether there is a table.
        let failed = unsafe { sys::klua_field(state, thread, place, name.as_char_ptr(), &mut raw) };
        match failed {
            // SAFETY: The value is on Lua's stack until the frame is dropped.
            0 => Ok(work(unsafe { Value::from_raw(&raw) })),
            _ => Err(failure),
        }
    }
}
// ANCHOR_END: table
