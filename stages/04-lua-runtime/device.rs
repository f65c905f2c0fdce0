// SPDX-License-Identifier: GPL-2.0

//! `/dev/luadrv`: what is written to it is a script, which runs in the kernel.
//!
//! Each open file has a Lua state of its own, so scripts of several files run at the same time.
//! Writes gather. What was gathered runs at the first of:
//!
//! - a `read`: it gives what the script has printed, and then the end of the file;
//! - an `ioctl` ([`LUADRV_RUN`]);
//! - a `close` of a descriptor.
//!
//! The error of a script is the error of that call, `EINVAL`; its message is in the log, and is
//! what the next `read` gives, as long as the file is open.
//!
//! A script ends when its process is killed: its budget sees the signal. A process that has been
//! killed closes its files, too; what it had written is dropped. A process that ends by itself is
//! past all signals when its files are closed: a script that runs then cannot be killed, so it has
//! little time ([`Params::exit_us`]). Who wants more closes the file before the end.

use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    fs::{
        File,
        Kiocb, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    new_mutex,
    prelude::*,
    str::BStr,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

use super::{
    helpers,
    lua::{
        self,
        Message,
        State, //
    },
    params::Params,
    LIBRARIES, //
};

/// The request that runs what was gathered: `_IO('L', 1)`.
pub(crate) const LUADRV_RUN: u32 = kernel::ioctl::_IO('L' as u32, 1);

/// How many files are open.
static STATES: Atomic<u32> = Atomic::new(0);

/// How many files were opened.
static OPENED: Atomic<u64> = Atomic::new(0);

/// Returns how many files are open.
pub(crate) fn states() -> u32 {
    STATES.load(Relaxed)
}

/// One of the states that may be open at a time; dropping it makes room for another.
struct Place;

impl Place {
    /// Takes a place, or says that there is none.
    fn take(max: u32) -> Result<Self> {
        // A number that may be one too high for a moment: then somebody is told to come again.
        if STATES.fetch_add(1, Relaxed) >= max {
            STATES.fetch_sub(1, Relaxed);
            return Err(EBUSY);
        }
        Ok(Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        STATES.fetch_sub(1, Relaxed);
    }
}

/// What belongs to an open file.
struct Open {
    state: State,
    /// Tells it from others in the log.
    file: u64,
    /// What was written and did not run yet.
    script: KVVec<u8>,
    /// More was written than a script may have.
    too_long: bool,
}

impl Open {
    /// Runs what was gathered, if anything was. `by` is the call that does it.
    fn run(&mut self, by: &str, params: &Params) -> Result {
        let measure = params.measure;
        let script = core::mem::take(&mut self.script);
        if core::mem::take(&mut self.too_long) {
            pr_info!("[luadrv] refused: the script is too long\n");
            return Err(EFBIG);
        }
        if script.is_empty() {
            return Ok(());
        }
        // SAFETY: It may be called in process context.
        let time = if unsafe { helpers::helper_is_exiting() } {
            params.exit_us.min(params.budget.cpu_us)
        } else {
            params.budget.cpu_us
        };
        self.state.limit_time(time);
        if measure {
            lua::paint_stack();
        }
        let mut message = KVVec::new();
        let result = self
            .state
            .lua()
            .run(c"=luadrv", &script, |result| match result {
                Ok(_) => Ok(()),
                Err(Message(text)) => {
                    let text = &text[..text.len().min(MESSAGE_MAX)];
                    // Without memory the message is lost, and the error is not.
                    let _ = message.extend_from_slice(text, GFP_KERNEL);
                    Err(EINVAL)
                }
            });
        let stack = if measure {
            lua::painted_stack_used()
        } else {
            0
        };
        self.state.end_line();
        let file = self.file;
        let lua::Usage {
            bytes_peak: peak,
            steps,
            spent,
            ..
        } = self.state.usage();
        if result.is_ok() && lua::may_log() {
            pr_info!("[luadrv] run: file={file} by={by} steps={steps} peak={peak} stack={stack}\n");
        }
        if result.is_err() && lua::may_log() {
            let message = BStr::from_bytes(&message);
            pr_info!("[luadrv] error: file={file} by={by} steps={steps} peak={peak} stack={stack} spent={spent} message={message}\n");
        }
        if result.is_err() {
            self.state.add_error(&message);
        }
        result
    }
}

/// How much of a message is kept.
const MESSAGE_MAX: usize = 1024;

/// An open file.
#[pin_data]
struct LuaDrv {
    #[pin]
    open: Mutex<Open>,
    params: Params,
    _place: Place,
}

impl LuaDrv {
    // ANCHOR: flush
    /// Runs what was gathered, at a `close` of a descriptor; there may be others of the same file.
    fn flush(&self) -> Result {
        let mut open = self.open.lock();
        // SAFETY: It may be called in process context.
        if unsafe { helpers::helper_dies_of_signal() } {
            // Nobody says that this is all of it.
            open.script = KVVec::new();
            open.too_long = false;
            return Ok(());
        }
        open.run("close", &self.params)
    }
    // ANCHOR_END: flush
}

#[vtable]
impl MiscDevice for LuaDrv {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        // SAFETY: It may be called in process context.
        if !unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as c_int) } {
            return Err(EPERM);
        }
        let params = Params::get()?;
        let place = Place::take(params.states)?;
        let state = State::new(&params.budget, &LIBRARIES)?;
        let file = OPENED.fetch_add(1u64, Relaxed) + 1;
        if lua::may_log() {
            pr_info!("[luadrv] open: file={file} bytes={}\n", state.usage().bytes);
        }
        KBox::try_pin_init(
            try_pin_init!(Self {
                open <- new_mutex!(Open {
                    state,
                    file,
                    script: KVVec::new(),
                    too_long: false,
                }, "LuaDrv::open"),
                params,
                _place: place,
            }),
            GFP_KERNEL,
        )
    }

    fn release(me: Self::Ptr, _file: &File) {
        let file = me.open.lock().file;
        // It closes the state, and warns if a byte is missing.
        drop(me);
        if lua::may_log() {
            pr_info!("[luadrv] close: file={file}\n");
        }
    }

    fn write_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        // ANCHOR: write-body
        let me = kiocb.file();
        let mut open = me.open.lock();
        if iov.len() > me.params.script.saturating_sub(open.script.len()) {
            open.too_long = true;
            return Err(EFBIG);
        }
        match iov.copy_from_iter_vec(&mut open.script, GFP_KERNEL)? {
            0 if !iov.is_empty() => Err(EFAULT),
            copied => Ok(copied),
        }
        // ANCHOR_END: write-body
    }

    fn read_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let me = kiocb.file();
        let mut open = me.open.lock();
        open.run("read", &me.params)?;
        let taken = open.state.read_output(|text| iov.copy_to_iter(text));
        drop(open);
        *kiocb.ki_pos_mut() += taken as i64;
        Ok(taken)
    }

    fn ioctl(me: Pin<&Self>, _file: &File, cmd: u32, _arg: usize) -> Result<isize> {
        match cmd {
            LUADRV_RUN => me.open.lock().run("ioctl", &me.params).map(|()| 0),
            _ => Err(ENOTTY),
        }
    }
}

/// The device, as long as this exists.
///
/// It is the kernel crate's misc device with one more file operation, `flush`, which the crate
/// does not have: its table of operations is copied, and `flush` is put into the copy.
///
/// # Invariants
///
/// `device` is registered; its operations are `operations`, which are the crate's for [`LuaDrv`],
/// and `flush()`.
#[pin_data(PinnedDrop)]
pub(crate) struct Device {
    operations: KBox<bindings::file_operations>,
    #[pin]
    device: Opaque<bindings::miscdevice>,
}

// SAFETY: Deregistering may happen on another thread than registering.
unsafe impl Send for Device {}
// SAFETY: There is nothing to be done with a reference.
unsafe impl Sync for Device {}

impl Device {
    // ANCHOR: operations
    /// Registers the device.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        let options = MiscDeviceOptions { name: c"luadrv" };
        let raw = options.into_raw::<LuaDrv>();
        try_pin_init!(Self {
            operations: {
                // SAFETY: `into_raw()` points it to a constant.
                let mut operations = unsafe { *raw.fops };
                operations.flush = Some(flush);
                KBox::new(operations, GFP_KERNEL)?
            },
            device <- {
                let operations: *const bindings::file_operations = &**operations;
                Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                    let mut raw = raw;
                    raw.fops = operations;
                    raw.mode = 0o600;
                    // SAFETY: The slot may be written to, and is pinned. `operations` is dropped
                    // after the device is deregistered. By then no file is open: the operations
                    // have an owner, the module, which open files pin.
                    to_result(unsafe {
                        slot.write(raw);
                        bindings::misc_register(slot)
                    })
                })
            },
        }? Error)
    }
    // ANCHOR_END: operations
}

#[pinned_drop]
impl PinnedDrop for Device {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants, it is registered.
        unsafe { bindings::misc_deregister(self.device.get()) };
    }
}

/// The file operation that the crate does not have.
///
/// # Safety
///
/// `file` must be an open file of the device.
unsafe extern "C" fn flush(file: *mut bindings::file, _id: bindings::fl_owner_t) -> c_int {
    // SAFETY: The crate's `open` has put a `LuaDrv` there, and its `release`, which comes after
    // the last `flush`, takes it away.
    let me =
        unsafe { <<LuaDrv as MiscDevice>::Ptr as ForeignOwnable>::borrow((*file).private_data) };
    from_result(|| me.flush().map(|()| 0))
}
