//! Options of a connection before a program has it, and its id.

use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use socket2::SockRef;

use super::super::fault::{self, Says};
use super::socket::Socket;

/// The target of a descriptor's link in /proc.
#[derive(Debug)]
// Read only where orphans are found.
#[cfg_attr(any(not(target_os = "linux"), portable_unix), allow(dead_code))]
pub struct Id(pub(super) PathBuf);

impl Socket {
    pub fn id(&self) -> Option<Id> {
        let link = format!("/proc/self/fd/{}", self.as_raw_fd());
        std::fs::read_link(link).ok().map(Id)
    }

    /// Fails on a Unix socket, and on some systems if the client is gone.
    pub fn set_nodelay(&self) -> io::Result<()> {
        fault::point("nodelay", Says::Memory)?;
        SockRef::from(&self.descriptor).set_tcp_nodelay(true)
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
        let is_set = || SockRef::from(&socket.descriptor).tcp_nodelay().unwrap();
        assert!(!is_set());
        socket.set_nodelay().unwrap();
        assert!(is_set());
    }
}
