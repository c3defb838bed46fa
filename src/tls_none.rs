//! TLS in a build without it: the names are there and can't be used. The
//! configuration refuses `tls` then.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::config::plan;

/// What a service needs to speak TLS: nothing has it here.
#[derive(Debug, Clone)]
pub enum Keys {}

impl Keys {
    /// Fails.
    pub fn load(files: &plan::Tls) -> Result<Keys, Fault> {
        Err(Fault { path: files.certificate.clone(), hint: None })
    }
}

/// This build has no TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file that was to be read.
    pub path: PathBuf,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: this program was built without TLS", self.path.display())
    }
}

impl std::error::Error for Fault {}

/// Why reading came to nothing.
#[derive(Debug)]
pub enum ReadError {
    /// The network.
    Network(io::Error),
    /// What came is not TLS, or not as it must be. In words.
    Tls(String),
}

/// One connection's TLS: there is none here.
#[derive(Debug)]
pub enum Connection {}

#[allow(missing_docs)] // as with TLS, where each is documented
impl Connection {
    pub fn new(keys: &Keys) -> Result<Connection, String> {
        match *keys {}
    }

    pub fn read_from(&mut self, _network: &mut dyn Read) -> Result<usize, ReadError> {
        match *self {}
    }

    pub fn write_to(&mut self, _network: &mut dyn Write) -> io::Result<usize> {
        match *self {}
    }

    pub fn wants_write(&self) -> bool {
        match *self {}
    }

    pub fn wants_read(&self) -> bool {
        match *self {}
    }

    pub fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub fn read_plain(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub fn write_plain(&mut self, _bytes: &[u8]) -> usize {
        match *self {}
    }

    pub fn close(&mut self) {
        match *self {}
    }

    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match *self {}
    }
}
