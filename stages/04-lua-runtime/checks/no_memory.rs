// SPDX-License-Identifier: GPL-2.0

//! For the check named `no-memory`: each allocation of a state fails once, and so does the second
//! try that Lua makes after it has collected its garbage.

use kernel::prelude::*;

use super::lua::{
    Budget,
    Libraries,
    Message,
    State, //
};

extern "C" {
    /// The `nth` request from now on, and the one after it, get nothing; none, if that is 0.
    fn klua_fail_nth(nth: u32);

    /// Has that happened?
    fn klua_failed() -> bool;
}

const SCRIPT: &[u8] = include_bytes!("no-memory.lua");

/// Opens a state, runs the script, and closes the state; again and again, with a failure further
/// and further on, until there is none any more.
pub(crate) fn check(step: usize, budget: &Budget, libraries: &'static Libraries) -> Result {
    let (mut not_opened, mut raised, mut caught) = (0, 0, 0);

    for nth in (1..20_000).step_by(step) {
        // SAFETY: It sets a number, and no state is open.
        unsafe { klua_fail_nth(nth) };
        let fine = match <State>::new(budget, libraries) {
            Err(e) if e == ENOMEM => {
                not_opened += 1;
                continue;
            }
            Err(e) => return Err(e),
            Ok(mut state) => state.lua().run(c"=script", SCRIPT, |result| match result {
                Ok(_) => Ok(true),
                Err(Message(b"not enough memory")) => Ok(false),
                // The script has caught the error, and failed later for another reason.
                Err(_) => Err(EINVAL),
            }),
        };
        // SAFETY: It reads what the other has set.
        if !unsafe { klua_failed() } {
            // SAFETY: As above.
            unsafe { klua_fail_nth(0) };
            let fine = fine?;
            pr_info!("[check] no-memory: requests={nth} not_opened={not_opened} raised={raised} caught={caught} fine={fine}\n");
            return Ok(());
        }
        match fine {
            Ok(false) => raised += 1,
            _ => caught += 1,
        }
    }
    Err(EOVERFLOW)
}
