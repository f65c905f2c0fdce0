// SPDX-License-Identifier: GPL-2.0

//! Callbacks: what is to be done when a grace period is over.

use kernel::{
    list::{
        impl_list_arc_safe,
        impl_list_item,
        ListArc,
        ListLinks, //
    },
    prelude::*,
    sync::{
        Arc,
        Completion, //
    },
};

// ANCHOR: callback
/// Something to be done when a grace period is over. It is in one list at a time.
///
/// In C, its counterpart is embedded in what is to be freed, so that `call_rcu()` cannot fail for
/// want of memory. Here it is allocated beforehand: who has none does not unpublish anything.
#[doc(alias = "rcu_head")]
#[pin_data]
pub struct Callback {
    #[pin]
    links: ListLinks,
    work: Work,
}

enum Work {
    /// Wake whoever waits.
    Wake(Arc<Completion>),
    /// Free a value: it is dropped together with the callback. (`Sync`, as readers may be at it
    /// till then.)
    #[expect(dead_code, reason = "all that is done with it is to drop it")]
    Free(KBox<dyn Send + Sync>),
}

impl Callback {
    /// A callback that ends a wait.
    #[doc(alias = "wakeme_after_rcu")]
    pub fn wake(done: Arc<Completion>) -> Result<ListArc<Self>> {
        Self::new(Work::Wake(done))
    }

    /// A callback that drops a value, in a thread of the toy. So the value must not own the toy,
    /// nor wait for it.
    pub fn free<T: Send + Sync + 'static>(value: KBox<T>) -> Result<ListArc<Self>> {
        Self::new(Work::Free(value))
    }

    fn new(work: Work) -> Result<ListArc<Self>> {
        let callback = try_pin_init!(Self {
            links <- ListLinks::new(),
            work,
        });
        ListArc::pin_init(callback, GFP_KERNEL)
    }

    /// Does it.
    pub(super) fn invoke(callback: ListArc<Self>) {
        if let Work::Wake(done) = &callback.work {
            done.complete_all();
        }
    }
}
// ANCHOR_END: callback

// What the kernel crate's `List` wants to know: where the links are.

impl_list_arc_safe! {
    impl ListArcSafe<0> for Callback { untracked; }
}

impl_list_item! {
    impl ListItem<0> for Callback { using ListLinks { self.links }; }
}
