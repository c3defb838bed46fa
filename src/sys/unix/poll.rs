//! Descriptors in the loop's poll set.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
#[cfg(all(target_os = "linux", not(portable_unix)))]
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::fault::{self, Says};

/// A type that keeps the same descriptor open for its whole life.
pub(super) trait Steady: AsRawFd {}
impl Steady for OwnedFd {}
impl Steady for BorrowedFd<'_> {}

impl Steady for Arc<OwnedFd> {}
impl Steady for PipeReader {}
impl Steady for PipeWriter {}

#[cfg(all(target_os = "linux", not(portable_unix)))]
pub(super) fn is_readable_within(descriptor: BorrowedFd<'_>, most: Duration) -> bool {
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let most = libc::c_int::try_from(most.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one valid structure.
    unsafe { libc::poll(&raw mut poll, 1, most) > 0 }
}

pub(super) fn watch<T: Steady>(descriptor: T) -> io::Result<AsyncFd<T>> {
    watch_for(descriptor, Interest::READABLE)
}

/// The descriptor leaves the poll set when the result is dropped.
pub(super) fn watch_for<T: Steady>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    fault::point("watch", Says::Memory)?;
    // SAFETY: a Steady type keeps the same descriptor open.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(io::Error::from)
}
