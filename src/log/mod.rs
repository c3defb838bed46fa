//! The log: one queue with a bound, one thread that writes. Whoever logs never
//! waits; what does not fit is counted, and the count is written as soon as
//! there is room.

pub mod event;
mod file;
mod json;
mod system;
mod text;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::error::Error;
use crate::config::trust::Strictness;
use crate::model::level::Level;
use crate::model::log_format::Format;
use crate::model::plan::EventLogExtent;
use event::Event;
use file::RotatingFile;
use system::SystemSink;

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
struct Entry {
    time: jiff::Timestamp,
    event: Event,
}

enum Message {
    Entry(Box<Entry>),
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
    lines: Arc<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
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
        let file = targets
            .file
            .map(|path| {
                RotatingFile::open(path, targets.strictness)
                    .map_err(|cause| Error::LogFile { path: path.to_owned(), cause })
            })
            .transpose()?;
        let (queue, messages) = channel();
        let lines = Arc::new(Lines::default());
        let format = targets.format;
        let plain = Style { format, journal: false };
        let console = match targets.console {
            Console::Nobody => None,
            Console::Plain => Some(plain),
            Console::Journal => Some(Style { format, journal: true }),
        };
        let file = file.map(|file| Sink { target: Target::File(file), style: plain, lost: 0 });
        let console = console.map(|style| Sink { target: Target::Console, style, lost: 0 });
        let sinks = file.into_iter().chain(console).collect();
        let system = targets.system.map(SystemSink::new);
        let writer = Writer { format, queued: lines.clone(), sinks, system };
        let thread = fault::point("thread:log", Says::Processes)
            .and_then(|()| {
                std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&messages))
            })
            .map_err(|cause| Error::System { what: "the log's thread", cause })?;
        Ok((Log { queue: queue.clone(), lines }, LogThread { queue, _thread: thread }))
    }

    /// Logs an event, now.
    pub fn event(&self, event: Event) {
        if self.lines.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.lines.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lines.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let entry = Entry { time: jiff::Timestamp::now(), event };
        // Without its writer the process is about to end.
        let _ = self.queue.send(Message::Entry(Box::new(entry)));
    }
}

impl Log {
    /// Lines go to this file from now on, or to none: one that was moved away is
    /// made anew. If it can't be opened, all stays as it is.
    pub fn reopen(&self, path: Option<&Path>, strictness: Strictness) -> Result<(), Error> {
        let open = |path: &Path| {
            RotatingFile::open(path, strictness)
                .map_err(|cause| Error::LogFile { path: path.to_owned(), cause })
        };
        let file = path.map(open).transpose()?;
        self.tell(Message::File(file));
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

struct Writer {
    format: Format,
    /// What is known of the queue's lines.
    queued: Arc<Lines>,
    /// The file first: a console may be held for long, by as little as a
    /// selection with the mouse.
    sinks: Vec<Sink>,
    system: Option<SystemSink>,
}

/// Where lines go, and how many could not go there since it last worked.
struct Sink {
    target: Target,
    style: Style,
    lost: u64,
}

/// How lines look there.
#[derive(Debug, Clone, Copy)]
struct Style {
    format: Format,
    journal: bool,
}

enum Target {
    File(RotatingFile),
    Console,
    /// A console that nobody reads any more: its other end is closed.
    Gone,
}

/// Failed writes are looked at again this often, without a new line too.
const RETRY: Duration = Duration::from_secs(2);

/// Lines that follow each other sooner than this are gathered: waking this thread
/// for each record of a busy server costs more than the record. A line after a
/// pause is written at once.
const GATHER: Duration = Duration::from_millis(5);

/// Lines in one go. So many at once are no reason to wait for more.
const BATCH: usize = 512;

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines = Vec::new();
        let mut gather_until: Option<Instant> = None;
        loop {
            let first = match messages.recv_timeout(RETRY) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let (Some(Message::Entry(_)), Some(until)) = (&first, gather_until) {
                #[allow(
                    clippy::disallowed_methods,
                    reason = "nothing is waited for, and this thread is its own"
                )]
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
            }
            let mut flushed = Vec::new();
            let mut count = 0;
            // What has come meanwhile is written at once, in one go.
            for message in first.into_iter().chain(messages.try_iter().take(BATCH)) {
                count += 1;
                match message {
                    Message::Entry(entry) => {
                        self.queued.waiting.fetch_sub(1, Ordering::Relaxed);
                        entries.push(*entry);
                    }
                    Message::Flush(done) => flushed.push(done),
                    Message::File(file) => {
                        self.write(&mut entries, &mut lines);
                        self.replace_file(file);
                    }
                    Message::System(extent) => {
                        self.write(&mut entries, &mut lines);
                        if let Some(system) = &mut self.system {
                            system.extent = extent;
                        }
                    }
                }
            }
            self.write(&mut entries, &mut lines);
            gather_until = (1..BATCH).contains(&count).then(|| Instant::now() + GATHER);
            for done in flushed {
                let _ = done.try_send(());
            }
        }
    }

    fn write(&mut self, entries: &mut Vec<Entry>, lines: &mut Vec<u8>) {
        let overflow = self.queued.lost.swap(0, Ordering::Relaxed);
        for sink in &mut self.sinks {
            sink.lost += overflow;
            for entry in entries.iter() {
                sink.style.line(lines, entry.time, &entry.event);
            }
            sink.write(lines);
            lines.clear();
        }
        for entry in entries.drain(..) {
            if let Some(system) = &mut self.system {
                system.write(&entry.event);
            }
        }
        let warnings = self.sinks.iter_mut().filter_map(|sink| match &mut sink.target {
            Target::File(file) => file.take_warning(),
            Target::Console | Target::Gone => None,
        });
        for message in warnings.collect::<Vec<_>>() {
            let event = Event::Configuration { level: Level::Warning, message, hint: None };
            self.write(&mut vec![Entry { time: jiff::Timestamp::now(), event }], lines);
        }
    }

    /// The file is the first sink, if there is one.
    fn replace_file(&mut self, mut file: Option<RotatingFile>) {
        if let (Some(file), Some(Sink { target: Target::File(old), .. })) = (&mut file, self.sinks.first()) {
            file.continue_from(old);
        }
        self.sinks.retain(|sink| !matches!(sink.target, Target::File(_)));
        if let Some(file) = file {
            let style = Style { format: self.format, journal: false };
            self.sinks.insert(0, Sink { target: Target::File(file), style, lost: 0 });
        }
    }
}

impl Style {
    fn line(self, lines: &mut Vec<u8>, time: jiff::Timestamp, event: &Event) {
        if self.journal {
            // The numbers of syslog.
            let priority: &[u8] = match event.level() {
                Level::Error => b"<3>",
                Level::Warning => b"<4>",
                Level::Info => b"<6>",
            };
            lines.extend_from_slice(priority);
        }
        match self.format {
            Format::Text => text::line(lines, (!self.journal).then_some(time), event),
            Format::Json => json::line(lines, time, event),
        }
    }
}

impl Sink {
    /// Writes lines, and before them how many were lost. What can't be
    /// written is counted, until it can.
    fn write(&mut self, lines: &[u8]) {
        if self.lost > 0 {
            let mut report = Vec::new();
            self.style.line(&mut report, jiff::Timestamp::now(), &Event::LogLost { lines: self.lost });
            if self.target.write(&report).is_ok() {
                self.lost = 0;
            }
        }
        if !lines.is_empty() && (self.lost > 0 || self.target.write(lines).is_err()) {
            self.lost += lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
        }
    }
}

impl Target {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        let result = match self {
            Target::File(file) => file.write(lines),
            Target::Console => std::io::stderr().write_all(lines),
            Target::Gone => Ok(()),
        };
        if let (Target::Console, Err(error)) = (&self, &result)
            && error.kind() == std::io::ErrorKind::BrokenPipe
        {
            *self = Target::Gone;
        }
        result
    }
}
