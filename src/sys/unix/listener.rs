//! Listening sockets in the event loop's poll set.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::fault::{self, Says};
use super::inherited::Inherited;
use super::poll;
use super::socket::{Socket, address_of, canonical, not_an_address};
use super::unix_socket::{self, SocketFile};
use crate::model::listen::{Address, Keepalive, ListenOptions};
use crate::model::peer::Peer;

#[derive(Debug)]
pub struct Listener {
    /// Declared before the socket: while the socket is open, no other file can have its inode.
    file: Option<SocketFile>,
    socket: AsyncFd<OwnedFd>,
    is_unix: bool,
}

impl Listener {
    /// Keepalive applies to TCP only. Must run within the event loop.
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
            // A second socket serves IPv4, so IPv4 addresses appear in their own form.
            socket.set_only_v6(true)?;
        }
        // A new start must not wait for the last connections of the old one.
        fault::point("socket-option", Says::Memory)?;
        socket.set_reuse_address(true)?;
        if let Some(keepalive) = &options.keepalive {
            // Accepted sockets inherit it, which saves a call per connection.
            set_keepalive(&socket, keepalive)?;
        }
        socket.set_nonblocking(true)?;
        fault::point("bind", Says::InUse)?;
        socket.bind(&SockAddr::from(address))?;
        fault::point("listen", Says::InUse)?;
        socket.listen(backlog())?;
        Ok(Listener { file: None, socket: poll::watch(socket.into())?, is_unix: false })
    }

    /// The service manager owns the socket's file. Must run within the event loop.
    pub fn inherit(inherited: Inherited, options: &ListenOptions) -> io::Result<Listener> {
        let is_unix = matches!(inherited.given.address, Address::Unix(_));
        let socket = SockRef::from(&inherited.descriptor);
        if is_unix && !options.unix.pass_descriptors {
            unix_socket::refuse_descriptors(&socket);
        }
        if let Some(keepalive) = options.keepalive.filter(|_| !is_unix) {
            set_keepalive(&socket, &keepalive)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Listener { file: None, socket: poll::watch(inherited.descriptor)?, is_unix })
    }

    /// Applies to clients that are accepted from now on.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        let socket = SockRef::from(self.socket.get_ref());
        match keepalive {
            _ if self.is_unix => Ok(()),
            Some(keepalive) => set_keepalive(&socket, &keepalive),
            None => socket.set_keepalive(false),
        }
    }

    /// A note for the administrator: always `None` on Unix.
    pub fn remark(&self) -> Option<&'static str> {
        None
    }

    pub fn local_addr(&self) -> io::Result<Address> {
        match &self.file {
            Some(file) => Ok(Address::Unix(file.path().to_owned())),
            None => address_of(&self.socket.get_ref().as_fd()),
        }
    }

    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Whether a client is waiting, without accepting it. If not, `readable` waits for one.
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

    /// `None` if no client is waiting; `readable` then waits for one.
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

/// The kernel lowers it to its maximum. With a short backlog a client must resend its SYN.
fn backlog() -> libc::c_int {
    if cfg!(target_os = "linux") { libc::c_int::MAX } else { -1 }
}

#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
fn accept(listener: &OwnedFd) -> io::Result<(OwnedFd, SockAddr)> {
    use std::os::fd::FromRawFd;

    // SAFETY: socket2 gives a valid buffer and length; the returned descriptor is new and ours.
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
    // Connections inherit non-blocking mode here.
    connection.set_nonblocking(false)?;
    Ok((connection.into(), address))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{SocketAddr, TcpStream};

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
    async fn changed_keepalive_applies_to_later_clients() {
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
        // Returns once the end of file has arrived.
        socket.linger().await.unwrap();
        let counts = socket.counts(false).unwrap();
        assert_eq!((counts.received, counts.end_received), (4, true));
        // A reset counts as an end.
        let (client, socket) = accepted(&listener, address).await;
        SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        assert!(socket.linger().await.is_err());
        assert!(socket.counts(true).unwrap().end_received);
    }
}
