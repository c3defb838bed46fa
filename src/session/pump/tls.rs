//! Relays a TLS connection. One task moves both directions, because they share one TLS state.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use tokio::sync::watch;

use super::{Flow, LEAST, Phase, TURN};
use crate::session::scratch;
use crate::spawn::stdio::Pipes;
use crate::sys::growth::Growth;
use crate::sys::net::Stream;
use crate::sys::pipe::{self, Reader, Writer};
use crate::tls::{Connection, ReadError};

#[derive(Debug)]
pub struct Network<'a>(pub &'a Stream);

impl Read for Network<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Network<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    /// One system call per record would cost as much as its encryption.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum PumpStep {
    /// Bytes moved, or a direction ended.
    Moved(usize),
    Waits,
}

struct TlsPump<'a> {
    stream: &'a Stream,
    tls: &'a mut Connection,
    flow: &'a Flow,
    /// `None` once the direction has ended; the same holds for `output`.
    input: Option<Writer>,
    output: Option<Reader>,
    /// Output of the program that TLS has not taken yet.
    unsent: Vec<u8>,
    /// Plain text that the program has not taken yet, from `start` on.
    pending: Vec<u8>,
    start: usize,
    growth: Growth,
    network_ended: bool,
    network_broken: bool,
    shut: bool,
}

pub(super) async fn carry(
    stream: &Stream,
    tls: &mut Connection,
    pipes: Pipes,
    flow: &Flow,
    mut phase: watch::Receiver<Phase>,
) {
    let Pipes { input, output } = pipes;
    let mut pump = TlsPump {
        stream,
        tls,
        flow,
        input: Some(input),
        output: Some(output),
        unsent: Vec::new(),
        pending: Vec::new(),
        start: 0,
        growth: Growth::new(),
        network_ended: false,
        network_broken: false,
        shut: false,
    };
    let mut turn = 0;
    loop {
        let now = *phase.borrow_and_update();
        if now >= Phase::InputEnds {
            pump.end_input();
        }
        let mut moved = false;
        let rest = now == Phase::Over && !pipe::END_ALWAYS_COMES;
        for step in [pump.output(rest), pump.send(), pump.receive(), pump.input()] {
            if let PumpStep::Moved(count) = step {
                moved = true;
                turn += count.max(LEAST);
            }
        }
        if pump.is_done() {
            return;
        }
        if !moved {
            let changes = now != Phase::Over;
            pump.wait(&mut phase, changes).await;
        } else if turn >= TURN {
            turn = 0;
            tokio::task::yield_now().await;
        }
    }
}

impl TlsPump<'_> {
    fn is_done(&self) -> bool {
        self.output.is_none() && self.input.is_none() && (self.network_broken || !self.tls.wants_write())
    }

    /// From the program into TLS, while TLS has nothing left to send.
    fn output(&mut self, rest: bool) -> PumpStep {
        if !self.has_room() {
            return PumpStep::Waits;
        }
        if !self.unsent.is_empty() {
            let taken = self.tls.write_plain(&self.unsent);
            self.unsent.drain(..taken);
            if taken == 0 {
                // TLS has an empty buffer and takes no bytes, so no more output reaches the
                // client.
                return self.breaks();
            }
            return PumpStep::Moved(taken);
        }
        let Some(output) = &self.output else { return PumpStep::Waits };
        let read = scratch::with(|buffer| {
            let count = if rest { output.read_now(buffer)? } else { output.try_read(buffer)? };
            let taken = self.tls.write_plain(&buffer[..count]);
            self.unsent.extend_from_slice(&buffer[taken..count]);
            Ok::<usize, io::Error>(count)
        });
        match read {
            Ok(count) if count > 0 => {
                self.growth.moved(output, count);
                self.flow.sent(count);
                return PumpStep::Moved(count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && !rest => return PumpStep::Waits,
            _ => {}
        }
        self.tls.close();
        self.output = None;
        PumpStep::Moved(0)
    }

    fn has_room(&self) -> bool {
        !self.tls.wants_write()
    }

    fn send(&mut self) -> PumpStep {
        if self.network_broken {
            return PumpStep::Waits;
        }
        if !self.tls.wants_write() {
            if self.output.is_none() && !self.shut {
                self.shut = true;
                let _ = self.stream.shutdown();
            }
            return PumpStep::Waits;
        }
        match self.tls.write_to(&mut Network(self.stream)) {
            Ok(count) => PumpStep::Moved(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => PumpStep::Waits,
            Err(_) => {
                self.network_broken = true;
                self.breaks()
            }
        }
    }

    /// Drops the program's output. The program gets an error at its next write.
    fn breaks(&mut self) -> PumpStep {
        self.output = None;
        self.unsent = Vec::new();
        self.flow.end_received();
        PumpStep::Moved(0)
    }

    fn receive(&mut self) -> PumpStep {
        if self.network_ended || self.input.is_none() || !self.pending.is_empty() || !self.tls.wants_read() {
            return PumpStep::Waits;
        }
        match self.tls.read_from(&mut Network(self.stream)) {
            Ok(0) => {
                self.network_ended = true;
                PumpStep::Moved(0)
            }
            Ok(count) => PumpStep::Moved(count),
            Err(ReadError::Network(error)) if error.kind() == ErrorKind::WouldBlock => PumpStep::Waits,
            // TLS may still hold plain text for the program.
            Err(ReadError::Network(_)) => {
                self.network_ended = true;
                PumpStep::Moved(0)
            }
            // The alert is the last record that the client gets.
            Err(ReadError::Tls(_)) => {
                self.network_ended = true;
                self.breaks()
            }
        }
    }

    fn input(&mut self) -> PumpStep {
        let Some(input) = &self.input else { return PumpStep::Waits };
        if self.pending.is_empty() {
            let read = scratch::with(|buffer| {
                let count = self.tls.read_plain(buffer)?;
                self.pending.extend_from_slice(&buffer[..count]);
                Ok::<usize, io::Error>(count)
            });
            self.start = 0;
            match read {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.network_ended => {
                    return PumpStep::Waits;
                }
                // End of file or an error. The program cannot tell them apart.
                _ => {
                    self.end_input();
                    self.flow.end_received();
                    return PumpStep::Moved(0);
                }
            }
        }
        match input.try_write(&self.pending[self.start..]) {
            Ok(count) => {
                self.start += count;
                self.flow.received(count);
                if self.start >= self.pending.len() {
                    self.pending = Vec::new();
                }
                PumpStep::Moved(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => PumpStep::Waits,
            Err(_) => {
                self.end_input();
                PumpStep::Moved(0)
            }
        }
    }

    fn end_input(&mut self) {
        self.input = None;
        self.pending = Vec::new();
    }

    async fn wait(&mut self, phase: &mut watch::Receiver<Phase>, changes: bool) {
        let sends = self.tls.wants_write() && !self.network_broken;
        let receives =
            !self.network_ended && self.input.is_some() && self.pending.is_empty() && self.tls.wants_read();
        let calm = self.growth.calm_after();
        let mut is_calm = false;
        // Readiness errors are ignored: the next step meets the same error.
        tokio::select! {
            _ = self.stream.writable(), if sends => {}
            _ = self.stream.readable(), if receives => {}
            _ = readable(self.output.as_ref()), if self.output.is_some() && self.has_room() => {}
            _ = writable(self.input.as_ref()), if !self.pending.is_empty() => {}
            _ = phase.changed(), if changes => {}
            () = tokio::time::sleep(calm.unwrap_or_default()), if calm.is_some() => is_calm = true,
            else => tokio::task::yield_now().await,
        }
        if let Some(output) = self.output.as_ref().filter(|_| is_calm) {
            self.growth.calm(output);
        }
    }
}

async fn readable(reader: Option<&Reader>) -> io::Result<()> {
    match reader {
        Some(reader) => reader.readable().await,
        None => std::future::pending().await,
    }
}

async fn writable(writer: Option<&Writer>) -> io::Result<()> {
    match writer {
        Some(writer) => writer.writable().await,
        None => std::future::pending().await,
    }
}
