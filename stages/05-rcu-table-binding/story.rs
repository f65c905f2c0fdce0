// SPDX-License-Identifier: GPL-2.0

//! A table is changed while somebody is reading it.
//!
//! The client is a reader: it finds three values, and stays in its section. Meanwhile the admin
//! changes all three, and removes a fourth. One of the changes the client sees at once, in the very
//! value that it has: a number over a number, in place. The others it does not see, because what it
//! has was replaced by something else, and is kept for it until it leaves.
//!
//! Then three more things that a table is for: to add to a number from several threads; to come to
//! each element and change the table on the way; and to be changed faster than grace periods end.

use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    datum::Datum,
    event::Event,
    guard::{
        rcu_read,
        ReadSide, //
    },
    hash::SipHash,
    kthread::{
        KThread,
        StopToken, //
    },
    retired::Cap,
    spin::spin_until,
    table::{
        Change,
        Options,
        RcuTable, //
    },
};

/// The table of the story.
// ANCHOR: table-type
pub(crate) type Table = RcuTable<Datum>;
// ANCHOR_END: table-type

/// How many entries may wait.
const MAX_WAITING: u32 = 64;

/// How many elements are there when somebody comes to each.
const ELEMENTS: usize = 100;

/// How many threads add to a number, and how often.
const ADDERS: i64 = 2;
const ADDITIONS: i64 = 5000;

/// How many times a value is replaced as fast as can be.
const STORM: u32 = 1000;

/// How long callbacks may take that are on their way, before we say that they did not come.
const PATIENCE: Delta = Delta::from_secs(10);

/// All that the threads share.
struct Scene {
    table: Table,
    cap: Arc<Cap>,
    /// How long things overlap at least.
    gap: Delta,
    inside: Event,
    changed: Event,
    left: Event,
}

/// A value that was found, or that there is none, for the log.
struct Shown<'a>(Option<&'a Datum>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => fmt::Display::fmt(value, f),
            None => f.write_str("nil"),
        }
    }
}

impl Scene {
    fn get<'g>(&self, guard: &'g impl ReadSide, key: &[u8]) -> Shown<'g> {
        Shown(self.table.get(guard, self.table.key(key)))
    }

    fn set(&self, key: &[u8], value: Datum) -> Result {
        Ok(self.table.set(self.table.key(key), value, GFP_KERNEL)?)
    }
}

// ANCHOR: client
/// The client, as a thread of its own: a reader that takes its time.
fn client(scene: &Scene, stop: &StopToken) -> Result {
    let result: Result = rcu_read(|guard| {
        // ANCHOR: client-finds
        let [motd, hits, limit] =
            [&b"motd"[..], b"hits", b"limit"].map(|key| scene.get(guard, key));
        // ANCHOR_END: client-finds
        pr_info!("[client] inside: motd={motd} hits={hits} limit={limit}\n");
        scene.inside.set();

        // It must not sleep here. And it waits for what the admin does before any grace period.
        spin_until(&scene.changed, scene.gap, stop)?;

        // These are the same three references.
        pr_info!("[client] holds: motd={motd} hits={hits} limit={limit}\n");
        Ok(())
    });
    scene.left.set();
    result?;
    rcu_read(|guard| {
        let [motd, hits, limit, beta] =
            [&b"motd"[..], b"hits", b"limit", b"beta"].map(|key| scene.get(guard, key));
        pr_info!("[client] asks again: motd={motd} hits={hits} limit={limit} beta={beta}\n");
    });
    Ok(())
}
// ANCHOR_END: client

// ANCHOR: admin
/// The admin, as a thread of its own: changes things while the client looks at them.
fn admin(scene: &Scene, stop: &StopToken) -> Result {
    // ANCHOR: admin-changes
    scene.set(b"motd", Datum::text(b"closed", GFP_KERNEL)?)?;
    pr_info!("[admin] replace: motd=closed\n");
    scene.set(b"hits", Datum::int(2))?;
    pr_info!("[admin] in place: hits=2\n");
    scene.set(b"limit", Datum::text(b"none", GFP_KERNEL)?)?;
    pr_info!("[admin] replace: limit=none\n");
    scene.table.remove(scene.table.key(b"beta"));
    pr_info!("[admin] remove: beta\n");
    // ANCHOR_END: admin-changes

    let waiting = scene.cap.waiting();
    pr_info!("[admin] retired: waiting={waiting}\n");
    scene.changed.set();

    // The client was inside when they were retired, so no grace period is over before it leaves.
    let begin = Instant::<Monotonic>::now();
    stop.wait_until(|| scene.cap.waiting() == 0 || begin.elapsed() > PATIENCE)?;
    let waiting = scene.cap.waiting();
    pr_info!("[admin] reclaimed: waiting={waiting}\n");
    Ok(())
}
// ANCHOR_END: admin

/// Whatever becomes of it, nobody waits for a thread in vain.
fn ends(who: &str, result: Result, events: &[&Event]) -> Result {
    match result {
        Ok(()) => {}
        Err(EINTR) => pr_info!("[{who}] stopped\n"),
        Err(e) => pr_err!("[{who}] gave up: errno={}\n", e.to_errno()),
    }
    for event in events {
        event.set();
    }
    result
}

/// The first part: two who meet at the same values.
fn meeting(scene: &Arc<Scene>, stop: &StopToken) -> Result {
    scene.set(b"motd", Datum::text(b"welcome", GFP_KERNEL)?)?;
    scene.set(b"hits", Datum::int(1))?;
    scene.set(b"limit", Datum::int(10))?;
    scene.set(b"beta", Datum::bool(true))?;
    let elements = scene.table.len();
    pr_info!("[director] publish: elements={elements}\n");

    let own = scene.clone();
    let client = KThread::create(c"client", move |stop| {
        ends("client", client(&own, stop), &[&own.inside, &own.left])
    })?;
    let own = scene.clone();
    let admin = KThread::create(c"admin", move |stop| {
        ends("admin", admin(&own, stop), &[&own.changed])
    })?;
    pr_info!("[director] start client\n");
    client.start();
    stop.wait_until(|| scene.inside.reached())?;
    pr_info!("[director] start admin\n");
    admin.start();
    stop.wait_until(|| scene.left.reached())?;
    client.join()?;
    stop.wait_until(|| scene.cap.waiting() == 0)?;
    admin.join()
}

// ANCHOR: adding
/// The second part: several threads add to one number. None of it is lost.
fn adding(scene: &Arc<Scene>, stop: &StopToken) -> Result {
    let done = Arc::new(Atomic::new(0), GFP_KERNEL)?;
    let mut threads = KVec::new();
    for _ in 0..ADDERS {
        let (scene, done) = (scene.clone(), done.clone());
        let adder = KThread::create(c"adder", move |stop| {
            let key = scene.table.key(b"sum");
            for _ in 0..ADDITIONS {
                if stop.should_stop() {
                    return Err(EINTR);
                }
                // ANCHOR: adder-adds
                scene.table.update(key, GFP_KERNEL, |sum| {
                    let sum = match sum {
                        Some(Datum::Int(sum)) => sum.get(),
                        _ => 0,
                    };
                    (Change::Put(Datum::int(sum + 1)), ())
                })?;
                // ANCHOR_END: adder-adds
            }
            done.add(1, Relaxed);
            Ok(())
        })?;
        threads.push(adder, GFP_KERNEL)?;
    }
    for adder in &threads {
        adder.start();
    }
    let all = || done.load(Relaxed) == ADDERS;
    stop.wait_until(all)?;
    drop(threads);
    rcu_read(|guard| {
        let (sum, expected) = (scene.get(guard, b"sum"), ADDERS * ADDITIONS);
        pr_info!("[director] add: threads={ADDERS} sum={sum} expected={expected}\n");
    });
    Ok(())
}
// ANCHOR_END: adding

// ANCHOR: walking
/// The third part: somebody comes to each element, and changes the table on the way.
fn walking(scene: &Scene, stop: &StopToken) -> Result {
    let table = &scene.table;
    table.clear();
    for number in 0..ELEMENTS {
        scene.set(&name(b'a', number), Datum::int(number as i64))?;
    }

    let mut seen = 0;
    let mut sum = 0;
    // ANCHOR: walking-walk
    let mut walk = table.walk(GFP_KERNEL, |value| match value {
        Datum::Int(value) => value.get(),
        _ => 0,
    })?;
    // ANCHOR_END: walking-walk
    while let Some((key, value)) = walk.next() {
        // Some of those that come on the way are seen, too: those in a bucket that is still ahead.
        if key.first() != Some(&b'a') {
            continue;
        }
        seen += 1;
        sum += value;
        // What was seen goes, and something else comes.
        table.remove(table.key(key));
        scene.set(&name(b'b', seen), Datum::int(value))?;
        // No reader is inside, so one may sleep.
        if seen == ELEMENTS / 2 {
            stop.sleep(Delta::from_millis(10))?;
        }
    }
    drop(walk);
    let elements = table.len();
    pr_info!("[director] walk: seen={seen} sum={sum} elements={elements}\n");
    Ok(())
}

/// Makes a name of a letter and a number.
fn name(letter: u8, number: usize) -> [u8; 4] {
    let [.., high, low] = (number as u32).to_be_bytes();
    [letter, b'-', high, low]
}
// ANCHOR_END: walking

// ANCHOR: storm
/// The fourth part: a value is replaced again and again, faster than grace periods end.
fn storm(scene: &Scene, stop: &StopToken) -> Result {
    let mut most = 0;
    for _ in 0..STORM {
        scene.set(b"motd", Datum::text(b"storm", GFP_KERNEL)?)?;
        most = most.max(scene.cap.waiting());
        if stop.should_stop() {
            return Err(EINTR);
        }
    }
    let waited = scene.table.waits() > 0;
    let in_bounds = most <= MAX_WAITING;
    pr_info!("[director] storm: updates={STORM} waited={waited} in_bounds={in_bounds}\n");
    Ok(())
}
// ANCHOR_END: storm

/// Tells the story, with a table of so many buckets.
pub(crate) fn tell(buckets: usize, gap: Delta, stop: &StopToken) -> Result {
    let cap = Cap::new(MAX_WAITING, GFP_KERNEL)?;
    let options = Options {
        buckets,
        ..Options::with_cap(cap.clone())
    };
    let table = Table::new(options, SipHash::new(), GFP_KERNEL)?;
    let scene = Arc::new(
        Scene {
            table,
            cap: cap.clone(),
            gap,
            inside: Event::new(),
            changed: Event::new(),
            left: Event::new(),
        },
        GFP_KERNEL,
    )?;
    pr_info!("[director] table: buckets={buckets} max_waiting={MAX_WAITING}\n");

    meeting(&scene, stop)?;
    adding(&scene, stop)?;
    walking(&scene, stop)?;
    storm(&scene, stop)?;

    // ANCHOR: tell-drops
    drop(scene);
    // ANCHOR_END: tell-drops
    let begin = Instant::<Monotonic>::now();
    stop.wait_until(|| cap.waiting() == 0 || begin.elapsed() > PATIENCE)?;
    let waiting = cap.waiting();
    pr_info!("[director] dropped: waiting={waiting}\n");
    Ok(())
}
