//! Where programs and tests meet: a program comes to the gate and says who it
//! is; it goes on when the test lets it, and the test sees when it is gone.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use crate::LIMIT;

/// A place that programs come to.
#[derive(Debug)]
pub struct Gate {
    listener: TcpListener,
}

/// A program at the gate. It goes on when this is dropped.
#[derive(Debug)]
pub struct Visitor {
    stream: BufReader<TcpStream>,
    /// Its process.
    pub pid: u32,
    /// Its WININETD_SESSION.
    pub session: String,
    /// Its CLIENT_PORT; empty for a process that a program has started.
    pub client_port: String,
}

impl Default for Gate {
    fn default() -> Self {
        Gate::new()
    }
}

impl Gate {
    /// A new gate.
    pub fn new() -> Gate {
        Gate { listener: TcpListener::bind("127.0.0.1:0").expect("a gate") }
    }

    /// Where programs find it.
    pub fn address(&self) -> String {
        self.listener.local_addr().expect("its address").to_string()
    }

    /// Waits for the next program.
    pub fn visitor(&self) -> Visitor {
        Gate::introduce(self.accept()).expect("who it is")
    }

    /// The programs that have come so far and not been let in. Some may be
    /// gone already.
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
        // It may have been ended before it could say anything.
        stream.read_line(&mut line).ok()?;
        let mut words = line.trim_end_matches('\n').split(' ').map(str::to_owned);
        let pid = words.next()?.parse().ok()?;
        Some(Visitor { pid, session: words.next()?, client_port: words.next()?, stream })
    }

    /// Whether a program is at the gate at this moment.
    pub fn is_visited(&self) -> bool {
        self.listener.set_nonblocking(true).expect("a gate that does not wait for ever");
        self.listener.accept().is_ok()
    }

    /// accept with a limit: a program that never comes must fail the test.
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
    /// What the program tells until it has ended.
    pub fn tells(mut self) -> String {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).expect("what it tells");
        text
    }

    /// Sends one byte to a process that answers each (`probe answers`); its answer,
    /// or `None` if the process is gone.
    pub fn ask(&mut self, byte: u8) -> Option<u8> {
        let mut answer = [0];
        self.stream.get_mut().write_all(&[byte]).ok()?;
        self.stream.read_exact(&mut answer).ok()?;
        Some(answer[0])
    }

    /// Waits until the program has ended, by whatever hand.
    pub fn wait_gone(mut self) {
        match self.stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {}
            other => panic!("process {} is not gone: {other:?}", self.pid),
        }
    }
}
