// SPDX-License-Identifier: GPL-2.0

//! What the module publishes: the price list of a shop.

use kernel::sync::atomic::Atomic;

use super::{
    retired::CallbackDrop,
    seal::Seal, //
};

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
        Self {
            version,
            price,
            seal: Seal::new(dropped),
        }
    }
}
// ANCHOR_END: price-list

// SAFETY: All that is dropped is the seal, which does not sleep, and takes no lock.
unsafe impl CallbackDrop for PriceList {}
