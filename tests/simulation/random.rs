//! Numbers that a seed makes, the same everywhere, or that somebody has written down.

use std::time::Duration;

/// Where numbers come from.
pub enum Random {
    /// A generator (splitmix64).
    Seed(u64),
    /// Bytes that are taken one after another, then zeroes.
    Bytes(std::vec::IntoIter<u8>),
}

impl Random {
    #[allow(dead_code)] // not where bytes decide
    pub fn new(seed: u64) -> Self {
        Random::Seed(seed)
    }

    #[allow(dead_code)] // not where a seed decides
    pub fn of(bytes: &[u8]) -> Self {
        Random::Bytes(Vec::from(bytes).into_iter())
    }

    /// Whether all bytes are used up.
    pub fn is_over(&self) -> bool {
        matches!(self, Random::Bytes(rest) if rest.len() == 0)
    }

    /// Below `limit`, which is not 0. As few bytes as have room for it, so that each of
    /// them means something.
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

    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number(limit as u64)).unwrap()
    }

    /// Once in `count`.
    pub fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Up to so long, in milliseconds.
    pub fn time(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.number(u64::try_from(most.as_millis()).unwrap() + 1))
    }
}
