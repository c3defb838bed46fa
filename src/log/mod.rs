//! The log: a bounded queue and one thread that writes (`writer`). Logging never waits. Lines that
//! do not fit are counted, and the count is logged once there is space.

pub mod event;
mod file;
mod json;
mod system;
mod text;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::error::Error;
use crate::config::trust::Strictness;
use crate::model::log_format::Format;
use crate::model::plan::EventLogExtent;
use event::LogEvent;
use file::RotatingFile;
use writer::LogWriter;

use crate::sys::event_log::EventLog;
use crate::sys::fault::{self, Says};

pub use text::escaped;

/// The reader of the server's standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    Nobody,
    Plain,
    /// systemd's journal, which adds the time and reads the level as `<N>`.
    Journal,
}

#[derive(Debug)]
pub struct Targets<'a> {
    pub format: Format,
    pub file: Option<&'a Path>,
    pub strictness: Strictness,
    pub console: Console,
    /// The system log, for entries that an administrator should see.
    pub system: Option<EventLog>,
}

/// Lines that may wait. A disk that stalls for a second under full load fills a few thousand.
/// Counted, because a bounded channel would always allocate half a megabyte.
const QUEUE: usize = 8192;

struct QueuedEvent {
    time: jiff::Timestamp,
    event: LogEvent,
}

enum Message {
    Event(Box<QueuedEvent>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
    File(Option<RotatingFile>),
    System(EventLogExtent),
}

/// The handle for logging events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    queue: Sender<Message>,
    lines: Arc<LineCounts>,
}

#[derive(Debug, Default)]
struct LineCounts {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Message")
    }
}

impl Log {
    pub fn start(targets: Targets<'_>) -> Result<(Log, LogThread), Error> {
        let file = open(targets.file, targets.strictness)?;
        let (queue, messages) = channel();
        let lines = Arc::new(LineCounts::default());
        let writer = LogWriter::new(targets, file, lines.clone());
        let thread = fault::point("thread:log", Says::Processes)
            .and_then(|()| {
                std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&messages))
            })
            .map_err(|cause| Error::System { what: "the log's thread", cause })?;
        Ok((Log { queue: queue.clone(), lines }, LogThread { queue, _thread: thread }))
    }

    pub fn event(&self, event: LogEvent) {
        if self.lines.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.lines.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lines.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let entry = QueuedEvent { time: jiff::Timestamp::now(), event };
        // Without the writer the process is about to end.
        let _ = self.queue.send(Message::Event(Box::new(entry)));
    }

    /// Switches to this file, or to none. If it cannot be opened, the previous file stays in use.
    pub fn reopen(&self, path: Option<&Path>, strictness: Strictness) -> Result<(), Error> {
        self.tell(Message::File(open(path, strictness)?));
        Ok(())
    }

    pub fn system_extent(&self, extent: EventLogExtent) {
        self.tell(Message::System(extent));
    }

    /// Sends a message that does not count as a line and is never dropped.
    fn tell(&self, message: Message) {
        let _ = self.queue.send(message);
    }
}

fn open(path: Option<&Path>, strictness: Strictness) -> Result<Option<RotatingFile>, Error> {
    let open = |path: &Path| {
        RotatingFile::open(path, strictness).map_err(|cause| Error::LogFile { path: path.to_owned(), cause })
    };
    path.map(open).transpose()
}

#[derive(Debug)]
pub struct LogThread {
    queue: Sender<Message>,
    _thread: JoinHandle<()>,
}

/// How long to flush at the end. A reader that has stopped must not keep the server alive.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl LogThread {
    /// Waits until everything logged so far is written, for at most `LAST_WORDS`.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(LAST_WORDS);
        }
    }
}
