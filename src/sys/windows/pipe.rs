//! Pipes between the server and a program. The server's end is asynchronous, the program's
//! synchronous. Anonymous pipes are synchronous at both ends, so each is a named pipe with
//! one instance. Windows serialises the calls on a synchronous handle, so each pipe has one
//! direction: a blocked read must not block writes. A random name and the access list keep
//! other accounts out.

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

use super::super::fault::{self, Says};
use super::handle::{check, size};
use super::security::Descriptor;
use super::token;

/// Whether a program's output always reaches its end of file once the tree is gone.
/// True on Windows: the job holds the whole tree, so no process can keep the pipe open.
pub const END_ALWAYS_COMES: bool = true;

/// In bytes.
const BUFFER: u32 = 64 * 1024;

#[derive(Debug)]
pub struct End {
    file: OwnedHandle,
}

impl End {
    pub(super) fn handle(&self) -> HANDLE {
        self.file.as_raw_handle()
    }
}

/// Writes to a program. A drop ends the program's input once the program has read all data.
/// A pending write keeps the pipe open beyond the drop. An explicit disconnect would discard
/// unread data.
#[derive(Debug)]
pub struct Writer {
    pipe: NamedPipeServer,
}

#[derive(Debug)]
pub struct Reader {
    pipe: NamedPipeServer,
}

/// A pipe to a program. Must be called within the runtime.
pub fn to_program() -> io::Result<(Writer, End)> {
    let mut options = ServerOptions::new();
    options.access_inbound(false);
    // Language runtimes also set attributes of their standard input.
    let (pipe, end) = pair(&name()?, &mut options, GENERIC_READ | FILE_WRITE_ATTRIBUTES)?;
    Ok((Writer { pipe }, end))
}

/// A pipe from a program. Must be called within the runtime.
pub fn from_program() -> io::Result<(Reader, End)> {
    let mut options = ServerOptions::new();
    options.access_outbound(false);
    let (pipe, end) = pair(&name()?, &mut options, GENERIC_WRITE | FILE_READ_ATTRIBUTES)?;
    Ok((Reader { pipe }, end))
}

fn pair(name: &str, options: &mut ServerOptions, access: u32) -> io::Result<(NamedPipeServer, End)> {
    // Only the server's account needs access: the server opens both ends, and the program
    // inherits its end, whichever account it runs as.
    let own = Descriptor::parse(&format!("D:P(A;;GA;;;{})", token::own_sid()?))?;
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
    fault::point("pipe", Says::Memory)?;
    // SAFETY: the attributes and the descriptor live through the call.
    let pipe = unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }?;
    // Synchronous and not inheritable by default. Fails if another process opened the name
    // first, because there is only one instance.
    fault::point("pipe:open", Says::Descriptors)?;
    let file = OpenOptions::new()
        .access_mode(access)
        .share_mode(0)
        .security_qos_flags(SECURITY_ANONYMOUS)
        .open(name)?;
    fault::point("pipe:connect", Says::Memory)?;
    connected(&pipe)?;
    Ok((pipe, End { file: file.into() }))
}

/// Connects the server's end to its opened other end. Reads begin only after this.
fn connected(pipe: &NamedPipeServer) -> io::Result<()> {
    match pin!(pipe.connect()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(connected) => connected,
        Poll::Pending => Err(io::Error::other("a pipe was opened but is not connected")),
    }
}

/// A random name, so that no other process can guess and create it first.
fn name() -> io::Result<String> {
    let mut random = [0u8; 16];
    // SAFETY: pointer and length belong to the array.
    check(unsafe { ProcessPrng(random.as_mut_ptr(), random.len()) })?;
    Ok(format!(r"\\.\pipe\wininetd-{}-{:032x}", std::process::id(), u128::from_ne_bytes(random)))
}

impl Writer {
    pub async fn writable(&self) -> io::Result<()> {
        self.pipe.writable().await
    }

    /// Writes without waiting. The runtime accepts one write beyond the pipe's buffer, then
    /// refuses until that write completes. So the broken pipe error may come one write late.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        fault::point("pipe-write", Says::Device)?;
        self.pipe.try_write(bytes).map_err(|error| {
            if is_end(&error) { io::Error::new(ErrorKind::BrokenPipe, error) } else { error }
        })
    }
}

impl Reader {
    pub async fn readable(&self) -> io::Result<()> {
        self.pipe.readable().await
    }

    /// Same as `try_read`: on Windows the end of file always comes.
    pub fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }

    /// Reads without waiting; 0 at the end of file.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        fault::point("pipe-read", Says::Device)?;
        self.pipe.try_read(buffer).or_else(|error| if is_end(&error) { Ok(0) } else { Err(error) })
    }
}

fn is_end(error: &io::Error) -> bool {
    [ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED]
        .iter()
        .any(|code| error.raw_os_error() == Some(code.cast_signed()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::ptr::{null, null_mut};

    use windows_sys::Win32::Foundation::{ERROR_PIPE_BUSY, GetHandleInformation};
    use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_PIPE, GetFileType};
    use windows_sys::Win32::System::Pipes::{
        PIPE_READMODE_BYTE, PIPE_WAIT, PeekNamedPipe, SetNamedPipeHandleState,
    };

    use super::super::spawn::assert_synchronous;
    use super::*;

    const CHUNK: usize = 16 * 1024;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251).try_into().unwrap()).collect()
    }

    fn as_program(end: End) -> File {
        end.file.into()
    }

    async fn read_to_end(reader: &Reader) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; CHUNK];
        loop {
            reader.readable().await.unwrap();
            match reader.try_read(&mut buffer) {
                Ok(0) => return all,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }

    async fn fill(writer: &Writer, bytes: &[u8]) -> io::Result<usize> {
        let (mut taken, mut refused) = (0, 0);
        // The runtime sees completed writes only when a task yields.
        while refused < 100 && taken < bytes.len() {
            match writer.try_write(&bytes[taken..bytes.len().min(taken + CHUNK)]) {
                Ok(count) => (taken, refused) = (taken + count, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => refused += 1,
                Err(error) => return Err(error),
            }
            tokio::task::yield_now().await;
        }
        Ok(taken)
    }

    #[tokio::test]
    async fn a_program_that_does_not_read_is_not_written_to_for_ever() {
        let (writer, end) = to_program().unwrap();
        let bytes = pattern(1 << 20);
        let taken = fill(&writer, &bytes).await.unwrap();
        assert!((BUFFER as usize..=BUFFER as usize + CHUNK).contains(&taken), "{taken}");
        let mut program = as_program(end);
        let mut read = vec![0; taken];
        let read = tokio::task::spawn_blocking(move || {
            program.read_exact(&mut read).unwrap();
            (program, read)
        });
        writer.writable().await.unwrap();
        let (_program, read) = read.await.unwrap();
        assert!(read == bytes[..taken]);
    }

    #[tokio::test]
    async fn accepted_bytes_are_readable_after_the_writer_closes() {
        for length in [1, CHUNK, 1 << 20] {
            let (writer, end) = to_program().unwrap();
            let bytes = pattern(length);
            let taken = fill(&writer, &bytes).await.unwrap();
            assert!(taken == length || taken > BUFFER as usize, "a write is in flight: {taken}");
            drop(writer);
            let mut program = as_program(end);
            let read = tokio::task::spawn_blocking(move || {
                let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
                loop {
                    match program.read(&mut buffer).unwrap() {
                        0 => return all,
                        count => all.extend_from_slice(&buffer[..count]),
                    }
                }
            });
            assert!(read.await.unwrap() == bytes[..taken]);
        }
    }

    #[tokio::test]
    async fn last_output_of_a_program_arrives_before_eof() {
        let (reader, end) = from_program().unwrap();
        as_program(end).write_all(b"short").unwrap();
        assert_eq!(read_to_end(&reader).await, b"short");
        let (reader, end) = from_program().unwrap();
        let bytes = pattern(300_000);
        let written = bytes.clone();
        let program = std::thread::spawn(move || as_program(end).write_all(&written).unwrap());
        assert!(read_to_end(&reader).await == bytes);
        program.join().unwrap();
        assert_eq!(reader.try_read(&mut [0]).unwrap(), 0);
    }

    #[tokio::test]
    async fn writer_gets_broken_pipe_when_the_reader_is_gone() {
        let (writer, end) = to_program().unwrap();
        drop(end);
        let error = fill(&writer, &pattern(CHUNK * 3)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        let (writer, end) = to_program().unwrap();
        fill(&writer, &pattern(1 << 20)).await.unwrap();
        drop(end);
        writer.writable().await.unwrap();
        let error = fill(&writer, b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    }

    #[tokio::test]
    async fn pipe_cannot_be_opened_a_second_time_by_name() {
        let name = name().unwrap();
        let mut options = ServerOptions::new();
        options.access_inbound(false);
        let (_pipe, _end) = pair(&name, &mut options, GENERIC_READ | FILE_WRITE_ATTRIBUTES).unwrap();
        let error = File::open(&name).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ERROR_PIPE_BUSY.cast_signed()), "{error}");
        assert!(pair(&name, &mut options, GENERIC_READ).is_err());
        // Another process has the name first. Wine creates a second instance, but the open
        // reaches the other process's pipe and the server's end stays unconnected.
        let name = super::name().unwrap();
        let _theirs = ServerOptions::new().access_inbound(false).create(&name).unwrap();
        assert!(pair(&name, &mut options, GENERIC_READ).is_err());
    }

    #[tokio::test]
    async fn names_are_new() {
        let names: std::collections::HashSet<String> = (0..100).map(|_| name().unwrap()).collect();
        assert_eq!(names.len(), 100);
    }

    #[tokio::test]
    async fn the_ends_of_programs_are_what_runtimes_expect() {
        let (writer, input) = to_program().unwrap();
        let (_reader, output) = from_program().unwrap();
        assert!(assert_synchronous(writer.pipe.as_raw_handle()).is_err());
        for end in [input.handle(), output.handle()] {
            assert_synchronous(end).unwrap();
            let (mut flags, mode) = (1, PIPE_READMODE_BYTE | PIPE_WAIT);
            // SAFETY: the handle is open; the pointers are valid for their calls or null.
            unsafe {
                assert_eq!(GetFileType(end), FILE_TYPE_PIPE);
                check(GetHandleInformation(end, &raw mut flags)).unwrap();
                assert_eq!(flags, 0, "can be inherited");
                check(SetNamedPipeHandleState(end, &raw const mode, null(), null())).unwrap();
            }
        }
        writer.writable().await.unwrap();
        writer.try_write(b"four").unwrap();
        let mut there = 0;
        // SAFETY: as above.
        let peeked =
            unsafe { PeekNamedPipe(input.handle(), null_mut(), 0, null_mut(), &raw mut there, null_mut()) };
        check(peeked).unwrap();
        assert_eq!(there, 4);
    }
}
