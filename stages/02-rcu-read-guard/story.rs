// SPDX-License-Identifier: GPL-2.0

//! A shop raises its price while somebody is at the till.
//!
//! The till is a reader: it looks the price up, and is at it for a while. Meanwhile the updater
//! publishes a new list, and wants to reclaim the old one. A customer who comes later finds the
//! new list, while the till still has the old one; both are readers, and neither waits for
//! anybody. The updater waits, for the till.
//!
//! All is as RCU promises it, and the shop has lost money: the till sold at a price that was not
//! the price any more.

use kernel::{
    prelude::*,
    sync::{
        atomic::Atomic,
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
    prices::PriceList,
    rcu::{
        Rcu,
        RcuWrite, //
    },
    retired::InCallback,
    spin::spin_until, //
};

/// How many lists of the story were dropped.
static DROPPED: Atomic<u64> = Atomic::new(0);

const OLD_PRICE: u32 = 100;
const NEW_PRICE: u32 = 120;

/// All that the threads share.
struct Shop {
    prices: Rcu<PriceList, InCallback>,
    /// How long things overlap at least.
    gap: Delta,
    /// What the threads wait for, so that the story takes its course on any machine.
    till_inside: Event,
    till_left: Event,
    not_ready: Event,
    served: Event,
    freed: Event,
}

// ANCHOR: till
/// Somebody at the till, as a thread of its own: a reader that takes its time.
fn till(shop: &Shop, stop: &StopToken) -> Result {
    let result = rcu_read(|guard| {
        // ANCHOR: till-reads
        let list = shop.prices.read(guard).ok_or(ENODATA)?;
        // ANCHOR_END: till-reads
        pr_info!(
            "[till] inside: version={} price={}\n",
            list.version,
            list.price
        );
        shop.till_inside.set();

        // ANCHOR: till-waits
        // It must not sleep here. And it waits for something that the updater does *before* it
        // waits for a grace period: or else each would wait for the other.
        spin_until(&shop.served, shop.gap, stop)?;
        // ANCHOR_END: till-waits

        // ANCHOR: till-sells
        // The list that was found before is what it was, and it is there. It is not the latest:
        // who reads the pointer a second time may get another one, in the same section.
        let now = shop.prices.read(guard).ok_or(ENODATA)?;
        pr_info!(
            "[till] sold: version={} price={} list_price={} lost={} seal={}\n",
            list.version,
            list.price,
            now.price,
            now.price.saturating_sub(list.price),
            list.seal,
        );
        // ANCHOR_END: till-sells
        Ok(())
    });
    match result {
        Ok(()) => pr_info!("[till] left\n"),
        Err(EINTR) => pr_info!("[till] stopped\n"),
        Err(_) => pr_err!("[till] gave up\n"),
    }
    shop.till_left.set();
    result
}
// ANCHOR_END: till

// ANCHOR: customer
/// A customer, as a thread of its own: a reader that comes after the update.
fn customer(shop: &Shop) -> Result {
    let result = rcu_read(|guard| {
        let list = shop.prices.read(guard).ok_or(ENODATA)?;
        pr_info!(
            "[customer] asks: version={} price={}\n",
            list.version,
            list.price
        );
        Ok(())
    });
    shop.served.set();
    result
}
// ANCHOR_END: customer

/// The updater, as a thread of its own. Whatever becomes of it, nobody waits for it in vain.
fn updater(shop: &Shop, prices: RcuWrite<PriceList, InCallback>, stop: &StopToken) -> Result {
    let result = raise(shop, prices, stop);
    match result {
        Ok(()) => {}
        Err(EINTR) => pr_info!("[updater] stopped\n"),
        Err(e) => pr_err!("[updater] gave up: errno={}\n", e.to_errno()),
    }
    shop.not_ready.set();
    shop.freed.set();
    result
}

// ANCHOR: updater
/// Raises the price. Who has the one `RcuWrite` can do that, and nobody else.
fn raise(shop: &Shop, mut prices: RcuWrite<PriceList, InCallback>, stop: &StopToken) -> Result {
    let new = PriceList::new(prices.get().version + 1, NEW_PRICE, &DROPPED);

    // ANCHOR: updater-updates
    let old = prices.update(new, GFP_KERNEL)?;
    // ANCHOR_END: updater-updates
    pr_info!("[updater] publish: version={}\n", prices.get().version);
    pr_info!("[updater] retire: version={}\n", prices.get().version - 1);

    // To ask begins a grace period, and the till is inside: it cannot be over yet, so the answer is
    // no, and `old` is what it was.
    let old = match old.try_reclaim() {
        Err(old) => old,
        Ok(_) => return Err(EBUSY),
    };
    pr_info!("[updater] not yet: version=1\n");
    shop.not_ready.set();

    // ANCHOR: updater-waits
    let since = Instant::<Monotonic>::now();
    let list = old.synchronize().ok_or(EDEADLK)?;
    let ms = since.elapsed().as_millis();
    pr_info!(
        "[updater] grace period: version={} ms={}\n",
        list.version,
        ms
    );
    // It is ours again: nobody can be at it any more.
    let version = list.version;
    drop(list);
    pr_info!("[updater] freed: version={version}\n");
    // ANCHOR_END: updater-waits
    shop.freed.set();

    // The shop is open for as long as somebody has the `RcuWrite`. When it is dropped, readers
    // find nothing any more.
    stop.wait_until(|| shop.till_left.reached())
}
// ANCHOR_END: updater

// ANCHOR: tell
/// Tells the story. When this returns, its threads are gone.
///
/// Readers are declared last, so they are the first to be stopped if it is cut short: the updater
/// may be waiting for them, and nobody can stop it then.
pub(crate) fn tell(gap: Delta, stop: &StopToken) -> Result {
    let prices = RcuWrite::new(PriceList::new(1, OLD_PRICE, &DROPPED), GFP_KERNEL)?;
    pr_info!("[director] publish: version=1 price={OLD_PRICE}\n");
    let shop = Arc::new(
        Shop {
            prices: prices.reader(),
            gap,
            till_inside: Event::new(),
            till_left: Event::new(),
            not_ready: Event::new(),
            served: Event::new(),
            freed: Event::new(),
        },
        GFP_KERNEL,
    )?;

    // ANCHOR: cast-updater
    let s = shop.clone();
    let updater = KThread::create(c"updater", move |stop| updater(&s, prices, stop))?;
    // ANCHOR_END: cast-updater
    let s = shop.clone();
    let customer = KThread::create(c"customer", move |_| customer(&s))?;
    // ANCHOR: cast-till
    let s = shop.clone();
    let till = KThread::create(c"till", move |stop| till(&s, stop))?;
    // ANCHOR_END: cast-till

    // Each "start" line is written before the thread is woken, so it comes before its lines.
    pr_info!("[director] start till\n");
    till.start();
    stop.wait_until(|| shop.till_inside.reached() || shop.till_left.reached())?;
    stop.sleep(gap)?;

    pr_info!("[director] start updater\n");
    updater.start();
    stop.wait_until(|| shop.not_ready.reached())?;
    stop.sleep(gap)?;

    pr_info!("[director] start customer\n");
    customer.start();
    stop.wait_until(|| shop.till_left.reached() && shop.served.reached() && shop.freed.reached())?;

    till.join().and(customer.join()).and(updater.join())
}
// ANCHOR_END: tell
