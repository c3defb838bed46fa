//! Tests of TLS in memory, against the client of the same library.

mod garbage;
mod load;
mod sessions;
mod streams;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use rustls::ClientConnection;
use testkit::tls::{Authority, Client, Version};

use super::*;
use crate::model::plan::Tls;

const VERSIONS: [Version; 2] = [Version::V12, Version::V13];

#[derive(Debug, Default)]
struct Wire {
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.bytes.read(buffer)? {
            0 if !self.ended => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.bytes.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Both {
    client: ClientConnection,
    server: Connection,
    up: Wire,
    down: Wire,
}

impl Both {
    fn new(keys: &Keys, client: &Client) -> Both {
        let server = Connection::new(keys).unwrap();
        Both { client: client.connection(), server, up: Wire::default(), down: Wire::default() }
    }

    fn settle(&mut self) -> Result<(), String> {
        let mut outcome = Ok(());
        loop {
            let mut moved = false;
            while self.client.wants_write() {
                moved |= self.client.write_tls(&mut self.up).unwrap() > 0;
            }
            while self.server.wants_read() {
                match self.server.read_from(&mut self.up) {
                    Ok(_) => moved = true,
                    Err(ReadError::Network(error)) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                    Err(ReadError::Tls(words)) => outcome = Err(words),
                }
            }
            while self.server.wants_write() {
                moved |= self.server.write_to(&mut self.down).unwrap() > 0;
            }
            while self.client.wants_read()
                && self.client.read_tls(&mut self.down).is_ok_and(|count| count > 0)
            {
                moved = true;
                if self.client.process_new_packets().is_err() {
                    return outcome;
                }
            }
            if !moved {
                return outcome;
            }
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.server.variables().into_iter().find_map(|(other, value)| (other == name).then_some(value))
    }
}

/// `clients` requires a client certificate of the same authority.
fn keys(authority: &Authority, clients: bool) -> Keys {
    let folder = tempfile::tempdir().unwrap();
    authority.write(folder.path()).server("localhost").write(folder.path());
    let path = |name: &str| folder.path().join(name);
    let client_ca = clients.then(|| path("ca.pem"));
    Keys::load(&Tls { certificate: path("cert.pem"), key: path("key.pem"), client_ca, crl: None }).unwrap()
}

fn shaken(version: Version) -> Both {
    let authority = Authority::new();
    let mut both = Both::new(&keys(&authority, false), &Client::new(&authority, version));
    both.settle().unwrap();
    assert!(!both.server.is_handshaking());
    both
}
