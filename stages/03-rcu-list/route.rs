// SPDX-License-Identifier: GPL-2.0

//! What the module's list holds: the routes of a small routing table.

use kernel::{
    fmt,
    prelude::fmt,
    sync::atomic::Atomic, //
};

use super::{
    list::{
        NewNode,
        RcuList,
        Writer, //
    },
    retired::{
        CallbackDrop,
        InCallback, //
    },
    seal::Seal,
};

// ANCHOR: route
/// A route: packets to addresses that begin with `prefix` leave `via` a neighbour.
///
/// It is never changed. A route that is to lead elsewhere is another one, in another node.
pub struct Route {
    /// Counts them, from 1: the number of the node, in the log.
    pub node: u32,
    /// What the address has to begin with; the rest of it is 0.
    pub prefix: Address,
    /// How many bits of it count.
    pub len: u32,
    /// The number of the neighbour.
    pub via: u32,
    /// Tells a reader who comes too late.
    pub seal: Seal,
}
// ANCHOR_END: route

impl Route {
    /// Makes a route. `dropped` counts it when it is dropped.
    pub const fn new(
        node: u32,
        (prefix, len): (Address, u32),
        via: u32,
        dropped: &'static Atomic<u64>,
    ) -> Self {
        let seal = Seal::new(dropped);
        Self {
            node,
            prefix,
            len,
            via,
            seal,
        }
    }

    /// Returns whether the route is one for an address.
    #[inline]
    pub fn matches(&self, address: Address) -> bool {
        let differ = self.prefix.0 ^ address.0;
        differ.leading_zeros() >= self.len
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}/{}", self.prefix, self.len))
    }
}

// SAFETY: All that is dropped is the seal, which does not sleep, and takes no lock.
unsafe impl CallbackDrop for Route {}

/// An IPv4 address.
#[derive(Clone, Copy)]
pub struct Address(u32);

impl Address {
    /// Makes one of its four parts.
    pub const fn new(parts: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(parts))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0.to_be_bytes();
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

/// The routes, those with the longest prefix first: so the first that matches is the best.
pub type RoutingTable = RcuList<Route, InCallback>;

// ANCHOR: insert
/// Puts a route where it belongs: behind those that have as long a prefix.
pub fn insert(table: &mut Writer<'_, Route, InCallback>, node: NewNode<Route>) {
    let mut cursor = table.cursor();
    match cursor.find(|route| route.len < node.len) {
        Some(mut shorter) => shorter.insert_before(node),
        None => table.push_back(node),
    }
}
// ANCHOR_END: insert
