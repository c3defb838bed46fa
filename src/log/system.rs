//! What goes to the system's own log: starts, stops, findings, and of failures
//! the first of each cause. Every record stands in the log file.

use std::fmt::Write;
use std::time::Instant;

use super::event::{Event, Value};
use super::text::escaped;
use crate::core::firsts::Firsts;
use crate::model::level::Level;
use crate::model::plan::EventLogExtent;
use crate::sys::event_log::EventLog;

/// An open log of the system's.
#[derive(Debug)]
pub(super) struct SystemSink {
    log: EventLog,
    /// What it is told.
    pub(super) extent: EventLogExtent,
    firsts: Firsts,
    began: Instant,
    lost: u64,
}

/// What is to be done with an event.
enum Verdict {
    Write { silent: u64 },
    Leave,
}

impl SystemSink {
    pub(super) fn new(log: EventLog) -> Self {
        SystemSink {
            log,
            extent: EventLogExtent::Events,
            firsts: Firsts::default(),
            began: Instant::now(),
            lost: 0,
        }
    }

    pub(super) fn write(&mut self, event: &Event) {
        let Verdict::Write { silent } = self.judge(event) else { return };
        if self.lost > 0 && self.report(&Event::LogLost { lines: self.lost }, 0) {
            self.lost = 0;
        }
        if !self.report(event, silent) {
            self.lost += 1;
        }
    }

    fn report(&self, event: &Event, silent: u64) -> bool {
        self.log.report(event.level(), event.kind().id, &entry(event, silent)).is_ok()
    }

    fn judge(&mut self, event: &Event) -> Verdict {
        let now = self.began.elapsed();
        let first = match event {
            Event::Served { record } => {
                self.firsts.worked(&record.service);
                None
            }
            Event::Refused { record } => self.firsts.failed(&record.service, "refused", now),
            Event::Failed { record } if record.left => None,
            Event::Failed { record } => {
                self.firsts.failed(&record.service, record.step.unwrap_or("unknown"), now)
            }
            Event::ListenFailed { address, .. } => self.firsts.failed(&address.to_string(), "listen", now),
            Event::ListenRecovered { address, .. } => {
                self.firsts.worked(&address.to_string());
                Some(0)
            }
            Event::AcceptPaused { .. } => self.firsts.failed("", "accept", now),
            Event::AcceptResumed => {
                self.firsts.worked("");
                None
            }
            Event::ServicePaused { service, .. } => self.firsts.failed(service, "paused", now),
            Event::ServiceResumed { service } => {
                self.firsts.worked(service);
                None
            }
            // The first of them has an entry of its own.
            Event::Refusals { .. } => None,
            Event::FamilyMissing { .. } => None,
            // The service tells it itself, since there may be no log by then.
            Event::StartFailed { .. } => None,
            Event::Configuration { level: Level::Info, .. } => None,
            _ => Some(0),
        };
        let is_of_client = matches!(
            event,
            Event::Served { .. } | Event::Refused { .. } | Event::Failed { .. } | Event::Refusals { .. }
        );
        let every = self.extent == EventLogExtent::All && is_of_client;
        let first = if every { Some(first.unwrap_or(0)) } else { first };
        first.map_or(Verdict::Leave, |silent| Verdict::Write { silent })
    }
}

/// The text of an entry: a field a line. Text that may come from outside stays
/// on its line; our own messages show the lines that they cite.
fn entry(event: &Event, silent: u64) -> String {
    let mut text = String::new();
    event.fields(&mut |name, value| {
        // Writing to a String can't fail.
        let _ = match value {
            Value::Text(value) if name == "message" => {
                write!(text, "{}", value.replace("\r\n", "\n").replace('\n', "\r\n"))
            }
            Value::Text(value) => write!(text, "{name}: {}", escaped(value)),
            Value::Number(value) => write!(text, "{name}: {value}"),
            Value::Seconds(value) => write!(text, "{name}: {:.3}", value.as_secs_f64()),
            Value::List(values) => write!(text, "{name}: {}", values.join(" ")),
        };
        text.push_str("\r\n");
    });
    if silent > 0 {
        let _ = write!(text, "\r\n{silent} more like this have not been written here.\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_lines_and_other_text_stays_on_one() {
        let message = "f:1:1: x\n    80".to_owned();
        let found = Event::Configuration { level: Level::Warning, message, hint: None };
        assert_eq!(entry(&found, 0), "f:1:1: x\r\n    80\r\n");
        let paused = Event::AcceptPaused { cause: "a\nb".to_owned() };
        assert_eq!(entry(&paused, 0), "cause: a\\nb\r\n");
    }
}
