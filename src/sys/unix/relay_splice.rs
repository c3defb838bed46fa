//! Moves bytes between a connection and a program's pipes with splice(2), without a buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::unix::AsyncFd;

use super::super::fault::{self, Says};
use super::super::{Broken, Moved};
use super::growth::{Growth, LARGE};
use super::pipe::{Reader, Writer};
use super::stream::Stream;

#[derive(Debug, Default)]
pub struct Relay {
    growth: Growth,
    /// Consecutive tries without progress although both sides were ready.
    stuck: u8,
}

enum Lacks {
    Source,
    Sink,
    Nothing,
}

impl Relay {
    pub fn new() -> Relay {
        Relay::default()
    }

    /// Moves bytes to the client. With `rest`, an empty pipe is the end. Cancel-safe while it
    /// waits.
    pub async fn outward(&mut self, from: &Reader, to: &Stream, rest: bool) -> Result<Moved, Broken> {
        let (pipe, socket) = (from.pipe.as_raw_fd(), to.socket.as_raw_fd());
        loop {
            match fault::point("splice-out", Says::Reset).and_then(|()| splice(pipe, socket)) {
                Ok(0) => return Ok(Moved::End),
                Ok(count) => return Ok(self.moved(count, pipe)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Broken::Sink(error)),
            }
            match lacks(pipe, socket) {
                Lacks::Source if rest => return Ok(Moved::End),
                Lacks::Source => self.wait_for_source(&from.pipe, pipe).await?,
                Lacks::Sink => writable(&to.socket).await.map_err(Broken::Sink)?,
                Lacks::Nothing => self.rest_a_little().await,
            }
        }
    }

    /// Moves bytes to the program. Cancel-safe while it waits.
    pub async fn inward(&mut self, from: &Stream, to: &Writer) -> Result<Moved, Broken> {
        let (socket, pipe) = (from.socket.as_raw_fd(), to.pipe.as_raw_fd());
        loop {
            match fault::point("splice-in", Says::Reset).and_then(|()| splice(socket, pipe)) {
                Ok(0) if is_at_end(from).map_err(Broken::Source)? => return Ok(Moved::End),
                // Splice stops before an urgent byte. The client's stream continues behind it.
                Ok(0) => {}
                // This pipe never grows: with 32 KiB of network data per slot it would hold 8 MiB.
                Ok(count) => {
                    self.stuck = 0;
                    return Ok(Moved::Bytes(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(Broken::Sink(error)),
                Err(error) => return Err(Broken::Source(error)),
            }
            match lacks(socket, pipe) {
                Lacks::Source => self.wait_for_source(&from.socket, pipe).await?,
                Lacks::Sink => writable(&to.pipe).await.map_err(Broken::Sink)?,
                // Splice never passes an urgent byte; a read does.
                Lacks::Nothing => match copy_few(from, to)? {
                    Some(moved) => return Ok(moved),
                    None => self.rest_a_little().await,
                },
            }
        }
    }

    async fn wait_for_source<T: AsRawFd>(&mut self, from: &AsyncFd<T>, pipe: RawFd) -> Result<(), Broken> {
        let ready = readable(from);
        tokio::pin!(ready);
        if let Some(calm) = self.growth.calm_after() {
            match tokio::time::timeout(calm, &mut ready).await {
                Ok(result) => return result.map_err(Broken::Source),
                Err(_) => self.growth.calm_of(pipe),
            }
        }
        ready.await.map_err(Broken::Source)
    }

    /// Both sides polled as ready, but nothing moved. The pause prevents a busy loop.
    async fn rest_a_little(&mut self) {
        self.stuck = self.stuck.saturating_add(1);
        if self.stuck > 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    fn moved(&mut self, count: usize, pipe: RawFd) -> Moved {
        self.stuck = 0;
        self.growth.moved_through(pipe, count);
        Moved::Bytes(count)
    }
}

fn splice(from: RawFd, to: RawFd) -> io::Result<usize> {
    loop {
        // SAFETY: two open descriptors, and no offsets.
        let moved = unsafe {
            libc::splice(
                from,
                std::ptr::null_mut(),
                to,
                std::ptr::null_mut(),
                LARGE,
                libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE,
            )
        };
        match usize::try_from(moved) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Splice returns 0 before an urgent byte too; recv steps over that byte.
fn is_at_end(from: &Stream) -> io::Result<bool> {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    match SockRef::from(from.socket.get_ref()).recv_with_flags(&mut byte, flags) {
        Ok(count) => Ok(count == 0),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Copies up to PIPE_BUF bytes, which a writable pipe accepts at once, see pipe(7).
fn copy_few(from: &Stream, to: &Writer) -> Result<Option<Moved>, Broken> {
    let mut few = [0; libc::PIPE_BUF];
    let source = SockRef::from(from.socket.get_ref());
    let count = match (&*source).read(&mut few) {
        Ok(0) => return Ok(Some(Moved::End)),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(Broken::Source(error)),
    };
    match to.pipe.get_ref().write_all(&few[..count]) {
        Ok(()) => Ok(Some(Moved::Bytes(count))),
        Err(error) => Err(Broken::Sink(error)),
    }
}

/// Splice returns EAGAIN for either side; poll tells which one is not ready.
fn lacks(source: RawFd, sink: RawFd) -> Lacks {
    let mut sides = [
        libc::pollfd { fd: source, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: sink, events: libc::POLLOUT, revents: 0 },
    ];
    // SAFETY: two valid structures; a timeout of 0 does not wait.
    unsafe { libc::poll(sides.as_mut_ptr(), 2, 0) };
    match sides.map(|side| side.revents != 0) {
        [false, _] => Lacks::Source,
        [_, false] => Lacks::Sink,
        _ => Lacks::Nothing,
    }
}

fn is_ready(descriptor: RawFd, events: libc::c_short) -> bool {
    let mut poll = libc::pollfd { fd: descriptor, events, revents: 0 };
    // SAFETY: one valid structure; a timeout of 0 does not wait.
    unsafe { libc::poll(&raw mut poll, 1, 0) != 0 }
}

/// The event loop's readiness may be stale, so poll confirms it.
async fn readable<T: AsRawFd>(descriptor: &AsyncFd<T>) -> io::Result<()> {
    loop {
        let mut guard = descriptor.readable().await?;
        if is_ready(descriptor.as_raw_fd(), libc::POLLIN) {
            return Ok(());
        }
        guard.clear_ready();
    }
}

async fn writable<T: AsRawFd>(descriptor: &AsyncFd<T>) -> io::Result<()> {
    loop {
        let mut guard = descriptor.writable().await?;
        if is_ready(descriptor.as_raw_fd(), libc::POLLOUT) {
            return Ok(());
        }
        guard.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use tokio::sync::Mutex;

    use super::super::growth::{CALM, LARGE_PIPES, SMALL};
    use super::super::pipe::{from_program, to_program};
    use super::super::socket::Socket;
    use super::*;

    /// The limit of large pipes is per process, so these tests run one at a time.
    static TURN: Mutex<()> = Mutex::const_new(());

    fn connected() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (Socket { descriptor: Arc::new(server.into()) }.into_stream().unwrap(), client)
    }

    fn file(end: &super::super::pipe::End) -> std::fs::File {
        // SAFETY: the descriptor is open; the copy is new and ours.
        unsafe { OwnedFd::from_raw_fd(libc::dup(end.as_raw_fd())) }.into()
    }

    fn size(pipe: RawFd) -> usize {
        // SAFETY: asks for the size of an open pipe.
        usize::try_from(unsafe { libc::fcntl(pipe, libc::F_GETPIPE_SZ) }).unwrap()
    }

    fn large() -> usize {
        LARGE_PIPES.load(Ordering::Relaxed)
    }

    async fn move_out(relay: &mut Relay, from: &Reader, to: &Stream, bytes: usize) {
        let mut moved = 0;
        while moved < bytes {
            match relay.outward(from, to, false).await.unwrap() {
                Moved::Bytes(count) => moved += count,
                Moved::End => panic!("an end after {moved}"),
            }
        }
    }

    #[tokio::test]
    async fn a_pipe_grows_while_bulk_flows_and_shrinks_when_it_is_calm() {
        let _turn = TURN.lock().await;
        let ((stream, mut client), (reader, end)) = (connected(), from_program().unwrap());
        let pipe = reader.pipe.as_raw_fd();
        assert_eq!(size(pipe), SMALL);
        let mut program = file(&end);
        let writer = std::thread::spawn(move || {
            program.write_all(&vec![7; 4 << 20]).unwrap();
            program
        });
        let drain = std::thread::spawn(move || {
            client.read_exact(&mut vec![0; 4 << 20]).unwrap();
            client
        });
        let mut relay = Relay::new();
        move_out(&mut relay, &reader, &stream, 4 << 20).await;
        assert_eq!((size(pipe), large()), (LARGE, 1));
        let (mut program, _client) = (writer.join().unwrap(), drain.join().unwrap());
        let calm = tokio::time::timeout(CALM * 2, relay.outward(&reader, &stream, false)).await;
        assert!(calm.is_err(), "{calm:?}");
        assert_eq!((size(pipe), large()), (SMALL, 0));
        program.write_all(b"x").unwrap();
        move_out(&mut relay, &reader, &stream, 1).await;
    }

    #[tokio::test]
    async fn pipe_that_cannot_shrink_still_counts_as_large() {
        let _turn = TURN.lock().await;
        let (reader, end) = from_program().unwrap();
        let (pipe, mut program, mut growth) = (reader.pipe.as_raw_fd(), file(&end), Growth::default());
        (0..8).for_each(|_| growth.moved(&reader, SMALL));
        assert_eq!((size(pipe), large()), (LARGE, 1));
        program.write_all(&vec![7; LARGE / 2]).unwrap();
        growth.calm(&reader);
        assert_eq!((size(pipe), large()), (LARGE, 1));
        let mut rest = LARGE / 2;
        while rest > 0 {
            rest -= reader.read_now(&mut vec![0; LARGE]).unwrap();
        }
        growth.calm(&reader);
        assert_eq!((size(pipe), large()), (SMALL, 0));
    }

    #[tokio::test]
    async fn a_pipe_to_a_program_stays_small_since_its_places_hold_more() {
        let _turn = TURN.lock().await;
        let ((stream, mut client), (writer, end)) = (connected(), to_program().unwrap());
        let pipe = writer.pipe.as_raw_fd();
        let sender = std::thread::spawn(move || {
            client.write_all(&vec![7; 4 << 20]).unwrap();
            client
        });
        let mut program = file(&end);
        let reader = std::thread::spawn(move || program.read_exact(&mut vec![0; 4 << 20]).unwrap());
        let (mut relay, mut moved) = (Relay::new(), 0);
        while moved < 4 << 20 {
            match relay.inward(&stream, &writer).await.unwrap() {
                Moved::Bytes(count) => moved += count,
                Moved::End => panic!("an end after {moved}"),
            }
            assert_eq!(size(pipe), SMALL);
        }
        sender.join().unwrap();
        reader.join().unwrap();
    }

    #[tokio::test]
    async fn bytes_after_an_urgent_byte_are_not_lost_at_eof() {
        let ((stream, mut client), (writer, end)) = (connected(), to_program().unwrap());
        client.write_all(b"abc").unwrap();
        assert_eq!(SockRef::from(&client).send_out_of_band(b"!").unwrap(), 1);
        client.write_all(b"def").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut relay = Relay::new();
        let mut moved = 0;
        while let Moved::Bytes(count) = relay.inward(&stream, &writer).await.unwrap() {
            moved += count;
        }
        assert_eq!(moved, 6);
        let mut all = [0; 6];
        file(&end).read_exact(&mut all).unwrap();
        assert_eq!(&all, b"abcdef");
    }

    #[tokio::test]
    async fn remaining_bytes_end_the_stream_despite_an_open_writer() {
        let ((stream, mut client), (reader, end)) = (connected(), from_program().unwrap());
        file(&end).write_all(b"left").unwrap();
        let mut relay = Relay::new();
        assert_eq!(relay.outward(&reader, &stream, true).await.unwrap(), Moved::Bytes(4));
        assert_eq!(relay.outward(&reader, &stream, true).await.unwrap(), Moved::End);
        let mut left = [0; 4];
        client.read_exact(&mut left).unwrap();
        assert_eq!(&left, b"left");
    }
}
