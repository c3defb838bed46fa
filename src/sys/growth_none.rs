//! The size of a pipe, where it is what it is.

use std::time::Duration;

use super::pipe::Reader;

/// The size of one pipe.
#[derive(Debug, Default)]
pub struct Growth;

#[allow(clippy::unused_self)] // as where pipes grow
impl Growth {
    /// Nothing has moved yet.
    pub fn new() -> Growth {
        Growth
    }

    /// So many bytes came through this pipe at once.
    pub fn moved(&mut self, _pipe: &Reader, _count: usize) {}

    /// After this time without any, [`Growth::calm`] is to be called.
    pub fn calm_after(&self) -> Option<Duration> {
        None
    }

    /// Nothing came for so long.
    pub fn calm(&mut self, _pipe: &Reader) {}
}
