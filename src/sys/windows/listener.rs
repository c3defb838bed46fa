//! Listening sockets, polled by the runtime.

use std::io::{self, ErrorKind};
use std::net::TcpStream as StdStream;
use std::os::windows::io::{AsRawSocket, FromRawSocket, OwnedSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{SockAddr, SockRef};
use tokio::io::Interest;
use tokio::net::TcpStream;
use windows_sys::Win32::Foundation::{HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::Networking::WinSock::{
    INVALID_SOCKET, POLLRDNORM, WSAPOLLFD, WSAPoll, accept as winsock_accept,
};

use super::super::fault::{self, Says};
use super::bind;
use super::handle::{check, raw_socket};
use super::socket::Socket;
use crate::model::listen::{Address, Keepalive, ListenOptions};
use crate::model::peer::Peer;

#[derive(Debug)]
pub struct Listener {
    /// A listening socket despite its type: tokio's `TcpListener` has no `readable`.
    socket: TcpStream,
    /// For future connections, in milliseconds: idle time in the upper half, interval in the
    /// lower. 0 turns keepalive off.
    keepalive: AtomicU64,
    is_exclusive: bool,
}

/// A socket from a service manager. Windows has none.
#[derive(Debug)]
pub enum Inherited {}

impl Inherited {
    pub fn given(&self) -> &crate::core::inherited::InheritedSocket {
        match *self {}
    }
}

impl Listener {
    #[allow(clippy::needless_pass_by_value)] // as on Unix, where it is consumed
    pub fn inherit(inherited: Inherited, _options: &ListenOptions) -> io::Result<Listener> {
        match inherited {}
    }

    /// Binds and listens with the largest backlog. Must be called within the runtime.
    pub fn bind(address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        let Address::Tcp(address) = *address else {
            return Err(io::Error::new(
                ErrorKind::Unsupported,
                "Unix domain sockets are not supported on this system",
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

    pub fn remark(&self) -> Option<&'static str> {
        (!self.is_exclusive).then_some(
            "bound without exclusive use of the port, because a connection from before still has it; \
             until the next start another program of the same account can bind this port too",
        )
    }

    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        self.keepalive.store(packed(keepalive), Ordering::Relaxed);
        Ok(())
    }

    pub fn local_addr(&self) -> io::Result<Address> {
        self.socket.local_addr().map(Address::Tcp)
    }

    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Whether a client is waiting, without accepting it. If not, `readable` waits.
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

    /// Accepts the next client. `None` if none is waiting; `readable` then waits. The address
    /// comes from accept, which returns it even for a client that has left.
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
    fn connection(&self, socket: OwnedSocket) -> io::Result<Socket> {
        // An accepted socket is inheritable, even if its listener is not.
        fault::point("accept:handle", Says::Memory)?;
        // SAFETY: changes a flag of an open handle.
        check(unsafe { SetHandleInformation(socket.as_raw_socket() as HANDLE, HANDLE_FLAG_INHERIT, 0) })?;
        let reference = SockRef::from(&socket);
        // The socket inherits non-blocking mode; a program expects blocking calls.
        fault::point("accept:nonblocking", Says::Memory)?;
        reference.set_nonblocking(false)?;
        if let Some((idle, interval)) = unpacked(self.keepalive.load(Ordering::Relaxed)) {
            let times = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval);
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
    // SAFETY: socket2 provides a valid buffer and length; a returned socket is new.
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::SocketAddr;

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
    fn keepalive_times_survive_packing() {
        assert_eq!(unpacked(packed(Some(KEEPALIVE))), Some((KEEPALIVE.idle, KEEPALIVE.interval)));
        assert_eq!(unpacked(packed(None)), None);
    }
}
