//! The thread that writes the log to the file, the console and the system log.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::event::LogEvent;
use super::file::RotatingFile;
use super::system::SystemSink;
use super::{Console, LineCounts, Message, QueuedEvent, Targets, json, text};
use crate::model::level::Level;
use crate::model::log_format::Format;

pub(super) struct LogWriter {
    format: Format,
    queued: Arc<LineCounts>,
    /// The file first, because a console can block: selecting text with the mouse is enough.
    sinks: Vec<Sink>,
    system: Option<SystemSink>,
}

/// A target of lines, and the number of lines lost since it last worked.
struct Sink {
    target: Target,
    style: Style,
    lost: u64,
}

#[derive(Debug, Clone, Copy)]
struct Style {
    format: Format,
    journal: bool,
}

enum Target {
    File(RotatingFile),
    Console,
    /// The other end of the console is closed.
    Gone,
}

/// How often to retry a failed write without a new line.
const RETRY: Duration = Duration::from_secs(2);

/// How long to gather lines after a write. Waking the thread for each record of a busy server costs
/// more than the record. A line after a pause is written at once.
const GATHER: Duration = Duration::from_millis(5);

/// Lines per write. After a full batch the writer does not wait for more.
const BATCH: usize = 512;

impl LogWriter {
    pub(super) fn new(
        targets: Targets<'_>,
        file: Option<RotatingFile>,
        queued: Arc<LineCounts>,
    ) -> LogWriter {
        let format = targets.format;
        let console = match targets.console {
            Console::Nobody => None,
            Console::Plain => Some(Style { format, journal: false }),
            Console::Journal => Some(Style { format, journal: true }),
        };
        let console = console.map(|style| Sink { target: Target::Console, style, lost: 0 });
        let system = targets.system.map(SystemSink::new);
        let mut writer = LogWriter { format, queued, sinks: console.into_iter().collect(), system };
        writer.replace_file(file);
        writer
    }

    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let mut entries: Vec<QueuedEvent> = Vec::new();
        let mut lines = Vec::new();
        let mut gather_until: Option<Instant> = None;
        loop {
            let first = match messages.recv_timeout(RETRY) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let (Some(Message::Event(_)), Some(until)) = (&first, gather_until) {
                #[allow(
                    clippy::disallowed_methods,
                    reason = "nothing is waited for, and this thread is its own"
                )]
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
            }
            let mut flushed = Vec::new();
            let mut count = 0;
            for message in first.into_iter().chain(messages.try_iter().take(BATCH)) {
                count += 1;
                match message {
                    Message::Event(entry) => {
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

    fn write(&mut self, entries: &mut Vec<QueuedEvent>, lines: &mut Vec<u8>) {
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
            let event = LogEvent::Configuration { level: Level::Warning, message, hint: None };
            self.write(&mut vec![QueuedEvent { time: jiff::Timestamp::now(), event }], lines);
        }
    }

    /// Replaces the file, which is the first sink if there is one.
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
    fn line(self, lines: &mut Vec<u8>, time: jiff::Timestamp, event: &LogEvent) {
        if self.journal {
            // The priorities of syslog.
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
    /// Writes lines, after a report of lost lines. Lines that cannot be written count as lost.
    fn write(&mut self, lines: &[u8]) {
        if self.lost > 0 {
            let mut report = Vec::new();
            self.style.line(&mut report, jiff::Timestamp::now(), &LogEvent::LogLost { lines: self.lost });
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
