//! Numbers from a seed, which are the same on every system, or from given bytes.

use std::time::Duration;

pub enum Random {
    Seed(u64),
    /// Bytes in order, then zeroes.
    Bytes(std::vec::IntoIter<u8>),
}

impl Random {
    #[allow(dead_code)] // unused with bytes
    pub fn new(seed: u64) -> Self {
        Random::Seed(seed)
    }

    #[allow(dead_code)] // unused with a seed
    pub fn of(bytes: &[u8]) -> Self {
        Random::Bytes(Vec::from(bytes).into_iter())
    }

    pub fn is_over(&self) -> bool {
        matches!(self, Random::Bytes(rest) if rest.len() == 0)
    }

    /// A number below `limit`, which must not be 0. It takes as few bytes as can hold the limit, so
    /// that each byte matters.
    fn number(&mut self, limit: u64) -> u64 {
        let number = match self {
            Random::Seed(state) => {
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut mixed = *state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                mixed ^ (mixed >> 31)
            }
            Random::Bytes(rest) => {
                let count = (64 - (limit - 1).leading_zeros()).div_ceil(8);
                (0..count).fold(0, |number, _| number << 8 | u64::from(rest.next().unwrap_or(0)))
            }
        };
        number % limit
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number(limit as u64)).unwrap()
    }

    pub fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A time of at most `most`, in whole milliseconds.
    pub fn time(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.number(u64::try_from(most.as_millis()).unwrap() + 1))
    }
}
