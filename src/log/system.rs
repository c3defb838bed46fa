//! The system log: starts, stops, findings, and the first failure of each cause. The log file has
//! every record.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::event::{FieldValue, LogEvent};
use super::text::escaped;
use crate::core::repeat_filter::RepeatFilter;
use crate::model::level::Level;
use crate::model::limits::Rate;
use crate::model::plan::EventLogExtent;
use crate::sys::event_log::EventLog;

/// Entries per subject and cause. Neither a broken service nor a client may fill the system log.
const FAILURES: Rate = Rate { count: 1, per: Duration::from_hours(1) };

#[derive(Debug)]
pub(super) struct SystemSink {
    log: EventLog,
    pub(super) extent: EventLogExtent,
    failures: RepeatFilter<(String, &'static str)>,
    began: Instant,
    lost: u64,
}

impl SystemSink {
    pub(super) fn new(log: EventLog) -> Self {
        SystemSink {
            log,
            extent: EventLogExtent::Events,
            failures: RepeatFilter::new(FAILURES),
            began: Instant::now(),
            lost: 0,
        }
    }

    pub(super) fn write(&mut self, event: &LogEvent) {
        let Some(silent) = self.judge(event) else { return };
        if self.lost > 0 && self.report(&LogEvent::LogLost { lines: self.lost }, 0) {
            self.lost = 0;
        }
        if !self.report(event, silent) {
            self.lost += 1;
        }
    }

    fn report(&self, event: &LogEvent, silent: u64) -> bool {
        self.log.report(event.level(), event.kind().id, &entry(event, silent)).is_ok()
    }

    /// Whether to write an entry. If so, returns how many similar entries were not written.
    fn judge(&mut self, event: &LogEvent) -> Option<u64> {
        if let Some(subject) = recovery(event) {
            self.failures.recover(|(failed, _)| *failed == subject);
        }
        let written = match failure(event) {
            Some(failure) => {
                let allowed = self.failures.allow(failure.clone(), self.began.elapsed());
                allowed.then(|| self.failures.take_suppressed(&failure))
            }
            None => is_always_written(event).then_some(0),
        };
        let is_of_client = matches!(
            event,
            LogEvent::Served { .. }
                | LogEvent::Refused { .. }
                | LogEvent::Failed { .. }
                | LogEvent::Refusals { .. }
        );
        let all = self.extent == EventLogExtent::All && is_of_client;
        written.or(all.then_some(0))
    }
}

/// The subject and the cause of a failure that may repeat.
fn failure(event: &LogEvent) -> Option<(String, &'static str)> {
    match event {
        LogEvent::Refused { record } => Some((record.service.clone(), "refused")),
        LogEvent::Failed { record } if !record.left => {
            Some((record.service.clone(), record.step.unwrap_or("unknown")))
        }
        LogEvent::ListenFailed { address, .. } => Some((address.to_string(), "listen")),
        LogEvent::AcceptPaused { .. } => Some((String::new(), "accept")),
        LogEvent::ServicePaused { service, .. } => Some((service.clone(), "paused")),
        _ => None,
    }
}

fn recovery(event: &LogEvent) -> Option<String> {
    match event {
        LogEvent::Served { record } => Some(record.service.clone()),
        LogEvent::ListenRecovered { address, .. } => Some(address.to_string()),
        LogEvent::AcceptResumed => Some(String::new()),
        LogEvent::ServiceResumed { service } => Some(service.clone()),
        _ => None,
    }
}

fn is_always_written(event: &LogEvent) -> bool {
    match event {
        LogEvent::Served { .. } | LogEvent::Failed { .. } => false,
        LogEvent::AcceptResumed | LogEvent::ServiceResumed { .. } => false,
        // The first of these refusals had an entry of its own.
        LogEvent::Refusals { .. } => false,
        LogEvent::FamilyMissing { .. } => false,
        // The Windows service writes this entry itself, because the log may not be open yet.
        LogEvent::StartFailed { .. } => false,
        LogEvent::Configuration { level, .. } => *level != Level::Info,
        _ => true,
    }
}

/// One field per line. Text from outside is escaped; the server's messages keep their lines.
fn entry(event: &LogEvent, silent: u64) -> String {
    let mut text = String::new();
    event.fields(&mut |name, value| {
        let _ = match value {
            FieldValue::Text(value) if name == "message" => {
                write!(text, "{}", value.replace("\r\n", "\n").replace('\n', "\r\n"))
            }
            FieldValue::Text(value) => write!(text, "{name}: {}", escaped(value)),
            FieldValue::Number(value) => write!(text, "{name}: {value}"),
            FieldValue::Seconds(value) => write!(text, "{name}: {:.3}", value.as_secs_f64()),
            FieldValue::List(values) => write!(text, "{name}: {}", values.join(" ")),
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
        let found = LogEvent::Configuration { level: Level::Warning, message, hint: None };
        assert_eq!(entry(&found, 0), "f:1:1: x\r\n    80\r\n");
        let paused = LogEvent::AcceptPaused { cause: "a\nb".to_owned() };
        assert_eq!(entry(&paused, 0), "cause: a\\nb\r\n");
    }
}
