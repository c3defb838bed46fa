//! Pipes between the server and a program: our end waits in the loop, the
//! program's end is a plain blocking one.
//!
//! The system's anonymous pipes block at both ends, so each is a named one of a
//! single instance. It has one direction: all that is done on one synchronous
//! handle is serialised, and a program that waits in a read must still be able
//! to write. Nobody else can come between its making and its opening unseen: the
//! name is new, can't be guessed, and opens to our own account alone.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};
use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED, GENERIC_READ, GENERIC_WRITE, HANDLE,
};
use windows_sys::Win32::Security::Cryptography::ProcessPrng;
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, SECURITY_ANONYMOUS,
};

use super::handle::{check, size};
use super::process;
use super::security::Descriptor;

/// Whether the end of a program's output always comes once its tree is gone.
/// Here the job holds the whole tree: nobody is left who could write.
pub const END_ALWAYS_COMES: bool = true;

/// What a pipe keeps of what the other end has not read yet, in bytes.
const BUFFER: u32 = 64 * 1024;

/// The program's end of a pipe.
#[derive(Debug)]
pub struct End {
    file: OwnedHandle,
}

impl End {
    pub(super) fn handle(&self) -> HANDLE {
        self.file.as_raw_handle()
    }
}

/// What a program reads. Dropped, it is the end of the program's input, once
/// everything that was written is read: a write that the system has not finished
/// keeps our end open beyond the drop, and what the pipe has stays in it. (Only
/// an explicit disconnect would throw it away.)
#[derive(Debug)]
pub struct Writer {
    pipe: NamedPipeServer,
}

/// What a program writes.
#[derive(Debug)]
pub struct Reader {
    pipe: NamedPipeServer,
}

/// A pipe to a program. Must be called within the loop.
pub fn to_program() -> io::Result<(Writer, End)> {
    let mut options = ServerOptions::new();
    options.access_inbound(false);
    // Beside reading, what runtimes ask of a standard input.
    let (pipe, end) = pair(&mut options, GENERIC_READ | FILE_WRITE_ATTRIBUTES)?;
    Ok((Writer { pipe }, end))
}

/// A pipe from a program. Must be called within the loop.
pub fn from_program() -> io::Result<(Reader, End)> {
    let mut options = ServerOptions::new();
    options.access_outbound(false);
    let (pipe, end) = pair(&mut options, GENERIC_WRITE | FILE_READ_ATTRIBUTES)?;
    Ok((Reader { pipe }, end))
}

/// Our end of a new pipe, and the program's with this access.
fn pair(options: &mut ServerOptions, access: u32) -> io::Result<(NamedPipeServer, End)> {
    let name = name()?;
    // We open both ends, and a program inherits its own: nobody has to be
    // allowed to open one by its name, whichever account the program runs as.
    let own = Descriptor::parse(&format!("D:P(A;;GA;;;{})", process::own_sid()?))?;
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: size::<SECURITY_ATTRIBUTES>(),
        lpSecurityDescriptor: own.raw(),
        bInheritHandle: 0,
    };
    options
        .first_pipe_instance(true)
        .max_instances(1)
        .reject_remote_clients(true)
        .in_buffer_size(BUFFER)
        .out_buffer_size(BUFFER);
    // SAFETY: the attributes and the descriptor live through the call.
    let pipe = unsafe { options.create_with_security_attributes_raw(&name, (&raw mut attributes).cast()) }?;
    // Synchronous, as it is not said otherwise; not inheritable; and fails if
    // somebody else was faster, as there is no second instance.
    let file = OpenOptions::new()
        .access_mode(access)
        .share_mode(0)
        .security_qos_flags(SECURITY_ANONYMOUS)
        .open(&name)?;
    connected(&pipe)?;
    Ok((pipe, End { file: file.into() }))
}

/// Tells our end that it has its other one: only then its reads begin.
fn connected(pipe: &NamedPipeServer) -> io::Result<()> {
    match pin!(pipe.connect()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(connected) => connected,
        Poll::Pending => Err(io::Error::other("a pipe was opened and is not connected")),
    }
}

/// A name that nobody can know before it is there.
fn name() -> io::Result<String> {
    let mut random = [0u8; 16];
    // SAFETY: the pointer and the length are the array's.
    check(unsafe { ProcessPrng(random.as_mut_ptr(), random.len()) })?;
    Ok(format!(r"\\.\pipe\wininetd-{}-{:032x}", std::process::id(), u128::from_ne_bytes(random)))
}

impl Writer {
    /// Waits until there may be room.
    pub async fn writable(&self) -> io::Result<()> {
        self.pipe.writable().await
    }

    /// Writes what there is room for: the first bytes that find none are taken
    /// as well, and no more until these have found some. Broken pipe once nobody
    /// can read it, perhaps one write late.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.pipe.try_write(bytes).map_err(|error| {
            if is_end(&error) { io::Error::new(ErrorKind::BrokenPipe, error) } else { error }
        })
    }
}

impl Reader {
    /// Waits until something may be there, or the end is.
    pub async fn readable(&self) -> io::Result<()> {
        self.pipe.readable().await
    }

    /// Reads what is there; 0 at the end.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.try_read(buffer).or_else(|error| if is_end(&error) { Ok(0) } else { Err(error) })
    }
}

/// Whether it says that the other end is gone.
fn is_end(error: &io::Error) -> bool {
    [ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED]
        .iter()
        .any(|code| error.raw_os_error() == Some(code.cast_signed()))
}
