//! A TCP client of the services under test.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::LIMIT;

#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

impl From<Client> for TcpStream {
    fn from(client: Client) -> TcpStream {
        client.stream
    }
}

impl Client {
    pub fn connect(port: u16) -> Client {
        Client::connect_to((Ipv4Addr::LOCALHOST, port))
    }

    pub fn connect_to(address: impl Into<SocketAddr>) -> Client {
        let stream = TcpStream::connect_timeout(&address.into(), LIMIT).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a read timeout");
        stream.set_write_timeout(Some(LIMIT)).expect("a write timeout");
        Client { stream }
    }

    /// Connects over IPv4 with small socket buffers, so that a slow reader soon blocks the sender.
    pub fn connect_small(port: u16) -> Client {
        use socket2::{Domain, Socket, Type};
        const SMALL: usize = 64 << 10;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(SMALL).expect("a small buffer");
        socket.set_send_buffer_size(SMALL).expect("a small buffer");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        socket.connect_timeout(&address.into(), LIMIT).expect("a connection");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(LIMIT)).expect("a read timeout");
        stream.set_write_timeout(Some(LIMIT)).expect("a write timeout");
        Client { stream }
    }

    /// Connects over IPv4 from this source address.
    pub fn connect_from(source: impl Into<SocketAddr>, port: u16) -> std::io::Result<Client> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&source.into().into())?;
        socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), LIMIT)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Client { stream: socket.into() })
    }

    /// The client's own port. The session record names it.
    pub fn port(&self) -> u16 {
        self.stream.local_addr().expect("its own address").port()
    }

    pub fn ip(&self) -> IpAddr {
        self.stream.local_addr().expect("its own address").ip()
    }

    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.stream.write_all(bytes).expect("the service takes it");
        self
    }

    /// Sends each byte with a write of its own.
    pub fn send_each(&mut self, bytes: &[u8]) -> &mut Self {
        self.stream.set_nodelay(true).expect("no delay");
        for byte in bytes {
            self.send(&[*byte]);
        }
        self
    }

    /// Sends until the service has taken nothing for 500 ms, or everything is sent. Returns the
    /// number of bytes sent.
    pub fn send_until_blocked(&mut self, bytes: &[u8]) -> usize {
        const WHILE: Duration = Duration::from_millis(500);
        // Some systems take a single write of many MiB whole, beyond the size of their buffers.
        const PIECE: usize = 64 << 10;
        self.stream.set_nonblocking(true).expect("a client that does not wait");
        let mut sent = 0;
        while sent < bytes.len() {
            let piece = &bytes[sent..bytes.len().min(sent + PIECE)];
            match self.stream.write(piece) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !crate::system::wait_writable(&self.stream, WHILE) {
                        break;
                    }
                }
                Err(error) => panic!("the service takes it: {error}"),
            }
        }
        self.stream.set_nonblocking(false).expect("a client that waits");
        sent
    }

    /// Sends everything and half-closes, while it reads until the end of file.
    pub fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut other = self.another();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                other.send(bytes).half_close();
            });
            self.read_all()
        })
    }

    pub fn send_urgent(&mut self, byte: u8) -> &mut Self {
        socket2::SockRef::from(&self.stream).send_out_of_band(&[byte]).expect("the service takes it");
        self
    }

    /// Reads and discards until the connection is closed or reset.
    pub fn drop_until_gone(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        while self.stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }

    pub fn send_until_gone(&mut self) {
        let block = vec![b'x'; 1 << 16];
        while self.stream.write_all(&block).is_ok() {}
    }

    /// A second handle of the same connection.
    pub fn another(&self) -> Client {
        Client { stream: self.stream.try_clone().expect("a second handle") }
    }

    /// Shuts down both directions, also for other handles of the connection.
    pub fn shut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    pub fn half_close(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).expect("a half close");
        self
    }

    /// Reads until the end of file. A reset fails the test.
    pub fn read_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("a proper end of the stream");
        bytes
    }

    /// Reads until the end of file or a reset.
    pub fn read_until_gone(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    pub fn read_text(&mut self) -> String {
        String::from_utf8(self.read_all()).expect("text")
    }

    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("enough bytes");
        bytes
    }

    /// Whether the service closes or resets the connection without sending a byte.
    pub fn is_turned_away(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(length) => length == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    pub fn receives_nothing_for(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("a read timeout");
        let error = self.stream.read(&mut [0]).expect_err("nothing was to arrive");
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        self.stream.set_read_timeout(Some(LIMIT)).expect("a read timeout");
    }

    /// Resets the connection.
    pub fn vanish(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a hard close");
    }
}
