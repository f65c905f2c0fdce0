// SPDX-License-Identifier: MIT OR Apache-2.0

//! KVM or TCG.
//!
//! A `/dev/kvm` that opens may still hang every guest (seen under nested
//! virtualization), so that it is tried once with a short deadline, and the
//! answer is remembered until the machine is started again or its QEMU changes.

use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use super::{End, Machine, Plan, Root};
use crate::kernel::Kernel;
use crate::paths::{var, write};
use crate::say::{Result, note, problem};

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The processor.
    Kvm,
    /// QEMU, by translation.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        })
    }
}

const PROBE: Duration = Duration::from_secs(12);

/// Whether /dev/kvm can be opened, in words.
pub fn kvm_state() -> std::result::Result<(), String> {
    if !Path::new("/dev/kvm").exists() {
        return Err(
            "there is no /dev/kvm (in a container: pass it in with --device /dev/kvm)".into()
        );
    }
    match File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => Ok(()),
        Err(e) => Err(format!(
            "/dev/kvm cannot be opened: {e} (on Debian: `sudo adduser $USER kvm`, then log in again)"
        )),
    }
}

/// What was remembered about this machine, for `make doctor`.
pub fn remembered(cache: &Path, qemu: &str) -> Option<Accel> {
    let text = fs::read_to_string(cache.join("accel")).ok()?;
    match text.strip_prefix(&format!("{}: ", machine(qemu)))?.trim() {
        "KVM" => Some(Accel::Kvm),
        "TCG" => Some(Accel::Tcg),
        _ => None,
    }
}

/// This machine, as far as KVM is concerned.
fn machine(qemu: &str) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{} QEMU {qemu}", boot.trim())
}

/// `ACCEL=`, or KVM where it works.
pub(super) fn choose(vm: &Machine, kernel: &Kernel) -> Result<Accel> {
    match var("ACCEL").as_deref() {
        Some("kvm") => {
            // virtme-ng would fall back to TCG without a word.
            let refused = |why| problem("ACCEL=kvm cannot be had", why, "leave it away for TCG");
            return kvm_state().map(|()| Accel::Kvm).map_err(refused);
        }
        Some("tcg") => return Ok(Accel::Tcg),
        Some(other) => {
            return Err(problem(
                format!("ACCEL={other} is unknown"),
                "",
                "ACCEL=kvm or ACCEL=tcg; without it KVM is taken where it works",
            ));
        }
        None => {}
    }
    if let Err(why) = kvm_state() {
        return Ok(tcg_because(&why));
    }
    if let Some(accel) = remembered(&vm.paths.cache, &vm.qemu) {
        return Ok(accel);
    }
    probe(vm, kernel)
}

/// TCG, said once a run.
fn tcg_because(why: &str) -> Accel {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| note(format!("{why}; guests run under TCG, which is slower")));
    Accel::Tcg
}

fn probe(vm: &Machine, kernel: &Kernel) -> Result<Accel> {
    let root = Root::new(&vm.paths)?;
    root.session("")?;
    let console = root.temporary().join("console.log");
    let plan = Plan {
        kernel,
        root: &root,
        limit: PROBE,
        boot_limit: Some(PROBE),
        params: &[],
        console: &console,
    };
    let boot = vm.boot_under(Accel::Kvm, &plan, &mut |_| ())?;
    let accel = match boot.end {
        End::Finished => Accel::Kvm,
        // QEMU may also give up at once, over a register that it may not set.
        End::NeverBooted | End::Hung | End::Exited(_) => {
            note(
                "/dev/kvm opens, but a guest does not come up under it: guests run under TCG \
                 until the next reboot (ACCEL=kvm insists)",
            );
            Accel::Tcg
        }
        // Not KVM's fault, or not for sure: not to be remembered.
        end => return Ok(tcg_because(&format!("a first guest under KVM ended as {end:?}"))),
    };
    write(&vm.paths.cache_dir("")?.join("accel"), format!("{}: {accel}\n", machine(&vm.qemu)))?;
    Ok(accel)
}
