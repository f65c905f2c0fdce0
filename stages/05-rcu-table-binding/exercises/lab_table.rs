// SPDX-License-Identifier: GPL-2.0

//! What the lab holds the table against: one step at a time, by one thread.
//!
//! After a mistake a table is forgotten rather than dropped: the machine is to live on, and to
//! tell.

use core::{
    arch::asm,
    mem, //
};

use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

use guard::RcuReadGuard;
use hash::{
    Key,
    KeyHash, //
};
use probe::{
    until,
    yes,
    GracePeriod, //
};
use retired::{
    Cap,
    InProcess,
    RcuBarrier, //
};
use table::{
    Change,
    NotStored,
    Options,
    RcuTable, //
};
use unload::Unload;
use value::{
    UnderLock,
    Value,
    Word, //
};

#[path = "../bucket.rs"]
mod bucket;
#[path = "../entry.rs"]
mod entry;
#[path = "../../02-rcu-read-guard/guard.rs"]
pub mod guard;
#[path = "../hash.rs"]
pub mod hash;
#[path = "../../02-rcu-read-guard/helpers.rs"]
mod helpers;
#[path = "../../02-rcu-read-guard/exercises/probe.rs"]
mod probe;
#[path = "../../02-rcu-read-guard/retired.rs"]
pub mod retired;
#[path = "../table.rs"]
pub mod table;
#[path = "../unload.rs"]
pub mod unload;
#[path = "../value.rs"]
pub mod value;
#[path = "../walk.rs"]
pub mod walk;

module! {
    type: LabTable,
    name: "lab_table",
    authors: ["The RCU workshop"],
    description: "What the lab holds the table against",
    license: "GPL",
    params: {
        step: u32 {
            default: 0,
            description: "The step of the lab",
        },
        n: u32 {
            default: 0,
            description: "The run's number",
        },
    },
}

/// All keys have the same hash, and so the same bucket. Only their bytes tell them from each other.
struct Equal;

impl KeyHash for Equal {
    fn hash(&self, _bytes: &[u8]) -> u32 {
        0x5eed_1157
    }
}

type Table<V> = RcuTable<V, InProcess, Equal>;

/// Makes a table of one bucket, in which `max` entries may wait.
fn table<V: Value>(max: u32) -> Result<(Table<V>, Arc<Cap>)> {
    let cap = Cap::new(max, GFP_KERNEL)?;
    let options = Options {
        buckets: 1,
        ..Options::with_cap(cap.clone())
    };
    Ok((Table::new(options, Equal, GFP_KERNEL)?, cap))
}

/// Gives a key a value by `update()`, in which there is no exercise. An attempt that fails drops the
/// value, so there may be several.
fn put<V: Value>(table: &Table<V>, key: &[u8], flags: Flags, make: impl Fn() -> V) -> Result {
    table.update(table.key(key), flags, |_| (Change::Put(make()), ()))
}

/// The errno of a result, for the log.
fn errno<V>(result: Result<(), NotStored<V>>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(refused) => refused.error.to_errno(),
    }
}

// --- Step 1 -------------------------------------------------------------------------------------

/// Keys that are easily taken for each other.
const KEYS: [&[u8]; 6] = [b"", b"a", b"ab", b"abc", b"abd", b"a\0"];

fn lookup(n: u32) -> Result {
    let (table, _) = table::<Word<u64>>(100)?;
    for (number, key) in (1..).zip(KEYS) {
        put(&table, key, GFP_KERNEL, || Word::new(number))?;
    }
    let value = |key| table.with(key, |value| value.get());
    let found = KEYS
        .iter()
        .fold(0, |to, key| to * 10 + value(table.key(key)).unwrap_or(0));
    let absent = [&b"b"[..], b"ac", b"abcd", b"a\0\0", b"\0"];
    let wrongly = absent
        .iter()
        .filter(|key| value(table.key(key)).is_some())
        .count();
    let other = value(Key::with_hash(b"abc", 1)).is_some();
    pr_info!("[probe] keys: found={found} n={n}\n");
    pr_info!(
        "[probe] absent: found={wrongly} other_hash={} n={n}\n",
        yes(other)
    );
    Ok(())
}

// --- Step 2 -------------------------------------------------------------------------------------

/// Whether interrupts are disabled here, as they are where the lock of a bucket is held.
fn interrupts_are_off() -> bool {
    let flags: usize;
    // SAFETY: It reads the flags of this CPU.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags) };
    flags & 1 << 9 == 0
}

/// How often a value was asked to take over another, and how often that was without the lock.
static STORES: Atomic<u64> = Atomic::new(0);
static UNLOCKED: Atomic<u64> = Atomic::new(0);

/// A value of some kind: it takes over others of its kind.
struct Kind(u64, Atomic<u64>);

impl Kind {
    fn new(kind: u64, value: u64) -> Self {
        Self(kind, Atomic::new(value))
    }

    fn get(&self) -> u64 {
        self.0 * 10 + self.1.load(Relaxed)
    }
}

impl Value for Kind {
    fn in_place(&self) -> bool {
        comes_between();
        true
    }

    fn store(&self, new: Self, _locked: &UnderLock) -> Result<(), Self> {
        STORES.add(1, Relaxed);
        UNLOCKED.add(u64::from(!interrupts_are_off()), Relaxed);
        if new.0 != self.0 {
            return Err(new);
        }
        self.1.store(new.1.load(Relaxed), Relaxed);
        Ok(())
    }
}

fn in_place(n: u32) -> Result {
    let (words, cap) = table::<Word<u64>>(10)?;
    put(&words, b"key", GFP_KERNEL, || Word::new(1))?;
    let guard = RcuReadGuard::new();
    let reader = words.get(&guard, words.key(b"key"));
    let stored = put(&words, b"key", GFP_ATOMIC, || Word::new(n.into()));
    pr_info!(
        "[probe] word: says={} stored={} reader_sees={} waiting={} n={n}\n",
        yes(Word::new(0u64).in_place()),
        yes(stored.is_ok()),
        reader.map_or(0, |word| word.get()),
        cap.waiting()
    );
    drop(guard);

    let (kinds, _) = table::<Kind>(10)?;
    let value = || {
        kinds
            .with(kinds.key(b"key"), |value| value.get())
            .unwrap_or(0)
    };
    put(&kinds, b"key", GFP_KERNEL, || Kind::new(1, 1))?;
    let before = STORES.load(Relaxed);
    put(&kinds, b"key", GFP_KERNEL, || Kind::new(1, 2))?;
    let (same, stores) = (value(), STORES.load(Relaxed) - before);
    put(&kinds, b"key", GFP_KERNEL, || Kind::new(2, 3))?;
    pr_info!(
        "[probe] kinds: asked={} same={same} other={} n={n}\n",
        yes(stores > 0),
        value()
    );
    pr_info!("[probe] lock: unlocked={} n={n}\n", UNLOCKED.load(Relaxed));
    Ok(())
}

// --- Step 3 -------------------------------------------------------------------------------------

/// The table that another updater changes while one is on its way to the lock; 0 for none.
static BETWEEN: Atomic<usize> = Atomic::new(0);

/// Another updater comes.
fn comes_between() {
    let table = BETWEEN.xchg(0, Relaxed);
    if table != 0 {
        // SAFETY: The one who has set this has the table.
        let table = unsafe { &*(table as *const Table<Kind>) };
        let _ = put(table, b"between", GFP_KERNEL, || Kind::new(7, 7));
    }
}

fn store(n: u32) -> Result {
    let (table, _) = table::<Kind>(10)?;
    let value = |key: &[u8]| table.with(table.key(key), |value| value.get()).unwrap_or(0);
    let (a, b) = (table.key(b"a"), table.key(b"b"));
    let inserted = errno(table.insert(a, Kind::new(1, 1), GFP_KERNEL));
    let again = match table.insert(a, Kind::new(1, 2), GFP_KERNEL) {
        Err(refused) if refused.error == EEXIST => refused.value.get(),
        _ => 0,
    };
    let missing = errno(table.replace(b, Kind::new(1, 3), GFP_KERNEL));
    pr_info!(
        "[probe] insert: errno={inserted} again={again} missing={missing} finds={} n={n}\n",
        value(b"a")
    );

    // A value that might be stored in place, over one of another kind.
    let guess = errno(table.set(a, Kind::new(2, 4), GFP_KERNEL));
    let place = errno(table.replace(a, Kind::new(2, 5), GFP_KERNEL));
    pr_info!(
        "[probe] guess: errno={guess} in_place={place} finds={} n={n}\n",
        value(b"a")
    );

    // Somebody else inserts the same key first.
    BETWEEN.store(&raw const table as usize, Relaxed);
    let late = errno(table.insert(table.key(b"between"), Kind::new(1, 6), GFP_KERNEL));
    let came = BETWEEN.xchg(0, Relaxed) == 0;
    pr_info!(
        "[probe] between: came={} errno={late} finds={} n={n}\n",
        yes(came),
        value(b"between")
    );

    // There is room for one, and each of them leaves one.
    let (narrow, cap) = self::table::<Kind>(1)?;
    let mut full = 0;
    for number in 1..=8 {
        full = full.min(errno(narrow.set(
            narrow.key(b"a"),
            Kind::new(number, 0),
            GFP_KERNEL,
        )));
    }
    let left = narrow.with(narrow.key(b"a"), |value| value.get());
    pr_info!(
        "[probe] full: errno={full} finds={} waited={} n={n}\n",
        left.unwrap_or(0),
        yes(narrow.waits() > 0)
    );
    until(|| cap.waiting() == 0);
    Ok(())
}

// --- Step 4 -------------------------------------------------------------------------------------

/// How many were dropped.
static DROPS: Atomic<u64> = Atomic::new(0);

/// A value that is counted when it is dropped.
struct Counted(u64);

impl Drop for Counted {
    fn drop(&mut self) {
        DROPS.add(1, Relaxed);
    }
}

impl Value for Counted {}

/// A table of so many.
fn counted(count: u64, cap: u32) -> Result<(Table<Counted>, Arc<Cap>)> {
    let (table, cap) = table(cap)?;
    for number in 1..=count {
        put(&table, &number.to_le_bytes(), GFP_KERNEL, || {
            Counted(number)
        })?;
    }
    Ok((table, cap))
}

fn remove(n: u32) -> Result {
    let (table, cap) = counted(3, 10)?;
    let two = table.key(&[2, 0, 0, 0, 0, 0, 0, 0]);
    let guard = RcuReadGuard::new();
    let reader = table.get(&guard, two);
    let (removed, again) = (table.remove(two), table.remove(two));
    let finds = table.get(&guard, two).is_some();
    pr_info!(
        "[probe] remove: removed={} again={} finds={} len={} n={n}\n",
        yes(removed),
        yes(again),
        yes(finds),
        table.len()
    );
    let holds = reader.map_or(0, |value| value.0);
    let waiting = cap.waiting();
    drop(guard);
    pr_info!("[probe] retired: holds={holds} waiting={waiting} n={n}\n");

    // There is room for none.
    let (narrow, none) = counted(1, 0)?;
    let one = narrow.key(&[1, 0, 0, 0, 0, 0, 0, 0]);
    let removed = narrow.remove(one);
    pr_info!(
        "[probe] full: removed={} waited={} n={n}\n",
        yes(removed),
        yes(narrow.waits() > 0)
    );

    until(|| cap.waiting() == 0 && none.waiting() == 0);
    clear(n)
}

fn clear(n: u32) -> Result {
    let (table, cap) = counted(3, 10)?;
    let key = |number: u8| [number, 0, 0, 0, 0, 0, 0, 0];
    let drops = DROPS.load(Relaxed);
    let guard = RcuReadGuard::new();
    let reader = table.get(&guard, table.key(&key(2)));
    table.clear();
    let finds = (1..=3)
        .filter(|number| table.get(&guard, table.key(&key(*number))).is_some())
        .count();
    pr_info!(
        "[probe] clear: finds={finds} holds={} len={} waiting={} n={n}\n",
        reader.map_or(0, |value| value.0),
        table.len(),
        cap.waiting()
    );
    let early = DROPS.load(Relaxed) - drops;
    if finds > 0 {
        // What is in the table still is freed, or will be.
        mem::forget(table);
        return Ok(());
    }
    drop(guard);
    let all = until(|| DROPS.load(Relaxed) - drops == 3);
    pr_info!("[probe] dropped: early={early} all={} n={n}\n", yes(all));
    Ok(())
}

// --- Step 5 -------------------------------------------------------------------------------------

/// How many elements are walked through: more than two batches.
const ELEMENTS: u64 = 70;

/// Walks through a table, does something when the first few were seen, and counts how often each
/// was seen. Returns how many of the first [`ELEMENTS`] were seen once, more often, and how many
/// others there were.
fn walk_through(table: &Table<Word<u64>>, mut then: impl FnMut()) -> Result<(usize, usize, usize)> {
    let mut seen = KVec::from_elem(0u32, ELEMENTS as usize, GFP_KERNEL)?;
    let mut others = 0;
    let mut walk = table.walk(GFP_KERNEL, |word| word.get())?;
    for step in 0..4 * ELEMENTS {
        let Some((_, number)) = walk.next() else {
            break;
        };
        match seen.get_mut(number as usize) {
            Some(count) => *count += 1,
            None => others += 1,
        }
        if step == 5 {
            then();
        }
    }
    let count = |wanted: fn(&u32) -> bool| seen.iter().filter(|count| wanted(count)).count();
    Ok((count(|n| *n == 1), count(|n| *n > 1), others))
}

fn elements(table: &Table<Word<u64>>) -> Result {
    for number in 0..ELEMENTS {
        put(table, &number.to_le_bytes(), GFP_KERNEL, || {
            Word::new(number)
        })?;
    }
    Ok(())
}

fn walk_all(n: u32) -> Result {
    let (one, _) = table::<Word<u64>>(1000)?;
    let (once, more, _) = walk_through(&one, || ())?;
    pr_info!("[probe] empty: seen={} n={n}\n", once + more);
    elements(&one)?;
    let mut outside = false;
    let (once, more, _) = walk_through(&one, || outside = GracePeriod::begin().ends())?;
    pr_info!("[probe] walk: once={once} more={more} n={n}\n");
    pr_info!("[probe] outside: {} n={n}\n", yes(outside));

    // Others remove what the walk has just seen, and insert others.
    let (once, more, others) = walk_through(&one, || {
        for number in 20..50u64 {
            // Each has its number from the order in which they were inserted: these are at the end
            // of the first batch, which was copied, and behind it.
            if (36..40).contains(&number) {
                one.remove(one.key(&number.to_le_bytes()));
            }
            let new = 1000 + number;
            let _ = put(&one, &new.to_le_bytes(), GFP_KERNEL, || Word::new(new));
        }
    })?;
    pr_info!("[probe] changed: once={once} more={more} others={others} n={n}\n");

    // Several buckets, most of them empty.
    let options = Options {
        buckets: 64,
        ..Options::with_cap(Cap::new(10, GFP_KERNEL)?)
    };
    let many = Table::<Word<u64>>::new(options, Equal, GFP_KERNEL)?;
    elements(&many)?;
    for number in 0..4 {
        let bytes = [number];
        let key = Key::with_hash(&bytes, 7 * u32::from(number) + 1);
        many.update(key, GFP_KERNEL, |_| {
            (Change::Put(Word::new(5000 + u64::from(number))), ())
        })?;
    }
    let (once, more, others) = walk_through(&many, || ())?;
    pr_info!("[probe] buckets: once={once} more={more} others={others} n={n}\n");
    Ok(())
}

// --- Step 6 -------------------------------------------------------------------------------------

fn unload_all(n: u32) -> Result {
    let unload = Unload::after(|| counted(3, 10))?;
    let before = DROPS.load(Relaxed);
    drop(unload);
    let dropped = DROPS.load(Relaxed) - before;
    pr_info!("[probe] unload: dropped={dropped} n={n}\n");
    until(|| DROPS.load(Relaxed) - before == 3);

    let mut before = 0;
    let half = Unload::<Table<Counted>>::after(|| {
        let _table = counted(2, 10)?;
        before = DROPS.load(Relaxed);
        Err(EIO)
    });
    let dropped = DROPS.load(Relaxed) - before;
    let errno = half.err().map_or(0, Error::to_errno);
    pr_info!("[probe] half: errno={errno} dropped={dropped} n={n}\n");
    Ok(())
}

fn run(step: u32, n: u32) -> Result {
    match step {
        1 => lookup(n),
        2 => in_place(n),
        3 => store(n),
        4 => remove(n),
        5 => walk_all(n),
        6 => unload_all(n),
        _ => Err(EINVAL),
    }
}

struct LabTable;

impl kernel::Module for LabTable {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let result = run(
            module_parameters::step.value(),
            module_parameters::n.value(),
        );
        // Whatever it was: when this module goes, nothing of it is left to be called.
        drop(RcuBarrier::new());
        result?;
        Ok(Self)
    }
}
