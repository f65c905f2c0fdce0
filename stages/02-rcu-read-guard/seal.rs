// SPDX-License-Identifier: GPL-2.0

//! A word in a value that tells a reader who comes too late.

use kernel::{
    fmt,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

const INTACT: u32 = 0x600d_1157;
const BROKEN: u32 = 0xdead_1157;

/// A word that is intact until its value is dropped. Who finds it broken, or finds something else,
/// is reading memory that was freed.
pub struct Seal {
    state: Atomic<u32>,
    dropped: &'static Atomic<u64>,
}

impl Seal {
    /// Makes a seal. `dropped` counts it when it is dropped.
    pub const fn new(dropped: &'static Atomic<u64>) -> Self {
        Self {
            state: Atomic::new(INTACT),
            dropped,
        }
    }

    /// Returns whether the value is still there. (If it is not, to ask is a mistake already.)
    #[inline]
    pub fn is_intact(&self) -> bool {
        self.state.load(Relaxed) == INTACT
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state.load(Relaxed) {
            INTACT => "intact",
            BROKEN => "BROKEN",
            _ => "OVERWRITTEN",
        })
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        self.state.store(BROKEN, Relaxed);
        self.dropped.add(1, Relaxed);
    }
}
