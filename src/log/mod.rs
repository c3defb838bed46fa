//! The log: one queue with a bound, one thread that writes (`writer`). Logging never waits;
//! what does not fit is counted, and the count is written as soon as there is room.

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

/// Who reads our standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// Nobody: a Windows service has none.
    Nobody,
    /// A person, a file, a pipe.
    Plain,
    /// systemd's journal, which knows the time and takes the level as `<N>`.
    Journal,
}

/// Where lines go.
#[derive(Debug)]
pub struct Targets<'a> {
    /// How they look.
    pub format: Format,
    /// To a file as well.
    pub file: Option<&'a Path>,
    /// What keeps that file from being put aside.
    pub strictness: Strictness,
    /// Standard error.
    pub console: Console,
    /// The system's own log, for what an administrator should see.
    pub system: Option<EventLog>,
}

/// Lines that may wait to be written. A disk that stalls for a second under
/// full load fills a few thousand; more would only be memory. They are counted: a
/// channel with a bound would hold half a megabyte for them even when none waits.
const QUEUE: usize = 8192;

/// A line before it is formatted, which is the writer's work.
struct QueuedEvent {
    time: jiff::Timestamp,
    event: LogEvent,
}

enum Message {
    Event(Box<QueuedEvent>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
    /// What comes after it goes to this file, which is opened anew.
    File(Option<RotatingFile>),
    /// What the system's own log is told from now on.
    System(EventLogExtent),
}

/// Where to send events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    queue: Sender<Message>,
    lines: Arc<LineCounts>,
}

#[derive(Debug, Default)]
struct LineCounts {
    /// Lines in the queue.
    waiting: AtomicUsize,
    /// Lines that found no room there.
    lost: AtomicU64,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Message")
    }
}

impl Log {
    /// Starts the writer.
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

    /// Logs an event, now.
    pub fn event(&self, event: LogEvent) {
        if self.lines.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.lines.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lines.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let entry = QueuedEvent { time: jiff::Timestamp::now(), event };
        // Without its writer the process is about to end.
        let _ = self.queue.send(Message::Event(Box::new(entry)));
    }

    /// Lines go to this file from now on, or to none: one that was moved away is
    /// made anew. If it can't be opened, all stays as it is.
    pub fn reopen(&self, path: Option<&Path>, strictness: Strictness) -> Result<(), Error> {
        self.tell(Message::File(open(path, strictness)?));
        Ok(())
    }

    /// What the system's own log is told from now on.
    pub fn system_extent(&self, extent: EventLogExtent) {
        self.tell(Message::System(extent));
    }

    /// This is no line, and not lost when there are too many of those.
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

/// The writing thread.
#[derive(Debug)]
pub struct LogThread {
    queue: Sender<Message>,
    _thread: JoinHandle<()>,
}

/// At the end what is queued gets this long to be written: a reader that has
/// stopped reading must not keep a stopped server alive.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl LogThread {
    /// Waits until everything logged so far is written, but not for ever.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(LAST_WORDS);
        }
    }
}
