// SPDX-License-Identifier: GPL-2.0

//! How a reader waits: it must not sleep.

use kernel::{
    prelude::*,
    processor::cpu_relax,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    event::Event,
    kthread::StopToken, //
};

/// How long a reader waits for its event before it gives up.
const PATIENCE: Delta = Delta::from_secs(10);

/// Loops until `gap` after an event. May be called in a read-side critical section.
///
/// [`EINTR`] if this thread is to stop first, [`ETIMEDOUT`] if the event does not come.
pub fn spin_until(event: &Event, gap: Delta, stop: &StopToken) -> Result {
    let begin = Instant::<Monotonic>::now();
    let mut reached = None;

    loop {
        if stop.should_stop() {
            return Err(EINTR);
        }
        match reached {
            None if event.reached() => reached = Some(Instant::<Monotonic>::now()),
            None if begin.elapsed() > PATIENCE => return Err(ETIMEDOUT),
            Some(at) if at.elapsed() >= gap => return Ok(()),
            _ => cpu_relax(),
        }
    }
}
