// SPDX-License-Identifier: GPL-2.0

//! The sorted list of pairs in C, as a value.
//!
//! The other half is `c_table.c`.

use core::ptr::NonNull;

use kernel::{
    bindings::list_head,
    error::to_result,
    prelude::*, //
};

/// `struct c_table`, of which Rust knows nothing.
#[repr(C)]
struct Raw {
    _opaque: [u8; 0],
}

// `table` must be valid: from `c_table_new()`, and not freed. All but the first two may be called
// by any number of threads, in process context.
extern "C" {
    fn c_table_new() -> *mut Raw;
    fn c_table_free(table: *mut Raw);
    fn c_table_insert(table: *mut Raw, key: u32, value: u32) -> c_int;
    fn c_table_replace(table: *mut Raw, key: u32, value: u32) -> c_int;
    fn c_table_remove(table: *mut Raw, key: u32) -> c_int;
    fn c_table_lookup(table: *mut Raw, key: u32, value: *mut u32) -> bool;
    fn c_table_copy(table: *mut Raw, pairs: *mut [u32; 2], max: usize) -> usize;
    fn c_table_head(table: *mut Raw) -> *mut list_head;

    /// Counts the nodes of a ring, forwards and backwards; less than 0 if they do not agree.
    ///
    /// `head` must be the head of a ring that nobody changes meanwhile.
    pub(crate) fn c_ring_count(head: *mut list_head) -> c_long;
}

/// A list in C.
///
/// # Invariants
///
/// It is from `c_table_new()`, and belongs to this value.
pub struct CTable(NonNull<Raw>);

impl CTable {
    /// Makes a list without nodes.
    pub fn new() -> Result<Self> {
        // SAFETY: It may be called where one may sleep.
        let table = NonNull::new(unsafe { c_table_new() }).ok_or(ENOMEM)?;
        // INVARIANT: It was just made.
        Ok(Self(table))
    }

    /// Links a pair before those with a greater key, or with the same one.
    pub fn insert(&self, key: u32, value: u32) -> Result {
        // SAFETY: By the type invariants.
        to_result(unsafe { c_table_insert(self.0.as_ptr(), key, value) })
    }

    /// Replaces the pair with this key. [`ENOENT`] if there is none.
    pub fn replace(&self, key: u32, value: u32) -> Result {
        // SAFETY: By the type invariants.
        to_result(unsafe { c_table_replace(self.0.as_ptr(), key, value) })
    }

    /// Removes the pair with this key. [`ENOENT`] if there is none.
    pub fn remove(&self, key: u32) -> Result {
        // SAFETY: By the type invariants.
        to_result(unsafe { c_table_remove(self.0.as_ptr(), key) })
    }

    /// Looks a key up, in a read-side critical section of its own.
    pub fn lookup(&self, key: u32) -> Option<u32> {
        let mut value = 0;
        // SAFETY: By the type invariants; `value` is ours.
        unsafe { c_table_lookup(self.0.as_ptr(), key, &mut value) }.then_some(value)
    }

    /// Copies as many pairs as there is room for; returns how many there are.
    pub fn copy(&self, pairs: &mut [[u32; 2]]) -> usize {
        // SAFETY: By the type invariants; there is room for so many.
        unsafe { c_table_copy(self.0.as_ptr(), pairs.as_mut_ptr(), pairs.len()) }
    }

    /// Returns the head.
    pub fn head(&self) -> *mut list_head {
        // SAFETY: By the type invariants.
        unsafe { c_table_head(self.0.as_ptr()) }
    }
}

impl Drop for CTable {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, and nobody has it any more.
        unsafe { c_table_free(self.0.as_ptr()) };
    }
}
