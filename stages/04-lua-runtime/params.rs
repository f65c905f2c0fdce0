// SPDX-License-Identifier: GPL-2.0

//! What the module's parameters say.

use kernel::prelude::*;

use super::{
    lua::Budget,
    module_parameters, //
};

/// What a state may use, and how many there may be.
#[derive(Clone, Copy)]
pub(crate) struct Params {
    /// For each state.
    pub(crate) budget: Budget,
    /// Microseconds on a CPU for a run that nothing can end, since its process has ended.
    pub(crate) exit_us: usize,
    /// States of open files at a time.
    pub(crate) states: u32,
    /// Bytes of a script.
    pub(crate) script: usize,
    /// Are calls of Rust functions written into the log?
    pub(crate) trace: bool,
    /// How often timers call a script; 0: there are none.
    pub(crate) ticks: u32,
    /// Is the use of the stack measured?
    pub(crate) measure: bool,
}

impl Params {
    /// Reads and checks them. One that is refused is [`EINVAL`], and a line in the log says why.
    pub(crate) fn get() -> Result<Self> {
        let all_kib = checked("all_kib", module_parameters::all_kib.value(), 64, 1 << 20)?;
        Ok(Self {
            budget: Budget {
                bytes: kib("state_kib", module_parameters::state_kib.value(), all_kib)?,
                all_bytes: (all_kib as usize) << 10,
                steps: checked("steps", module_parameters::steps.value(), 1, u32::MAX)?.into(),
                cpu_us: checked("cpu_ms", module_parameters::cpu_ms.value(), 1, 600_000)? as usize
                    * 1000,
                stack: checked("stack", module_parameters::stack.value(), 0, 65536)? as usize,
                output: kib("output_kib", module_parameters::output_kib.value(), 1 << 14)?,
            },
            exit_us: checked("exit_ms", module_parameters::exit_ms.value(), 1, 600_000)? as usize
                * 1000,
            states: checked("states", module_parameters::states.value(), 1, 1024)?,
            script: kib("script_kib", module_parameters::script_kib.value(), 1 << 14)?,
            trace: checked("trace", module_parameters::trace.value(), 0, 1)? != 0,
            ticks: checked("ticks", module_parameters::ticks.value(), 0, 1000)?,
            measure: module_parameters::measure.value() != 0,
        })
    }
}

/// A parameter in KiB, in bytes.
fn kib(param: &str, value: u32, max: u32) -> Result<usize> {
    Ok((checked(param, value, 1, max)? as usize) << 10)
}

/// Checks a parameter.
fn checked(param: &str, value: u32, min: u32, max: u32) -> Result<u32> {
    if !(min..=max).contains(&value) {
        pr_err!("[init] refused: param={param} value={value} min={min} max={max}\n");
        return Err(EINVAL);
    }
    Ok(value)
}
