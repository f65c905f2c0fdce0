// SPDX-License-Identifier: GPL-2.0

//! What the probes of the lab have in common.
//!
//! Whether somebody is in a critical section, and whether somebody has waited, is asked from the
//! kernel itself: a grace period that was started by a probe is over, or it is not.

use core::arch::asm;

use kernel::{
    bindings,
    prelude::*,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
};

/// A grace period that was asked for.
pub(crate) struct GracePeriod(c_ulong);

impl GracePeriod {
    /// Asks for one. Any context but NMI.
    pub(crate) fn begin() -> Self {
        // SAFETY: It may be called anywhere but in an NMI.
        Self(unsafe { bindings::start_poll_synchronize_rcu() })
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        // SAFETY: It may be called anywhere, and takes any number.
        unsafe { bindings::poll_state_synchronize_rcu(self.0) }
    }

    /// Whether it comes to its end within a while. Does not sleep.
    pub(crate) fn ends_within(&self, span: Delta) -> bool {
        spin(span, || self.is_over())
    }

    /// The same for an end that should come. Sleeps.
    pub(crate) fn ends(&self) -> bool {
        until(|| self.is_over())
    }
}

/// For how long to look at what must not come to its end: for several times as long as a grace
/// period takes here if nobody holds it up. Sleeps.
pub(crate) fn a_while() -> Delta {
    let begin = Instant::<Monotonic>::now();
    GracePeriod::begin().ends();
    Delta::from_millis((begin.elapsed().as_millis() * 4).clamp(150, 1500))
}

/// Lets this CPU rest until its next interrupt, such as the timer's. The thread keeps it: this is no
/// sleep, and may be done in a critical section. Nor does it cost the host a CPU, as a loop would.
pub(crate) fn rest() {
    // SAFETY: Interrupts are enabled in threads, except where somebody disables them, which nobody
    // here does.
    unsafe { asm!("hlt", options(nomem, nostack)) };
}

/// Waits for something without sleeping, and says whether it came.
pub(crate) fn spin(span: Delta, condition: impl Fn() -> bool) -> bool {
    let begin = Instant::<Monotonic>::now();
    while begin.elapsed() < span && !condition() {
        rest();
    }
    condition()
}

/// Waits for something, for two seconds at most; on a slow machine until it was asked for often.
pub(crate) fn until(mut condition: impl FnMut() -> bool) -> bool {
    let begin = Instant::<Monotonic>::now();
    let mut asked = 0;
    while asked < 100 || begin.elapsed() < Delta::from_secs(2) {
        if condition() {
            return true;
        }
        fsleep(Delta::from_millis(5));
        asked += 1;
    }
    condition()
}

/// For the log.
pub(crate) fn yes(what: bool) -> &'static str {
    if what {
        "yes"
    } else {
        "no"
    }
}
