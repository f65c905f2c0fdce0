// SPDX-License-Identifier: GPL-2.0

//! Torture for the table: readers that stay as long as they may, walkers that change what they walk
//! along, updaters that change values in place and by others, and values that know which key they
//! are of.
//!
//! - [`tables`]: what is tortured.
//! - [`readers`]: those who look keys up, and those who come to each element.
//! - [`updaters`]: those who add, set, remove, and drop whole tables.
//!
//! What is in a value, and how it shows that it was freed too early, is that of stage 2's torture:
//! [`element`].

use kernel::{
    new_spinlock,
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

use element::Slots;
use hash::SipHash;
use keys::{
    Spread,
    KEYS, //
};
use kthread::{
    outcome,
    KThread,
    StopToken, //
};
use parameter::checked;
use readers::{
    Reader,
    TOTAL, //
};
use tables::{
    fail,
    new_renewed,
    new_table,
    Role,
    Tables,
    NAMES, //
};
use threads::Threads;
use unload::Unload;
use updaters::DONE;

mod bucket;
mod entry;
pub mod hash;
mod keys;
pub mod table;
pub mod unload;
pub mod value;
pub mod walk;

#[path = "../02-rcu-read-guard/guard.rs"]
pub mod guard;
#[path = "../02-rcu-read-guard/helpers.rs"]
mod helpers;
#[path = "../01-phased-state/kthread.rs"]
pub mod kthread;
#[path = "../02-rcu-read-guard/parameter.rs"]
pub mod parameter;
#[path = "../02-rcu-read-guard/random.rs"]
pub mod random;
#[path = "../02-rcu-read-guard/retired.rs"]
pub mod retired;

#[path = "../02-rcu-read-guard/torture/busy.rs"]
mod busy;
#[path = "../02-rcu-read-guard/torture/element.rs"]
mod element;
#[path = "torture/readers.rs"]
mod readers;
#[path = "torture/tables.rs"]
mod tables;
#[path = "../02-rcu-read-guard/torture/threads.rs"]
mod threads;
#[path = "torture/updaters.rs"]
mod updaters;

module! {
    type: TableTorture,
    name: "table_torture",
    authors: ["The RCU workshop"],
    description: "Torture for the RCU-protected hash table",
    license: "GPL",
    params: {
        seconds: u32 {
            default: 10,
            description: "How long it lasts, in s",
        },
        readers: u32 {
            default: 3,
            description: "How many threads look keys up",
        },
    },
}

/// All that is made before the first thread.
struct Torture {
    span: Delta,
    readers: usize,
    tables: Arc<Tables>,
    adding: [Slots; 2],
    setting: [Slots; 2],
    renewing: Slots,
}

impl Torture {
    fn new() -> Result<Self> {
        let seconds = checked("seconds", module_parameters::seconds.value(), 1, 3600)?;
        let readers = checked("readers", module_parameters::readers.value(), 1, 64)?;

        let mut taken = 0;
        let mut slots = |len| Slots::new(&mut taken, len);
        let (adding, setting) = ([slots(512)?, slots(512)?], [slots(512)?, slots(512)?]);
        let mut renewing = slots(1536)?;

        let sip = || Spread::Sip(SipHash::new());
        let all = [
            new_table(1, sip(), &mut renewing)?,
            new_table(8, sip(), &mut renewing)?,
            new_table(256, sip(), &mut renewing)?,
            new_table(8, Spread::Equal, &mut renewing)?,
        ];
        let first = new_renewed(&mut random::Random::new(0), &mut renewing)?;
        let tables = Arc::pin_init(
            pin_init!(Tables {
                all,
                added: [const { [const { Atomic::new(0) }; KEYS] }; tables::TABLES],
                renewed <- new_spinlock!(first),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            span: Delta::from_secs(seconds.into()),
            readers: readers as usize,
            tables,
            adding,
            setting,
            renewing,
        })
    }

    /// Creates the threads; none runs yet. If one cannot be had, those before it are dropped.
    fn threads(self) -> Result<Threads> {
        let mut threads = Threads::new();

        for number in 0..self.readers {
            let mut reader = Reader::new(number, self.tables.clone())?;
            threads.add(c"reader", move |stop| reader.run(stop))?;
        }
        for number in 0..2 {
            let tables = self.tables.clone();
            threads.add(c"walker", move |stop| {
                readers::walker(number, &tables, stop)
            })?;
        }
        threads.add(c"hog", busy::hog)?;

        for (seed, slots) in self.adding.into_iter().enumerate() {
            let tables = self.tables.clone();
            threads.add(c"adding", move |stop| {
                updaters::adding(&tables, slots, seed + 100, stop)
            })?;
        }
        for (seed, slots) in self.setting.into_iter().enumerate() {
            let tables = self.tables.clone();
            threads.add(c"setting", move |stop| {
                updaters::setting(&tables, slots, seed + 150, stop)
            })?;
        }
        let tables = self.tables.clone();
        threads.add(c"removing", move |stop| updaters::removing(&tables, stop))?;
        let (tables, slots) = (self.tables, self.renewing);
        threads.add(c"renewing", move |stop| {
            updaters::renewing(&tables, slots, stop)
        })?;
        Ok(threads)
    }
}

// ANCHOR: sums
/// Compares each counter with how often it was added to.
fn sums_are_right(tables: &Tables) {
    for ((table, added), name) in tables.all.iter().zip(&tables.added).zip(NAMES) {
        for key in (0..KEYS).filter(|key| tables::role(*key) == Role::Counter) {
            let mut room = [0; 8];
            let hashed = table.key(keys::bytes(key, &mut room));
            let count = table.with(hashed, |item| item.get().1);
            if count != Some(added[key].load(Relaxed)) {
                fail("director", 0, "lost", name, key);
            }
        }
    }
}
// ANCHOR_END: sums

/// The director, as a thread of its own: it has the others, and no thread outlives it.
fn director(torture: Torture, stop: &StopToken) -> Result {
    let (span, readers, tables) = (torture.span, torture.readers, torture.tables.clone());
    // ANCHOR: director-begins
    // ANCHOR_END: director-begins

    let threads = torture
        .threads()
        .inspect_err(|e| pr_err!("[director] no threads: errno={}\n", e.to_errno()))?;

    let seconds = span.as_millis() / 1000;
    pr_info!("[director] start torture: seconds={seconds} readers={readers}\n");
    threads.start();
    let slept = stop.sleep(span);

    // Stops each and waits for its end. No one waits for another for longer than a section.
    drop(threads);

    sums_are_right(&tables);
    let waits = tables.all.iter().map(|table| table.waits()).sum();
    drop(tables);

    if let Err(e) = slept {
        pr_info!("[director] stopped\n");
        return Err(e);
    }
    // All that was retired is reclaimed by then: see `Unload`, which does the same.
    drop(retired::RcuBarrier::new());
    report(waits);
    pr_info!("[director] end story\n");
    Ok(())
}

/// Writes down how it went.
fn report(waits: u64) {
    let get = |count: &Atomic<u64>| count.load(Relaxed);

    let [age0, age1, older] = TOTAL.ages.each_ref().map(get);
    pr_info!("[director] histogram: age0={age0} age1={age1} older={older}\n");

    let seen = [
        &TOTAL.numbers,
        &TOTAL.none,
        &TOTAL.outlived,
        &TOTAL.walks,
        &TOTAL.last_walks,
    ]
    .map(get);
    let [numbers, none, outlived, walks, last_walks] = seen;
    pr_info!(
        "[director] reads: numbers={numbers} none={none} outlived={outlived} walks={walks} \
         last_walks={last_walks}\n"
    );

    let ways = [&DONE.added, &DONE.set, &DONE.removed, &DONE.renewed].map(get);
    let [added, set, removed, renewed] = ways;
    let (refused, no_memory) = (get(&DONE.refused), get(&DONE.no_memory));
    pr_info!(
        "[director] changes: added={added} set={set} removed={removed} renewed={renewed} \
         refused={refused} no_memory={no_memory} waits={waits}\n"
    );

    let in_use = element::in_use();
    pr_info!("[director] freed: in_use={in_use}\n");

    // What was not tried proves nothing. Without a reader that was at an element when it was
    // retired, nothing was.
    let proven = !seen.contains(&0) && !ways.contains(&0) && age1 > 0 && waits > 0;
    let failures = element::failures() + tables::failures();
    let verdict = match (failures, in_use) {
        (0, 0) if proven => "held",
        (0, 0) => "unproven",
        (0, _) => "NOT FREED",
        _ => "VIOLATED",
    };
    pr_info!("[director] verdict: failures={failures} {verdict}\n");
}

// ANCHOR: checks
// (Here a test puts what makes allocations fail.)
// ANCHOR_END: checks

// ANCHOR: module
/// The module: its users, and what comes after them.
struct TableTorture(Unload<Option<KThread>>);

impl kernel::Module for TableTorture {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let users = Unload::after(|| {
            let torture = Torture::new()?;
            let director = KThread::create(c"director", move |stop| director(torture, stop))
                .inspect_err(|e| pr_err!("[init] no director: errno={}\n", e.to_errno()))?;

            pr_info!("[init] init\n");
            director.start();
            Ok(Some(director))
        })?;
        Ok(Self(users))
    }
}

impl Drop for TableTorture {
    fn drop(&mut self) {
        // The director ends the others.
        if let Some(director) = self.0.users().take() {
            pr_info!("[exit] exit: director={}\n", outcome(director.join()));
        }
    }
}
// ANCHOR_END: module
