// SPDX-License-Identifier: GPL-2.0

//! A disk that asks for its contents, and what mybrd needs of the XArray.
//!
//! The other half is `mybrd_disk.c`, which also says what the kernel crate lacks.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::{
        from_err_ptr,
        from_result, //
    },
    page::Page,
    prelude::*,
    sync::Arc,
    types::NotThreadSafe, //
};

/// `struct mybrd_ops`.
#[repr(C)]
struct Ops {
    copy: unsafe extern "C" fn(*const c_void, u64, *mut c_void, u32, bool) -> c_int,
    discard: unsafe extern "C" fn(*const c_void, u64, u64),
}

// Disks and pages are opaque here: the real types have parts that rustc does not trust with C.
extern "C" {
    /// Adds a disk, which calls `ops` with `private` until it is removed. Sleeps.
    fn mybrd_disk_add(ops: *const Ops, private: *const c_void, sectors: u64) -> *mut c_void;

    /// Removes it. Sleeps until nobody is inside any more.
    fn mybrd_disk_remove(disk: *mut c_void);

    /// Initialises an XArray.
    pub(crate) fn mybrd_xa_init(xa: *mut bindings::xarray);

    /// Makes room for an entry, with `GFP_NOIO`. May sleep.
    pub(crate) fn mybrd_xa_reserve(xa: *mut bindings::xarray, index: c_ulong) -> c_int;

    /// Stores an entry where there is room for it. Does not sleep.
    pub(crate) fn mybrd_xa_fill(
        xa: *mut bindings::xarray,
        index: c_ulong,
        entry: *mut c_void,
    ) -> c_int;

    fn mybrd_noio_begin() -> c_uint;
    fn mybrd_noio_end(flags: c_uint);
    fn mybrd_zero(buf: *mut c_void, len: usize);
    fn mybrd_copy(page: *mut c_void, offset: usize, buf: *mut c_void, len: usize, write: bool);
}

/// The sectors of a disk are of this many bits.
pub const SECTOR_SHIFT: u32 = 9;

// ANCHOR: contents
/// What is on a disk.
pub trait Contents: Send + Sync + 'static {
    /// Copies into the disk, or out of it; within one page. May sleep.
    fn copy(&self, sector: u64, buffer: Buffer<'_>) -> Result;

    /// Forgets what is in some sectors. May sleep.
    fn discard(&self, sector: u64, sectors: u64);
}
// ANCHOR_END: contents

/// A part of a request: somebody's memory, and which way to copy.
///
/// # Invariants
///
/// For `'a` the memory is valid, for reads or for writes as `write` says.
pub struct Buffer<'a> {
    memory: *mut c_void,
    len: usize,
    write: bool,
    memory_of: PhantomData<&'a mut [u8]>,
}

impl Buffer<'_> {
    /// Returns whether it is written to the disk.
    pub fn is_write(&self) -> bool {
        self.write
    }

    /// Copies to or from a page, at `offset`. [`EINVAL`] if it does not fit.
    pub fn copy(&mut self, page: &Page, offset: usize) -> Result {
        if offset > kernel::page::PAGE_SIZE || self.len > kernel::page::PAGE_SIZE - offset {
            return Err(EINVAL);
        }
        // SAFETY: The page is valid, and so is so much of it; by the type invariants, so is the
        // memory. Others may copy to the same place at the same time, which is C's business: Rust
        // makes no reference to what is in pages, nor to a user's memory.
        unsafe {
            mybrd_copy(
                page.as_ptr().cast(),
                offset,
                self.memory,
                self.len,
                self.write,
            )
        };
        Ok(())
    }

    /// Fills the memory with zeros, or does nothing if that would be written to the disk.
    pub fn zero(&mut self) {
        if !self.write {
            // SAFETY: By the type invariants. It may be a user's memory, who looks at it meanwhile:
            // as for `copy()`, C writes to it.
            unsafe { mybrd_zero(self.memory, self.len) };
        }
    }
}

// ANCHOR: disk
/// A disk. When it is dropped, it is removed, and nobody asks for its contents any more.
///
/// As long as somebody has it open, or has a file system of it mounted, the module is in use.
///
/// # Invariants
///
/// `disk` was added with the contents, and is not removed.
pub struct Disk<T: Contents> {
    disk: NonNull<c_void>,
    contents: Arc<T>,
}
// ANCHOR_END: disk

// SAFETY: The disk may be removed by any thread, and the contents are `Send` and `Sync`.
unsafe impl<T: Contents> Send for Disk<T> {}

// SAFETY: By shared reference there are only the contents to be had.
unsafe impl<T: Contents> Sync for Disk<T> {}

impl<T: Contents> Disk<T> {
    const OPS: &'static Ops = &Ops {
        copy: copy::<T>,
        discard: discard::<T>,
    };

    /// Adds a disk with so many sectors, as `/dev/mybrd`. Sleeps.
    pub fn add(contents: Arc<T>, sectors: u64) -> Result<Self> {
        // SAFETY: The operations get the contents, which are there until the disk is removed, and
        // are of the type that they are for.
        let disk = from_err_ptr(unsafe {
            mybrd_disk_add(Self::OPS, (&raw const *contents).cast(), sectors)
        })?;
        let disk = NonNull::new(disk).ok_or(ENOMEM)?;
        // INVARIANT: It was just added.
        Ok(Self { disk, contents })
    }

    /// Returns the contents.
    pub fn contents(&self) -> &T {
        &self.contents
    }
}

impl<T: Contents> Drop for Disk<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; and it is not used any more.
        unsafe { mybrd_disk_remove(self.disk.as_ptr()) };
    }
}

/// # Safety
///
/// `contents` must be valid, and so must be the memory, for as long as this lasts.
unsafe extern "C" fn copy<T: Contents>(
    contents: *const c_void,
    sector: u64,
    memory: *mut c_void,
    len: u32,
    write: bool,
) -> c_int {
    // SAFETY: By the safety requirements.
    let contents = unsafe { &*contents.cast::<T>() };
    // INVARIANT: By the safety requirements.
    let buffer = Buffer {
        memory,
        len: len as usize,
        write,
        memory_of: PhantomData,
    };
    from_result(|| contents.copy(sector, buffer).map(|()| 0))
}

/// # Safety
///
/// `contents` must be valid for as long as this lasts.
unsafe extern "C" fn discard<T: Contents>(contents: *const c_void, sector: u64, sectors: u64) {
    // SAFETY: By the safety requirements.
    unsafe { &*contents.cast::<T>() }.discard(sector, sectors);
}

// ANCHOR: no-io
/// As long as it exists, what this thread allocates is allocated without I/O, as by `GFP_NOIO`: a
/// disk that waits for memory must not wait for a disk.
pub struct NoIo {
    before: c_uint,
    _here: NotThreadSafe,
}

impl NoIo {
    /// Begins.
    #[expect(clippy::new_without_default, reason = "it is not a value but a scope")]
    pub fn new() -> Self {
        Self {
            // SAFETY: It may be called in any thread; `drop` calls what has to follow.
            before: unsafe { mybrd_noio_begin() },
            _here: NotThreadSafe,
        }
    }
}

impl Drop for NoIo {
    fn drop(&mut self) {
        // SAFETY: It goes with the call in `new`, in this thread.
        unsafe { mybrd_noio_end(self.before) };
    }
}
// ANCHOR_END: no-io
