//! Pipes between the server and a program: our end waits in the loop, the
//! program's end is a plain blocking one.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::fault::{self, Says};
use super::account::Account;
use super::{check, poll};

/// Whether the end of a program's output always comes once its tree is gone.
/// Here a process that has left the session may hold it open for ever: what is
/// in the pipe when the program is gone is all that it wrote.
pub const END_ALWAYS_COMES: bool = false;

/// The program's end of a pipe.
#[derive(Debug)]
pub struct End {
    descriptor: OwnedFd,
}

impl End {
    /// Gives it to the account, so that its programs can open it by name, as a
    /// script does that writes to /dev/stderr.
    pub(super) fn give_to(&self, account: &Account) -> io::Result<()> {
        fault::point("pipe-owner", Says::Privilege)?;
        // SAFETY: no pointers; the descriptor is open.
        check(unsafe { libc::fchown(self.descriptor.as_raw_fd(), account.uid, account.gid) }).map(drop)
    }
}

impl AsRawFd for End {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// What a program reads. Dropped, it is the end of the program's input, once
/// everything that was written is read.
#[derive(Debug)]
pub struct Writer {
    pub(super) pipe: AsyncFd<PipeWriter>,
}

/// What a program writes.
#[derive(Debug)]
pub struct Reader {
    pub(super) pipe: AsyncFd<PipeReader>,
}

/// A pipe to a program. Must be called within the loop.
pub fn to_program() -> io::Result<(Writer, End)> {
    let (reader, writer) = new()?;
    let pipe = ours(writer, Interest::WRITABLE)?;
    Ok((Writer { pipe }, End { descriptor: reader.into() }))
}

/// A pipe from a program. Must be called within the loop.
pub fn from_program() -> io::Result<(Reader, End)> {
    let (reader, writer) = new()?;
    let pipe = ours(reader, Interest::READABLE)?;
    Ok((Reader { pipe }, End { descriptor: writer.into() }))
}

fn new() -> io::Result<(PipeReader, PipeWriter)> {
    fault::point("pipe", Says::Descriptors)?;
    io::pipe()
}

/// Only our end does not block: each end has a state of its own.
fn ours<T: poll::Steady>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    fault::point("nonblocking", Says::Memory)?;
    // SAFETY: changes the state of an open descriptor of ours.
    check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    poll::watch_for(descriptor, interest)
}

impl Writer {
    /// Waits until there may be room.
    pub async fn writable(&self) -> io::Result<()> {
        self.pipe.writable().await.map(|mut ready| ready.retain_ready())
    }

    /// Writes what there is room for. Broken pipe once nobody can read it.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.pipe.try_io(Interest::WRITABLE, |mut pipe| {
            fault::point("pipe-write", Says::Device)?;
            pipe.write(bytes)
        })
    }
}

impl Reader {
    /// Waits until something may be there, or the end is.
    pub async fn readable(&self) -> io::Result<()> {
        self.pipe.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Reads what the pipe itself has, whatever the loop knows of it: the loop may
    /// not have looked yet, and another thread's may be the one that waits. For
    /// when nothing more is written: would-block means that there is nothing.
    pub fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        fault::point("pipe-read", Says::Device)?;
        self.pipe.get_ref().read(buffer)
    }

    /// Reads what is there; 0 at the end.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.try_io(Interest::READABLE, |mut pipe| {
            fault::point("pipe-read", Says::Device)?;
            pipe.read(buffer)
        })
    }
}
