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

use super::super::fault::{self, Says};
use super::handle::{check, size};
use super::security::Descriptor;
use super::token;

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
    let (pipe, end) = pair(&name()?, &mut options, GENERIC_READ | FILE_WRITE_ATTRIBUTES)?;
    Ok((Writer { pipe }, end))
}

/// A pipe from a program. Must be called within the loop.
pub fn from_program() -> io::Result<(Reader, End)> {
    let mut options = ServerOptions::new();
    options.access_outbound(false);
    let (pipe, end) = pair(&name()?, &mut options, GENERIC_WRITE | FILE_READ_ATTRIBUTES)?;
    Ok((Reader { pipe }, end))
}

/// Our end of a new pipe, and the program's with this access.
fn pair(name: &str, options: &mut ServerOptions, access: u32) -> io::Result<(NamedPipeServer, End)> {
    // We open both ends, and a program inherits its own: nobody has to be
    // allowed to open one by its name, whichever account the program runs as.
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
    // Synchronous, as it is not said otherwise; not inheritable; and fails if
    // somebody else was faster, as there is no second instance.
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
        fault::point("pipe-write", Says::Device)?;
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

    /// Reads what is known to be there: here the end always comes, and nobody has to
    /// ask whether there is nothing.
    pub fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }

    /// Reads what is there; 0 at the end.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        fault::point("pipe-read", Says::Device)?;
        self.pipe.try_read(buffer).or_else(|error| if is_end(&error) { Ok(0) } else { Err(error) })
    }
}

/// Whether it says that the other end is gone.
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

    /// Writes of the bytes what is taken without anybody reading; how much that is.
    async fn fill(writer: &Writer, bytes: &[u8]) -> io::Result<usize> {
        let (mut taken, mut refused) = (0, 0);
        // The loop looks at what has happened whenever a task lets it. What
        // happened to a write has happened before the write returned.
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
        // Goes on as soon as it is read.
        writer.writable().await.unwrap();
        let (_program, read) = read.await.unwrap();
        assert!(read == bytes[..taken]);
    }

    #[tokio::test]
    async fn nothing_that_was_taken_is_lost_when_the_writer_is_gone_before_it_is_read() {
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
    async fn what_a_program_wrote_last_arrives_before_the_end() {
        let (reader, end) = from_program().unwrap();
        as_program(end).write_all(b"short").unwrap();
        assert_eq!(read_to_end(&reader).await, b"short");
        // More than the pipe holds.
        let (reader, end) = from_program().unwrap();
        let bytes = pattern(300_000);
        let written = bytes.clone();
        let program = std::thread::spawn(move || as_program(end).write_all(&written).unwrap());
        assert!(read_to_end(&reader).await == bytes);
        program.join().unwrap();
        // The end stays the end.
        assert_eq!(reader.try_read(&mut [0]).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_writer_learns_that_nobody_reads_any_more() {
        let (writer, end) = to_program().unwrap();
        drop(end);
        let error = fill(&writer, &pattern(CHUNK * 3)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        // Also while a write waits.
        let (writer, end) = to_program().unwrap();
        fill(&writer, &pattern(1 << 20)).await.unwrap();
        drop(end);
        writer.writable().await.unwrap();
        let error = fill(&writer, b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    }

    #[tokio::test]
    async fn a_pipe_has_two_ends_and_nobody_gets_a_third_by_its_name() {
        let name = name().unwrap();
        let mut options = ServerOptions::new();
        options.access_inbound(false);
        let (_pipe, _end) = pair(&name, &mut options, GENERIC_READ | FILE_WRITE_ATTRIBUTES).unwrap();
        let error = File::open(&name).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ERROR_PIPE_BUSY.cast_signed()), "{error}");
        assert!(pair(&name, &mut options, GENERIC_READ).is_err());
        // A name that somebody had before. (Wine makes us a second instance, but
        // it is the other's that is opened, and ours is not connected.)
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
