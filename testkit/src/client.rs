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

    /// Connects over IPv4 with small buffers, so that little is on the way when
    /// the other side does not take it.
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

    /// Sends until nobody has taken anything for a while, or everything is sent;
    /// how much that was.
    pub fn send_until_blocked(&mut self, bytes: &[u8]) -> usize {
        const WHILE: Duration = Duration::from_millis(500);
        // Some systems take a single write of many MiB whole, beyond their buffer's size.
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

    /// Sends everything, and its end, while it reads everything until the end.
    pub fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut other = self.another();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                other.send(bytes).half_close();
            });
            self.read_all()
        })
    }

    /// Sends a byte that is urgent: out of the band.
    pub fn send_urgent(&mut self, byte: u8) -> &mut Self {
        socket2::SockRef::from(&self.stream).send_out_of_band(&[byte]).expect("the service takes it");
        self
    }

    /// Reads until the connection is gone, and drops it.
    pub fn drop_until_gone(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        while self.stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }

    /// Sends for ever, until the connection is gone.
    pub fn send_until_gone(&mut self) {
        let block = vec![b'x'; 1 << 16];
        while self.stream.write_all(&block).is_ok() {}
    }

    /// The same connection in another hand.
    pub fn another(&self) -> Client {
        Client { stream: self.stream.try_clone().expect("a second handle") }
    }

    /// Ends both directions, for whoever else has it as well.
    pub fn shut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
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
