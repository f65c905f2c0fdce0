// SPDX-License-Identifier: GPL-2.0

//! Keys that are easily taken for each other, for tests.

#![allow(dead_code, reason = "no module uses all of it")]

use super::hash::{
    KeyHash,
    SipHash,
    MAX_KEY, //
};

/// How many keys there are.
pub(crate) const KEYS: usize = 64;

/// Keys that are the beginning of one text: each is a prefix of all that are longer. The first is
/// empty, the last as long as a key can be.
const PREFIXES: [usize; 30] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    128,
    129,
    255,
    256,
    257,
    511,
    512,
    513,
    600,
    MAX_KEY - 1,
    MAX_KEY,
];

/// Keys with zero bytes in them, that a C string would end at.
const ZEROS: [&[u8]; 8] = [
    b"\0",
    b"\0\0",
    b"a\0",
    b"a\0b",
    b"a\0c",
    b"a\0b\0",
    b"\0a",
    b"zero\0\0\0\0",
];

static TEXT: [u8; MAX_KEY] = [b'a'; MAX_KEY];

// ANCHOR: key-bytes
/// Room for the bytes of a key that is made of its number.
pub(crate) type Room = [u8; 8];

/// Returns the bytes of one of the keys. No two are equal.
pub(crate) fn bytes(number: usize, room: &mut Room) -> &[u8] {
    if let Some(prefix) = PREFIXES.get(number).and_then(|len| TEXT.get(..*len)) {
        return prefix;
    }
    if let Some(zeros) = ZEROS.get(number.saturating_sub(PREFIXES.len())) {
        return zeros;
    }
    *room = [b'k', b'e', b'y', b'-', 0, 0, number as u8, 0];
    room
}
// ANCHOR_END: key-bytes

/// Returns which of the keys has these bytes.
pub(crate) fn number_of(bytes: &[u8]) -> Option<usize> {
    (0..KEYS).find(|number| self::bytes(*number, &mut [0; 8]) == bytes)
}

// ANCHOR: spread
/// How keys are spread over the buckets.
pub(crate) enum Spread {
    /// As usual.
    Sip(SipHash),
    /// Not at all: all have the same hash. Only their bytes tell them from each other.
    Equal,
}

impl KeyHash for Spread {
    fn hash(&self, bytes: &[u8]) -> u32 {
        match self {
            Self::Sip(hash) => hash.hash(bytes),
            Self::Equal => 0x5eed_1157,
        }
    }
}
// ANCHOR_END: spread
