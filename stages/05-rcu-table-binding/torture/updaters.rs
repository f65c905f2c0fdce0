// SPDX-License-Identifier: GPL-2.0

//! Those who change the tables, each in another way.
//!
//! Each is a thread, and returns when it is to stop.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::Delta,
};

use super::{
    busy::spin,
    element::Slots,
    keys,
    kthread::StopToken,
    random::Random,
    table::Change,
    tables::{
        choose,
        new_renewed,
        Item,
        Role,
        Tables,
        TABLES, //
    },
};

/// What updaters have done, and how often.
pub(crate) struct Done {
    pub(crate) added: Atomic<u64>,
    pub(crate) set: Atomic<u64>,
    pub(crate) removed: Atomic<u64>,
    /// Tables that were dropped with what was in them.
    pub(crate) renewed: Atomic<u64>,
    /// Changes that were refused: by a cap, and for lack of memory.
    pub(crate) refused: Atomic<u64>,
    pub(crate) no_memory: Atomic<u64>,
}

/// What updaters have done.
pub(crate) static DONE: Done = Done {
    added: Atomic::new(0),
    set: Atomic::new(0),
    removed: Atomic::new(0),
    renewed: Atomic::new(0),
    refused: Atomic::new(0),
    no_memory: Atomic::new(0),
};

/// Counts what an update has come to.
fn count(done: Result, of: &Atomic<u64>) {
    match done {
        Ok(()) => of.add(1, Relaxed),
        Err(ENOMEM) => DONE.no_memory.add(1, Relaxed),
        Err(_) => DONE.refused.add(1, Relaxed),
    }
}

/// In bursts, with some time between them in which grace periods can end.
fn rest(random: &mut Random, stop: &StopToken) -> Result {
    if random.below(256) == 0 {
        stop.sleep(Delta::from_millis(4))?;
    }
    Ok(())
}

/// Stays for some microseconds, now and then, where an update has found its place and has not
/// changed anything yet: so that who is not kept out by the lock gets in. It is held, so this spins.
fn stay(random: &mut Random) {
    if random.below(16) == 0 {
        spin(Delta::from_micros(random.below(20).into()));
    }
}

// ANCHOR: adding
/// Adds to counters. Now and then a counter becomes one of the other kind on the way.
pub(crate) fn adding(tables: &Tables, mut slots: Slots, seed: usize, stop: &StopToken) -> Result {
    let mut random = Random::new(seed);
    let mut room = [0; 8];

    while !stop.should_stop() {
        let index = random.below(TABLES as u32) as usize;
        let (table, added) = (&tables.all[index], &tables.added[index]);
        let key = choose(Role::Counter, &mut random);
        let hashed = table.key(keys::bytes(key, &mut room));

        let done = table.update(hashed, GFP_KERNEL, |old| {
            let count = old.map_or(0, |old| old.get().1) + 1;
            stay(&mut random);
            let is_number = matches!(old, Some(Item::Number(_)));
            let stays = random.below(8) > 0;
            if let (Some(old), false) = (old, is_number && stays) {
                old.retire();
            }
            let new = match is_number == stays {
                true => Item::number(key, count),
                false => Item::element(key, count, &mut slots),
            };
            (Change::Put(new), ())
        });
        if done.is_ok() {
            added[key].add(1, Relaxed);
        }
        count(done, &DONE.added);
        rest(&mut random, stop)?;
    }
    Ok(())
}
// ANCHOR_END: adding

// ANCHOR: setting
/// Gives other values to keys that are there, and to keys that may not be.
pub(crate) fn setting(tables: &Tables, mut slots: Slots, seed: usize, stop: &StopToken) -> Result {
    let mut random = Random::new(seed);
    let mut room = [0; 8];

    while !stop.should_stop() {
        let table = &tables.all[random.below(TABLES as u32) as usize];
        let role = match random.below(2) {
            0 => Role::Fixed,
            _ => Role::Passing,
        };
        let key = choose(role, &mut random);
        let hashed = table.key(keys::bytes(key, &mut room));
        let new = Item::any(key, 0, &mut slots, &mut random);

        let done = match random.below(4) {
            0 => table.set(hashed, new, GFP_KERNEL).map_err(Error::from),
            // Where one must not sleep: here that is only said, by the flags.
            1 => table.set(hashed, new, GFP_ATOMIC).map_err(Error::from),
            2 => match table.insert(hashed, new, GFP_KERNEL) {
                Err(refused) if refused.error == EEXIST => continue,
                done => done.map_err(Error::from),
            },
            _ => {
                drop(new);
                table.update(hashed, GFP_KERNEL, |old| {
                    stay(&mut random);
                    let new = Item::any(key, 1, &mut slots, &mut random);
                    if let Some(old) = old {
                        old.retire();
                    }
                    (Change::Put(new), ())
                })
            }
        };
        count(done, &DONE.set);
        rest(&mut random, stop)?;
    }
    Ok(())
}
// ANCHOR_END: setting

/// Removes keys.
pub(crate) fn removing(tables: &Tables, stop: &StopToken) -> Result {
    let mut random = Random::new(200);
    let mut room = [0; 8];

    while !stop.should_stop() {
        let table = &tables.all[random.below(TABLES as u32) as usize];
        let key = choose(Role::Passing, &mut random);
        let hashed = table.key(keys::bytes(key, &mut room));
        let removed = match random.below(2) {
            0 => table.remove(hashed),
            _ => table.update(hashed, GFP_KERNEL, |old| {
                stay(&mut random);
                if let Some(old) = old {
                    old.retire();
                }
                (Change::Remove, old.is_some())
            })?,
        };
        if removed {
            count(Ok(()), &DONE.removed);
        }
        rest(&mut random, stop)?;
    }
    Ok(())
}

// ANCHOR: renewing
/// Puts another table in the place of one that readers and walkers have references to; now and then
/// takes all out of it before.
pub(crate) fn renewing(tables: &Tables, mut slots: Slots, stop: &StopToken) -> Result {
    let mut random = Random::new(201);

    loop {
        match new_renewed(&mut random, &mut slots) {
            Ok(new) => {
                let old = core::mem::replace(&mut *tables.renewed.lock(), new);
                count(Ok(()), &DONE.renewed);
                // A walker must come to all keys that are always there, unless it is us alone.
                if let Some(old) = Arc::into_unique_or_drop(old) {
                    old.clear();
                }
            }
            Err(e) => count(Err(e), &DONE.renewed),
        }
        stop.sleep(Delta::from_millis(random.below(8).into()))?;
    }
}
// ANCHOR_END: renewing
