// SPDX-License-Identifier: GPL-2.0

//! A Lua state, as Rust sees it.
//!
//! Lua reports errors by `longjmp()`, which leaves functions half-way. If it left a Rust function
//! like that, nothing the function holds would be dropped: locks stay locked, memory is lost. So
//! no function that may raise can be called from here: what there is, `lua/glue.h` has, and its
//! C catches whatever is raised inside. A Rust function that a script calls returns a value or a
//! [`Failure`], and C raises it once the Rust function is no longer on the stack.
//!
//! ```text
//!   script           C: precallC() of Lua      Rust: enter::<F>()
//!   ------           --------------------      ------------------
//!   f(1, "x")  --->  calls the function  --->  F::call(&mut Call)
//!                                                reads the arguments that it wants
//!                                                ... returns; all is dropped
//!                                              pushes a number, or nil,
//!                    n values            <---    and says how many: n
//!                    n is negative:
//!                    klua_finish() pushes
//!                    the string          <---  Ok(string)
//!   value      <---  or raises           <---  Err(failure)
//! ```

use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    ffi::c_void,
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    alloc::Flags,
    prelude::*,
    str::BStr,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        UniqueArc, //
    },
    types::NotThreadSafe, //
};

use super::{
    context::{
        Context,
        Covers,
        Process, //
    },
    object::{
        Pinned,
        Pins, //
    }, //
};

/// What bindgen made of `lua/glue.h`.
#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
pub(crate) mod sys {
    use kernel::ffi;
    include!(env!("KLUA_BINDINGS"));
}

// --- Values -------------------------------------------------------------------------------------

/// A value of Lua, for as long as it is on Lua's stack; or one that is given to a runtime of the
/// context `C`.
#[derive(Clone, Copy)]
pub enum Value<'a, C: Context = Process> {
    /// `nil`, or nothing at all.
    Nil,
    /// `true` or `false`.
    Boolean(bool),
    /// A number; there are no others.
    Integer(i64),
    /// A string: any bytes.
    Bytes(&'a [u8]),
    /// An object that is given to a script. (One that comes from a script is had by
    /// [`Call::object`], which asks for its class.)
    Object(ObjectRef<'a, C>),
    /// Any value that was pinned. (In a state that it is not of, it is `nil`.)
    Pinned(&'a Pinned),
    /// A table, a function or a coroutine, which do not leave their state; or an object.
    Other,
}

impl<C: Context> Value<'_, C> {
    /// # Safety
    ///
    /// What `raw` points to must stay valid as long as the value.
    pub(super) unsafe fn from_raw(raw: &sys::klua_value) -> Self {
        match raw.type_ {
            sys::klua_type_KLUA_NIL => Value::Nil,
            sys::klua_type_KLUA_BOOLEAN => Value::Boolean(raw.integer != 0),
            sys::klua_type_KLUA_INTEGER => Value::Integer(raw.integer),
            sys::klua_type_KLUA_STRING => {
                // SAFETY: A string points to its bytes, which by the safety requirements are
                // valid. Lua's strings never change.
                let bytes = unsafe { core::slice::from_raw_parts(raw.pointer.cast(), raw.length) };
                Value::Bytes(bytes)
            }
            _ => Value::Other,
        }
    }

    pub(super) fn to_raw(self) -> sys::klua_value {
        let mut raw = sys::klua_value::default();
        match self {
            Value::Nil | Value::Other => raw.type_ = sys::klua_type_KLUA_NIL,
            Value::Boolean(value) => {
                raw.type_ = sys::klua_type_KLUA_BOOLEAN;
                raw.integer = value.into();
            }
            Value::Integer(value) => {
                raw.type_ = sys::klua_type_KLUA_INTEGER;
                raw.integer = value;
            }
            Value::Bytes(bytes) => {
                raw.type_ = sys::klua_type_KLUA_STRING;
                raw.pointer = bytes.as_ptr().cast();
                raw.length = bytes.len();
            }
            Value::Object(object) => {
                raw.type_ = sys::klua_type_KLUA_OBJECT;
                raw.pointer = object.pointer;
                raw.class = object.class;
            }
            Value::Pinned(pinned) => {
                raw.type_ = sys::klua_type_KLUA_PINNED;
                raw.pointer = pinned.key();
            }
        }
        raw
    }
}

// --- Functions that scripts call ----------------------------------------------------------------

// ANCHOR: failure
/// Why a function that a script called has failed: it becomes an error in the script.
pub enum Failure {
    /// An error of the kernel; the script sees its name, such as `ENOMEM`.
    Errno(Error),
    /// An argument is not what it should be; the script sees which one.
    Argument {
        /// Counted from 1.
        index: u32,
        /// What it should be.
        expected: &'static CStr,
    },
    /// A field of a table is not what it should be; the script sees its name.
    Field {
        /// Its name.
        name: &'static CStr,
        /// What it should be.
        expected: &'static CStr,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Errno(error)
    }
}

impl From<kernel::alloc::AllocError> for Failure {
    fn from(_: kernel::alloc::AllocError) -> Self {
        Self::Errno(ENOMEM)
    }
}
// ANCHOR_END: failure

/// What a function gives back.
pub enum Returned {
    /// No value at all.
    Nothing,
    /// `nil`.
    Nil,
    /// `true` or `false`.
    Boolean(bool),
    /// A number.
    Integer(i64),
    /// A string, of any length; for functions of process context: its memory may be such as cannot
    /// be freed with interrupts off.
    Bytes(KVVec<u8>),
    /// A string, whose memory can be had and freed anywhere.
    Small(KVec<u8>),
    /// A string that is always there.
    Text(&'static CStr),
    /// An object, of the class that the function's entry names.
    Object(Object),
}

// ANCHOR: function
/// A function that scripts can call.
pub trait Function {
    /// Where it may run. In a stricter runtime it is there, and raises.
    type Context: Context;

    /// What scripts call it.
    const NAME: &'static CStr;

    /// Runs it. It may hold whatever it likes: nothing leaves it half-way.
    fn call(call: &mut Call<'_, Self::Context>) -> Result<Returned, Failure>;
}
// ANCHOR_END: function

/// An entry of a [`Library`].
#[repr(transparent)]
pub struct Entry(sys::klua_function);

// SAFETY: It is constant: a name and a function.
unsafe impl Sync for Entry {}

impl Entry {
    /// The entry of a function.
    pub const fn of<F: Function>() -> Self {
        Self(sys::klua_function {
            name: kernel::str::as_char_ptr_in_const_context(F::NAME),
            call: Some(enter::<F>),
            context: F::Context::LEVEL as sys::klua_context,
            makes: core::ptr::null(),
        })
    }

    /// The entry of a function whose result is an object of a class. The function has eight
    /// arguments at most.
    pub const fn making<F: Function, T: Class>(class: &'static ClassOf<T>) -> Self {
        // Who calls it has an object then, so the class decides as well.
        let (of_call, of_class) = (F::Context::LEVEL as u32, T::Context::LEVEL as u32);
        let context = if of_call < of_class {
            of_call
        } else {
            of_class
        };
        Self(sys::klua_function {
            name: kernel::str::as_char_ptr_in_const_context(F::NAME),
            call: Some(enter_making::<F, T>),
            context,
            makes: &class.raw,
        })
    }

    /// What stands at the end of each list of entries.
    pub const END: Self = Self(sys::klua_function {
        name: core::ptr::null(),
        call: None,
        context: 0,
        makes: core::ptr::null(),
    });
}

/// A library, which scripts get by `require(name)`.
///
/// # Invariants
///
/// The list of functions ends with [`Entry::END`].
#[repr(transparent)]
pub struct Library(sys::klua_library);

// SAFETY: It is constant.
unsafe impl Sync for Library {}

impl Library {
    /// Makes one of a list of functions, the last being [`Entry::END`].
    pub const fn new<const N: usize>(name: &'static CStr, functions: &'static [Entry; N]) -> Self {
        assert!(N > 0 && functions[N - 1].0.name.is_null());
        // INVARIANT: That was just looked at.
        Self(sys::klua_library {
            name: kernel::str::as_char_ptr_in_const_context(name),
            functions: functions.as_ptr().cast(),
            classes: core::ptr::null(),
        })
    }
}

/// A list of libraries. The last is `None`.
pub type Libraries = [Option<&'static Library>];

// ANCHOR: enter
/// Where Lua comes in, when a script calls `F`. Returns how many values are pushed, or what C has
/// to finish when this function has returned: nothing that may raise is called before that.
///
/// # Safety
///
/// Only Lua calls this, as a function in C; `thread` is the coroutine that does.
unsafe extern "C" fn enter<F: Function>(thread: *mut sys::lua_State) -> c_int {
    // ANCHOR: enter-body
    // SAFETY: By the safety requirements.
    match unsafe { call::<F>(thread) } {
        // All that the function had is dropped. What is left to do here drops nothing.
        Ok(Returned::Nothing) => 0,
        Ok(Returned::Nil) => {
            // SAFETY: In this call nothing was pushed yet, so there is room.
            unsafe { sys::klua_push_nil(thread) };
            1
        }
        Ok(Returned::Boolean(value)) => {
            // SAFETY: As above.
            unsafe { sys::klua_push_boolean(thread, value.into()) };
            1
        }
        Ok(Returned::Integer(value)) => {
            // SAFETY: As above.
            unsafe { sys::klua_push_integer(thread, value) };
            1
        }
        Ok(Returned::Bytes(bytes)) => {
            // SAFETY: `thread` is valid, and its host is not borrowed mutably by anyone: see `Host`.
            unsafe { sys::klua_leave(thread, &Host::of(thread).keep(Kept::Any(bytes))) };
            sys::klua_left_KLUA_LEFT
        }
        Ok(Returned::Small(bytes)) => {
            // SAFETY: As above.
            unsafe { sys::klua_leave(thread, &Host::of(thread).keep(Kept::Small(bytes))) };
            sys::klua_left_KLUA_LEFT
        }
        Ok(Returned::Text(text)) => {
            // SAFETY: `thread` is valid, and the text is there for ever.
            unsafe { sys::klua_leave(thread, &Value::<Process>::Bytes(text.to_bytes()).to_raw()) };
            sys::klua_left_KLUA_LEFT
        }
        // Its entry does not say that it makes any: see `enter_making()`.
        Ok(Returned::Object(_)) => EINVAL.to_errno(),
        // SAFETY: By the safety requirements.
        Err(failure) => unsafe { fail(thread, failure) },
    }
    // ANCHOR_END: enter-body
}
// ANCHOR_END: enter

/// The same for a function that makes objects of class `T`.
///
/// # Safety
///
/// As of [`enter`]; and only `make_object()` in `lua/glue.c` calls this.
unsafe extern "C" fn enter_making<F: Function, T: Class>(thread: *mut sys::lua_State) -> c_int {
    // SAFETY: By the safety requirements.
    match unsafe { call::<F>(thread) } {
        Ok(Returned::Object(object)) if core::ptr::eq(object.class, &T::class().raw) => {
            // SAFETY: `thread` is valid. The reference is given away, to `make_object()`.
            unsafe { sys::klua_leave(thread, &object.into_raw()) };
            sys::klua_left_KLUA_LEFT
        }
        Ok(_) => EINVAL.to_errno(),
        // SAFETY: By the safety requirements.
        Err(failure) => unsafe { fail(thread, failure) },
    }
}

/// Calls `F`.
///
/// # Safety
///
/// As of [`enter`].
#[inline(always)]
unsafe fn call<F: Function>(thread: *mut sys::lua_State) -> Result<Returned, Failure> {
    let mut call = Call::<F::Context> {
        thread,
        _of: PhantomData,
    };
    if TRACE.load(Relaxed) {
        return traced::<F>(&mut call);
    }
    // ANCHOR: enter-calls
    F::call(&mut call)
    // ANCHOR_END: enter-calls
}

/// Has C raise an error.
///
/// # Safety
///
/// As of [`enter`].
#[cold]
unsafe fn fail(thread: *mut sys::lua_State, failure: Failure) -> c_int {
    // ANCHOR: fail-body
    match failure {
        Failure::Errno(error) => error.to_errno(),
        Failure::Argument { index, expected } => {
            // SAFETY: By the safety requirements; the text is there for ever.
            unsafe { sys::klua_bad_argument(thread, index, expected.as_char_ptr()) };
            sys::klua_left_KLUA_BAD_ARGUMENT
        }
        Failure::Field { name, expected } => {
            // SAFETY: As above.
            unsafe { sys::klua_bad_field(thread, name.as_char_ptr(), expected.as_char_ptr()) };
            sys::klua_left_KLUA_BAD_FIELD
        }
    }
    // ANCHOR_END: fail-body
}

/// Are calls of Rust functions written into the log?
static TRACE: Atomic<bool> = Atomic::new(false);

/// How many calls were traced.
static TRACED: Atomic<u64> = Atomic::new(0);

/// Has each call of a Rust function written into the log, from now on.
pub fn trace_calls(trace: bool) {
    TRACE.store(trace, Relaxed);
}

/// Calls `F`, and says in the log that it is called, and that it is back, with all that it held
/// dropped, and what C will make of it.
#[cold]
fn traced<F: Function>(call: &mut Call<'_, F::Context>) -> Result<Returned, Failure> {
    let n = TRACED.fetch_add(1u64, Relaxed) + 1;
    let name = F::NAME;
    if may_log() {
        pr_info!("[rust] call: n={n} function={name}\n");
    }
    let result = F::call(call);
    if may_log() {
        match &result {
            Ok(_) => pr_info!("[rust] back: n={n} function={name}\n"),
            Err(Failure::Errno(e)) => {
                let errno = e.to_errno();
                pr_info!("[rust] raise: n={n} function={name} errno={errno}\n");
            }
            Err(Failure::Argument { index, .. }) => {
                pr_info!("[rust] raise: n={n} function={name} argument={index}\n");
            }
            Err(Failure::Field { name: field, .. }) => {
                pr_info!("[rust] raise: n={n} function={name} field={field}\n");
            }
        }
    }
    result
}

/// A call by a script: its arguments, and the way back into Lua. `C` is where it may come from.
///
/// # Invariants
///
/// `thread` is in a call of a function by Lua, and stays there for `'a`.
pub struct Call<'a, C: Context = Process> {
    pub(super) thread: *mut sys::lua_State,
    _of: PhantomData<(&'a mut (), NotThreadSafe, C)>,
}

impl<C: Context> Call<'_, C> {
    /// How memory may be allocated here.
    pub fn flags(&self) -> Flags {
        C::flags()
    }

    /// Has the script that calls been loaded? It is not while its top level still runs; and a
    /// script of `/dev/luadrv` has nothing but a top level.
    #[doc(alias = "lunatik_isready")]
    pub fn is_ready(&self) -> bool {
        !self.host().runtime.get().is_null()
    }

    /// Is the runtime of exactly this context? [`EINVAL`] if not.
    #[doc(alias = "lunatik_checkruntime")]
    pub fn check_context<R: Context>(&self) -> Result {
        if self.host().level != R::LEVEL {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// How many arguments there are.
    pub(super) fn count(&self) -> c_int {
        // SAFETY: By the type invariants. Nothing but the arguments is on the stack of the call.
        unsafe { sys::klua_top(sys::klua_of(self.thread), self.thread) }
    }

    /// Rust's side of the state.
    pub(super) fn host(&self) -> &Host {
        // SAFETY: By the type invariants.
        unsafe { Host::of(self.thread) }
    }

    fn raw_argument(&self, index: u32) -> sys::klua_value {
        let mut raw = sys::klua_value::default();
        // SAFETY: By the type invariants. Any index will do.
        unsafe { sys::klua_argument(self.thread, index, &mut raw) };
        raw
    }

    /// The argument number `index`, counted from 1.
    pub fn argument(&self, index: u32) -> Value<'_, C> {
        // SAFETY: The arguments lie on Lua's stack as long as the call lasts.
        unsafe { Value::from_raw(&self.raw_argument(index)) }
    }

    /// An argument that has to be an integer.
    #[inline]
    pub fn integer(&self, index: u32) -> Result<i64, Failure> {
        let mut value = 0;
        // SAFETY: By the type invariants. Any index will do.
        match unsafe { sys::klua_integer(self.thread, index, &mut value) } {
            0 => Err(Failure::Argument {
                index,
                expected: c"integer",
            }),
            _ => Ok(value),
        }
    }

    /// An argument that has to be a string.
    pub fn bytes(&self, index: u32) -> Result<&[u8], Failure> {
        match self.argument(index) {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Failure::Argument {
                index,
                expected: c"string",
            }),
        }
    }

    // ANCHOR: object
    /// An argument that has to be an object of class `T`, and not closed.
    #[doc(alias = "LUNATIK_OBJECTCHECKER")]
    #[doc(alias = "LUNATIK_PRIVATECHECKER")]
    pub fn object<T: Class>(&self, index: u32) -> Result<ArcBorrow<'_, T>, Failure> {
        // ANCHOR: object-body
        let raw = self.raw_argument(index);
        if raw.type_ != sys::klua_type_KLUA_OBJECT
            || !core::ptr::eq(raw.class, &T::class().raw)
            || raw.pointer.is_null()
        {
            return Err(Failure::Argument {
                index,
                expected: T::class().name,
            });
        }
        // SAFETY: An object of this class is an `Arc<T>`: see `ClassOf`. Lua has a reference. Only a
        // script can close the object, and none runs as long as this borrows `self`: `lua()` wants
        // it mutably.
        Ok(unsafe { ArcBorrow::from_raw(raw.pointer.cast()) })
        // ANCHOR_END: object-body
    }
    // ANCHOR_END: object

    /// An argument that has to be an object, of whatever class, that may go to another state.
    ///
    /// [`EPERM`] if its class is [`Single`].
    pub fn shared_object(&self, index: u32) -> Result<Object, Failure> {
        let raw = self.raw_argument(index);
        if raw.type_ != sys::klua_type_KLUA_OBJECT || raw.pointer.is_null() {
            return Err(Failure::Argument {
                index,
                expected: c"object",
            });
        }
        // SAFETY: A class is constant; and Lua has a reference to the object, as in `object()`.
        unsafe {
            if (*raw.class).shared == 0 {
                return Err(EPERM.into());
            }
            if let Some(acquire) = (*raw.class).acquire {
                acquire(raw.pointer);
            }
        }
        // INVARIANT: That is the reference.
        Ok(Object {
            pointer: raw.pointer,
            class: raw.class,
        })
    }

    /// Lua, to call a function of the script from here.
    #[doc(alias = "lunatik_handle")]
    pub fn lua(&mut self) -> Lua<'_, C> {
        Lua {
            // SAFETY: By the type invariants.
            state: unsafe { sys::klua_of(self.thread) },
            thread: self.thread,
            // SAFETY: By the type invariants.
            host: unsafe { Host::of(self.thread) },
            _context: PhantomData,
            _here: NotThreadSafe,
        }
    }
}

// --- Objects ------------------------------------------------------------------------------------

// ANCHOR: class
/// A class of objects that scripts can have.
///
/// An object is an [`Arc`], of which each state that knows the object has a reference. Methods are
/// [`Function`]s that ask for the object as their first argument, with [`Call::object`]. They get
/// a shared reference, on whatever CPU: what changes is in a lock, or atomic, or it does not
/// compile.
#[doc(alias = "lunatik_class_t")]
pub trait Class: Send + Sync + Sized + 'static {
    /// Where its objects may be: in runtimes of this context, and of milder ones. There its
    /// methods run, and there its objects are dropped.
    type Context: Context;

    /// [`Shared`] or [`Single`].
    type Sharing: Sharing;

    /// The class: a static of the type's own.
    fn class() -> &'static ClassOf<Self>;
}

/// May the objects of a class go from one state to another?
pub trait Sharing: 'static {
    /// May they?
    const SHARED: bool;
}

/// They may: each state that has one has a reference to it.
pub struct Shared(());

/// They may not.
#[doc(alias = "LUNATIK_OPT_SINGLE")]
pub struct Single(());

impl Sharing for Shared {
    const SHARED: bool = true;
}

impl Sharing for Single {
    const SHARED: bool = false;
}

/// Says to the compiler what [`Sharing::SHARED`] says to C.
#[diagnostic::on_unimplemented(
    message = "objects of a class that is `{Self}` stay in one state",
    label = "a state that has one keeps it to itself"
)]
pub trait MayCross: Sharing {}

impl MayCross for Shared {}

/// A class whose objects may be given from one state to another.
pub trait Share: Class<Sharing: MayCross> {}

impl<T: Class<Sharing: MayCross>> Share for T {}
// ANCHOR_END: class

/// What C knows of a class; its address is what tells it from others.
///
/// # Invariants
///
/// What `raw` is told to acquire and to release are `Arc<T>`s.
pub struct ClassOf<T> {
    raw: sys::klua_class,
    name: &'static CStr,
    _objects: PhantomData<fn() -> T>,
}

// SAFETY: It is constant.
unsafe impl<T> Sync for ClassOf<T> {}

impl<T: Class> ClassOf<T> {
    /// Makes one of a list of methods, the last being [`Entry::END`].
    pub const fn new<const N: usize>(name: &'static CStr, methods: &'static [Entry; N]) -> Self {
        assert!(N > 0 && methods[N - 1].0.name.is_null());
        // INVARIANT: `acquire` and `release` are those of `Arc<T>`.
        Self {
            raw: sys::klua_class {
                name: kernel::str::as_char_ptr_in_const_context(name),
                acquire: Some(acquire::<T>),
                release: Some(release::<T>),
                methods: methods.as_ptr().cast(),
                context: T::Context::LEVEL as sys::klua_context,
                shared: T::Sharing::SHARED as c_int,
            },
            name,
            _objects: PhantomData,
        }
    }
}

/// # Safety
///
/// `object` must be what `Arc::<T>::into_raw()` gave, and there must be a reference.
unsafe extern "C" fn acquire<T: Class>(object: *const c_void) {
    // SAFETY: By the safety requirements.
    let object = unsafe { ArcBorrow::<T>::from_raw(object.cast()) };
    let _ = Arc::into_raw(Arc::from(object));
}

/// # Safety
///
/// `object` must be what `Arc::<T>::into_raw()` gave; a reference is taken away.
unsafe extern "C" fn release<T: Class>(object: *const c_void) {
    // SAFETY: By the safety requirements.
    drop(unsafe { Arc::<T>::from_raw(object.cast()) });
}

/// A reference to an object of any class, owned.
///
/// # Invariants
///
/// `pointer` is an object of `class`, and one reference to it is ours.
pub struct Object {
    pointer: *const c_void,
    class: *const sys::klua_class,
}

// SAFETY: Classes are `Send` and `Sync`, and what has to be is a reference.
unsafe impl Send for Object {}
// SAFETY: As above.
unsafe impl Sync for Object {}

impl Object {
    /// A new object, which no state has yet: so any class will do.
    #[doc(alias = "lunatik_newobject")]
    pub fn new<T: Class>(object: UniqueArc<T>) -> Self {
        Self::from_arc(object.into())
    }

    /// A new object that must not move.
    pub fn pinned<T: Class>(object: Pin<UniqueArc<T>>) -> Self {
        Self::from_arc(object.into())
    }

    /// An object that others may have, too.
    #[doc(alias = "lunatik_cloneobject")]
    pub fn shared<T: Share>(object: Arc<T>) -> Self {
        Self::from_arc(object)
    }

    fn from_arc<T: Class>(object: Arc<T>) -> Self {
        // INVARIANT: The reference is given away to it.
        Self {
            pointer: Arc::into_raw(object).cast(),
            class: &T::class().raw,
        }
    }

    fn into_raw(self) -> sys::klua_value {
        let raw = sys::klua_value {
            type_: sys::klua_type_KLUA_OBJECT,
            pointer: self.pointer,
            class: self.class,
            ..Default::default()
        };
        core::mem::forget(self);
        raw
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; a class is constant.
        unsafe {
            if let Some(release) = (*self.class).release {
                release(self.pointer);
            }
        }
    }
}

/// An object that may be given to any state of the context `C`.
#[derive(Clone, Copy)]
pub struct ObjectRef<'a, C: Context = Process> {
    pointer: *const c_void,
    class: *const sys::klua_class,
    _object: PhantomData<(&'a (), C)>,
}

impl<'a, C: Context> ObjectRef<'a, C> {
    /// Refers to an object whose class may be shared, and may be in such a state.
    #[doc(alias = "lunatik_cloneobject")]
    pub fn new<T: Share>(object: ArcBorrow<'a, T>) -> Self
    where
        T::Context: Covers<C>,
    {
        Self::one_of_its_own(object)
    }

    /// Refers to an object of whatever class. [`EPERM`] if that is [`Single`]. (Whether it may be
    /// in such a state, Lua's side looks: the call that gives it fails.)
    pub fn any(object: &'a Object) -> Result<Self> {
        // SAFETY: A class is constant.
        if unsafe { (*object.class).shared } == 0 {
            return Err(EPERM);
        }
        Ok(Self {
            pointer: object.pointer,
            class: object.class,
            _object: PhantomData,
        })
    }

    /// Refers to an object that no other state has.
    pub(super) fn one_of_its_own<T: Class>(object: ArcBorrow<'a, T>) -> Self
    where
        T::Context: Covers<C>,
    {
        Self {
            pointer: (&raw const *object).cast(),
            class: &T::class().raw,
            _object: PhantomData,
        }
    }
}

// --- States -------------------------------------------------------------------------------------

/// Rust's side of a state. C has a pointer to it, and calls back with it while a script runs.
///
/// # Invariants
///
/// References to the contents of the cells do not outlive the functions of this type, and those
/// do not run Lua: so there is never a second one. Who has the state has this alone.
pub(super) struct Host {
    /// What is pinned in the state.
    pub(super) pins: Arc<Pins>,
    /// The context of the state.
    pub(super) level: super::context::Level,
    /// The runtime that the state belongs to, once its script has been loaded; else NULL.
    pub(super) runtime: Cell<*const c_void>,
    /// The bytes of the last string that was given to Lua, until it has copied them. Here and not
    /// in the function that made them: if Lua has no memory for the copy, it raises.
    kept: UnsafeCell<Kept>,
    output: UnsafeCell<Output>,
}

/// The bytes of a string.
enum Kept {
    Any(KVVec<u8>),
    Small(KVec<u8>),
}

impl Host {
    /// The host of a state.
    ///
    /// # Safety
    ///
    /// `thread` must be a coroutine of a state that is open for `'a`.
    unsafe fn of<'a>(thread: *mut sys::lua_State) -> &'a Self {
        // SAFETY: By the safety requirements. Nobody has a mutable reference.
        unsafe { &*sys::klua_data(thread).cast() }
    }

    /// Makes plain data of a string, and keeps what that points to.
    fn keep(&self, bytes: Kept) -> sys::klua_value {
        // SAFETY: By the type invariants, this is the only reference.
        let kept = unsafe { &mut *self.kept.get() };
        *kept = bytes;
        let bytes: &[u8] = match kept {
            Kept::Any(bytes) => bytes,
            Kept::Small(bytes) => bytes,
        };
        Value::<Process>::Bytes(bytes).to_raw()
    }

    fn output<R>(&self, work: impl FnOnce(&mut Output) -> R) -> R {
        // SAFETY: By the type invariants, this is the only reference: none of the closures in this
        // file runs Lua.
        work(unsafe { &mut *self.output.get() })
    }
}

/// Where `print()` goes.
///
/// # Safety
///
/// Only `klua_write()` in `lua/glue.c` calls this: `host` is the `Host` of the state, and `text`
/// points to `length` bytes.
unsafe extern "C" fn print(host: *mut c_void, text: *const kernel::ffi::c_char, length: usize) {
    // SAFETY: By the safety requirements.
    let (host, text) = unsafe {
        (
            &*host.cast::<Host>(),
            core::slice::from_raw_parts(text.cast::<u8>(), length),
        )
    };
    host.output(|output| output.add(text));
}

/// What a script has printed: for who reads it, and line by line for the kernel's log.
struct Output {
    /// What nobody has read yet.
    bytes: KVVec<u8>,
    max: usize,
    /// The line for the log that is not complete yet.
    line: [u8; LINE_MAX],
    line_length: usize,
}

/// A longer line comes as several in the log.
const LINE_MAX: usize = 120;

impl Output {
    /// Adds text for who reads it; what has no room any more is lost.
    fn add_unlogged(&mut self, text: &[u8], max: usize) {
        let room = max.saturating_sub(self.bytes.len()).min(text.len());
        // Without memory it is lost, too: a `print()` is no reason to fail.
        if let Some(text) = text.get(..room) {
            let _ = self.bytes.extend_from_slice(text, GFP_KERNEL);
        }
    }

    /// Adds text for both.
    fn add(&mut self, text: &[u8]) {
        self.add_unlogged(text, self.max);
        for &byte in text {
            match self.line.get_mut(self.line_length) {
                Some(place) if byte != b'\n' => {
                    *place = byte;
                    self.line_length += 1;
                }
                _ => {
                    self.log_line();
                    if byte != b'\n' {
                        self.line[0] = byte;
                        self.line_length = 1;
                    }
                }
            }
        }
    }

    /// Writes the line into the log, with all that is not printable escaped.
    fn log_line(&mut self) {
        let length = core::mem::take(&mut self.line_length);
        if let (Some(line), true) = (self.line.get(..length), may_log()) {
            pr_info!("[lua] print: {}\n", BStr::from_bytes(line));
        }
    }

    /// Writes what is left of a line.
    fn end_line(&mut self) {
        if self.line_length > 0 {
            self.log_line();
        }
    }
}

/// Returns whether one more line of a script may go into the log: there is a rate for all.
pub fn may_log() -> bool {
    // SAFETY: It may be called anywhere.
    unsafe { sys::klua_may_log() != 0 }
}

/// Returns how many bytes of memory all states of this module have.
pub fn all_bytes() -> usize {
    // SAFETY: It may be called anywhere.
    unsafe { sys::klua_all_bytes() as usize }
}

/// Prepares a measurement of how much stack the current thread uses.
pub fn paint_stack() {
    // SAFETY: It writes to the part of the stack that is free.
    unsafe { sys::klua_paint_stack() }
}

/// Returns how much stack was used at most since [`paint_stack`], counted from its top.
pub fn painted_stack_used() -> usize {
    // SAFETY: It reads the stack of the current thread.
    unsafe { sys::klua_painted_stack_used() }
}

/// What a state may use.
#[derive(Clone, Copy)]
pub struct Budget {
    /// Bytes of memory, at any time.
    pub bytes: usize,
    /// Bytes of memory, all states together.
    pub all_bytes: usize,
    /// Steps of the interpreter, and of loops in its libraries, in each run.
    pub steps: i64,
    /// Microseconds on a CPU, in each run.
    pub cpu_us: usize,
    /// Bytes of the kernel's stack. The last part of it is never used, whatever this says.
    pub stack: usize,
    /// Bytes that are printed and not read yet.
    pub output: usize,
}

/// What a state has used.
pub struct Usage {
    /// Bytes of memory, now.
    pub bytes: usize,
    /// Bytes of memory, the most at any time.
    pub bytes_peak: usize,
    /// Steps in the last run.
    pub steps: i64,
    /// Was the budget of steps or of time spent in the last run?
    pub spent: bool,
}

/// A Lua state, owned: dropping it closes it, and all its memory is given back.
///
/// # Invariants
///
/// `raw` is a state that was opened with `host`, and is not closed; `host` came from a [`KBox`].
pub struct State<C: Context = Process> {
    raw: NonNull<sys::klua>,
    host: NonNull<Host>,
    _context: PhantomData<C>,
}

// SAFETY: A state belongs to no thread; who has it exclusively may use it anywhere.
unsafe impl<C: Context> Send for State<C> {}

impl<C: Context> State<C> {
    /// Opens a state with Lua's libraries, and those that scripts may `require()`.
    ///
    /// Sleeps. [`ENOMEM`] if there is no memory, or the budget is too small for the libraries.
    pub fn new(budget: &Budget, libraries: &'static Libraries) -> Result<Self> {
        if !matches!(libraries.last(), Some(None)) {
            return Err(EINVAL);
        }
        let host = Host {
            pins: Pins::new()?,
            level: C::LEVEL,
            runtime: Cell::new(core::ptr::null()),
            kept: UnsafeCell::new(Kept::Small(KVec::new())),
            output: UnsafeCell::new(Output {
                bytes: KVVec::new(),
                // Only who may sleep makes room for it.
                max: match C::LEVEL {
                    super::context::Level::Process => budget.output,
                    _ => 0,
                },
                line: [0; LINE_MAX],
                line_length: 0,
            }),
        };
        let host = KBox::into_raw(KBox::new(host, GFP_KERNEL)?);
        let limits = sys::klua_budget {
            bytes: budget.bytes,
            all_bytes: budget.all_bytes,
            steps: budget.steps,
            cpu_us: budget.cpu_us,
            stack: budget.stack,
        };
        let calls = sys::klua_host {
            data: host.cast(),
            print: Some(print),
        };

        // SAFETY: What the first two point to is copied. An optional reference to a transparent
        // wrapper is a pointer or NULL, and NULL comes last. `host` outlives the state.
        let raw = unsafe {
            sys::klua_open(
                &limits,
                &calls,
                libraries.as_ptr().cast(),
                C::LEVEL as sys::klua_context,
            )
        };

        // SAFETY: It came from a box, just now.
        let (raw, host) = unsafe { (NonNull::new(raw), NonNull::new_unchecked(host)) };
        match raw {
            // INVARIANT: The state was just opened with this host.
            Some(raw) => Ok(Self {
                raw,
                host,
                _context: PhantomData,
            }),
            None => {
                // SAFETY: It came from a box, and nobody has it any more.
                drop(unsafe { KBox::from_raw(host.as_ptr()) });
                Err(ENOMEM)
            }
        }
    }

    /// Lua, to run something.
    pub fn lua(&mut self) -> Lua<'_, C> {
        // SAFETY: By the type invariants, it is valid. Nobody has a mutable reference.
        let host = unsafe { self.host.as_ref() };
        host.pins.sweep(|key| {
            // SAFETY: The state is open, and ours alone.
            unsafe { sys::klua_unpin(self.raw.as_ptr(), key) }
        });
        Lua {
            state: self.raw.as_ptr(),
            thread: core::ptr::null_mut(),
            host,
            _context: PhantomData,
            _here: NotThreadSafe,
        }
    }

    /// Sets how many microseconds on a CPU a run may take, from the next one on.
    pub fn limit_time(&mut self, cpu_us: usize) {
        // SAFETY: By the type invariants, the state is open; and nothing runs.
        unsafe { sys::klua_limit_time(self.raw.as_ptr(), cpu_us) };
    }

    /// Its script has been loaded: from now on it is used in its own context, and `runtime` is
    /// where it belongs.
    ///
    /// # Safety
    ///
    /// `runtime` points to a `Runtime<C>` in an `Arc`, which lives as long as anything runs in the
    /// state.
    pub unsafe fn loaded(&mut self, runtime: *const c_void) {
        // SAFETY: By the type invariants, the state is open, and its host is valid.
        unsafe {
            sys::klua_loaded(self.raw.as_ptr());
            self.host.as_ref().runtime.set(runtime);
        }
    }

    /// What the state has used.
    pub fn usage(&self) -> Usage {
        let mut usage = sys::klua_usage::default();
        // SAFETY: By the type invariants, the state is open.
        unsafe { sys::klua_use(self.raw.as_ptr(), &mut usage) };
        Usage {
            bytes: usage.bytes,
            bytes_peak: usage.bytes_peak,
            steps: usage.steps,
            spent: usage.spent != 0,
        }
    }

    /// Gives what was printed to `read`, which says how many bytes of it it has taken.
    pub fn read_output(&mut self, read: impl FnOnce(&[u8]) -> usize) -> usize {
        // SAFETY: By the type invariants of `State` and `Host`, this is the only reference.
        let output = unsafe { &mut *self.host.as_ref().output.get() };
        let taken = read(&output.bytes).min(output.bytes.len());
        let left = output.bytes.len() - taken;
        output.bytes.copy_within(taken.., 0);
        output.bytes.truncate(left);
        taken
    }

    /// Adds the message of an error to what was printed.
    pub fn add_error(&mut self, message: &[u8]) {
        // SAFETY: As above.
        let output = unsafe { &mut *self.host.as_ref().output.get() };
        // There is room for it, whatever the script has printed.
        for text in [b"error: ", message, b"\n"] {
            output.add_unlogged(text, output.max + message.len() + 8);
        }
    }

    /// Ends the line that a script has left open.
    pub fn end_line(&mut self) {
        // SAFETY: As above.
        unsafe { &mut *self.host.as_ref().output.get() }.end_line();
    }
}

impl<C: Context> Drop for State<C> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, it is open, and nobody uses it any more. While it is
        // closed, finalizers of objects may use `host`, which is dropped afterwards.
        unsafe {
            sys::klua_close(self.raw.as_ptr());
            drop(KBox::from_raw(self.host.as_ptr()));
        }
    }
}

// ANCHOR: lua
/// A state that nobody else is using: evidence that its lock is held, or that it has no other
/// user. All that runs Lua wants one.
///
/// A reference to a value on Lua's stack borrows from it, so none outlives the lock.
pub struct Lua<'a, C: Context = Process> {
    pub(super) state: *mut sys::klua,
    /// The coroutine that we were called from; NULL for none.
    pub(super) thread: *mut sys::lua_State,
    pub(super) host: &'a Host,
    _context: PhantomData<C>,
    _here: NotThreadSafe,
}
// ANCHOR_END: lua

// ANCHOR: raising
// (Here a refusal puts a call of a function of Lua that raises.)
// ANCHOR_END: raising

/// An error of a script: its message, as Lua has it.
pub struct Message<'a>(pub &'a [u8]);

impl Message<'_> {
    /// # Safety
    ///
    /// As of [`Value::from_raw`].
    unsafe fn from_raw(raw: &sys::klua_value) -> Self {
        // SAFETY: By the safety requirements.
        match unsafe { Value::<Process>::from_raw(raw) } {
            Value::Bytes(text) => Self(text),
            _ => Self(b""),
        }
    }
}

/// What is called: by its name, or by itself.
enum Callee<'a> {
    Global(&'a CStr),
    Pinned(&'a Pinned),
}

impl<C: Context> Lua<'_, C> {
    /// Runs a script. `name` stands before the line number in messages; it begins with `=`, or
    /// Lua takes it for the script itself.
    ///
    /// `work` gets the first value that the script returns, or the message of its error.
    pub fn run<R>(
        &mut self,
        name: &CStr,
        script: &[u8],
        work: impl FnOnce(Result<Value<'_, C>, Message<'_>>) -> R,
    ) -> R {
        let frame = Frame::new(self);
        let mut result = sys::klua_value::default();
        let mut message = sys::klua_value::default();
        // SAFETY: The state is open, and ours alone; the texts are valid for the call.
        let failed = unsafe {
            sys::klua_run_text(
                frame.state,
                name.as_char_ptr(),
                script.as_ptr().cast(),
                script.len(),
                &mut result,
                &mut message,
            )
        };
        // SAFETY: What these point to is on Lua's stack as long as `frame` lives, and `work` cannot
        // keep it for longer.
        work(unsafe {
            match failed {
                0 => Ok(Value::from_raw(&result)),
                _ => Err(Message::from_raw(&message)),
            }
        })
    }

    /// Calls a global function of the script; what it returns is cut, or filled with `nil`, to the
    /// number of values that `work` wants.
    #[doc(alias = "lunatik_handle")]
    pub fn call<const A: usize, const N: usize, R>(
        &mut self,
        name: &CStr,
        arguments: &[Value<'_, C>; A],
        work: impl FnOnce(Result<[Value<'_, C>; N], Message<'_>>) -> R,
    ) -> R {
        self.call_one(Callee::Global(name), arguments, work)
    }

    /// Calls what was pinned, if it can be called.
    pub fn call_pinned<const A: usize, const N: usize, R>(
        &mut self,
        function: &Pinned,
        arguments: &[Value<'_, C>; A],
        work: impl FnOnce(Result<[Value<'_, C>; N], Message<'_>>) -> R,
    ) -> R {
        self.call_one(Callee::Pinned(function), arguments, work)
    }

    fn call_one<const A: usize, const N: usize, R>(
        &mut self,
        callee: Callee<'_>,
        arguments: &[Value<'_, C>; A],
        work: impl FnOnce(Result<[Value<'_, C>; N], Message<'_>>) -> R,
    ) -> R {
        let (name, key) = match callee {
            Callee::Global(name) => (name.as_char_ptr(), core::ptr::null()),
            Callee::Pinned(pinned) => (core::ptr::null(), pinned.key()),
        };
        const { assert!(A <= sys::KLUA_MAX_VALUES as usize && N <= sys::KLUA_MAX_VALUES as usize) };
        let arguments = arguments.map(Value::to_raw);
        let frame = Frame::new(self);
        let mut results = [sys::klua_value::default(); N];
        let mut message = sys::klua_value::default();
        // SAFETY: The state is open, and ours alone; the arguments and what they point to are
        // valid for the call, and there is room for the results.
        let failed = unsafe {
            sys::klua_call_function(
                frame.state,
                frame.thread,
                name,
                key,
                arguments.as_ptr(),
                A as u32,
                results.as_mut_ptr(),
                N as u32,
                &mut message,
            )
        };
        // SAFETY: As in `run()`.
        work(unsafe {
            match failed {
                0 => Ok(results.map(|result| Value::from_raw(&result))),
                _ => Err(Message::from_raw(&message)),
            }
        })
    }

    /// Adds text to what the script has printed.
    pub fn print(&mut self, text: &[u8]) {
        self.host.output(|output| output.add(text));
    }
}

/// What was put on Lua's stack since it was made is taken from it when it is dropped.
pub(super) struct Frame<'a> {
    state: *mut sys::klua,
    thread: *mut sys::lua_State,
    top: c_int,
    _borrowed: PhantomData<&'a mut ()>,
}

impl<'a> Frame<'a> {
    pub(super) fn new<C: Context>(lua: &'a mut Lua<'_, C>) -> Self {
        Self {
            state: lua.state,
            thread: lua.thread,
            // SAFETY: The state is open, and who has a `Lua` has it alone.
            top: unsafe { sys::klua_top(lua.state, lua.thread) },
            _borrowed: PhantomData,
        }
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        // SAFETY: As in `new()`; and the stack is at least as high as it was.
        unsafe { sys::klua_forget(self.state, self.thread, self.top) };
    }
}
