//! Pipes between the server and a program. The program's end blocks.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::fault::{self, Says};
use super::account::Account;
use super::{check, poll};

/// Whether end of file always follows the end of a program's tree. On Unix a process that left the
/// session may hold the pipe.
pub const END_ALWAYS_COMES: bool = false;

/// The program's end.
#[derive(Debug)]
pub struct End {
    descriptor: OwnedFd,
}

impl End {
    /// Lets programs of the account open the pipe by name, for example /dev/stderr.
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

/// The server's end of a program's input. Dropped, it gives end of file after the remaining bytes.
#[derive(Debug)]
pub struct Writer {
    pub(super) pipe: AsyncFd<PipeWriter>,
}

/// The server's end of a program's output.
#[derive(Debug)]
pub struct Reader {
    pub(super) pipe: AsyncFd<PipeReader>,
}

/// Must be called within the event loop.
pub fn to_program() -> io::Result<(Writer, End)> {
    let (reader, writer) = new()?;
    let pipe = ours(writer, Interest::WRITABLE)?;
    Ok((Writer { pipe }, End { descriptor: reader.into() }))
}

/// Must be called within the event loop.
pub fn from_program() -> io::Result<(Reader, End)> {
    let (reader, writer) = new()?;
    let pipe = ours(reader, Interest::READABLE)?;
    Ok((Reader { pipe }, End { descriptor: writer.into() }))
}

fn new() -> io::Result<(PipeReader, PipeWriter)> {
    fault::point("pipe", Says::Descriptors)?;
    io::pipe()
}

fn ours<T: poll::Steady>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    fault::point("nonblocking", Says::Memory)?;
    // SAFETY: changes the state of an open descriptor of ours.
    check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    poll::watch_for(descriptor, interest)
}

impl Writer {
    pub async fn writable(&self) -> io::Result<()> {
        self.pipe.writable().await.map(|mut ready| ready.retain_ready())
    }

    /// Writes as much as fits. Broken pipe if no process can read it.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.pipe.try_io(Interest::WRITABLE, |mut pipe| {
            fault::point("pipe-write", Says::Device)?;
            pipe.write(bytes)
        })
    }
}

impl Reader {
    pub async fn readable(&self) -> io::Result<()> {
        self.pipe.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Ignores the event loop's readiness, which may be stale. Would-block means empty once no
    /// process writes.
    pub fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        fault::point("pipe-read", Says::Device)?;
        self.pipe.get_ref().read(buffer)
    }

    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.try_io(Interest::READABLE, |mut pipe| {
            fault::point("pipe-read", Says::Device)?;
            pipe.read(buffer)
        })
    }
}
