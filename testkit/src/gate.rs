//! The gate: a listener that test programs connect to. A program waits until the test closes its
//! connection. The test sees the program's end as the end of file.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use crate::LIMIT;

#[derive(Debug)]
pub struct Gate {
    listener: TcpListener,
}

/// A program at the gate. Dropping this value lets the program continue.
#[derive(Debug)]
pub struct Visitor {
    stream: BufReader<TcpStream>,
    pub pid: u32,
    /// Its `WININETD_SESSION`.
    pub session: String,
    /// Its `CLIENT_PORT`. Empty for a child of the service's program.
    pub client_port: String,
}

impl Default for Gate {
    fn default() -> Self {
        Gate::new()
    }
}

impl Gate {
    pub fn new() -> Gate {
        Gate { listener: TcpListener::bind("127.0.0.1:0").expect("a gate") }
    }

    pub fn address(&self) -> String {
        self.listener.local_addr().expect("its address").to_string()
    }

    pub fn visitor(&self) -> Visitor {
        Gate::introduce(self.accept()).expect("who it is")
    }

    /// The programs that no other call has accepted. Some may have exited already.
    pub fn visitors_so_far(&self) -> Vec<Visitor> {
        self.listener.set_nonblocking(true).expect("a gate that does not wait for ever");
        let streams = std::iter::from_fn(|| self.listener.accept().ok());
        streams
            .filter_map(|(stream, _)| {
                stream.set_nonblocking(false).ok()?;
                Gate::introduce(stream)
            })
            .collect()
    }

    fn introduce(stream: TcpStream) -> Option<Visitor> {
        stream.set_read_timeout(Some(LIMIT)).expect("a read timeout");
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        // The server may have killed the program before it reported itself.
        stream.read_line(&mut line).ok()?;
        let mut words = line.trim_end_matches('\n').split(' ').map(str::to_owned);
        let pid = words.next()?.parse().ok()?;
        Some(Visitor { pid, session: words.next()?, client_port: words.next()?, stream })
    }

    /// Whether a program is at the gate now. The call lets that program continue.
    pub fn is_visited(&self) -> bool {
        self.listener.set_nonblocking(true).expect("a gate that does not wait for ever");
        self.listener.accept().is_ok()
    }

    /// Accepts with a time limit: a program that never comes must fail the test.
    fn accept(&self) -> TcpStream {
        self.listener.set_nonblocking(true).expect("a gate that does not wait for ever");
        let until = Instant::now() + LIMIT;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).expect("a visitor that is waited for");
                    return stream;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                    crate::system::wait_readable(&self.listener);
                }
                Err(error) => panic!("nobody came to the gate: {error}"),
            }
        }
    }
}

impl Visitor {
    /// The text that the program sends until it exits.
    pub fn tells(mut self) -> String {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).expect("what it tells");
        text
    }

    /// Sends a byte to `probe answers`. Returns its answer, or `None` if the process is gone.
    pub fn ask(&mut self, byte: u8) -> Option<u8> {
        let mut answer = [0];
        self.stream.get_mut().write_all(&[byte]).ok()?;
        self.stream.read_exact(&mut answer).ok()?;
        Some(answer[0])
    }

    /// Waits until the program has ended, for any reason.
    pub fn wait_gone(mut self) {
        match self.stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {}
            other => panic!("process {} is not gone: {other:?}", self.pid),
        }
    }
}
