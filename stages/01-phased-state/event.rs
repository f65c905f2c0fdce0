// SPDX-License-Identifier: GPL-2.0

//! Something that happens once, and that other threads wait for.

use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};

// ANCHOR: event
/// Something that happens once, and that others wait for.
///
/// Nobody is woken by it: who waits looks again and again, in a loop that also looks whether it is
/// to stop.
pub struct Event(Atomic<bool>);

impl Event {
    /// Makes one that has not happened.
    #[expect(
        clippy::new_without_default,
        reason = "there is no default course of events"
    )]
    pub const fn new() -> Self {
        Self(Atomic::new(false))
    }

    /// Makes it happen. Any context.
    ///
    /// Ordering: what came before, such as the line in the log, is seen by who sees the event.
    pub fn set(&self) {
        self.0.store(true, Release);
    }

    /// Returns whether it has happened. Any context.
    ///
    /// Ordering: pairs with [`Event::set`].
    pub fn reached(&self) -> bool {
        self.0.load(Acquire)
    }
}
// ANCHOR_END: event
