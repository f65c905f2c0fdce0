// SPDX-License-Identifier: GPL-2.0

//! Values that no new reader can find, and that old readers may still be at.
//!
//! [`RcuRetired`] is such a value: between the moment it was unpublished and the end of a grace
//! period it belongs to nobody. After that it can be had back, or be reclaimed.
//!
//! | how                           | waits | gives it back | context                |
//! |-------------------------------|-------|---------------|------------------------|
//! | [`RcuRetired::synchronize`]   | yes   | yes           | process, in no section |
//! | [`RcuRetired::try_reclaim`]   | no    | when it can   | any but NMI            |
//! | [`RcuRetired::defer`], `drop` | no    | no            | any but NMI            |
//!
//! A deferred value is reclaimed by one of three ways. Which, is known when this is compiled:
//!
//! | the value                                  | way           | where it is dropped           |
//! |--------------------------------------------|---------------|-------------------------------|
//! | has nothing to drop                        | `kfree_rcu()` | (not at all)                  |
//! | is marked [`CallbackDrop`], [`InCallback`] | `call_rcu()`  | in the callback, a softirq    |
//! | any other                                  | `call_rcu()`  | by a worker that may sleep    |
//!
//! (One that has nothing to drop, but a credit to give back, takes the second way: see [`Cap`].)
//!
//! Except for the first, code of the module runs later, so the module must not be gone by then:
//! see [`RcuBarrier`]. And none has a limit of its own: see [`Cap`].

use core::{
    marker::PhantomData,
    mem::{
        self,
        needs_drop, //
    },
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull,
};

use kernel::{
    alloc::Flags,
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu::{
            rcu_barrier,
            synchronize_rcu, //
        },
        Arc, //
    },
    types::Opaque,
    warn_on,
};

use super::helpers;

// --- Where a value is dropped -------------------------------------------------------------------

// ANCHOR: callback-drop
/// Values that may be dropped in an RCU callback.
///
/// # Safety
///
/// Dropping a value of the type does not sleep, and takes no lock but such as are taken with
/// bottom halves disabled everywhere: a callback runs in a softirq, on any CPU, on top of whatever
/// happens to run there. A type that breaks this schedules in a softirq, which on
/// non-preemptible RCU ends other readers' sections under them.
pub unsafe trait CallbackDrop {}
// ANCHOR_END: callback-drop

/// Says where values of type `T` are dropped: [`InProcess`] or [`InCallback`].
///
/// The trait is sealed for each `T`, and not just for the two types. Else safe code could write
/// `impl DropContext<Mine> for InCallback`, for a type of its own, and nobody would have promised
/// that a `Mine` may be dropped there.
pub trait DropContext<T>: sealed::Sealed<T> + 'static {
    /// Whether that is the callback itself.
    const IN_CALLBACK: bool;
}

/// The default: values are dropped in process context, by a worker that may sleep.
pub struct InProcess(());

/// Values are dropped in the callback, which is sooner, and cheaper.
pub struct InCallback(());

mod sealed {
    /// Keeps [`DropContext`](super::DropContext) to the two types here, and to what they are for.
    pub trait Sealed<T> {}
    impl<T> Sealed<T> for super::InProcess {}
    impl<T: super::CallbackDrop> Sealed<T> for super::InCallback {}
}

impl<T> DropContext<T> for InProcess {
    const IN_CALLBACK: bool = false;
}

impl<T: CallbackDrop> DropContext<T> for InCallback {
    const IN_CALLBACK: bool = true;
}

// --- A limit on what waits ----------------------------------------------------------------------

// ANCHOR: cap
/// A limit on how many values wait for their reclaim.
///
/// `call_rcu()` has none: an updater that is faster than grace periods fills the memory, and if a
/// user drives it, that user does. An update of a cell with a cap takes a credit *before* it
/// unpublishes the old value, and fails if there is none; the credit comes back when the value is
/// reclaimed. A value that is kept as an [`RcuRetired`], or is forgotten, goes on owing it.
pub struct Cap {
    max: u32,
    waiting: Atomic<u32>,
}

impl Cap {
    /// Makes a limit of `max` values. Cells may share one. May sleep, as `flags` say.
    pub fn new(max: u32, flags: Flags) -> Result<Arc<Self>> {
        let waiting = Atomic::new(0);
        Ok(Arc::new(Self { max, waiting }, flags)?)
    }

    /// Returns how many values wait, which may be out of date at once. Any context.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// Takes a credit, or returns `false` if there is none.
    ///
    /// Ordering: none is needed, it is a count and protects nothing.
    pub(super) fn take(&self) -> bool {
        let mut now = self.waiting.load(Relaxed);
        while now < self.max {
            match self.waiting.cmpxchg(now, now + 1, Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Takes a credit that there may not be: who drops a cell cannot be refused.
    pub(super) fn take_anyway(&self) {
        self.waiting.add(1, Relaxed);
    }

    /// Gives a credit back.
    pub(super) fn give_back(&self) {
        let _ = self.waiting.fetch_sub(1, Relaxed);
    }
}
// ANCHOR_END: cap

// --- The value in its allocation ----------------------------------------------------------------

// ANCHOR: node
/// A value, and what RCU needs to reclaim it.
///
/// # Invariants
///
/// - As long as the node is published or retired, `head` and `cap` belong to the updater, while
///   `value` is shared with readers: neither a `&mut` to it exists, nor a `Box` of the node.
/// - `head` comes first: where the head is, is where the allocation begins.
#[repr(C)]
pub(super) struct Node<T> {
    head: Opaque<bindings::callback_head>,
    /// Owes a credit, once it is retired.
    pub(super) cap: Option<Arc<Cap>>,
    pub(super) value: T,
}
// ANCHOR_END: node

impl<T> Node<T> {
    /// Allocates a node, which is the caller's alone, or gives the value back.
    pub(super) fn new(
        value: T,
        cap: Option<Arc<Cap>>,
        flags: Flags,
    ) -> core::result::Result<NonNull<Self>, T> {
        // The memory first: whatever fails, the value is still here.
        let Ok(memory) = KBox::<Self>::new_uninit(flags) else {
            return Err(value);
        };
        let node = KBox::write(
            memory,
            Self {
                head: Opaque::uninit(),
                cap,
                value,
            },
        );
        Ok(NonNull::from(KBox::leak(node)))
    }

    /// Returns the value.
    ///
    /// # Safety
    ///
    /// For `'a`, `node` must be valid, and no reader's last, as for [`RcuRetired::new`].
    #[inline]
    pub(super) unsafe fn value<'a>(node: NonNull<Self>) -> &'a T {
        // SAFETY: The node is valid, and `value` is not written to. This makes no reference to
        // the node as a whole, whose `head` may be written to by RCU already.
        unsafe { &(*node.as_ptr()).value }
    }

    /// Takes the node back from RCU, with what it owes to its cap.
    ///
    /// # Safety
    ///
    /// The node must be the caller's alone: a grace period has passed since it was unpublished.
    pub(super) unsafe fn reclaim(node: NonNull<Self>) -> KBox<Self> {
        // SAFETY: It was made by `new`, of a `KBox`, and is the caller's alone.
        let mut node = unsafe { KBox::from_raw(node.as_ptr()) };
        if let Some(cap) = node.cap.take() {
            cap.give_back();
        }
        node
    }

    /// Drops the value, frees the node, and gives back the credit that it owes.
    ///
    /// The value is dropped where it is, however large it is: a callback runs on what is left of
    /// somebody else's stack.
    ///
    /// # Safety
    ///
    /// As for [`Node::reclaim`].
    unsafe fn free(node: NonNull<Self>) {
        // SAFETY: It was made by `new`, of a `KBox`, and is the caller's alone.
        let mut node = unsafe { KBox::from_raw(node.as_ptr()) };
        let cap = node.cap.take();
        drop(node);
        if let Some(cap) = cap {
            cap.give_back();
        }
    }

    /// Takes the value out of a node for which nothing was owed.
    ///
    /// # Safety
    ///
    /// The node must be the caller's alone: it was never published.
    #[allow(dead_code, reason = "not all who retire things need to take one back")]
    pub(super) unsafe fn take_back(node: NonNull<Self>) -> T {
        // SAFETY: It was made by `new`, of a `KBox`, and is the caller's alone.
        KBox::into_inner(unsafe { KBox::from_raw(node.as_ptr()) }).value
    }
}

// ANCHOR: reclaimed
/// A value that readers were at, and that has an owner again.
///
/// It is where it was: it need not be moved to be used once more, nor to be dropped.
pub struct Reclaimed<T>(pub(super) KBox<Node<T>>);

impl<T> Reclaimed<T> {
    /// Takes the value out of its memory, which is freed.
    pub fn into_inner(self) -> T {
        KBox::into_inner(self.0).value
    }
}

impl<T> Deref for Reclaimed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> DerefMut for Reclaimed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.value
    }
}
// ANCHOR_END: reclaimed

// SAFETY: It owns the value, which is `Send`. RCU has let go of the head next to it, which alone
// keeps this from being `Send` by itself.
unsafe impl<T: Send> Send for Reclaimed<T> {}

// SAFETY: All that a shared reference to it gives is a `&T`.
unsafe impl<T: Sync> Sync for Reclaimed<T> {}

// --- A retired value ----------------------------------------------------------------------------

// ANCHOR: retired
/// A value that was unpublished, and that readers may still be at.
///
/// New readers do not find it, those who found it may go on until they leave their section. So it
/// cannot be accessed here, not even by shared reference: who has this is no reader. When a grace
/// period has passed it is back to being a value that has an owner.
///
/// Dropping it defers: it neither waits nor frees at once, so that it may be dropped anywhere.
/// (It could wait, as was proposed for the first such type in Rust: then a destructor sleeps for
/// milliseconds, in whichever thread and context it happens to run.)
///
/// # Invariants
///
/// - `node` was made by [`Node::new`], and was unpublished before this was made: only readers
///   whose section had begun by then can have a reference to its value.
/// - It is not given to RCU, and nobody else will.
/// - `grace_period`, if there is one, is a cookie of `start_poll_synchronize_rcu()` that was got
///   since.
#[must_use = "dropping it reclaims it later: if that is what you want, say so with `defer()`"]
pub struct RcuRetired<T, D = InProcess>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    node: NonNull<Node<T>>,
    grace_period: Option<c_ulong>,
    drop_context: PhantomData<D>,
}
// ANCHOR_END: retired

// SAFETY: Who has it can wait for a grace period as well in another thread, and has a `T` there,
// by `synchronize()` or `try_reclaim()`; a `T` is `Send`. Readers may be at it meanwhile; a `T` is
// `Sync`.
unsafe impl<T, D> Send for RcuRetired<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
}

// SAFETY: No method takes it by shared reference.
unsafe impl<T, D> Sync for RcuRetired<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
}

/// How many values wait for code of this module to reclaim them.
pub(super) static IN_FLIGHT: Atomic<u64> = Atomic::new(0);

impl<T, D> RcuRetired<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    /// Takes over what was just unpublished.
    ///
    /// # Safety
    ///
    /// `node` must be from [`Node::new`], and readers must not find it any more. The caller must
    /// have the right to retire it, and give that away by this. Its cap, if it has one, must have
    /// been charged for it.
    pub(super) unsafe fn new(node: NonNull<Node<T>>) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            node,
            grace_period: None,
            drop_context: PhantomData,
        }
    }

    // ANCHOR: synchronize
    /// Waits for a grace period, and gives the value back.
    ///
    /// Sleeps, for some milliseconds as a rule, and for as long as any reader stays inside. Where
    /// that is not allowed, in a read-side critical section or in atomic context, it does not
    /// wait: it warns in the log, defers, and gives nothing back. (A kernel without
    /// `CONFIG_PREEMPT_COUNT` cannot tell a reader, and waits: see [`guard`](super::guard).)
    #[doc(alias = "synchronize_rcu")]
    pub fn synchronize(self) -> Option<Reclaimed<T>> {
        // ANCHOR: synchronize-body
        // SAFETY: It only looks at the state of this thread.
        let may_wait = unsafe { helpers::helper_may_wait() };
        if warn_on!(!may_wait) {
            self.defer();
            return None;
        }
        // ANCHOR: synchronize-wait
        synchronize_rcu();
        // ANCHOR_END: synchronize-wait

        // SAFETY: By the type invariants the node was unpublished before, so the readers that can
        // have a reference are those that this has waited for:
        //
        //   CPU 0: reader                    CPU 1: updater
        //   -------------------------        -----------------------------
        //   rcu_read_lock()
        //   loads the node
        //   ... uses the value ...           unpublishes the node
        //   ... uses the value ...           synchronize_rcu()
        //   rcu_read_unlock()  ----------->  it returns
        //                                    has the value alone
        //
        // All that the reader did comes before the return. One that begins after the call sees
        // what was stored before it, and does not find the node.
        Some(Reclaimed(unsafe { Node::reclaim(self.into_node()) }))
        // ANCHOR_END: synchronize-body
    }
    // ANCHOR_END: synchronize

    // ANCHOR: try-reclaim
    /// Gives the value back if a grace period has passed, else itself. Does not sleep.
    ///
    /// The first call starts a grace period and finds that it is not over; later ones ask for that
    /// very one. (An older one would prove nothing: it may not have waited for readers that were
    /// at this value.)
    #[doc(alias = "start_poll_synchronize_rcu")]
    #[doc(alias = "poll_state_synchronize_rcu")]
    pub fn try_reclaim(mut self) -> core::result::Result<Reclaimed<T>, Self> {
        // ANCHOR: try-reclaim-body
        let Some(cookie) = self.grace_period else {
            // SAFETY: It may be called anywhere but in an NMI.
            // INVARIANT: The node was unpublished before.
            self.grace_period = Some(unsafe { bindings::start_poll_synchronize_rcu() });
            return Err(self);
        };
        // SAFETY: It may be called anywhere, and takes any number.
        if !unsafe { bindings::poll_state_synchronize_rcu(cookie) } {
            return Err(self);
        }
        // SAFETY: By the type invariants this grace period began after the node was unpublished,
        // and it is over. `poll_state_synchronize_rcu()` orders as `synchronize_rcu()` does.
        Ok(Reclaimed(unsafe { Node::reclaim(self.into_node()) }))
        // ANCHOR_END: try-reclaim-body
    }
    // ANCHOR_END: try-reclaim

    // ANCHOR: defer
    /// Has the value reclaimed when a grace period has passed. Does not sleep, and cannot fail: all
    /// that it needs was allocated with the value.
    #[doc(alias = "call_rcu")]
    #[doc(alias = "kfree_rcu")]
    pub fn defer(self) {
        // ANCHOR: defer-body
        let node = self.into_node();

        // SAFETY: The node is valid until it is given to RCU, just below. `cap` is the updater's,
        // which is us.
        let capped = unsafe { (*node.as_ptr()).cap.is_some() };
        let head = node.as_ptr().cast::<bindings::callback_head>();

        if !needs_drop::<T>() && !capped {
            // SAFETY: The head is at the beginning of memory from `kmalloc()`, and neither is in
            // use: nobody else retires this node. A `callback_head` has room for what this head
            // type is, in each configuration. There is nothing to drop: no value, and no cap.
            unsafe { bindings::kvfree_call_rcu(head.cast(), head.cast()) };
            return;
        }

        // ANCHOR: defer-given
        // SAFETY: The head is that of a node which nobody else retires, so it is not in use. The
        // node was unpublished.
        unsafe { give_to_rcu::<Node<T>>(head, D::IN_CALLBACK || !needs_drop::<T>()) };
        // ANCHOR_END: defer-given
        // ANCHOR_END: defer-body
    }
    // ANCHOR_END: defer

    /// Lets go of the node without retiring it.
    fn into_node(self) -> NonNull<Node<T>> {
        let node = self.node;
        mem::forget(self);
        node
    }
}

impl<T, D> Drop for RcuRetired<T, D>
where
    T: Send + Sync + 'static,
    D: DropContext<T>,
{
    /// Defers, as [`RcuRetired::defer`] does.
    fn drop(&mut self) {
        // SAFETY: By the type invariants; and this value is not used any more.
        unsafe { Self::new(self.node) }.defer();
    }
}

// ANCHOR: callbacks
/// What is reclaimed by way of a head in it: a [`Node`], or whatever else is allocated with one.
pub(super) trait Garbage {
    /// Drops what there is to drop, frees the memory, and gives back the credit that is owed.
    ///
    /// # Safety
    ///
    /// `head` must be the head of such an object, which must be the caller's alone.
    unsafe fn free(head: *mut bindings::callback_head);
}

impl<T> Garbage for Node<T> {
    unsafe fn free(head: *mut bindings::callback_head) {
        // SAFETY: By the safety requirements; the head is where the node begins.
        unsafe { Node::<T>::free(NonNull::new_unchecked(head.cast())) };
    }
}

/// Has an object reclaimed when a grace period has passed: in the callback, or by a worker. Any
/// context but NMI.
///
/// # Safety
///
/// - `head` must be that of an object which was unpublished, which nobody else retires, and which
///   the caller gives away by this.
/// - What is dropped must be `Send` and `'static`; and, if it is to be dropped in the callback, may
///   be dropped there.
pub(super) unsafe fn give_to_rcu<G: Garbage>(head: *mut bindings::callback_head, at_once: bool) {
    // ANCHOR: give-body
    IN_FLIGHT.add(1, Relaxed);
    let callback = if at_once {
        reclaim::<G>
    } else {
        reclaim_in_process::<G>
    };
    // ANCHOR: defer-callback
    // SAFETY: Nobody else retires the object, so its head is not in use. The callback gets an
    // object that is its own, as a grace period has passed since it was unpublished. It is still
    // there by then if the module keeps an `RcuBarrier`, as it says.
    unsafe { bindings::call_rcu(head, Some(callback)) };
    // ANCHOR_END: defer-callback
    // ANCHOR_END: give-body
}

/// The callback that reclaims on the spot; or a worker's function.
///
/// # Safety
///
/// `head` must be that of an object that nobody else has, any more.
unsafe extern "C" fn reclaim<G: Garbage>(head: *mut bindings::callback_head) {
    // SAFETY: By the safety requirements.
    unsafe { G::free(head) };
    let _ = IN_FLIGHT.fetch_sub(1, Relaxed);
}

/// The callback that leaves it to a worker.
///
/// # Safety
///
/// As for [`reclaim`]. What is dropped must be `Send` and `'static`.
unsafe extern "C" fn reclaim_in_process<G: Garbage>(head: *mut bindings::callback_head) {
    // SAFETY: RCU has let go of the head, and nobody else has it. The worker may do with the
    // object what we may.
    unsafe { helpers::helper_reclaim_in_process(head, Some(reclaim::<G>)) };
}
// ANCHOR_END: callbacks

// --- Before the module goes ---------------------------------------------------------------------

// ANCHOR: barrier
/// Makes sure that no callback outlives the module: when it is dropped, it waits for all.
///
/// A callback is code of the module. If it is called when the module is gone, the kernel jumps
/// into unmapped memory. `rcu_barrier()` waits for callbacks, but *when* it is called matters: in
/// Rust `drop()` comes first and the fields after it, and a field may retire values when it is
/// dropped. So this is a value and not a call:
///
/// - **the last field** of the module's type, since fields are dropped in the order of their
///   declaration;
/// - made **first in `init`**, in a variable of its own: variables are dropped in the reverse
///   order, so that a module whose `init` fails half-way waits, too.
///
/// What it does not see is what is retired after it. And that a module has one at all, and where,
/// no type checks: that is one more hole (`break B=no-barrier`).
///
/// Dropping it sleeps. It must not be part of a value that is reclaimed, as it would wait for the
/// worker that drops it.
#[doc(alias = "rcu_barrier")]
#[must_use = "it works when it is dropped: it has to be the module's last field"]
pub struct RcuBarrier(());

impl RcuBarrier {
    /// Makes one, which does nothing until it is dropped.
    pub fn new() -> Self {
        Self(())
    }
}

impl Default for RcuBarrier {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for RcuBarrier {
    fn drop(&mut self) {
        // What is reclaimed may retire something itself, such as a cell in a cell. Once there was
        // nothing in flight before a round, the round has waited for the last one's very end:
        // the count goes down while its callback, or the worker, is still at it.
        loop {
            let in_flight = IN_FLIGHT.load(Relaxed);
            // First the callbacks, then what they left to the worker.
            rcu_barrier();
            // SAFETY: It may be called where one may sleep, and that is where modules are
            // unloaded.
            unsafe { helpers::helper_reclaim_flush() };
            if in_flight == 0 {
                break;
            }
        }
    }
}
// ANCHOR_END: barrier
