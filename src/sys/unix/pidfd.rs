//! Descriptors of processes. Unlike a number, a pidfd never refers to another process.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::super::fault::{self, Says};
use super::poll;
use super::reap::reap;
use crate::model::exit_status::ExitStatus;

#[derive(Debug)]
pub(super) struct Pidfd(OwnedFd);

impl From<OwnedFd> for Pidfd {
    fn from(descriptor: OwnedFd) -> Pidfd {
        Pidfd(descriptor)
    }
}

impl Pidfd {
    /// The process that has this number now.
    pub(super) fn open(pid: libc::pid_t) -> io::Result<Pidfd> {
        fault::point("pidfd", Says::Descriptors)?;
        // SAFETY: no pointers; the descriptor that comes back is new and ours.
        unsafe {
            let descriptor = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            let descriptor = super::check(c_int::try_from(descriptor).unwrap_or(-1))?;
            Ok(Pidfd(OwnedFd::from_raw_fd(descriptor)))
        }
    }

    /// False if the process is gone, or this server may not signal it.
    pub(super) fn signal(&self, signal: c_int) -> bool {
        const NO_INFO: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the only pointer is null, which sends the signal as kill(2) does.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal, NO_INFO, 0) == 0 }
    }

    /// Whether the process has ended. It may still be a zombie.
    pub(super) fn has_ended(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Blocks this thread until the process has ended, but no longer.
    pub(super) fn wait(&self, most: Duration) -> bool {
        poll::is_readable_within(self.0.as_fd(), most)
    }

    /// `None` if the process has not ended, or if a process that traces it has not taken its status.
    pub(super) fn reap(&self) -> io::Result<Option<ExitStatus>> {
        let number = libc::id_t::try_from(self.0.as_raw_fd()).map_err(io::Error::other)?;
        Ok(reap(libc::P_PIDFD, number, 0)?.map(|(_, exit)| exit))
    }

    /// Waits for the end of the process within the event loop.
    pub(super) async fn ended(&self) -> io::Result<()> {
        // Dropped before the descriptor is closed: a ready pidfd must leave the poll set first.
        poll::watch(self.0.as_fd())?.readable().await.map(drop)
    }
}
