//! TLS without network I/O: the caller moves the bytes between the network and a [`Connection`]. No byte
//! reaches a program during the handshake, and no byte reaches a client in clear text.
//!
//! A build without the feature `tls` has the same names, and cannot load keys.

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFault {
    pub path: PathBuf,
    /// The end of a sentence that begins with the path.
    pub message: String,
    pub hint: Option<String>,
    /// The system could not read the file now; a retry may work.
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

#[derive(Debug)]
pub enum ReadError {
    /// Includes `WouldBlock`.
    Network(io::Error),
    /// The client broke the protocol or is not accepted. The queued alert is the last record.
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
