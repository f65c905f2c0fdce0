// SPDX-License-Identifier: GPL-2.0

//! What the operations of a table do, one at a time.
//!
//! A table and a plain array are changed at random in the same way, and compared. This is done by
//! one thread: it is about what the operations do, and not about who else is there meanwhile. For
//! that there is the torture. Then come the limits.

use kernel::{
    alloc::Flags,
    new_spinlock,
    prelude::*, //
};

use super::{
    datum::Datum,
    guard::rcu_read,
    hash::{
        Key,
        SipHash,
        MAX_KEY, //
    },
    keys::{
        self,
        Spread,
        KEYS, //
    },
    kthread::StopToken,
    random::Random,
    retired::{
        Cap,
        InProcess, //
    },
    table::{
        Change,
        Options,
        RcuTable, //
    },
};

/// How many operations each table is tried with.
const OPERATIONS: u32 = 2000;

type Table = RcuTable<Datum, InProcess, Spread>;

/// What the array has instead of a value.
#[derive(Clone, Copy, PartialEq)]
enum Model {
    Int(i64),
    Bool(bool),
    Text(u32),
}

impl Model {
    fn random(random: &mut Random) -> Self {
        match random.below(3) {
            0 => Self::Int(i64::from(random.below(1000)) - 500),
            1 => Self::Bool(random.below(2) == 0),
            _ => Self::Text(random.below(u32::MAX)),
        }
    }

    fn datum(self, flags: Flags) -> Result<Datum> {
        match self {
            Self::Int(value) => Ok(Datum::int(value)),
            Self::Bool(value) => Ok(Datum::bool(value)),
            Self::Text(value) => Datum::text(&value.to_le_bytes(), flags),
        }
    }

    /// Makes one of a value.
    fn of(datum: &Datum) -> Option<Self> {
        match datum {
            Datum::Int(value) => Some(Self::Int(value.get())),
            Datum::Bool(value) => Some(Self::Bool(value.get())),
            Datum::Text(text) => {
                let bytes = text.as_slice().try_into().ok()?;
                Some(Self::Text(u32::from_le_bytes(bytes)))
            }
        }
    }
}

// ANCHOR: try-out
/// A table, and what should be in it.
struct Both {
    table: Table,
    model: [Option<Model>; KEYS],
    failures: u32,
}

impl Both {
    fn new(buckets: usize, hash: Spread) -> Result<Self> {
        let options = Options {
            buckets,
            ..Options::with_cap(Cap::new(10_000, GFP_KERNEL)?)
        };
        Ok(Self {
            table: Table::new(options, hash, GFP_KERNEL)?,
            model: [None; KEYS],
            failures: 0,
        })
    }

    fn expect(&mut self, so: bool) {
        self.failures += u32::from(!so);
    }

    /// Does something at random with one key, and compares what comes of it.
    fn step(&mut self, random: &mut Random) -> Result {
        let number = random.below(KEYS as u32) as usize;
        let mut room = [0; 8];
        let key = self.table.key(keys::bytes(number, &mut room));
        let was = self.model[number];
        let new = Model::random(random);

        let is = match random.below(6) {
            0 => {
                self.table.set(key, new.datum(GFP_KERNEL)?, GFP_KERNEL)?;
                Some(new)
            }
            1 => {
                let done = self.table.insert(key, new.datum(GFP_KERNEL)?, GFP_KERNEL);
                let error = done.err().map(|refused| refused.error);
                self.expect(error == was.map(|_| EEXIST));
                was.or(Some(new))
            }
            2 => {
                let done = self.table.replace(key, new.datum(GFP_KERNEL)?, GFP_KERNEL);
                let error = done.err().map(|refused| refused.error);
                self.expect(error == was.is_none().then_some(ENOENT));
                was.and(Some(new))
            }
            3 => {
                let removed = self.table.remove(key);
                self.expect(removed == was.is_some());
                None
            }
            4 => self.add(key, was, i64::from(random.below(10)))?,
            _ => {
                // Compare and exchange, by which an element can be removed, too.
                let wanted = if random.below(4) == 0 { Some(new) } else { was };
                let new = (random.below(3) > 0).then_some(new);
                let done = self.table.update(key, GFP_KERNEL, |old| {
                    match (old.and_then(Model::of) == wanted, new) {
                        (false, _) => (Change::Keep, Ok(false)),
                        (true, None) => (Change::Remove, Ok(true)),
                        // With the lock held one must not sleep.
                        (true, Some(new)) => match new.datum(GFP_ATOMIC) {
                            Ok(new) => (Change::Put(new), Ok(true)),
                            Err(e) => (Change::Keep, Err(e)),
                        },
                    }
                })??;
                self.expect(done == (wanted == was));
                if done {
                    new
                } else {
                    was
                }
            }
        };
        let now = self.table.with(key, Model::of).flatten();
        self.expect(now == is);
        self.model[number] = is;
        Ok(())
    }

    /// Adds to a number. What is no number stays as it is.
    fn add(&mut self, key: Key<'_>, was: Option<Model>, more: i64) -> Result<Option<Model>> {
        let done = self.table.update(key, GFP_KERNEL, |old| match old {
            None => (Change::Put(Datum::int(more)), Some(more)),
            Some(Datum::Int(old)) => {
                let sum = old.get() + more;
                (Change::Put(Datum::int(sum)), Some(sum))
            }
            Some(_) => (Change::Keep, None),
        })?;
        let expected = match was {
            None => Some(more),
            Some(Model::Int(old)) => Some(old + more),
            Some(_) => None,
        };
        self.expect(done == expected);
        Ok(done.map(Model::Int).or(was))
    }

    /// Compares all: by a lookup of each key, and by a walk.
    fn compare(&mut self) -> Result {
        let mut room = [0; 8];
        for number in 0..KEYS {
            let key = self.table.key(keys::bytes(number, &mut room));
            let now = rcu_read(|guard| self.table.get(guard, key).and_then(Model::of));
            self.failures += u32::from(now != self.model[number]);
        }

        let mut seen = [None; KEYS];
        let mut failures = 0;
        let mut count = 0;
        let mut walk = self.table.walk(GFP_KERNEL, Model::of)?;
        while let Some((key, value)) = walk.next() {
            count += 1;
            match keys::number_of(key).and_then(|number| seen.get_mut(number)) {
                Some(place) if place.is_none() => *place = value,
                _ => failures += 1,
            }
        }
        drop(walk);
        self.failures += failures;
        self.expect(seen == self.model);
        self.expect(self.table.len() == count);
        Ok(())
    }
}

/// Tries a table with so many buckets. Returns how often something was not as it should be.
fn try_out(buckets: usize, hash: Spread, stop: &StopToken) -> Result<u32> {
    let mut both = Both::new(buckets, hash)?;
    let mut random = Random::new(buckets);

    for operation in 1..=OPERATIONS {
        both.step(&mut random)?;
        if operation % 256 == 0 {
            both.compare()?;
            if stop.should_stop() {
                return Err(EINTR);
            }
        }
        if operation % 512 == 0 {
            both.table.clear();
            both.model = [None; KEYS];
            both.compare()?;
        }
    }
    Ok(both.failures)
}
// ANCHOR_END: try-out

// ANCHOR: limits
/// Tries the limits. Returns how many are not where they should be.
fn limits() -> Result<u32> {
    let cap = Cap::new(4, GFP_KERNEL)?;
    let options = Options {
        buckets: 2,
        elements: 3,
        cap: cap.clone(),
    };
    let table: RcuTable<Datum> = RcuTable::new(options.clone(), SipHash::new(), GFP_KERNEL)?;
    let error = |result: Result<(), super::table::NotStored<Datum>>| {
        result.err().map(|refused| refused.error)
    };
    let mut failures = 0;
    let mut expect = |so: bool| failures += u32::from(!so);

    // The number of buckets.
    for buckets in [0, 3, super::table::MAX_BUCKETS * 2] {
        let options = Options {
            buckets,
            ..options.clone()
        };
        let refused = RcuTable::<Datum>::new(options, SipHash::new(), GFP_KERNEL);
        expect(refused.err() == Some(EINVAL));
    }

    // The length of a key: who looks for one that is too long does not find it.
    let long = KVec::from_elem(b'x', MAX_KEY + 1, GFP_KERNEL)?;
    let key = table.key(&long);
    expect(error(table.set(key, Datum::int(1), GFP_KERNEL)) == Some(ENAMETOOLONG));
    expect(table.with(key, |_| ()).is_none());
    expect(!table.remove(key));

    // The number of elements: those that are there can be changed still.
    for key in [b"1", b"2", b"3"] {
        expect(error(table.set(table.key(key), Datum::int(1), GFP_KERNEL)).is_none());
    }
    let key = table.key(b"4");
    expect(error(table.set(key, Datum::int(1), GFP_KERNEL)) == Some(ENOSPC));
    let key = table.key(b"3");
    expect(error(table.set(key, Datum::bool(true), GFP_KERNEL)).is_none());

    // The number of entries that wait, in atomic context: one has been replaced already, and while
    // we are in a section none is reclaimed.
    let lock = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
    let section = super::guard::RcuReadGuard::new();
    let held = lock.lock();
    let mut refused = 0;
    for _ in 0..8 {
        match error(table.set(key, Datum::text(b"text", GFP_ATOMIC)?, GFP_ATOMIC)) {
            None => {}
            Some(EAGAIN) => refused += 1,
            Some(_) => refused = 100,
        }
    }
    expect((4..=5).contains(&refused));
    // In place there is no limit; and to remove there is none.
    let (key1, key2) = (table.key(b"1"), table.key(b"2"));
    expect(error(table.set(key1, Datum::int(2), GFP_ATOMIC)).is_none());
    expect(table.remove(key2) && table.remove(key));
    expect(cap.waiting() > 4);
    drop(held);
    drop(section);
    expect(table.waits() == 0);

    // The same where one may sleep: it waits.
    for _ in 0..40 {
        let value = Datum::text(b"text", GFP_KERNEL)?;
        expect(error(table.set(key1, value, GFP_KERNEL)).is_none());
        expect(cap.waiting() <= 7);
    }
    expect(table.waits() > 0);
    Ok(failures)
}
// ANCHOR_END: limits

/// Tries all, and writes down how it went.
pub(crate) fn run(stop: &StopToken) -> Result {
    for buckets in [1, 8, 256] {
        let failures = try_out(buckets, Spread::Sip(SipHash::new()), stop)?;
        pr_info!("[suite] tried: buckets={buckets} failures={failures}\n");
    }
    let failures = try_out(8, Spread::Equal, stop)?;
    pr_info!("[suite] tried: buckets=8 hashes=equal failures={failures}\n");
    let failures = limits()?;
    pr_info!("[suite] tried: limits failures={failures}\n");
    Ok(())
}
