//! The size of a pipe: large during bulk transfer, so that program and server wait less.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::pipe::Reader;

/// Initial size in bytes.
pub(super) const SMALL: usize = 64 << 10;
/// Size during bulk transfer, in bytes.
pub(super) const LARGE: usize = 1 << 20;
/// Bulk is this many consecutive moves of at least `SMALL / 2` bytes.
const BULK: u8 = 4;
/// An idle large pipe shrinks after this time.
pub(super) const CALM: Duration = Duration::from_secs(1);
/// Beyond the kernel's limit for an account, new pipes are tiny, see pipe(7).
const MOST_LARGE: usize = 32;

pub(super) static LARGE_PIPES: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug, Default)]
pub struct Growth {
    bulk: u8,
    grown: Option<Grown>,
}

#[derive(Debug)]
struct Grown;

impl Drop for Grown {
    fn drop(&mut self) {
        LARGE_PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Growth {
    pub fn new() -> Growth {
        Growth::default()
    }

    pub fn moved(&mut self, pipe: &Reader, count: usize) {
        self.moved_through(pipe.pipe.as_raw_fd(), count);
    }

    pub fn calm_after(&self) -> Option<Duration> {
        self.grown.is_some().then_some(CALM)
    }

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
            // If the pipe cannot grow, its slot is free again, and later bulk retries.
            self.grown = Some(Grown).filter(|_| resize(pipe, LARGE));
            self.bulk = 0;
        }
    }

    pub(super) fn calm_of(&mut self, pipe: RawFd) {
        self.bulk = 0;
        // A pipe with more bytes than fit stays large, and keeps its slot.
        if self.grown.is_some() && resize(pipe, SMALL) {
            self.grown = None;
        }
    }
}

/// Best effort; true if the size changed.
fn resize(pipe: RawFd, bytes: usize) -> bool {
    let Ok(bytes) = libc::c_int::try_from(bytes) else { return false };
    // SAFETY: changes the size of an open pipe of ours.
    unsafe { libc::fcntl(pipe, libc::F_SETPIPE_SZ, bytes) >= 0 }
}
