//! One connection's TLS, without I/O.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

use rustls::{ProtocolVersion, ServerConnection};

use super::{Keys, ReadError, certificate, words};

/// Encrypted bytes that wait for the network. Four records of the largest size:
/// enough that it is never idle, and all that a slow client can hold of a
/// program's output.
const WAITING: usize = 64 << 10;

/// One connection's TLS, without I/O.
///
/// When nothing moves it holds 4 KiB for what comes next, provided that the
/// network was read until it said `WouldBlock`; a larger buffer is dropped then.
pub struct Connection {
    pub(super) tls: ServerConnection,
    /// Why it can't go on.
    failed: Option<String>,
    /// The network has ended.
    ended: bool,
    /// The client has said that nothing more follows.
    finished: bool,
    /// We have said that nothing more follows.
    closed: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connection { tls: _, failed, ended, finished, closed } = self;
        let mut debug = formatter.debug_struct("Connection");
        debug.field("failed", failed).field("ended", ended);
        debug.field("finished", finished).field("closed", closed).finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection on which nothing has come yet.
    pub fn new(keys: &Keys) -> Result<Connection, String> {
        let mut tls = ServerConnection::new(keys.config.clone()).map_err(|error| words::of(&error))?;
        tls.set_buffer_limit(Some(WAITING));
        Ok(Connection { tls, failed: None, ended: false, finished: false, closed: false })
    }

    /// Reads from the network once, and takes in what came. `Ok(0)` is the end
    /// of the network's stream, or comes after the client's close_notify. Says
    /// `WouldBlock` where [`Connection::wants_read`] says no.
    pub fn read_from(&mut self, network: &mut dyn Read) -> Result<usize, ReadError> {
        if let Some(words) = &self.failed {
            return Err(ReadError::Tls(words.clone()));
        }
        if self.ended || self.finished {
            return Ok(0);
        }
        if !self.tls.wants_read() {
            return Err(ReadError::Network(ErrorKind::WouldBlock.into()));
        }
        let mut network = WatchedNetwork { inner: network, failed: false };
        let count = match self.tls.read_tls(&mut network) {
            Ok(count) => count,
            Err(error) if network.failed => return Err(ReadError::Network(error)),
            Err(error) => return Err(self.fail(error.to_string())),
        };
        self.ended = count == 0;
        match self.tls.process_new_packets() {
            Ok(state) => {
                self.finished = state.peer_has_closed();
                Ok(count)
            }
            Err(error) => Err(self.fail(words::of(&error))),
        }
    }

    fn fail(&mut self, words: String) -> ReadError {
        self.failed = Some(words.clone());
        ReadError::Tls(words)
    }

    /// Writes to the network once, as much as it takes of what is to be sent.
    pub fn write_to(&mut self, network: &mut dyn Write) -> io::Result<usize> {
        self.tls.write_tls(network)
    }

    /// Whether something is to be sent.
    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Whether the network should be read: not while plaintext waits to be
    /// taken, nor while the client does not take its part of the handshake,
    /// nor when nothing more can come.
    pub fn wants_read(&self) -> bool {
        self.failed.is_none() && !self.ended && self.tls.wants_read()
    }

    /// Whether the client is not yet known. A failed handshake is never over.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Plaintext from the client; `WouldBlock` if there is none yet. `Ok(0)` is
    /// the end that the client has declared by its close_notify; the end of the
    /// network without one is `UnexpectedEof`, since somebody on the way may
    /// have cut the stream, and a broken protocol is `InvalidData`.
    pub fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tls.reader().read(buffer).map_err(|error| match (error.kind(), &self.failed) {
            (ErrorKind::WouldBlock, Some(words)) => io::Error::new(ErrorKind::InvalidData, words.clone()),
            (ErrorKind::UnexpectedEof, _) => {
                io::Error::new(ErrorKind::UnexpectedEof, "the client's stream was cut off")
            }
            _ => error,
        })
    }

    /// Encrypts. Takes as much as there is room for: nothing while 64 KiB wait to
    /// be written, before the handshake is over, after [`Connection::close`], or
    /// on a connection that has failed.
    pub fn write_plain(&mut self, bytes: &[u8]) -> usize {
        // (Before the handshake is over rustls would keep it in clear text.)
        if self.closed || self.failed.is_some() || self.is_handshaking() {
            return 0;
        }
        self.tls.writer().write(bytes).unwrap_or_default()
    }

    /// Queues close_notify: the client is told that nothing more follows.
    pub fn close(&mut self) {
        self.closed = true;
        self.tls.send_close_notify();
    }

    /// What the program finds of it in its environment; nothing before the
    /// handshake is over. A resumed session has what its first one had.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        if self.is_handshaking() {
            return Vec::new();
        }
        let mut variables = vec![("PROTO", "SSL".to_owned())];
        let version = match self.tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
            Some(ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
            _ => None,
        };
        variables.extend(version.map(|version| ("SSL_PROTOCOL", version.to_owned())));
        let suite = self.tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        // (The names of 1.3 are rustls's own.)
        variables.extend(suite.map(|suite| ("SSL_CIPHER", suite.replacen("TLS13_", "TLS_", 1))));
        variables.extend(self.tls.server_name().map(|name| ("SSL_TLS_SNI_SERVERNAME", name.to_owned())));
        if let Some(client) = self.tls.peer_certificates().and_then(<[_]>::first) {
            variables.extend(certificate::subject(client).map(|name| ("SSL_PEER_CERT_SUBJECT", name)));
            variables.push(("SSL_PEER_CERT_HASH", certificate::hash(client)));
        }
        variables
    }
}

/// The network, and whether an error was its own.
struct WatchedNetwork<'a> {
    inner: &'a mut dyn Read,
    failed: bool,
}

impl Read for WatchedNetwork<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|_| self.failed = true)
    }
}
