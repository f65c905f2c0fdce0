// SPDX-License-Identifier: GPL-2.0

//! Keys, and the numbers that say in which bucket they are.
//!
//! A hash table is fast as long as its keys are spread over its buckets. Who can choose keys, and
//! knows how they are hashed, can choose such as all go to one bucket: then each lookup walks
//! along all of them. So the hash depends on a secret, a number that is drawn at random when the
//! table is made.
//!
//! C header: [`include/linux/siphash.h`](srctree/include/linux/siphash.h)

use kernel::{
    bindings,
    prelude::*, //
};

/// How long a key may be, in bytes.
pub const MAX_KEY: usize = 1024;

// ANCHOR: key
/// A key with its hash: some bytes, any bytes.
///
/// It is made by [`RcuTable::key`](super::table::RcuTable::key), once, and can be used as often as
/// one likes: to hash a key costs more than to look for it. It is good for the table that made it;
/// in another one, which has another secret, it will not be found.
///
/// # Invariants
///
/// The lower half of `id` is the number of bytes; or, if that is too large, a number which is no
/// length of a key.
#[derive(Clone, Copy)]
pub struct Key<'k> {
    bytes: &'k [u8],
    id: u64,
}

impl<'k> Key<'k> {
    /// Makes a key of its bytes and of their hash, for whoever has hashed them before.
    ///
    /// Equal bytes must have equal hashes, or else they are different keys.
    #[inline]
    pub fn with_hash(bytes: &'k [u8], hash: u32) -> Self {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // INVARIANT: `MAX_KEY` is less than `u32::MAX`.
        Self {
            bytes,
            id: u64::from(hash) << 32 | u64::from(len),
        }
    }

    /// Returns the bytes.
    #[inline]
    pub fn bytes(self) -> &'k [u8] {
        self.bytes
    }

    /// Returns the hash.
    #[inline]
    pub fn hash(self) -> u32 {
        (self.id >> 32) as u32
    }

    /// Returns hash and length in one number: keys that differ in it are different.
    #[inline]
    pub(crate) fn id(self) -> u64 {
        self.id
    }
}
// ANCHOR_END: key

/// Returns the length in a key's [`id`](Key::id).
#[inline]
pub(crate) fn len_of(id: u64) -> usize {
    id as u32 as usize
}

// ANCHOR: key-hash
/// How the keys of a table are hashed.
pub trait KeyHash: Send + Sync + 'static {
    /// Returns the hash of some bytes, the same for the same bytes.
    fn hash(&self, bytes: &[u8]) -> u32;
}

/// The kernel's keyed hash for hash tables, with a secret of its own.
pub struct SipHash(bindings::hsiphash_key_t);

impl SipHash {
    /// Draws a secret. Any context.
    pub fn new() -> Self {
        let mut key = bindings::hsiphash_key_t::default();
        // SAFETY: It fills as many bytes as there are, and any bytes are such a key.
        unsafe { bindings::get_random_bytes((&raw mut key).cast(), size_of_val(&key)) };
        Self(key)
    }
}

impl Default for SipHash {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyHash for SipHash {
    #[doc(alias = "hsiphash")]
    #[inline]
    fn hash(&self, bytes: &[u8]) -> u32 {
        // SAFETY: It reads as many bytes as there are, at any address, and the key.
        unsafe { bindings::__hsiphash_unaligned(bytes.as_ptr().cast(), bytes.len(), &self.0) }
    }
}
// ANCHOR_END: key-hash
