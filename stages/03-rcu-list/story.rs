// SPDX-License-Identifier: GPL-2.0

//! A routing table is changed while somebody is on his way through it.
//!
//! The forwarder is a reader: it looks a route up, and is at it for a while. Meanwhile the updater
//! adds a route, replaces the very one that the forwarder is at, and removes the one behind it. A
//! visitor, who comes later, walks through the new table. The forwarder still has its node, which
//! is gone from the list, and walks on from there: by a node that is gone as well, into the part
//! that both tables share.
//!
//! Each of them saw a table that was whole. They are not the same one.

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
    event::Event,
    guard::rcu_read,
    kthread::{
        KThread,
        StopToken, //
    },
    list::{
        NewNode,
        RcuList, //
    },
    route::{
        insert,
        Address,
        Route,
        RoutingTable, //
    },
    spin::spin_until,
};

/// How many routes of the story were dropped.
static DROPPED: Atomic<u64> = Atomic::new(0);

/// How long callbacks may take that are on their way, before we say that they did not come.
const PATIENCE: Delta = Delta::from_secs(10);

/// Where the packet is going that the forwarder has.
const DESTINATION: Address = Address::new([10, 1, 9, 9]);

/// The prefixes of the routes, by the numbers of their nodes.
const PREFIXES: [(Address, u32); 7] = [
    (Address::new([10, 1, 2, 0]), 24),
    (Address::new([10, 1, 0, 0]), 16),
    (Address::new([10, 0, 0, 0]), 8),
    (Address::new([0, 0, 0, 0]), 0),
    // These come later: one that is new, one in the place of node 2, one in the memory of node 3.
    (Address::new([10, 1, 9, 0]), 24),
    (Address::new([10, 1, 0, 0]), 16),
    (Address::new([10, 2, 0, 0]), 16),
];

/// The route of a node. The neighbour has the same number.
fn route(node: u32) -> Route {
    let prefix = PREFIXES[(node as usize - 1) % PREFIXES.len()];
    Route::new(node, prefix, node, &DROPPED)
}

/// All that the threads share.
struct Scene {
    table: Arc<RoutingTable>,
    /// How long things overlap at least.
    gap: Delta,
    /// What the threads wait for, so that the story takes its course on any machine.
    inside: Event,
    left: Event,
    not_ready: Event,
    visited: Event,
    freed: Event,
}

// ANCHOR: forwarder
/// The one who forwards a packet, as a thread of its own: a reader that takes its time.
fn forwarder(scene: &Scene, stop: &StopToken) -> Result {
    let result = rcu_read(|guard| {
        // ANCHOR: forwarder-begins
        let mut walk = scene.table.iter(guard);
        // ANCHOR_END: forwarder-begins
        let route = walk.find(|r| r.matches(DESTINATION)).ok_or(ENOENT)?;
        let Route { node, via, .. } = route;
        pr_info!("[forwarder] inside: to={DESTINATION} node={node} route={route} via={via}\n");
        scene.inside.set();

        // ANCHOR: forwarder-waits
        // It must not sleep here. And it waits for something that the updater does *before* it
        // waits for a grace period: or else each would wait for the other.
        spin_until(&scene.visited, scene.gap, stop)?;
        // ANCHOR_END: forwarder-waits

        // ANCHOR: forwarder-goes-on
        // The node is not in the list any more. It is what it was, and leads where it led.
        let seal = &route.seal;
        pr_info!("[forwarder] holds: node={node} via={via} seal={seal}\n");
        let nodes = Nodes::of(walk);
        pr_info!("[forwarder] walks on: nodes={nodes}\n");
        // ANCHOR_END: forwarder-goes-on
        Ok(())
    });
    match result {
        Ok(()) => pr_info!("[forwarder] left\n"),
        Err(EINTR) => pr_info!("[forwarder] stopped\n"),
        Err(_) => pr_err!("[forwarder] gave up\n"),
    }
    scene.left.set();
    result
}
// ANCHOR_END: forwarder

// ANCHOR: visitor
/// A visitor, as a thread of its own: a reader that comes when all is changed.
fn visitor(scene: &Scene) -> Result {
    let result = rcu_read(|guard| {
        let mut walk = scene.table.iter(guard);
        let route = walk.find(|r| r.matches(DESTINATION)).ok_or(ENOENT)?;
        let Route { node, via, .. } = route;
        pr_info!("[visitor] finds: to={DESTINATION} node={node} route={route} via={via}\n");

        let nodes = Nodes::of(scene.table.iter(guard));
        pr_info!("[visitor] walk: nodes={nodes}\n");
        Ok(())
    });
    scene.visited.set();
    result
}
// ANCHOR_END: visitor

/// The updater, as a thread of its own. Whatever becomes of it, nobody waits for it in vain.
fn updater(scene: &Scene, stop: &StopToken) -> Result {
    let result = change(scene, stop);
    match result {
        Ok(()) => {}
        Err(EINTR) => pr_info!("[updater] stopped\n"),
        Err(e) => pr_err!("[updater] gave up: errno={}\n", e.to_errno()),
    }
    scene.not_ready.set();
    scene.freed.set();
    result
}

// ANCHOR: updater
/// Adds node 5, replaces node 2 by 6, removes node 3, and uses its memory for node 7.
fn change(scene: &Scene, stop: &StopToken) -> Result {
    // What may fail, and what may sleep, comes before the lock.
    // ANCHOR: updater-allocates
    let five = NewNode::new(route(5), GFP_KERNEL)?;
    let six = NewNode::new(route(6), GFP_KERNEL)?;
    // ANCHOR_END: updater-allocates
    let mut table = scene.table.lock();

    // ANCHOR: updater-adds
    pr_info!("[updater] publish: node=5 route={} via=5\n", *five);
    insert(&mut table, five);
    // ANCHOR_END: updater-adds

    // ANCHOR: updater-replaces
    let mut cursor = table.cursor();
    let two = cursor.find(|r| r.node == 2).ok_or(ENOENT)?;
    pr_info!("[updater] replace: node=2 by=6 route={} via=6\n", *six);
    let two = two.replace(six)?;
    pr_info!("[updater] retire: node=2\n");
    // ANCHOR_END: updater-replaces

    // ANCHOR: updater-removes
    let three = cursor.find(|r| r.node == 3).ok_or(ENOENT)?;
    pr_info!("[updater] unlink: node=3 route={} via=3\n", *three);
    let three = three.remove().map_err(|_| EAGAIN)?;
    pr_info!("[updater] retire: node=3\n");
    // ANCHOR_END: updater-removes
    drop(table);

    // The forwarder is inside, so no grace period can be over.
    let (two, three) = match (two.try_reclaim(), three.try_reclaim()) {
        (Err(two), Err(three)) => (two, three),
        _ => return Err(EBUSY),
    };
    pr_info!("[updater] not yet: nodes=2,3\n");
    scene.not_ready.set();

    // ANCHOR: updater-waits
    let since = Instant::<Monotonic>::now();
    let two = two.synchronize().ok_or(EDEADLK)?;
    let ms = since.elapsed().as_millis();
    pr_info!("[updater] grace period: nodes=2,3 ms={ms}\n");
    // One grace period serves both: it began when both were unlinked.
    let three = three.try_reclaim().map_err(|_| EBUSY)?;

    drop(two);
    pr_info!("[updater] free: node=2\n");
    // ANCHOR_END: updater-waits

    // ANCHOR: updater-links-again
    // Nobody is at it any more, so it is ours, and may be linked again, for another route.
    let mut seven = NewNode::from(three);
    *seven = route(7);
    pr_info!("[updater] reuse: node=3 as=7\n");
    pr_info!("[updater] publish: node=7 route={} via=7\n", *seven);
    insert(&mut scene.table.lock(), seven);
    // ANCHOR_END: updater-links-again
    scene.freed.set();

    stop.wait_until(|| scene.left.reached())
}
// ANCHOR_END: updater

/// The numbers of some nodes, as they came.
struct Nodes {
    nodes: [u32; 8],
    count: usize,
}

impl Nodes {
    /// Walks to the end. It is called by readers, so it neither allocates nor sleeps.
    fn of<'a>(walk: impl Iterator<Item = &'a Route>) -> Self {
        let mut nodes = [0; 8];
        let mut count = 0;
        for (place, route) in nodes.iter_mut().zip(walk) {
            *place = route.node;
            count += 1;
        }
        Self { nodes, count }
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes.iter().take(self.count).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{node}")?;
        }
        Ok(())
    }
}

/// Makes the table that the story begins with.
fn first_table() -> Result<Arc<RoutingTable>> {
    let table: Arc<RoutingTable> = Arc::pin_init(RcuList::new(None), GFP_KERNEL)?;
    for node in 1..=4 {
        let node = NewNode::new(route(node), GFP_KERNEL)?;
        let Route { node: n, via, .. } = *node;
        pr_info!("[director] publish: node={n} route={} via={via}\n", *node);
        insert(&mut table.lock(), node);
    }
    Ok(table)
}

// ANCHOR: tell
/// Tells the story. When this returns, its threads are gone.
///
/// Readers are declared last, so they are the first to be stopped if it is cut short: the updater
/// may be waiting for them, and nobody can stop it then.
pub(crate) fn tell(gap: Delta, stop: &StopToken) -> Result {
    let dropped_before = DROPPED.load(Relaxed);
    let table = first_table()?;
    let scene = Arc::new(
        Scene {
            table: table.clone(),
            gap,
            inside: Event::new(),
            left: Event::new(),
            not_ready: Event::new(),
            visited: Event::new(),
            freed: Event::new(),
        },
        GFP_KERNEL,
    )?;

    let s = scene.clone();
    let updater = KThread::create(c"updater", move |stop| updater(&s, stop))?;
    let s = scene.clone();
    let visitor = KThread::create(c"visitor", move |_| visitor(&s))?;
    let s = scene.clone();
    let forwarder = KThread::create(c"forwarder", move |stop| forwarder(&s, stop))?;

    // Each "start" line is written before the thread is woken, so it comes before its lines.
    pr_info!("[director] start forwarder\n");
    forwarder.start();
    stop.wait_until(|| scene.inside.reached() || scene.left.reached())?;
    stop.sleep(gap)?;

    pr_info!("[director] start updater\n");
    updater.start();
    stop.wait_until(|| scene.not_ready.reached())?;
    stop.sleep(gap)?;

    pr_info!("[director] start visitor\n");
    visitor.start();
    stop.wait_until(|| scene.left.reached() && scene.visited.reached() && scene.freed.reached())?;
    forwarder.join().and(visitor.join()).and(updater.join())?;

    let nodes = Nodes::of(table.lock().iter());
    pr_info!("[director] table: nodes={nodes}\n");

    // ANCHOR: tell-drops
    // With the last reference to it the list is dropped, and retires what is in it.
    drop(scene);
    drop(table);
    // ANCHOR_END: tell-drops
    let begin = Instant::<Monotonic>::now();
    let freed = || DROPPED.load(Relaxed) - dropped_before;
    stop.wait_until(|| freed() == 7 || begin.elapsed() > PATIENCE)?;
    pr_info!("[director] dropped: made=7 freed={}\n", freed());
    Ok(())
}
// ANCHOR_END: tell
