//! TLS without I/O: bytes of the network in, bytes of the client out, and the
//! other way round. Whoever moves the bytes decides when, and for how long.
//!
//! [`Keys`] are what a service reads from its files, once; a [`Connection`] is
//! made of them for each client. Nothing of a client's reaches a program before
//! [`Connection::is_handshaking`] is over, and nothing to a client leaves in
//! clear text: there is no way around a [`Connection`] that has failed.
//!
//! Without the feature `tls` the same names are here, and no keys can be loaded.

#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod connection;
pub mod keyring;
#[cfg(feature = "tls")]
mod keys;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
mod revocation;
#[cfg(not(feature = "tls"))]
mod without;
#[cfg(feature = "tls")]
mod words;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

#[cfg(feature = "tls")]
pub use self::{connection::Connection, keys::Keys};
#[cfg(not(feature = "tls"))]
pub use without::{Connection, Keys};

/// Why the files of a service can't be used. The administrator's fault, or the
/// system's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, as the end of a sentence that begins with it.
    pub message: String,
    /// What to do about it, if known.
    pub hint: Option<String>,
    /// The system could not read it at that moment; nobody has to mend it.
    pub may_heal: bool,
}

impl TlsFault {
    fn of(path: &Path, message: impl Into<String>) -> TlsFault {
        TlsFault { path: path.to_owned(), message: message.into(), hint: None, may_heal: false }
    }

    fn hint(mut self, hint: impl Into<String>) -> TlsFault {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.path.display(), self.message)
    }
}

impl std::error::Error for TlsFault {}

/// Why nothing was read.
#[derive(Debug)]
pub enum ReadError {
    /// The network said so; `WouldBlock` as well.
    Network(io::Error),
    /// The client broke the protocol, or is not one that may come in. An alert
    /// is queued that tells it so; nothing else will be said on the connection.
    Tls(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Network(error) => error.fmt(formatter),
            ReadError::Tls(words) => words.fmt(formatter),
        }
    }
}

impl std::error::Error for ReadError {}

#[cfg(feature = "tls")]
#[cfg(test)]
mod tests;
