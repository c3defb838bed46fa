//! The TLS state of one connection, without I/O.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

use rustls::{ProtocolVersion, ServerConnection};

use super::{Keys, ReadError, certificate, words};

/// In bytes, four records of the largest size. Limits how much of a program's output a slow
/// client can hold.
const WAITING: usize = 64 << 10;

/// An idle connection holds a read buffer of 4 KiB. Larger ones are freed once the network was
/// read until `WouldBlock`.
pub struct Connection {
    pub(super) tls: ServerConnection,
    failed: Option<String>,
    ended: bool,
    finished: bool,
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
    pub fn new(keys: &Keys) -> Result<Connection, String> {
        let mut tls = ServerConnection::new(keys.config.clone()).map_err(|error| words::of(&error))?;
        tls.set_buffer_limit(Some(WAITING));
        Ok(Connection { tls, failed: None, ended: false, finished: false, closed: false })
    }

    /// Reads from the network once. Returns `Ok(0)` at end of file and after the client's
    /// close_notify, and `WouldBlock` if [`Connection::wants_read`] is false.
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

    pub fn write_to(&mut self, network: &mut dyn Write) -> io::Result<usize> {
        self.tls.write_tls(network)
    }

    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// False while plain text waits, while the client does not read its part of the handshake,
    /// and after the end.
    pub fn wants_read(&self) -> bool {
        self.failed.is_none() && !self.ended && self.tls.wants_read()
    }

    /// A failed handshake never ends.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// `Ok(0)` means that the client sent close_notify. End of file without one is
    /// `UnexpectedEof`, a possible truncation attack. A protocol error is `InvalidData`.
    pub fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tls.reader().read(buffer).map_err(|error| match (error.kind(), &self.failed) {
            (ErrorKind::WouldBlock, Some(words)) => io::Error::new(ErrorKind::InvalidData, words.clone()),
            (ErrorKind::UnexpectedEof, _) => {
                io::Error::new(ErrorKind::UnexpectedEof, "the client's stream was cut off")
            }
            _ => error,
        })
    }

    /// Returns the number of bytes taken: none while 64 KiB wait for the network, before the
    /// handshake ends, after `close`, or after a failure.
    pub fn write_plain(&mut self, bytes: &[u8]) -> usize {
        // Before the handshake ends, rustls would buffer the bytes in clear text.
        if self.closed || self.failed.is_some() || self.is_handshaking() {
            return 0;
        }
        self.tls.writer().write(bytes).unwrap_or_default()
    }

    pub fn close(&mut self) {
        self.closed = true;
        self.tls.send_close_notify();
    }

    /// Empty before the handshake ends. A resumed session has those of the original session.
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
        // rustls names the TLS 1.3 suites with its own prefix.
        variables.extend(suite.map(|suite| ("SSL_CIPHER", suite.replacen("TLS13_", "TLS_", 1))));
        variables.extend(self.tls.server_name().map(|name| ("SSL_TLS_SNI_SERVERNAME", name.to_owned())));
        if let Some(client) = self.tls.peer_certificates().and_then(<[_]>::first) {
            variables.extend(certificate::subject(client).map(|name| ("SSL_PEER_CERT_SUBJECT", name)));
            variables.push(("SSL_PEER_CERT_HASH", certificate::hash(client)));
        }
        variables
    }
}

struct WatchedNetwork<'a> {
    inner: &'a mut dyn Read,
    failed: bool,
}

impl Read for WatchedNetwork<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|_| self.failed = true)
    }
}
