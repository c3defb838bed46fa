//! The log: one queue with a bound, one thread that writes. Whoever logs never
//! waits; what does not fit is counted, and the count is written as soon as
//! there is room.

pub mod event;
mod file;
mod json;
mod text;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::Error;
use event::Event;
use file::RotatingFile;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: time, level, event, then name=value.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Lines that may wait to be written. A disk that stalls for a second under
/// full load fills a few thousand; more would only be memory.
const QUEUE: usize = 8192;

/// A line, not yet formatted: formatting is the writer's work.
struct Entry {
    time: jiff::Timestamp,
    event: Event,
}

enum Message {
    Entry(Box<Entry>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// Where to send events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Message")
    }
}

impl Log {
    /// Starts the writer: standard error, and a file if one is named.
    pub fn start(format: Format, path: Option<&Path>) -> Result<(Log, LogThread), Error> {
        let file = path
            .map(|path| {
                RotatingFile::open(path).map_err(|cause| Error::LogFile { path: path.to_owned(), cause })
            })
            .transpose()?;
        let (queue, messages) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer { format, file, lost: lost.clone(), console: true };
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run(&messages))
            .map_err(|cause| Error::System { what: "the log's thread", cause })?;
        Ok((Log { queue: queue.clone(), lost }, LogThread { queue, _thread: thread }))
    }

    /// Logs an event, now.
    pub fn event(&self, event: Event) {
        let entry = Entry { time: jiff::Timestamp::now(), event };
        if self.queue.try_send(Message::Entry(Box::new(entry))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The writing thread.
#[derive(Debug)]
pub struct LogThread {
    queue: SyncSender<Message>,
    _thread: JoinHandle<()>,
}

/// At the end what is queued gets this long to be written: a reader that has
/// stopped reading must not keep a stopped server alive.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl LogThread {
    /// Waits until everything logged so far is written, but not for ever.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(LAST_WORDS);
        }
    }
}

struct Writer {
    format: Format,
    file: Option<RotatingFile>,
    lost: Arc<AtomicU64>,
    /// Cleared when nobody reads standard error any more.
    console: bool,
}

/// Losses and failed writes are looked at again this often.
const RETRY: Duration = Duration::from_secs(2);

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut lines = Vec::new();
        loop {
            let first = match messages.recv_timeout(RETRY) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut flushed = Vec::new();
            // What has come meanwhile is written at once, in one go.
            for message in first.into_iter().chain(messages.try_iter().take(512)) {
                match message {
                    Message::Entry(entry) => self.format(&mut lines, &entry),
                    Message::Flush(done) => flushed.push(done),
                }
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let entry = Entry { time: jiff::Timestamp::now(), event: Event::LogLost { lines: lost } };
                self.format(&mut lines, &entry);
            }
            if !lines.is_empty() {
                self.write(&lines);
                lines.clear();
            }
            for done in flushed {
                let _ = done.try_send(());
            }
        }
    }

    fn format(&self, lines: &mut Vec<u8>, entry: &Entry) {
        match self.format {
            Format::Text => text::line(lines, entry.time, &entry.event),
            Format::Json => json::line(lines, entry.time, &entry.event),
        }
    }

    fn write(&mut self, lines: &[u8]) {
        // The file first: a console may be held for long, by as little as a
        // selection with the mouse.
        if let Some(file) = &mut self.file
            && file.write(lines).is_err()
        {
            // A full disk: the lines are gone, and are counted for when it has room.
            let count = lines.iter().filter(|&&byte| byte == b'\n').count();
            self.lost.fetch_add(count as u64, Ordering::Relaxed);
        }
        if self.console && std::io::stderr().write_all(lines).is_err() {
            // Nobody reads it any more (a closed pipe), and nobody can be told.
            self.console = self.file.is_none();
        }
    }
}
