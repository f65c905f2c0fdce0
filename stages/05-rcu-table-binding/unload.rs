// SPDX-License-Identifier: GPL-2.0

//! What a module has to do before it goes, in the order in which it has to be done.

use kernel::prelude::*;

use super::retired::RcuBarrier;

// ANCHOR: unload
/// All that a module has that uses tables, and what has to be waited for after that.
///
/// When it is dropped:
///
/// 1. **the users stop**: `users` is dropped, with all threads, devices and tables in it, and
///    nobody retires anything any more;
/// 2. **callbacks are waited for**: those of all that was retired until then;
/// 3. **the worker is waited for**: what the callbacks have left to it.
///
/// In any other order something is left: a callback that comes after the barrier, or work that comes
/// after the worker was waited for. Both are code of the module. When that is gone, the kernel calls
/// into unmapped memory (the break `no-barrier`).
///
/// It is one value, so that the order is not up to a module: it has to keep this, and nothing beside
/// it that retires anything. And the users are made by a closure, so that the barrier is older than
/// they are: if they can be made only in part, that part is waited for as well.
pub struct Unload<U> {
    // ANCHOR: unload-fields
    // The order of these two fields is the order in which they are dropped.
    users: U,
    // ANCHOR: unload-barrier
    _barrier: RcuBarrier,
    // ANCHOR_END: unload-barrier
    // ANCHOR_END: unload-fields
}

impl<U> Unload<U> {
    /// Makes the users.
    pub fn after(make: impl FnOnce() -> Result<U>) -> Result<Self> {
        // ANCHOR: unload-after-body
        // ANCHOR: unload-made
        // Before them: variables are dropped in the reverse order, if `make` fails.
        let barrier = RcuBarrier::new();
        Ok(Self {
            users: make()?,
            _barrier: barrier,
        })
        // ANCHOR_END: unload-made
        // ANCHOR_END: unload-after-body
    }

    /// Returns the users.
    pub fn users(&mut self) -> &mut U {
        &mut self.users
    }
}
// ANCHOR_END: unload
