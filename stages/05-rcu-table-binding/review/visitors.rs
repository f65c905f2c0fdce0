// SPDX-License-Identifier: GPL-2.0

//! Visitors: how often each was here, and what he has said.

use kernel::prelude::*;

use crate::{
    datum::Datum,
    hash::SipHash,
    retired::{
        Cap,
        RcuBarrier, //
    },
    table::{
        Change,
        Options,
        RcuTable, //
    },
    value::Word,
};

/// How many visitors there are at most.
const VISITORS: usize = 10_000;

/// How many entries may wait for their reclaim.
const MAX_WAITING: u32 = 1000;

/// The visitors.
pub struct Visitors {
    // ANCHOR: fields
    /// When the module goes, it waits for what was retired.
    _barrier: RcuBarrier,
    visits: RcuTable<Word<u64>>,
    said: RcuTable<Datum>,
    // ANCHOR_END: fields
}

impl Visitors {
    /// Nobody was here yet.
    pub fn new() -> Result<Self> {
        let barrier = RcuBarrier::new();
        // ANCHOR: options
        let options = Options {
            elements: VISITORS,
            ..Options::with_cap(Cap::new(MAX_WAITING, GFP_KERNEL)?)
        };
        Ok(Self {
            visits: RcuTable::new(options.clone(), SipHash::new(), GFP_KERNEL)?,
            said: RcuTable::new(options, SipHash::new(), GFP_KERNEL)?,
            _barrier: barrier,
        })
        // ANCHOR_END: options
    }

    /// A visitor comes. Returns how often he was here, with this time. Sleeps.
    pub fn comes(&self, name: &[u8]) -> Result<u64> {
        let key = self.visits.key(name);
        // ANCHOR: count
        // A lookup takes no lock, and the number is stored in place: this is as cheap as can be.
        let visits = self.visits.with(key, |visits| visits.get()).unwrap_or(0) + 1;
        self.visits.set(key, Word::new(visits), GFP_KERNEL)?;
        // ANCHOR_END: count
        Ok(visits)
    }

    /// A visitor says something, after all that he has said before. Sleeps.
    pub fn says(&self, name: &[u8], text: &[u8]) -> Result {
        let key = self.said.key(name);
        self.said.update(key, GFP_KERNEL, |before| {
            let before = match before {
                Some(Datum::Text(before)) => before.as_slice(),
                _ => &[],
            };
            let mut all = KVec::new();
            // ANCHOR: memory
            // What he has said may be long, so it is better to wait for memory than to fail.
            let flags = GFP_KERNEL;
            // ANCHOR_END: memory
            let mut add = |text: &[u8]| all.extend_from_slice(text, flags);
            match add(before).and_then(|()| add(text)) {
                Ok(()) => (Change::Put(Datum::Text(all)), Ok(())),
                Err(e) => (Change::Keep, Err(e.into())),
            }
        })?
    }

    /// Returns a copy of what a visitor has said. [`ENOENT`] if he has said nothing.
    pub fn said(&self, name: &[u8]) -> Result<KVec<u8>> {
        let key = self.said.key(name);
        // ANCHOR: copy
        let copied = self.said.with(key, |said| {
            let mut copy = KVec::new();
            if let Datum::Text(said) = said {
                copy.extend_from_slice(said, GFP_ATOMIC)?;
            }
            Ok(copy)
        });
        // ANCHOR_END: copy
        copied.unwrap_or(Err(ENOENT))
    }

    /// Forgets those who were here just once. Sleeps.
    pub fn tidy(&self) -> Result {
        let mut walk = self.visits.walk(GFP_KERNEL, |visits| visits.get())?;
        while let Some((name, visits)) = walk.next() {
            if visits > 1 {
                continue;
            }
            // ANCHOR: again
            let key = self.visits.key(name);
            self.visits.update(key, GFP_KERNEL, |visits| match visits {
                Some(visits) if visits.get() == 1 => (Change::Remove, ()),
                _ => (Change::Keep, ()),
            })?;
            // ANCHOR_END: again
        }
        Ok(())
    }
}
