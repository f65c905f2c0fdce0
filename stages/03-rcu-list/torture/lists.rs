// SPDX-License-Identifier: GPL-2.0

//! What is tortured: lists, whose nodes know which list they are in.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
};

use super::{
    element::{
        Element,
        Mark,
        Quick,
        Slots, //
    },
    guard::rcu_read,
    list::{
        NewNode,
        RcuList, //
    },
    rcu::Rcu,
    retired::{
        CallbackDrop,
        InCallback, //
    },
};

// ANCHOR: tagged
/// What is in a node: an element, and the list that it is in.
///
/// The tag changes only while nobody is at it: before it is linked. It is atomic nevertheless, so
/// that a reader who was not waited for can *see* that it has changed.
pub(crate) struct Tagged {
    pub(crate) tag: Atomic<u64>,
    pub(crate) element: Quick,
}
// ANCHOR_END: tagged

// SAFETY: The element may be dropped there.
unsafe impl CallbackDrop for Tagged {}

impl Tagged {
    /// Makes a node, for the list with this tag. `None` if it cannot be had just now.
    pub(crate) fn node(slots: &mut Slots, tag: u64) -> Option<NewNode<Self>> {
        let element: Quick = slots.make()?;
        let tag = Atomic::new(tag);
        // ANCHOR: node-made
        NewNode::new(Self { tag, element }, GFP_KERNEL).ok()
        // ANCHOR_END: node-made
    }

    /// Returns what the element is known by.
    pub(crate) fn mark(&self) -> Mark {
        self.element.mark()
    }
}

/// A list that is tortured. Its nodes are dropped in the callback.
pub(crate) type List = RcuList<Tagged, InCallback>;

/// Tags of lists. Each list has its own.
pub(crate) fn new_tag() -> u64 {
    static TAG: Atomic<u64> = Atomic::new(1);
    TAG.fetch_add(1, Relaxed)
}

// ANCHOR: tagged-list
/// A list and its tag.
///
/// When it is dropped, which may be in a reader, it writes down that its nodes are retired now.
#[pin_data(PinnedDrop)]
pub(crate) struct TaggedList {
    pub(crate) tag: u64,
    #[pin]
    pub(crate) list: List,
}

impl TaggedList {
    /// Makes a list without nodes.
    pub(crate) fn new(cap: Option<Arc<super::retired::Cap>>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                tag: new_tag(),
                list <- RcuList::new(cap),
            }),
            GFP_KERNEL,
        )
    }
}

#[pinned_drop]
impl PinnedDrop for TaggedList {
    fn drop(self: Pin<&mut Self>) {
        rcu_read(|guard| {
            for node in self.list.iter(guard) {
                Quick::retire(node.mark());
            }
        });
    }
}
// ANCHOR_END: tagged-list

/// The lists, each named after what its updaters do.
#[pin_data]
pub(crate) struct Lists {
    /// Two updaters add, replace and remove, and a third lets what it has removed grow old.
    pub(crate) changed: Arc<TaggedList>,
    /// Nodes go from the one to the other, and back.
    pub(crate) moved: [Arc<TaggedList>; 2],
    /// The list itself is replaced by another; readers find it by RCU.
    pub(crate) renewed: Rcu<Arc<TaggedList>>,
    /// The list itself is replaced by another; readers have a reference to it, and may be the last
    /// who do.
    #[pin]
    pub(crate) counted: SpinLock<Arc<TaggedList>>,
}
