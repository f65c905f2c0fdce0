// SPDX-License-Identifier: GPL-2.0

//! Lua in the kernel, driven from Rust and hard to break.
//!
//! What it is built of:
//!
//! | file        | what is in it                                                        |
//! |-------------|----------------------------------------------------------------------|
//! | `lua/`      | the interpreter without a C library or floating-point numbers (C)    |
//! | `lua`       | a Lua state as Rust sees it: no error of Lua ever leaves a function  |
//! | `context`   | where something may run, and the lock that fits                      |
//! | `object`    | more that goes between scripts and Rust: monitors, pins, tables      |
//! | `library`   | what scripts get with `require("kernel")`                            |
//! | `runtime`   | a script that the kernel calls into                                  |
//! | `timer`     | an example: timers that call a script                                |
//! | `device`    | `/dev/luadrv`                                                        |
//! | `params`    | the budgets                                                          |
//!
//! A script runs when it is written to the device, or, when the module is loaded, as
//! `/lib/modules/lua/<script>.lua`, if there is a parameter `script`.

use kernel::prelude::*;

pub mod context;
mod device;
mod helpers;
mod library;
pub mod lua;
pub mod object;
mod params;
pub mod runtime;
mod timer;

module! {
    type: LunatikRs,
    name: "lunatik_rs",
    authors: ["The RCU workshop"],
    description: "Lua in the kernel, driven from Rust and hard to break",
    license: "GPL",
    params: {
        state_kib: u32 {
            default: 1024,
            description: "How much memory a state may use, in KiB",
        },
        all_kib: u32 {
            default: 16384,
            description: "How much memory all states together may use, in KiB",
        },
        steps: u32 {
            default: 100_000_000,
            description: "How many steps a run may take",
        },
        cpu_ms: u32 {
            default: 10_000,
            description: "How much CPU time a run may take, in ms",
        },
        exit_ms: u32 {
            default: 3_000,
            description: "The same for a run that cannot be killed: its process is about to end",
        },
        stack: u32 {
            default: 0,
            description: "How much of the kernel's stack a run may use, in bytes; 0: all but a reserve",
        },
        output_kib: u32 {
            default: 64,
            description: "How much a script may print until it is read, in KiB",
        },
        script_kib: u32 {
            default: 1024,
            description: "How long a script may be, in KiB",
        },
        states: u32 {
            default: 16,
            description: "How many files of /dev/luadrv may be open at a time",
        },
        trace: u32 {
            default: 0,
            description: "1: write calls of Rust functions into the log",
        },
        ticks: u32 {
            default: 0,
            description: "How often timers call a script, in a softirq and in an interrupt",
        },
        measure: u32 {
            default: 0,
            description: "1: measure how much of the stack a run uses",
        },
        // ANCHOR: params
        // ANCHOR_END: params
    },
}

/// What scripts may `require()`.
static LIBRARIES: [Option<&lua::Library>; 2] = [Some(&library::KERNEL), None];

// ANCHOR: module
/// The module: as long as it is loaded, there is the device.
#[pin_data(PinnedDrop)]
struct LunatikRs {
    /// What the script of the parameter `script` has left behind.
    _script: Option<kernel::sync::Arc<runtime::Runtime>>,
    #[pin]
    _device: device::Device,
}

impl kernel::InPlaceModule for LunatikRs {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _script: {
                let params = params::Params::get()?;
                pr_info!("[init] init\n");
                timer::example(&params)?;
                lua::trace_calls(params.trace);
                // ANCHOR: module-begins
                // ANCHOR_END: module-begins
                helpers::script()
                    .map(|name| runtime::Runtime::from_file(name, &params.budget, &LIBRARIES))
                    .transpose()?
            },
            _device <- device::Device::new(),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for LunatikRs {
    fn drop(self: Pin<&mut Self>) {
        // No file is open, so no state is left.
        pr_info!("[exit] exit: states={}\n", device::states());
    }
}
// ANCHOR_END: module

// ANCHOR: checks
// (Here the refusals put what must not compile.)
// ANCHOR_END: checks
