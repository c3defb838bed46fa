//! Sockets on Windows.
//!
//! Only a socket without the OVERLAPPED attribute can be a program's standard
//! stream, and an accepted socket has the attributes of its listener. So the
//! listeners of services with the socket binding are made without it, and those
//! of services with pipes with it. The loop polls both: it asks the driver
//! through a handle of its own.
//!
//! All input and output on a socket without it is serialised: while a
//! program sits in a read, even our shutdown would wait. So everything about a
//! connection is asked and set before the program has it, and it is touched
//! again only when the program's whole tree is gone.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::windows::io::{AsRawSocket, FromRawSocket, OwnedSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{SockAddr, SockRef};
use tokio::io::Interest;
use tokio::net::TcpStream;
use windows_sys::Win32::Foundation::{HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::Networking::WinSock::{
    INVALID_SOCKET, POLLRDNORM, SO_PROTOCOL_INFOW, SOL_SOCKET, WSAEACCES, WSAEADDRINUSE, WSAEADDRNOTAVAIL,
    WSAEAFNOSUPPORT, WSAEBADF, WSAECONNABORTED, WSAECONNRESET, WSAEFAULT, WSAEHOSTUNREACH, WSAEINTR,
    WSAEINVAL, WSAENETDOWN, WSAENETUNREACH, WSAENOTCONN, WSAENOTSOCK, WSAEOPNOTSUPP, WSAETIMEDOUT, WSAPOLLFD,
    WSAPROTOCOL_INFOW, WSAPoll, XP1_IFS_HANDLES, accept as winsock_accept, getsockopt,
};

use crate::model::listen::Address;
use crate::model::peer::Peer;
use crate::model::plan::Stdio;

use super::super::fault::{self, Says};
use super::super::{AcceptFault, Counts, Drained};
use super::bind::{self, new_socket};
use super::counts::is_acknowledged;
use super::handle::{check, raw_socket};
use crate::model::listen::{Keepalive, ListenOptions};

pub use super::counts::Counter;
pub use super::stream::Stream;
pub use super::waiter::{Ready, Waiter, Watched};

/// A bound socket that is waited on by the loop.
#[derive(Debug)]
pub struct Listener {
    /// Not a stream: the loop's name for a socket whose readiness it tells.
    socket: TcpStream,
    /// For connections to come, as the system wants it: milliseconds of silence
    /// in the upper half, between two questions in the lower; 0 for never.
    keepalive: AtomicU64,
    /// It has its port to itself against every other program.
    is_exclusive: bool,
}

/// A socket that a service manager has opened for us: none does here.
#[derive(Debug)]
pub enum Inherited {}

impl Inherited {
    /// What it is.
    pub fn given(&self) -> &crate::core::inherited::Given {
        match *self {}
    }
}

impl Listener {
    /// Takes a socket that was opened for us.
    #[allow(clippy::needless_pass_by_value)] // as on Unix, where it is consumed
    pub fn inherit(inherited: Inherited, _keepalive: Option<Keepalive>) -> io::Result<Listener> {
        match inherited {}
    }

    /// Binds and listens, with the largest backlog that the system has.
    /// Must be called within the loop.
    pub fn bind(address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        let Address::Tcp(address) = *address else {
            return Err(io::Error::new(
                ErrorKind::Unsupported,
                "sockets in the file system are not served here",
            ));
        };
        fault::point("bind", Says::InUse)?;
        let (socket, is_exclusive) = bind::bound_at(address, options.stdio)?;
        fault::point("listen", Says::InUse)?;
        socket.listen(i32::MAX)?; // SOMAXCONN
        fault::point("watch", Says::Memory)?;
        let socket = TcpStream::from_std(StdStream::from(OwnedSocket::from(socket)))?;
        Ok(Listener { socket, keepalive: AtomicU64::new(packed(options.keepalive)), is_exclusive })
    }

    /// What an administrator should know of how it was bound.
    pub fn remark(&self) -> Option<&'static str> {
        (!self.is_exclusive).then_some(
            "bound without exclusive use of the port, because a connection from before still has it; \
             until the next start another program of the same account can bind this port too",
        )
    }

    /// Changes when clients that are accepted from now on are asked whether
    /// they are there.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        self.keepalive.store(packed(keepalive), Ordering::Relaxed);
        Ok(())
    }

    /// The address that it is bound to.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.socket.local_addr().map(Address::Tcp)
    }

    /// Waits until somebody may be waiting to be accepted.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Whether a client waits right now, without taking it. If none does,
    /// `readable` will wait.
    pub fn has_client(&self) -> bool {
        let look = || {
            let mut poll = WSAPOLLFD { fd: raw_socket(&self.socket), events: POLLRDNORM, revents: 0 };
            // SAFETY: one valid structure; a timeout of 0 does not wait.
            match unsafe { WSAPoll(&raw mut poll, 1, 0) } {
                0 => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        };
        self.socket.try_io(Interest::READABLE, look).is_ok()
    }

    /// Takes the next client; `None` if nobody waits, and `readable` will wait
    /// then. The client's address comes from accept, which knows it even if
    /// the client is gone already.
    pub fn accept(&self) -> io::Result<Option<(Socket, Peer)>> {
        fault::point("accept", Says::Sockets)?;
        match self.socket.try_io(Interest::READABLE, || accept(&self.socket)) {
            Ok((connection, peer)) => {
                let peer = peer.as_socket().ok_or_else(not_an_address)?;
                let connection = self.connection(connection)?;
                fault::passed("accepted");
                Ok(Some((connection, Peer::Inet(peer))))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Listener {
    /// Makes an accepted socket what a program expects, while it still can be touched.
    fn connection(&self, socket: OwnedSocket) -> io::Result<Socket> {
        // An accepted socket is inheritable whatever its listener said.
        fault::point("accept:handle", Says::Memory)?;
        // SAFETY: changes a flag of a handle that is ours.
        check(unsafe { SetHandleInformation(socket.as_raw_socket() as HANDLE, HANDLE_FLAG_INHERIT, 0) })?;
        let reference = SockRef::from(&socket);
        // Inherited from the listener; a program expects to wait.
        fault::point("accept:nonblocking", Says::Memory)?;
        reference.set_nonblocking(false)?;
        if let Some((idle, interval)) = unpacked(self.keepalive.load(Ordering::Relaxed)) {
            let times = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval);
            // A client that is gone already is not an error here.
            let _ = reference.set_tcp_keepalive(&times);
        }
        let local = match reference.local_addr().ok().and_then(|address| address.as_socket()) {
            Some(local) => local,
            None => self.socket.local_addr()?,
        };
        Ok(Socket::new(socket, local))
    }
}

fn packed(keepalive: Option<Keepalive>) -> u64 {
    let milliseconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1);
    keepalive.map_or(0, |keepalive| {
        u64::from(milliseconds(keepalive.idle)) << 32 | u64::from(milliseconds(keepalive.interval))
    })
}

fn unpacked(packed: u64) -> Option<(Duration, Duration)> {
    let half = |number| Duration::from_millis(number & u64::from(u32::MAX));
    (packed != 0).then(|| (half(packed >> 32), half(packed)))
}

fn accept(listener: &TcpStream) -> io::Result<(OwnedSocket, SockAddr)> {
    // SAFETY: the address buffer and its length are socket2's, valid for the
    // call; a socket that comes back is new and ours.
    unsafe {
        SockAddr::try_init(|address, length| {
            let connection = winsock_accept(raw_socket(listener), address.cast(), length);
            if connection == INVALID_SOCKET {
                return Err(io::Error::last_os_error());
            }
            Ok(OwnedSocket::from_raw_socket(connection as _))
        })
    }
}

fn not_an_address() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the system gave no internet address")
}

/// Whose fault a failed accept is.
pub fn accept_fault(error: &io::Error) -> AcceptFault {
    match error.raw_os_error() {
        Some(
            WSAECONNRESET | WSAECONNABORTED | WSAENOTCONN | WSAEINTR | WSAETIMEDOUT | WSAENETDOWN
            | WSAENETUNREACH | WSAEHOSTUNREACH,
        ) => AcceptFault::Connection,
        Some(WSAEBADF | WSAEFAULT | WSAEINVAL | WSAENOTSOCK | WSAEOPNOTSUPP) => AcceptFault::Listener,
        // WSAEMFILE, WSAENOBUFS, and what nobody has thought of: going on at
        // once could spin.
        _ => AcceptFault::Exhausted,
    }
}

/// Whether a failed bind may succeed in a moment, because a process that ends has
/// the address. The system says either code for that.
pub fn may_be_free_soon(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEADDRINUSE | WSAEACCES))
}

/// Whether a failed bind means that the host lacks the address family.
pub fn family_is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(WSAEAFNOSUPPORT)
}

/// What to do about a failed bind, where that is known.
pub fn bind_hint(error: &io::Error, address: &Address) -> Option<String> {
    let Address::Tcp(address) = address else { return None };
    match error.raw_os_error() {
        Some(WSAEADDRINUSE) => Some(format!("`netstat -ano | findstr :{}` shows who has it", address.port())),
        Some(WSAEACCES) => Some(
            "another program has it for itself, or it lies in a reserved range: \
             `netsh interface ipv4 show excludedportrange protocol=tcp`"
                .to_owned(),
        ),
        Some(WSAEADDRNOTAVAIL) => Some("no interface has this address now".to_owned()),
        _ => None,
    }
}

/// Why sockets can't be standard streams on this host, if they can't: layered
/// providers of old give sockets that are no file handles.
pub fn stdio_fault() -> Option<String> {
    let socket = new_socket(SocketAddr::from(([127, 0, 0, 1], 0)), Stdio::Socket).ok()?;
    // SAFETY: zeroes are a valid value to be overwritten; the length is the structure's.
    let flags = unsafe {
        let mut info: WSAPROTOCOL_INFOW = std::mem::zeroed();
        let mut length = i32::try_from(size_of::<WSAPROTOCOL_INFOW>()).ok()?;
        let result = getsockopt(
            raw_socket(&socket),
            SOL_SOCKET,
            SO_PROTOCOL_INFOW,
            (&raw mut info).cast(),
            &raw mut length,
        );
        (result == 0).then_some(info.dwServiceFlags1)?
    };
    (flags & XP1_IFS_HANDLES == 0).then(|| {
        "a layered network provider on this host makes sockets that programs can't use as standard streams; \
         `netsh winsock show catalog` lists it"
            .to_owned()
    })
}

/// One connection. Closed when dropped.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedSocket,
    local: SocketAddr,
}

impl Socket {
    /// The server's address that the client connected to.
    pub fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Tcp(self.local))
    }

    /// What the kernel counted: asking would wait for the program here.
    pub fn counts(&self, _broken: bool) -> Option<Counts> {
        None
    }

    /// Whether the client has acknowledged all that was sent to it; `None` where
    /// the system does not tell.
    pub fn is_acknowledged(&self) -> Option<bool> {
        is_acknowledged(&self.socket)
    }

    /// Asks the same from elsewhere.
    pub fn counter(&self) -> Counter {
        Counter(())
    }

    /// The connection for the server itself, as long as no program has it.
    /// Must be called within the loop.
    pub fn into_stream(self) -> io::Result<Stream> {
        Stream::new(self.socket, self.local)
    }

    /// A connection that is as a program expects it: it waits.
    pub(super) fn new(socket: OwnedSocket, local: SocketAddr) -> Socket {
        Socket { socket, local }
    }

    /// Sends a short text of ours, if it can be sent at once and whole: a new
    /// connection's buffer has room for `plan::LONGEST_TEXT`. Only before a
    /// program has the connection, whose reads it would wait for.
    pub fn send_text(&self, text: &[u8]) -> io::Result<()> {
        fault::point("send-text", Says::Reset)?;
        let socket = SockRef::from(&self.socket);
        socket.set_nonblocking(true)?;
        let sent = socket.send(text);
        socket.set_nonblocking(false)?;
        if sent? == text.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    pub(super) fn handle(&self) -> HANDLE {
        self.socket.as_raw_socket() as HANDLE
    }

    /// Takes back a program's SO_LINGER: with it the last close waits for the
    /// client, or resets the connection.
    pub fn reset_so_linger(&self) -> io::Result<()> {
        fault::point("so-linger", Says::Memory)?;
        SockRef::from(&self.socket).set_linger(None)
    }

    /// Ends the stream to the client, and lets `drain` not wait. Only after the
    /// program's whole tree is gone.
    pub fn shutdown(&self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        socket.set_nonblocking(true)?;
        fault::point("shutdown", Says::Reset)?;
        socket.shutdown(std::net::Shutdown::Write)
    }

    /// What the loop waits with until the client sends.
    pub fn waiter(&self) -> io::Result<Waiter> {
        fault::point("watch:duplicate", Says::Sockets)?;
        SockRef::from(&self.socket).try_clone().map(Waiter)
    }

    /// Ends the stream to the client, then reads and drops what the client
    /// still sends until it ends too: closing over unread input would reset
    /// the connection, and what was written last would be lost. Only where no
    /// program has had the connection.
    pub async fn linger(&self) -> io::Result<()> {
        self.shutdown()?;
        // Asked once before it is polled: a reset that was seen already is not told again.
        if self.drain()? == Drained::End {
            return Ok(());
        }
        let waits = self.waiter()?.watch()?;
        loop {
            let ready = waits.readable().await?;
            match self.drain()? {
                Drained::End => return Ok(()),
                Drained::Empty => ready.clear(),
                Drained::More => tokio::task::yield_now().await,
            }
        }
    }

    /// Drops what has arrived. It does not wait after `shutdown`.
    pub fn drain(&self) -> io::Result<Drained> {
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); CHUNK];
        // Bounded, so that a client that floods can't keep the loop for itself.
        for _ in 0..64 {
            fault::point("drain", Says::Reset)?;
            match SockRef::from(&self.socket).recv(&mut buffer) {
                Ok(0) => return Ok(Drained::End),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Drained::Empty),
                Err(error) => return Err(error),
            }
        }
        Ok(Drained::More)
    }
}

/// How much is dropped at a time.
const CHUNK: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::model::listen::KEEPALIVE;

    #[tokio::test]
    async fn a_text_is_sent_before_a_program_has_the_connection() {
        let any = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = Listener::bind(&any, &ListenOptions::default()).unwrap();
        let Address::Tcp(address) = listener.local_addr().unwrap() else { unreachable!() };
        let mut client = StdStream::connect(address).unwrap();
        for keepalive in [Some(KEEPALIVE), None] {
            listener.set_keepalive(keepalive).unwrap();
        }
        listener.readable().await.unwrap();
        let (socket, _) = listener.accept().unwrap().unwrap();
        socket.send_text(&[b'x'; crate::model::plan::LONGEST_TEXT]).unwrap();
        assert!(!SockRef::from(&socket.socket).keepalive().unwrap());
        drop(socket);
        let mut text = Vec::new();
        client.read_to_end(&mut text).unwrap();
        assert_eq!(text.len(), crate::model::plan::LONGEST_TEXT);
    }

    #[test]
    fn times_of_a_keepalive_come_back_as_they_were() {
        assert_eq!(unpacked(packed(Some(KEEPALIVE))), Some((KEEPALIVE.idle, KEEPALIVE.interval)));
        assert_eq!(unpacked(packed(None)), None);
    }
}
