//! Sockets on Unix: listeners in the poll set, connections outside of it.
//!
//! A connection is a blocking description from birth and stays one, because a
//! program shares it; what the server itself does on it says MSG_DONTWAIT.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::model::listen::Address;
use crate::model::peer::Peer;

use super::super::fault::{self, Says};
use super::super::{AcceptFault, Counts, Drained};
use super::unix_socket::{self, SocketFile};
use super::{counts, poll};
use crate::model::listen::{Keepalive, ListenOptions};

pub use super::inherited::Inherited;
pub use super::stream::{Counter, Stream};
pub use super::waiter::{Ready, Waiter, Watched};

/// A bound socket that is waited on by the loop.
#[derive(Debug)]
pub struct Listener {
    /// Of a socket in the file system that this server has made. Before the socket: while
    /// that is open no other file can have its inode, by which it is known.
    file: Option<SocketFile>,
    socket: AsyncFd<OwnedFd>,
    /// It takes clients of this system, not of a network.
    is_unix: bool,
}

impl Listener {
    /// Binds and listens, with the largest backlog that the system has.
    /// Must be called within the loop. A socket in the file system is no
    /// connection of a network, and its keepalive is not set.
    pub fn bind(address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        let address = match address {
            Address::Tcp(address) => *address,
            Address::Unix(path) => {
                let (socket, file) = unix_socket::bind(path, &options.unix, backlog())?;
                return Ok(Listener { file: Some(file), socket: poll::watch(socket)?, is_unix: true });
            }
        };
        fault::point("socket", Says::Sockets)?;
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            // Two sockets serve a port, so that an IPv4 client is written as one.
            socket.set_only_v6(true)?;
        }
        // A new start must not wait for the last connections of the old one.
        fault::point("socket-option", Says::Memory)?;
        socket.set_reuse_address(true)?;
        if let Some(keepalive) = &options.keepalive {
            // Accepted sockets inherit it, so that a connection costs no call.
            set_keepalive(&socket, keepalive)?;
        }
        socket.set_nonblocking(true)?;
        fault::point("bind", Says::InUse)?;
        socket.bind(&SockAddr::from(address))?;
        fault::point("listen", Says::InUse)?;
        socket.listen(backlog())?;
        Ok(Listener { file: None, socket: poll::watch(socket.into())?, is_unix: false })
    }

    /// Takes a socket that was opened for us. The file of one in the file system belongs to
    /// the service manager, with its mode and owner. Must be called within the loop.
    pub fn inherit(inherited: Inherited, keepalive: Option<Keepalive>) -> io::Result<Listener> {
        let is_unix = matches!(inherited.given.address, Address::Unix(_));
        let socket = SockRef::from(&inherited.descriptor);
        if let Some(keepalive) = keepalive.filter(|_| !is_unix) {
            set_keepalive(&socket, &keepalive)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Listener { file: None, socket: poll::watch(inherited.descriptor)?, is_unix })
    }

    /// Changes when clients that are accepted from now on are asked whether
    /// they are there.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        let socket = SockRef::from(self.socket.get_ref());
        match keepalive {
            _ if self.is_unix => Ok(()),
            Some(keepalive) => set_keepalive(&socket, &keepalive),
            None => socket.set_keepalive(false),
        }
    }

    /// What an administrator should know of how it was bound: nothing here.
    pub fn remark(&self) -> Option<&'static str> {
        None
    }

    /// The address that it is bound to.
    pub fn local_addr(&self) -> io::Result<Address> {
        match &self.file {
            Some(file) => Ok(Address::Unix(file.path().to_owned())),
            None => address_of(&self.socket.get_ref().as_fd()),
        }
    }

    /// Waits until somebody may be waiting to be accepted.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Whether a client waits right now, without taking it. If none does,
    /// `readable` will wait.
    pub fn has_client(&self) -> bool {
        let look = |socket: &OwnedFd| {
            let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid structure; a timeout of 0 does not wait.
            match unsafe { libc::poll(&raw mut poll, 1, 0) } {
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
        match self.socket.try_io(Interest::READABLE, accept) {
            Ok((connection, peer)) => {
                fault::passed("accepted");
                let peer = match self.is_unix {
                    true => unix_socket::peer_of(&connection),
                    false => Peer::Inet(canonical(peer.as_socket().ok_or_else(not_an_address)?)),
                };
                Ok(Some((Socket { descriptor: Arc::new(connection) }, peer)))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn set_keepalive(socket: &socket2::Socket, keepalive: &Keepalive) -> io::Result<()> {
    fault::point("keepalive", Says::Memory)?;
    let times = socket2::TcpKeepalive::new().with_time(keepalive.idle);
    #[cfg(not(target_os = "openbsd"))]
    let times = times.with_interval(keepalive.interval).with_retries(keepalive.probes);
    socket.set_tcp_keepalive(&times)
}

/// The system cuts it to its own maximum; a short backlog makes clients wait
/// a second for their next SYN.
fn backlog() -> libc::c_int {
    if cfg!(target_os = "linux") { libc::c_int::MAX } else { -1 }
}

#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
fn accept(listener: &OwnedFd) -> io::Result<(OwnedFd, SockAddr)> {
    use std::os::fd::FromRawFd;

    // SAFETY: the address buffer and its length are socket2's, valid for the
    // call; the descriptor that comes back is new and ours.
    unsafe {
        SockAddr::try_init(|address, length| {
            let descriptor = super::check(libc::accept4(
                listener.as_raw_fd(),
                address.cast(),
                length,
                libc::SOCK_CLOEXEC,
            ))?;
            Ok(OwnedFd::from_raw_fd(descriptor))
        })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd")))]
fn accept(listener: &OwnedFd) -> io::Result<(OwnedFd, SockAddr)> {
    let (connection, address) = SockRef::from(listener).accept()?;
    // Inherited from the listener here.
    connection.set_nonblocking(false)?;
    Ok((connection.into(), address))
}

/// On a dual-stack socket that was passed to us, IPv4 clients come as
/// `::ffff:192.0.2.1`, and rules for IPv4 would not know them.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, address.port()),
        _ => address,
    }
}

/// The address that a socket is bound to.
fn address_of(socket: &BorrowedFd<'_>) -> io::Result<Address> {
    let address = SockRef::from(socket).local_addr()?;
    match address.as_pathname() {
        Some(path) => Ok(Address::Unix(path.to_owned())),
        None => address.as_socket().map(canonical).map(Address::Tcp).ok_or_else(not_an_address),
    }
}

fn not_an_address() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the system gave no internet address")
}

/// Whose fault a failed accept is.
pub fn accept_fault(error: &io::Error) -> AcceptFault {
    match error.raw_os_error() {
        Some(
            libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EINTR
            | libc::EPERM
            | libc::EPROTO
            | libc::ETIMEDOUT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT,
        ) => AcceptFault::Connection,
        Some(libc::EBADF | libc::EFAULT | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP) => {
            AcceptFault::Listener
        }
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, and what nobody has thought of:
        // going on at once could spin.
        _ => AcceptFault::Exhausted,
    }
}

/// Whether a failed bind may succeed in a moment, because a process that ends has the address.
pub fn may_be_free_soon(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrInUse
}

/// Whether a failed bind means that the host lacks the address family.
pub fn family_is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT))
}

/// What to do about a failed bind, where that is known.
pub fn bind_hint(error: &io::Error, address: &Address) -> Option<String> {
    let address = match address {
        Address::Tcp(address) => address,
        Address::Unix(path) => return unix_socket::bind_hint(error, path),
    };
    match error.raw_os_error() {
        Some(libc::EACCES) => Some(format!(
            "ports below 1024 need root, or `sysctl net.ipv4.ip_unprivileged_port_start={}`",
            address.port()
        )),
        // A port may be taken by an outgoing connection as well, even by one that has ended.
        Some(libc::EADDRINUSE) => Some(format!("`ss -tanp 'sport = :{}'` shows who has it", address.port())),
        Some(libc::EADDRNOTAVAIL) => Some("no interface has this address now".to_owned()),
        _ => None,
    }
}

/// One connection. Closed when dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) descriptor: Arc<OwnedFd>,
}

impl Socket {
    /// The server's address that the client connected to.
    pub fn local_addr(&self) -> io::Result<Address> {
        address_of(&self.descriptor.as_fd())
    }

    /// Sends a short text of ours, if it can be sent at once and whole: a new
    /// connection's buffer has room for `plan::LONGEST_TEXT`. To be called
    /// before a program has the connection.
    pub fn send_text(&self, text: &[u8]) -> io::Result<()> {
        fault::point("send-text", Says::Reset)?;
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = SockRef::from(&self.descriptor).send_with_flags(text, flags)?;
        if sent == text.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// What the kernel counted; `None` where it does not, as for sockets in
    /// the file system. On a `broken` connection no end of stream was counted.
    pub fn counts(&self, broken: bool) -> Option<Counts> {
        counts::of(self.descriptor.as_raw_fd(), broken)
    }

    /// Whether the client has acknowledged all that was sent to it; `None` where
    /// the system does not tell.
    pub fn is_acknowledged(&self) -> Option<bool> {
        counts::is_acknowledged(self.descriptor.as_raw_fd())
    }

    /// Asks the same from elsewhere.
    pub fn counter(&self) -> Counter {
        Counter::of(&self.descriptor)
    }

    /// The connection for the server itself, as long as no program has it.
    /// Must be called within the loop.
    pub fn into_stream(self) -> io::Result<Stream> {
        fault::point("nonblocking", Says::Memory)?;
        SockRef::from(&self.descriptor).set_nonblocking(true)?;
        Stream::of(self.descriptor)
    }

    /// Takes back a program's SO_LINGER: with it the last close waits for the
    /// client, or resets the connection.
    pub fn reset_so_linger(&self) -> io::Result<()> {
        fault::point("so-linger", Says::Memory)?;
        SockRef::from(&self.descriptor).set_linger(None)
    }

    /// Ends the stream to the client.
    pub fn shutdown(&self) -> io::Result<()> {
        fault::point("shutdown", Says::Reset)?;
        SockRef::from(&self.descriptor).shutdown(std::net::Shutdown::Write)
    }

    /// What the loop waits with until the client sends.
    pub fn waiter(&self) -> io::Result<Waiter> {
        Ok(Waiter(self.descriptor.clone()))
    }

    /// Ends the stream to the client, then reads and drops what the client
    /// still sends until it ends too: closing over unread input would reset
    /// the connection, and what was written last would be lost. Only where no
    /// program has had the connection.
    pub async fn linger(&self) -> io::Result<()> {
        self.shutdown()?;
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

    /// Drops what has arrived, without waiting.
    pub fn drain(&self) -> io::Result<Drained> {
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 16 * 1024];
        // Bounded, so that a client that floods can't keep the loop for itself.
        for _ in 0..64 {
            fault::point("drain", Says::Reset)?;
            match SockRef::from(&self.descriptor).recv_with_flags(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(0) => return Ok(Drained::End),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Drained::Empty),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Drained::More)
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;

    use super::*;

    async fn listening() -> (Listener, SocketAddr) {
        let any = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = Listener::bind(&any, &ListenOptions::default()).unwrap();
        let Address::Tcp(address) = listener.local_addr().unwrap() else { unreachable!() };
        (listener, address)
    }

    async fn accepted(listener: &Listener, address: SocketAddr) -> (TcpStream, Socket) {
        let client = TcpStream::connect(address).unwrap();
        listener.readable().await.unwrap();
        (client, listener.accept().unwrap().unwrap().0)
    }

    #[tokio::test]
    async fn a_changed_keepalive_holds_for_clients_from_then_on() {
        let (listener, address) = listening().await;
        for keepalive in [None, Some(crate::model::listen::KEEPALIVE), None] {
            listener.set_keepalive(keepalive).unwrap();
            let (_client, socket) = accepted(&listener, address).await;
            let socket = SockRef::from(&socket.descriptor);
            assert_eq!(socket.keepalive().unwrap(), keepalive.is_some());
            if let Some(keepalive) = keepalive {
                assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.idle);
            }
        }
    }

    #[tokio::test]
    async fn a_text_is_sent_without_waiting() {
        let (listener, address) = listening().await;
        let (mut client, socket) = accepted(&listener, address).await;
        socket.send_text(&[b'x'; crate::model::plan::LONGEST_TEXT]).unwrap();
        drop(socket);
        let mut text = Vec::new();
        client.read_to_end(&mut text).unwrap();
        assert_eq!(text.len(), crate::model::plan::LONGEST_TEXT);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_end_of_a_clients_stream_is_seen_beside_its_bytes() {
        use std::io::Write;

        let (listener, address) = listening().await;
        let (mut client, socket) = accepted(&listener, address).await;
        client.write_all(b"four").unwrap();
        assert!(!socket.counts(false).unwrap().end_received);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        // Returns once the end has arrived.
        socket.linger().await.unwrap();
        let counts = socket.counts(false).unwrap();
        assert_eq!((counts.received, counts.end_received), (4, true));
        // A reset is an end as well.
        let (client, socket) = accepted(&listener, address).await;
        SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        assert!(socket.linger().await.is_err());
        assert!(socket.counts(true).unwrap().end_received);
    }

    #[test]
    fn the_hint_at_a_taken_port_shows_connections_as_well_as_listeners() {
        let address = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 7)));
        let hint = bind_hint(&io::Error::from_raw_os_error(libc::EADDRINUSE), &address).unwrap();
        assert_eq!(hint, "`ss -tanp 'sport = :7'` shows who has it");
    }
}
