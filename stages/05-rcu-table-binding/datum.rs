// SPDX-License-Identifier: GPL-2.0

//! What the tables of this module hold: numbers, truth values, and text.

use kernel::{
    alloc::Flags,
    fmt,
    prelude::*,
    str::BStr, //
};

use super::value::{
    UnderLock,
    Value,
    Word, //
};

// ANCHOR: datum
/// A value of one of several types.
///
/// A number is stored over a number in place. All else is replaced: which variant it is does not
/// change as long as a reader can see it.
pub enum Datum {
    /// A number.
    Int(Word<i64>),
    /// A truth value.
    Bool(Word<bool>),
    /// Some bytes.
    Text(KVec<u8>),
}

impl Datum {
    /// Makes a number.
    pub fn int(value: i64) -> Self {
        Self::Int(Word::new(value))
    }

    /// Makes a truth value.
    pub fn bool(value: bool) -> Self {
        Self::Bool(Word::new(value))
    }

    /// Makes text. May sleep, as `flags` say.
    pub fn text(value: &[u8], flags: Flags) -> Result<Self> {
        let mut text = KVec::new();
        text.extend_from_slice(value, flags)?;
        Ok(Self::Text(text))
    }
}

impl Value for Datum {
    #[inline]
    fn in_place(&self) -> bool {
        !matches!(self, Self::Text(_))
    }

    #[inline]
    fn store(&self, new: Self, locked: &UnderLock) -> Result<(), Self> {
        match (self, new) {
            (Self::Int(now), Self::Int(new)) => now.store(new.get(), locked),
            (Self::Bool(now), Self::Bool(new)) => now.store(new.get(), locked),
            (_, new) => return Err(new),
        }
        Ok(())
    }
}
// ANCHOR_END: datum

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{}", value.get()),
            Self::Bool(value) => write!(f, "{}", value.get()),
            Self::Text(value) => fmt::Display::fmt(BStr::from_bytes(value), f),
        }
    }
}
