// SPDX-License-Identifier: GPL-2.0

//! What the module publishes: the price list of a shop.

use kernel::{
    fmt,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

use super::retired::CallbackDrop;

// ANCHOR: price-list
/// A price list: whole, and never changed. A new price is a new list.
pub struct PriceList {
    /// Counts the lists, from 1.
    pub version: u32,
    /// What the one thing costs that the shop sells.
    pub price: u32,
    /// Tells a reader who comes too late. Rust would not need it; this module shows mistakes, too.
    pub seal: Seal,
}

impl PriceList {
    /// Makes a list. `dropped` counts it when it is dropped.
    pub const fn new(version: u32, price: u32, dropped: &'static Atomic<u64>) -> Self {
        let seal = Seal {
            state: Atomic::new(INTACT),
            dropped,
        };
        Self {
            version,
            price,
            seal,
        }
    }
}
// ANCHOR_END: price-list

// SAFETY: All that is dropped is the seal, which does not sleep, and takes no lock.
unsafe impl CallbackDrop for PriceList {}

const INTACT: u32 = 0x600d_1157;
const BROKEN: u32 = 0xdead_1157;

/// A word that is intact until its value is dropped. Who finds it broken, or finds something else,
/// is reading memory that was freed.
pub struct Seal {
    state: Atomic<u32>,
    dropped: &'static Atomic<u64>,
}

impl Seal {
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
