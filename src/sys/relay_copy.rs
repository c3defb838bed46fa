//! Relays bytes between a connection and a program's pipes through a buffer, on systems without
//! splice. An idle relay holds no buffer.

use std::io::{self, ErrorKind};

use super::net::Stream;
use super::pipe::{Reader, Writer};
use super::{Broken, Moved};

/// Size of the first read, in bytes: most sessions transfer little.
const SMALL: usize = 16 << 10;
/// Largest read, in bytes. A read that fills its buffer doubles the next one.
const LARGE: usize = 128 << 10;

#[derive(Debug, Default)]
pub struct Relay {
    /// Bytes read and not yet written, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Size of the next read, in bytes.
    capacity: usize,
}

impl Relay {
    pub fn new() -> Relay {
        Relay::default()
    }

    /// Moves some bytes from the program to the client, and waits for them. With `rest` it does not
    /// wait for the program, and reports `End` if no bytes are left. Cancel-safe.
    pub async fn outward(&mut self, from: &Reader, to: &Stream, rest: bool) -> Result<Moved, Broken> {
        while self.buffer.is_empty() {
            let read = |buffer: &mut [u8]| if rest { from.read_now(buffer) } else { from.try_read(buffer) };
            match self.fill(read) {
                Ok(0) => return Ok(Moved::End),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && rest => return Ok(Moved::End),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    from.readable().await.map_err(Broken::Source)?;
                }
                Err(error) => return Err(Broken::Source(error)),
            }
        }
        loop {
            match to.try_write(&self.buffer[self.start..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    to.writable().await.map_err(Broken::Sink)?;
                }
                written => return Ok(self.written(written.map_err(Broken::Sink)?)),
            }
        }
    }

    /// Moves some bytes from the client to the program, and waits for them. Cancel-safe.
    pub async fn inward(&mut self, from: &Stream, to: &Writer) -> Result<Moved, Broken> {
        while self.buffer.is_empty() {
            match self.fill(|buffer| from.try_read(buffer)) {
                Ok(0) => return Ok(Moved::End),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    from.readable().await.map_err(Broken::Source)?;
                }
                Err(error) => return Err(Broken::Source(error)),
            }
        }
        loop {
            match to.try_write(&self.buffer[self.start..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    to.writable().await.map_err(Broken::Sink)?;
                }
                written => return Ok(self.written(written.map_err(Broken::Sink)?)),
            }
        }
    }

    /// Reads into the empty buffer. Frees the buffer if there are no bytes.
    fn fill(&mut self, read: impl Fn(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let capacity = self.capacity.clamp(SMALL, LARGE);
        self.buffer.resize(capacity, 0);
        let result = loop {
            match read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let count = *result.as_ref().unwrap_or(&0);
        if count == 0 {
            self.buffer = Vec::new();
            self.capacity = SMALL;
        } else {
            self.buffer.truncate(count);
            self.capacity = if count == capacity { capacity * 2 } else { capacity };
        }
        self.start = 0;
        result
    }

    fn written(&mut self, count: usize) -> Moved {
        self.start += count;
        if self.start >= self.buffer.len() {
            self.buffer.clear();
        }
        Moved::Bytes(count)
    }
}
