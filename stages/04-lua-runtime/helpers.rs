// SPDX-License-Identifier: GPL-2.0

//! What the module needs of the kernel, and the kernel has only as macros and inline functions, or
//! as functions that the kernel crate does not know.
//!
//! The other half is `helpers.c`.

use core::ffi::c_void;

use kernel::{
    ffi::c_char,
    prelude::*, //
};

extern "C" {
    /// The module's parameter `script`: a string, which may be empty, and does not change.
    fn helper_script() -> *const c_char;

    /// Returns whether the current process has ended, and its files are being closed. No signal
    /// reaches it any more. Process context.
    pub(crate) fn helper_is_exiting() -> bool;

    /// Returns whether the current process was killed by a signal, and is on its way out or will
    /// be soon. Process context.
    pub(crate) fn helper_dies_of_signal() -> bool;

    /// Reads a file of at most `max` bytes. Returns its length, or a negative errno; `text` is to
    /// be freed then, in any case. Sleeps.
    fn helper_read_file(path: *const c_char, max: usize, text: *mut *mut c_void) -> isize;

    /// Frees what [`helper_read_file`] gave.
    fn helper_free_file(text: *mut c_void);
}

/// The name of the script that is to run when the module is loaded.
pub(crate) fn script() -> Option<&'static CStr> {
    // SAFETY: It is a string, which is there as long as the module, and does not change: it can be
    // given only when the module is loaded.
    let script = unsafe { CStr::from_char_ptr(helper_script()) };
    (!script.is_empty()).then_some(script)
}

/// Reads a file of at most `max` bytes. Sleeps.
pub(crate) fn read_file(path: &CStr, max: usize) -> Result<KVVec<u8>> {
    let mut text = core::ptr::null_mut();
    // SAFETY: The path is a string, and the other pointer may be written to.
    let length = unsafe { helper_read_file(path.as_char_ptr(), max, &mut text) };
    let mut bytes = KVVec::new();
    let result = match usize::try_from(length) {
        Ok(0) => Ok(()),
        Ok(length) => {
            // SAFETY: That many bytes were read.
            let text = unsafe { core::slice::from_raw_parts(text.cast(), length) };
            bytes.extend_from_slice(text, GFP_KERNEL)
        }
        Err(_) => return Err(Error::from_errno(length as i32)),
    };
    // SAFETY: It came from there, and is not used any more.
    unsafe { helper_free_file(text) };
    result?;
    Ok(bytes)
}
