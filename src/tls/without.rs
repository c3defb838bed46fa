//! A build without TLS: no keys can be loaded, so the other functions cannot be called.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use super::{ReadError, TlsFault};
use crate::model::plan::Tls;

#[derive(Debug, Clone)]
pub struct Keys(Infallible);

impl Keys {
    pub fn load(files: &Tls) -> Result<Keys, TlsFault> {
        Err(TlsFault::of(&files.certificate, "cannot be used: this program was built without TLS")
            .hint("build it with its feature `tls`"))
    }

    pub fn faults(files: &Tls) -> Vec<TlsFault> {
        Keys::load(files).err().into_iter().collect()
    }

    pub fn are_swapped(_: &Tls) -> bool {
        false
    }

    pub fn same_certificate(&self, _: &Keys) -> bool {
        match self.0 {}
    }

    pub fn until(&self) -> Option<String> {
        match self.0 {}
    }

    pub fn warning(&self) -> Option<&TlsFault> {
        match self.0 {}
    }

    pub fn list_warnings(&self) -> Vec<TlsFault> {
        match self.0 {}
    }

    pub fn expired_list(&self) -> Option<TlsFault> {
        match self.0 {}
    }

    pub fn list_expires_in(&self) -> Option<Duration> {
        match self.0 {}
    }

    pub fn has_older_list(&self, _: &Keys) -> bool {
        match self.0 {}
    }
}

#[derive(Debug)]
pub struct Connection(Infallible);

impl Connection {
    pub fn new(keys: &Keys) -> Result<Connection, String> {
        match keys.0 {}
    }

    pub fn read_from(&mut self, _: &mut dyn io::Read) -> Result<usize, ReadError> {
        match self.0 {}
    }

    pub fn write_to(&mut self, _: &mut dyn io::Write) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn wants_write(&self) -> bool {
        match self.0 {}
    }

    pub fn wants_read(&self) -> bool {
        match self.0 {}
    }

    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub fn read_plain(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn write_plain(&mut self, _: &[u8]) -> usize {
        match self.0 {}
    }

    pub fn close(&mut self) {
        match self.0 {}
    }

    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self.0 {}
    }
}
