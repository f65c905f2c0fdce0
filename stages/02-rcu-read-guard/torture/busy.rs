// SPDX-License-Identifier: GPL-2.0

//! How to keep a CPU busy.

use kernel::{
    prelude::*,
    processor::cpu_relax,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::kthread::StopToken;

/// Keeps the CPU busy for a while. Any context.
pub(crate) fn spin(span: Delta) {
    let begin = Instant::<Monotonic>::now();
    while begin.elapsed() < span {
        cpu_relax();
    }
}

/// Keeps a CPU busy half of the time, as a thread of its own: then others are preempted.
pub(crate) fn hog(stop: &StopToken) -> Result {
    loop {
        let begin = Instant::<Monotonic>::now();
        while begin.elapsed() < Delta::from_millis(20) && !stop.should_stop() {
            cpu_relax();
        }
        stop.sleep(Delta::from_millis(20))?;
    }
}
