//! How large a pipe is: it grows while bulk flows through it, so that a program
//! and the server wait less for each other, and shrinks when that is over.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::pipe::Reader;

/// A pipe has this at first,
pub(super) const SMALL: usize = 64 << 10;
/// and this while bulk flows.
pub(super) const LARGE: usize = 1 << 20;
/// Moves of half a pipe, in a row, that are bulk.
const BULK: u8 = 4;
/// A large pipe through which nothing flowed for so long becomes small.
pub(super) const CALM: Duration = Duration::from_secs(1);
/// Large pipes at once, in the whole process: their memory is the kernel's, and
/// beyond its limit for an account every new pipe would be a tiny one.
const MOST_LARGE: usize = 32;

pub(super) static LARGE_PIPES: AtomicUsize = AtomicUsize::new(0);

/// The size of one pipe.
#[derive(Debug, Default)]
pub struct Growth {
    /// Moves in a row that were bulk.
    bulk: u8,
    grown: Option<Grown>,
}

/// The right to a large pipe.
#[derive(Debug)]
struct Grown;

impl Drop for Grown {
    fn drop(&mut self) {
        LARGE_PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Growth {
    /// Nothing has moved yet.
    pub fn new() -> Growth {
        Growth::default()
    }

    /// So many bytes came through this pipe at once.
    pub fn moved(&mut self, pipe: &Reader, count: usize) {
        self.moved_through(pipe.pipe.as_raw_fd(), count);
    }

    /// After this time without any, [`Growth::calm`] is to be called.
    pub fn calm_after(&self) -> Option<Duration> {
        self.grown.is_some().then_some(CALM)
    }

    /// Nothing came for so long.
    pub fn calm(&mut self, pipe: &Reader) {
        self.calm_of(pipe.pipe.as_raw_fd());
    }

    pub(super) fn moved_through(&mut self, pipe: RawFd, count: usize) {
        self.bulk = if count >= SMALL / 2 { self.bulk.saturating_add(1) } else { 0 };
        if self.bulk < BULK || self.grown.is_some() {
            return;
        }
        let taken = LARGE_PIPES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |large| {
            (large < MOST_LARGE).then_some(large + 1)
        });
        if taken.is_ok() {
            // Where the pipe can't grow another has it, and it is tried later.
            self.grown = Some(Grown).filter(|_| resize(pipe, LARGE));
            self.bulk = 0;
        }
    }

    pub(super) fn calm_of(&mut self, pipe: RawFd) {
        self.bulk = 0;
        // One that still holds more stays large, and counts as such.
        if self.grown.is_some() && resize(pipe, SMALL) {
            self.grown = None;
        }
    }
}

/// Best effort: a pipe that stays as it is moves bytes too. True if it changed.
fn resize(pipe: RawFd, bytes: usize) -> bool {
    let Ok(bytes) = libc::c_int::try_from(bytes) else { return false };
    // SAFETY: changes the size of an open pipe of ours.
    unsafe { libc::fcntl(pipe, libc::F_SETPIPE_SZ, bytes) >= 0 }
}
