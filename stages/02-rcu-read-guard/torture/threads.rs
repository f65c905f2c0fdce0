// SPDX-License-Identifier: GPL-2.0

//! Threads that begin together, and end together.

use kernel::prelude::*;

use super::kthread::{
    KThread,
    StopToken, //
};

/// The threads. When this is dropped, each is stopped and waited for.
pub(crate) struct Threads(KVec<KThread>);

impl Threads {
    pub(crate) fn new() -> Self {
        Self(KVec::new())
    }

    /// Creates one, which does not run yet.
    pub(crate) fn add<F>(&mut self, name: &CStr, closure: F) -> Result
    where
        F: FnOnce(&StopToken) -> Result + Send + 'static,
    {
        Ok(self.0.push(KThread::create(name, closure)?, GFP_KERNEL)?)
    }

    /// Starts them all.
    pub(crate) fn start(&self) {
        for thread in &self.0 {
            thread.start();
        }
    }
}
