// SPDX-License-Identifier: GPL-2.0

//! Module parameters, which anybody may have typed.

use kernel::prelude::*;

/// Checks a parameter. One that is refused is [`EINVAL`], and a line in the log says why.
pub fn checked(param: &str, value: u32, min: u32, max: u32) -> Result<u32> {
    if !(min..=max).contains(&value) {
        pr_err!("[init] refused: param={param} value={value} min={min} max={max}\n");
        return Err(EINVAL);
    }
    Ok(value)
}
