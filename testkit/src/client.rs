//! A client of the daemon.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::LIMIT;

/// A connection to a service.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects over IPv4.
    pub fn connect(port: u16) -> Client {
        Client::connect_to((Ipv4Addr::LOCALHOST, port))
    }

    /// Connects to an address.
    pub fn connect_to(address: impl Into<SocketAddr>) -> Client {
        let stream = TcpStream::connect_timeout(&address.into(), LIMIT).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a read timeout");
        stream.set_write_timeout(Some(LIMIT)).expect("a write timeout");
        Client { stream }
    }

    /// Connects over IPv4 from this address of ours.
    pub fn connect_from(source: impl Into<SocketAddr>, port: u16) -> std::io::Result<Client> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&source.into().into())?;
        socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), LIMIT)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Client { stream: socket.into() })
    }

    /// The client's own port, which its record names.
    pub fn port(&self) -> u16 {
        self.stream.local_addr().expect("its own address").port()
    }

    /// The client's own address.
    pub fn ip(&self) -> IpAddr {
        self.stream.local_addr().expect("its own address").ip()
    }

    /// Sends.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.stream.write_all(bytes).expect("the service takes it");
        self
    }

    /// Sends, each byte by itself.
    pub fn send_each(&mut self, bytes: &[u8]) -> &mut Self {
        self.stream.set_nodelay(true).expect("no delay");
        for byte in bytes {
            self.send(&[*byte]);
        }
        self
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).expect("a half close");
        self
    }

    /// Everything until the service ends the stream. Anything but a proper end fails.
    pub fn read_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("a proper end of the stream");
        bytes
    }

    /// Everything until the connection is gone, however that is.
    pub fn read_until_gone(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// Everything until the end, as text.
    pub fn read_text(&mut self) -> String {
        String::from_utf8(self.read_all()).expect("text")
    }

    /// So many bytes.
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("enough bytes");
        bytes
    }

    /// Whether the service has ended the connection, in whatever way, with
    /// nothing before it.
    pub fn is_turned_away(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(length) => length == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Checks that nothing arrives for a while.
    pub fn receives_nothing_for(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("a read timeout");
        let error = self.stream.read(&mut [0]).expect_err("nothing was to arrive");
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        self.stream.set_read_timeout(Some(LIMIT)).expect("a read timeout");
    }

    /// Goes away without a word: the connection is reset.
    pub fn vanish(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a hard close");
    }
}
