// SPDX-License-Identifier: GPL-2.0

//! Chance, which is the same in each run.

/// Numbers that look random, for delays and choices.
pub struct Random(u64);

impl Random {
    /// Begins a sequence; `seed` is any number.
    pub fn new(seed: usize) -> Self {
        Self(
            (seed as u64)
                .wrapping_add(1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15),
        )
    }

    /// Returns a number below `end`, which is not 0.
    pub fn below(&mut self, end: u32) -> u32 {
        // Marsaglia's xorshift: the state is never 0.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) as u32) % end
    }
}
