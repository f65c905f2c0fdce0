// SPDX-License-Identifier: GPL-2.0

//! One test for two lists: ours, and the same in C.
//!
//! A sorted table of pairs is kept in each, and in a plain array beside it. They are changed at
//! random and compared with each other, by one thread: this is about what the operations do, and
//! not about who else is there meanwhile. For that there is the torture.
//!
//! The ring is walked by C, forwards and backwards, whoever made it.
//!
//! What only ours has, nodes that change their state, is tried by itself.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    c_table::{
        c_ring_count,
        CTable, //
    },
    guard::rcu_read,
    kthread::StopToken,
    list::{
        NewNode,
        RcuList, //
    },
    random::Random,
    retired::Cap, //
};

/// How many keys there are, from 0.
const KEYS: u32 = 24;

/// How many operations each table is tried with.
const OPERATIONS: u32 = 3000;

// ANCHOR: trait
/// A sorted table of pairs. Keys occur once.
trait Table: Sized {
    /// What it is called in the log.
    const NAME: &'static str;

    fn new() -> Result<Self>;

    /// Links a pair where it belongs.
    fn insert(&self, key: u32, value: u32) -> Result;

    /// Replaces a pair; [`ENOENT`] if there is none.
    fn replace(&self, key: u32, value: u32) -> Result;

    /// Removes a pair; [`ENOENT`] if there is none.
    fn remove(&self, key: u32) -> Result;

    /// Looks a key up, as a reader.
    fn lookup(&self, key: u32) -> Option<u32>;

    /// Copies the pairs, as a reader; returns how many there are.
    fn copy(&self, pairs: &mut [[u32; 2]]) -> usize;

    /// Counts the ring's nodes, forwards and backwards; less than 0 if it is broken.
    fn ring(&self) -> isize;
}
// ANCHOR_END: trait

impl Table for CTable {
    const NAME: &'static str = "c";

    fn new() -> Result<Self> {
        CTable::new()
    }

    fn insert(&self, key: u32, value: u32) -> Result {
        self.insert(key, value)
    }

    fn replace(&self, key: u32, value: u32) -> Result {
        self.replace(key, value)
    }

    fn remove(&self, key: u32) -> Result {
        self.remove(key)
    }

    fn lookup(&self, key: u32) -> Option<u32> {
        self.lookup(key)
    }

    fn copy(&self, pairs: &mut [[u32; 2]]) -> usize {
        self.copy(pairs)
    }

    fn ring(&self) -> isize {
        // SAFETY: It is the head of a ring, which nobody else has.
        unsafe { c_ring_count(self.head()) }
    }
}

/// A pair, which has nothing to drop: `kfree_rcu()` reclaims it, as in C.
struct Pair {
    key: u32,
    value: u32,
}

// ANCHOR: rust-table
/// The table in Rust.
struct RustTable(Arc<RcuList<Pair>>);

impl Table for RustTable {
    const NAME: &'static str = "rust";

    fn new() -> Result<Self> {
        Ok(Self(Arc::pin_init(RcuList::new(None), GFP_KERNEL)?))
    }

    fn insert(&self, key: u32, value: u32) -> Result {
        let node = NewNode::new(Pair { key, value }, GFP_KERNEL)?;
        let mut list = self.0.lock();
        let mut cursor = list.cursor();
        match cursor.find(|pair| pair.key >= key) {
            Some(mut greater) => greater.insert_before(node),
            None => list.push_back(node),
        }
        Ok(())
    }

    // ANCHOR: rust-replace
    fn replace(&self, key: u32, value: u32) -> Result {
        let node = NewNode::new(Pair { key, value }, GFP_KERNEL)?;
        let mut list = self.0.lock();
        let mut cursor = list.cursor();
        let pair = cursor.find(|pair| pair.key == key).ok_or(ENOENT)?;
        pair.replace(node)?.defer();
        Ok(())
    }
    // ANCHOR_END: rust-replace

    fn remove(&self, key: u32) -> Result {
        let mut list = self.0.lock();
        let mut cursor = list.cursor();
        let pair = cursor.find(|pair| pair.key == key).ok_or(ENOENT)?;
        pair.remove().map_err(|_| EAGAIN)?.defer();
        Ok(())
    }

    // ANCHOR: rust-lookup
    fn lookup(&self, key: u32) -> Option<u32> {
        rcu_read(|guard| {
            let mut walk = self.0.iter(guard);
            walk.find(|pair| pair.key == key).map(|pair| pair.value)
        })
    }
    // ANCHOR_END: rust-lookup

    fn copy(&self, pairs: &mut [[u32; 2]]) -> usize {
        rcu_read(|guard| {
            let mut count = 0;
            for pair in self.0.iter(guard) {
                if let Some(place) = pairs.get_mut(count) {
                    *place = [pair.key, pair.value];
                }
                count += 1;
            }
            count
        })
    }

    fn ring(&self) -> isize {
        let list = self.0.lock();
        // SAFETY: It is the head of a ring, of which we have the lock.
        unsafe { c_ring_count(list.as_list_head()) }
    }
}
// ANCHOR_END: rust-table

/// How a table has done.
#[derive(Default)]
struct Outcome {
    operations: u32,
    /// How often it differed from the array.
    failures: u32,
    /// Operations that there was no memory for. They must not have changed anything.
    no_memory: u32,
}

// ANCHOR: try-out
/// Changes a table at random, and compares it with an array.
fn try_out<T: Table>(stop: &StopToken) -> Result<Outcome> {
    let table = T::new()?;
    let mut model = [None; KEYS as usize];
    let mut random = Random::new(1);
    let mut outcome = Outcome::default();

    for value in 0..OPERATIONS {
        let key = random.below(KEYS);
        let Some(mine) = model.get_mut(key as usize) else {
            continue;
        };
        // ANCHOR: operation-begins
        // ANCHOR_END: operation-begins
        let (done, expected) = match random.below(3) {
            // A table that has the key is not asked to insert it again.
            0 if mine.is_some() => continue,
            0 => (table.insert(key, value), Ok(Some(value))),
            1 => (
                table.replace(key, value),
                mine.map(|_| Some(value)).ok_or(ENOENT),
            ),
            _ => (table.remove(key), mine.map(|_| None).ok_or(ENOENT)),
        };
        // ANCHOR: operation-ends
        // ANCHOR_END: operation-ends
        outcome.operations += 1;
        match (done, expected) {
            (Err(ENOMEM), _) => outcome.no_memory += 1,
            (Ok(()), Ok(now)) => *mine = now,
            (done, expected) => outcome.failures += u32::from(done.err() != expected.err()),
        }
        outcome.failures += u32::from(table.lookup(key) != *mine);

        if value % 64 == 0 {
            outcome.failures += differences(&table, &model);
            if stop.should_stop() {
                return Err(EINTR);
            }
        }
    }
    outcome.failures += differences(&table, &model);
    Ok(outcome)
}
// ANCHOR_END: try-out

/// Compares all of a table.
fn differences<T: Table>(table: &T, model: &[Option<u32>]) -> u32 {
    let mut pairs = [[0; 2]; KEYS as usize];
    let count = table.copy(&mut pairs);
    let wanted = || {
        (0..)
            .zip(model)
            .filter_map(|(key, value)| value.map(|value| [key, value]))
    };

    let same = count == wanted().count() && wanted().eq(pairs.iter().take(count).copied());
    let whole = table.ring() == wanted().count() as isize;
    u32::from(!same) + u32::from(!whole)
}

// ANCHOR: states
/// Takes nodes through their states, in a list where only one may wait for its reclaim. Returns how
/// often something was not as it should be.
fn states() -> Result<u32> {
    let mut failures = 0;
    let mut check = |held: bool| failures += u32::from(!held);

    let cap = Cap::new(1, GFP_KERNEL)?;
    let list: Arc<RcuList<u32>> = Arc::pin_init(RcuList::new(Some(cap.clone())), GFP_KERNEL)?;
    check(rcu_read(|guard| list.first(guard).is_none()));
    let node = |value| NewNode::new(value, GFP_KERNEL);
    let (two, one, three, four) = (node(2)?, node(1)?, node(3)?, node(4)?);

    let mut writer = list.lock();
    writer.push_front(two);
    writer.push_front(one);
    writer.push_back(three);
    check(writer.iter().eq(&[1, 2, 3]));

    let mut cursor = writer.cursor();
    let one = cursor.find(|value| *value == 1).ok_or(ENOENT)?;
    let one = one.remove().map_err(|_| EAGAIN)?;
    // It waits, so no other may: both are refused, and nothing has changed.
    let two = cursor.next().ok_or(ENOENT)?;
    let Err(two) = two.remove() else {
        return Err(EINVAL);
    };
    check(*two == 2 && cap.waiting() == 1);
    let four = match two.replace(four) {
        Ok(_) => return Err(EINVAL),
        Err(refused) => refused.0,
    };
    check(*four == 4);
    // The cursor is at the node that was not removed.
    check(cursor.next().is_some_and(|three| *three == 3));
    check(cursor.next().is_none());
    check(cursor.next().is_some_and(|two| *two == 2));
    check(writer.iter().eq(&[2, 3]));
    drop(writer);

    // It has waited, so it can be linked again, and another may wait.
    let one = NewNode::from(one.synchronize().ok_or(EDEADLK)?);
    check(*one == 1 && cap.waiting() == 0);
    let mut writer = list.lock();
    writer.push_back(one);
    let mut cursor = writer.cursor();
    let two = cursor.next().ok_or(ENOENT)?;
    two.replace(four)?.defer();
    check(cursor.next().is_some_and(|three| *three == 3));
    check(writer.iter().eq(&[4, 3, 1]));
    // SAFETY: It is the head of a ring, of which we have the lock.
    check(unsafe { c_ring_count(writer.as_list_head()) } == 3);
    drop(writer);
    check(rcu_read(|guard| list.first(guard) == Some(&4)));

    check(node(5)?.into_inner() == 5);
    Ok(failures)
}
// ANCHOR_END: states

/// Tries both, and writes down how it went.
pub(crate) fn run(stop: &StopToken) -> Result {
    run_one::<RustTable>(stop)?;
    run_one::<CTable>(stop)?;

    let failures = states()?;
    pr_info!("[suite] states: failures={failures}\n");
    Ok(())
}

fn run_one<T: Table>(stop: &StopToken) -> Result {
    let Outcome {
        operations,
        failures,
        no_memory,
    } = try_out::<T>(stop)?;
    pr_info!(
        "[suite] tried: list={} operations={operations} failures={failures} no_memory={no_memory}\n",
        T::NAME
    );
    Ok(())
}
