// SPDX-License-Identifier: GPL-2.0

//! The read guard, the list of processes under it, and a published pointer.

use kernel::prelude::*;

pub mod flavours;
pub mod guard;
mod helpers;
pub mod rcu;
pub mod retired;

#[path = "../01-phased-state/kthread.rs"]
pub mod kthread;

module! {
    type: RcuGuard,
    name: "rcu_guard",
    authors: ["The RCU workshop"],
    description: "RCU read guard, tasks, published pointer",
    license: "GPL",
}

struct RcuGuard {
    _barrier: retired::RcuBarrier,
}

impl kernel::Module for RcuGuard {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let barrier = retired::RcuBarrier::new();
        pr_info!("[init] init\n");
        Ok(Self { _barrier: barrier })
    }
}

#[allow(dead_code)]
fn try_it() -> Result {
    let mut w = rcu::RcuWrite::<KVec<u8>>::new(KVec::new(), GFP_KERNEL)?;
    let r = w.reader();
    let n = guard::rcu_read(|g| r.read(g).map(|v| v.len()));
    pr_info!("{n:?}\n");
    w.update(KVec::new(), GFP_KERNEL)?.defer();
    let mut c = rcu::RcuWrite::<u64>::new(1, GFP_KERNEL)?;
    let old = c.update(2, GFP_KERNEL)?;
    match old.try_reclaim() { Ok(_) => {}, Err(old) => { let _ = old.synchronize(); } }
    let l = KBox::pin_init(rcu::RcuLock::<u64>::new(2, None, GFP_KERNEL), GFP_KERNEL)?;
    let mut u = l.lock();
    let _ = u.get();
    u.update(3, GFP_KERNEL)?.defer();
    Ok(())
}
