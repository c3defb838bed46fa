//! A connection before a program has it: its options. (By what processes that
//! have it are known, this system does not show.)

use std::io;
use std::os::windows::io::{BorrowedSocket, RawSocket};

use socket2::SockRef;

use super::super::fault::{self, Says};
use super::socket::Socket;

/// By what a connection is known among the handles of processes.
#[derive(Debug)]
pub enum Id {}

impl Socket {
    /// By what the connection is known among the handles of processes.
    pub fn id(&self) -> Option<Id> {
        None
    }

    /// Sets TCP_NODELAY. To be called before a program has the connection.
    pub fn set_nodelay(&self) -> io::Result<()> {
        fault::point("nodelay", Says::Memory)?;
        // SAFETY: the socket is open for as long as this borrows it.
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
        // SAFETY: the socket is open for as long as this is used.
        let borrowed = unsafe { BorrowedSocket::borrow_raw(socket.handle() as RawSocket) };
        let is_set = || SockRef::from(&borrowed).tcp_nodelay().unwrap();
        assert!(!is_set());
        socket.set_nodelay().unwrap();
        assert!(is_set());
    }
}
