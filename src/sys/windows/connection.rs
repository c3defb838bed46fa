//! Options and identity of a connection.

use std::io;
use std::os::windows::io::{BorrowedSocket, RawSocket};

use socket2::SockRef;

use super::super::fault::{self, Says};
use super::socket::Socket;

/// Identifies a connection among the handles of processes. Windows does not show this.
#[derive(Debug)]
pub enum Id {}

impl Socket {
    pub fn id(&self) -> Option<Id> {
        None
    }

    /// Sets TCP_NODELAY. Call it before a program has the connection.
    pub fn set_nodelay(&self) -> io::Result<()> {
        fault::point("nodelay", Says::Memory)?;
        // SAFETY: the socket is open as long as it is borrowed.
        let socket = unsafe { BorrowedSocket::borrow_raw(self.handle() as RawSocket) };
        SockRef::from(&socket).set_tcp_nodelay(true)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use crate::model::listen::Address;
    use crate::model::listen::ListenOptions;
    use crate::sys::net::Listener;

    #[tokio::test]
    async fn a_connection_has_nodelay_only_if_it_is_set() {
        let any = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = Listener::bind(&any, &ListenOptions::default()).unwrap();
        let Address::Tcp(address) = listener.local_addr().unwrap() else { unreachable!() };
        let _client = TcpStream::connect(address).unwrap();
        listener.readable().await.unwrap();
        let (socket, _) = listener.accept().unwrap().unwrap();
        // SAFETY: the socket is open as long as it is borrowed.
        let borrowed = unsafe { BorrowedSocket::borrow_raw(socket.handle() as RawSocket) };
        let is_set = || SockRef::from(&borrowed).tcp_nodelay().unwrap();
        assert!(!is_set());
        socket.set_nodelay().unwrap();
        assert!(is_set());
    }
}
