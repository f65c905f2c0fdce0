// SPDX-License-Identifier: GPL-2.0

//! The pages of mybrd, in a radix tree: looked up under the guard, inserted under a lock.
//!
//! | who             | has                       | does                                        |
//! |-----------------|---------------------------|---------------------------------------------|
//! | who reads       | a guard                   | looks the page up, and copies, in a section |
//! | who writes      | a guard; before, the lock | inserts the page, then as who reads         |
//! | who discards    | the lock                  | takes the page out, and retires it          |
//!
//! The tree is the kernel's XArray, which is what its radix tree has become. It publishes an entry
//! as a list publishes a node, and reclaims its own inner nodes with RCU. When a *page* is
//! reclaimed is our business.
//!
//! It matters that the copy is part of the section. The pointer that a lookup finds is good until
//! the section ends, and no longer: after that somebody may have discarded the page. As long as
//! nobody ever discards, one can do without, and the mistake does not show.

use kernel::{
    bindings,
    error::to_result,
    new_spinlock,
    page::{
        Page,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
    types::Opaque,
};

use core::ptr::NonNull;

use super::{
    guard::{
        rcu_read,
        ReadSide, //
    },
    mybrd_disk::{
        mybrd_xa_fill,
        mybrd_xa_init,
        mybrd_xa_reserve,
        Buffer,
        Contents,
        NoIo,
        SECTOR_SHIFT, //
    },
    retired::{
        CallbackDrop,
        Cap,
        InCallback,
        Node,
        RcuRetired, //
    },
};

/// A page has so many sectors, as a power of 2.
const PAGE_SECTORS_SHIFT: u32 = PAGE_SHIFT as u32 - SECTOR_SHIFT;

/// How many discarded pages may wait for their reclaim: 4 MiB.
const MAX_WAITING: u32 = 1024;

/// What was done, since the module was loaded.
pub(crate) struct Counts {
    pub(crate) lookups: Atomic<u64>,
    pub(crate) inserts: Atomic<u64>,
    pub(crate) duplicates: Atomic<u64>,
    pub(crate) discards: Atomic<u64>,
    /// Pages that were made, whether or not they came into the tree; and those that are free again.
    pub(crate) made: Atomic<u64>,
    pub(crate) freed: Atomic<u64>,
}

/// What was done.
pub(crate) static COUNTS: Counts = Counts {
    lookups: Atomic::new(0),
    inserts: Atomic::new(0),
    duplicates: Atomic::new(0),
    discards: Atomic::new(0),
    made: Atomic::new(0),
    freed: Atomic::new(0),
};

// ANCHOR: page
/// A page of the disk, with its place.
pub struct BrdPage {
    /// Counts the pages, from 1: what it is called in the log.
    number: u64,
    index: usize,
    page: Page,
}

impl BrdPage {
    /// Makes a page of zeros. May sleep.
    fn new(index: usize) -> Result<Self> {
        // ANCHOR: page-made
        let page = Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?;
        // ANCHOR_END: page-made
        let number = COUNTS.made.fetch_add(1, Relaxed) + 1;
        Ok(Self {
            number,
            index,
            page,
        })
    }
}

impl Drop for BrdPage {
    fn drop(&mut self) {
        COUNTS.freed.add(1, Relaxed);
    }
}

// SAFETY: To free a page neither sleeps, nor takes a lock that is not taken in interrupts as well.
unsafe impl CallbackDrop for BrdPage {}
// ANCHOR_END: page

/// A page that was taken out of the tree.
type RetiredPage = RcuRetired<BrdPage, InCallback>;

// ANCHOR: pages
/// The pages of a disk.
///
/// # Invariants
///
/// What is in `tree` are nodes that were made by [`Node::new`] and are nobody's, with our `cap`.
/// They are put there, and taken out, with `mybrd_lock` held; and freed when a grace period has
/// passed since they were taken out.
#[pin_data(PinnedDrop)]
pub struct Pages {
    #[pin]
    tree: Opaque<bindings::xarray>,
    #[pin]
    mybrd_lock: SpinLock<()>,
    cap: Arc<Cap>,
    /// How many more lines are written to the log.
    lines: Atomic<u32>,
}
// ANCHOR_END: pages

// SAFETY: Any thread may drop it, and the pages with it, which are `Send`.
unsafe impl Send for Pages {}

// SAFETY: The tree is changed under the lock, and read under RCU, of which the XArray takes care;
// the pages are `Send` and `Sync`.
unsafe impl Sync for Pages {}

impl Pages {
    /// Makes a disk without pages, which reads as zeros. `lines` are written to the log.
    pub fn new(lines: u32) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // SAFETY: It initialises an XArray.
            tree <- Opaque::ffi_init(|tree| unsafe { mybrd_xa_init(tree) }),
            mybrd_lock <- new_spinlock!((), "mybrd_lock"),
            cap: Cap::new(MAX_WAITING, GFP_KERNEL)?,
            lines: Atomic::new(lines),
        })
    }

    /// Returns whether a line may be written. More than one thread may be told the same.
    fn may_log(&self) -> bool {
        let left = self.lines.load(Relaxed);
        self.lines.store(left.saturating_sub(1), Relaxed);
        left > 0
    }

    // ANCHOR: lookup
    /// Returns the page with a sector, for as long as the critical section lasts. `why` is for the
    /// log.
    fn mybrd_lookup_page<'g>(
        &self,
        sector: u64,
        why: &str,
        _guard: &'g impl ReadSide,
    ) -> Option<&'g BrdPage> {
        let index = sector >> PAGE_SECTORS_SHIFT;

        // SAFETY: The tree is initialised. What is in it are nodes, or entries that mark a place
        // as taken, for which this gives null.
        let node = unsafe { bindings::xa_load(self.tree.get(), index as c_ulong) };

        // SAFETY: By the type invariants it was initialised before it was published, and is not
        // freed before the section ends, in which it was found:
        //
        //   CPU 0: reader                        CPU 1: discard
        //   -----------------------------        ------------------------------
        //   rcu_read_lock()
        //   node = tree[index]                   tree[index] = nothing
        //   ... copies ...                       call_rcu()
        //   rcu_read_unlock()  ------------->    the callback frees the page
        let page: Option<&'g BrdPage> =
            NonNull::new(node.cast::<Node<BrdPage>>()).map(|node| unsafe { Node::value(node) });

        COUNTS.lookups.add(1, Relaxed);
        if self.may_log() {
            let (number, index) = page.map_or((0, -1), |p| (p.number, p.index as i64));
            pr_info!("[io] lookup: page={number} index={index} sector={sector} for={why}\n");
        }
        page
    }
    // ANCHOR_END: lookup

    // ANCHOR: insert
    /// Makes sure that there is a page with a sector, for now. May sleep.
    fn mybrd_insert_page(&self, sector: u64) -> Result {
        let index = (sector >> PAGE_SECTORS_SHIFT) as usize;

        // All that allocates comes before the lock, and must not do I/O: we are the I/O.
        // ANCHOR: insert-allocates
        let no_io = NoIo::new();
        let page = BrdPage::new(index)?;
        let number = page.number;
        let node = Node::new(page, Some(self.cap.clone()), GFP_KERNEL).map_err(|_| ENOMEM)?;
        drop(no_io);
        // ANCHOR_END: insert-allocates

        loop {
            // ANCHOR: insert-reserves
            // SAFETY: The tree is initialised.
            let reserved = unsafe { mybrd_xa_reserve(self.tree.get(), index) };
            // ANCHOR_END: insert-reserves
            let lock = self.mybrd_lock.lock();
            let entry = node.as_ptr().cast();
            let filled = to_result(reserved).and_then(|()| {
                // SAFETY: The tree is initialised, and the node belongs to nobody else.
                to_result(unsafe { mybrd_xa_fill(self.tree.get(), index, entry) })
            });
            // INVARIANT: If that succeeded, the node is in the tree, and nobody's.
            match filled {
                Ok(()) => {
                    COUNTS.inserts.add(1, Relaxed);
                    if self.may_log() {
                        pr_info!("[io] insert: page={number} index={index} sector={sector}\n");
                    }
                    return Ok(());
                }
                // It was discarded before there was a page.
                Err(EAGAIN) => continue,
                Err(e) => {
                    drop(lock);
                    // SAFETY: It was not published.
                    drop(unsafe { Node::take_back(node) });
                    if e != EBUSY {
                        return Err(e);
                    }
                    // Somebody else was faster, so there is a page.
                    COUNTS.duplicates.add(1, Relaxed);
                    if self.may_log() {
                        pr_info!("[io] failed to insert page: duplicated={index}\n");
                    }
                    return Ok(());
                }
            }
        }
    }
    // ANCHOR_END: insert
}

// ANCHOR: contents
impl Contents for Pages {
    fn copy(&self, sector: u64, mut buffer: Buffer<'_>) -> Result {
        let offset = (sector << SECTOR_SHIFT) as usize % PAGE_SIZE;
        let why = if buffer.is_write() { "write" } else { "read" };

        loop {
            // ANCHOR: copy-section
            // The page may be discarded meanwhile. What is copied to it then is lost, as if the
            // discard had come later; but the page is there until we leave the section.
            let found = rcu_read(|guard| {
                let page = self.mybrd_lookup_page(sector, why, guard)?;
                Some(buffer.copy(&page.page, offset))
            });
            // ANCHOR_END: copy-section
            match found {
                Some(copied) => return copied,
                // ANCHOR: copy-inserts
                None if buffer.is_write() => self.mybrd_insert_page(sector)?,
                // ANCHOR_END: copy-inserts
                None => {
                    buffer.zero();
                    return Ok(());
                }
            }
        }
    }

    // ANCHOR: discard
    fn discard(&self, sector: u64, sectors: u64) {
        // Whole pages only; what is left of a page at either end keeps its contents.
        let first = (sector + (1 << PAGE_SECTORS_SHIFT) - 1) >> PAGE_SECTORS_SHIFT;
        let end = (sector + sectors) >> PAGE_SECTORS_SHIFT;

        for index in first..end {
            let lock = self.mybrd_lock.lock();
            // SAFETY: The tree is initialised, and what is in it is ours to take out, as we have
            // the lock.
            let node = unsafe { bindings::xa_erase(self.tree.get(), index as c_ulong) };
            drop(lock);
            let Some(node) = NonNull::new(node.cast::<Node<BrdPage>>()) else {
                continue;
            };
            COUNTS.discards.add(1, Relaxed);
            if self.may_log() {
                // SAFETY: It was taken out, and is not freed before it is retired, below.
                let number = unsafe { Node::value(node) }.number;
                pr_info!("[io] discard: page={number} index={index}\n");
            }

            let may_defer = self.cap.take();
            if !may_defer {
                self.cap.take_anyway();
            }
            // SAFETY: By the type invariants it is such a node. It was taken out, and charged for.
            let page = unsafe { RetiredPage::new(node) };
            // Too many wait already: so this one waits.
            match may_defer {
                true => page.defer(),
                false => drop(page.synchronize()),
            }
        }
    }
    // ANCHOR_END: discard
}
// ANCHOR_END: contents

#[pinned_drop]
impl PinnedDrop for Pages {
    fn drop(self: Pin<&mut Self>) {
        let mut index = 0;
        loop {
            // SAFETY: The tree is initialised, and nobody else has it.
            let node = unsafe {
                bindings::xa_find(
                    self.tree.get(),
                    &mut index,
                    c_ulong::MAX,
                    bindings::XA_PRESENT,
                )
            };
            let Some(node) = NonNull::new(node.cast::<Node<BrdPage>>()) else {
                break;
            };
            // SAFETY: As above.
            unsafe { bindings::xa_erase(self.tree.get(), index) };
            self.cap.take_anyway();
            // SAFETY: By the type invariants it is such a node. It was taken out, and charged for.
            unsafe { RetiredPage::new(node) }.defer();
        }
        // Places that were reserved and never filled.
        // SAFETY: As above.
        unsafe { bindings::xa_destroy(self.tree.get()) };
    }
}
