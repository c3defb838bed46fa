//! The status as a table for people, with each service's sessions below it. All text is escaped,
//! because text from a client or a file could control the terminal.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::protocol::{Explanation, ServiceStatus, SessionStatus, Status};
use crate::log::escaped;

const NUMBERS: std::ops::Range<usize> = 2..6;

pub fn status(status: &Status) -> String {
    let mut text = format!(
        "wininetd {}, process {}, up {}\n",
        escaped(&status.version),
        status.pid,
        lasting(status.uptime_seconds)
    );
    if status.stuck_processes > 0 {
        let _ = writeln!(text, "killed and not gone: {} processes or trees", status.stuck_processes);
    }
    if status.services.is_empty() {
        text.push_str("no services\n");
        return text;
    }
    let heads = ["SERVICE", "STATE", "LIVE", "SERVED", "REFUSED", "FAILED", "LISTEN"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(heads).chain(status.services.iter().map(row)).collect();
    let widths: Vec<usize> =
        (0..7).map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0)).collect();
    text.push('\n');
    let services = std::iter::once(None).chain(status.services.iter().map(Some));
    for (row, service) in rows.iter().zip(services) {
        line(&mut text, row, &widths);
        if let Some(service) = service {
            below(&mut text, service);
        }
    }
    text
}

pub fn explanations(explanations: &[Explanation]) -> String {
    let line = |found: &Explanation| {
        format!("{}: {}, {}\n", escaped(&found.service), found.verdict.name(), escaped(&found.because))
    };
    explanations.iter().map(line).collect()
}

fn row(service: &ServiceStatus) -> [String; 7] {
    let listen = if service.listen.is_empty() { "-".to_owned() } else { service.listen.join(" ") };
    [
        escaped(&service.name),
        service.state.name().to_owned(),
        service.live.to_string(),
        service.served.to_string(),
        service.refused.to_string(),
        service.failed.to_string(),
        escaped(&listen),
    ]
}

fn below(text: &mut String, service: &ServiceStatus) {
    if let Some(reason) = &service.reason {
        let _ = writeln!(text, "    {}", escaped(reason));
    }
    if let Some(warm) = service.warm {
        let _ = writeln!(text, "    warm: {warm} waiting");
    }
    let rows: Vec<[String; 5]> = service
        .sessions
        .iter()
        .map(|session| {
            [
                format!("session {}", session.id),
                escaped(&session.client),
                session.pid.map_or("no process".to_owned(), |pid| format!("process {pid}")),
                lasting(session.seconds),
                moved(session),
            ]
        })
        .collect();
    let widths: Vec<usize> =
        (0..5).map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0)).collect();
    for row in &rows {
        text.push_str("    ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "{cell}{:1$}", "", width - cell.width() + 2);
        }
        end_line(text);
    }
}

fn moved(session: &SessionStatus) -> String {
    let one = |bytes: Option<u64>, way| bytes.map(|bytes| format!("{bytes} {way}"));
    let ways = [one(session.bytes_in, "in"), one(session.bytes_out, "out")];
    ways.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn line(text: &mut String, row: &[String; 7], widths: &[usize]) {
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let rest = width - cell.width();
        let _ = if NUMBERS.contains(&column) {
            write!(text, "{:rest$}{cell}  ", "")
        } else {
            write!(text, "{cell}{:1$}", "", rest + 2)
        };
    }
    end_line(text);
}

fn end_line(text: &mut String) {
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

/// A duration in its two largest units.
fn lasting(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    // The cast saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days} d {} h", hours % 24)
    } else if hours > 0 {
        format!("{hours} h {} min", minutes % 60)
    } else {
        format!("{minutes} min {} s", seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{ServiceState, Verdict};
    use super::*;

    fn service(name: &str, sessions: Vec<SessionStatus>) -> ServiceStatus {
        ServiceStatus {
            name: name.to_owned(),
            state: ServiceState::Listening,
            reason: None,
            listen: vec!["127.0.0.1:1".to_owned(), "[::1]:1".to_owned()],
            live: sessions.len() as u64,
            warm: None,
            served: 1200,
            refused: 0,
            failed: 7,
            sessions,
        }
    }

    fn shown(services: Vec<ServiceStatus>) -> String {
        status(&Status {
            version: "1.2.3".to_owned(),
            pid: 42,
            uptime_seconds: 3_725.4,
            stuck_processes: 0,
            services,
        })
    }

    #[test]
    fn status_table_aligns_columns_and_nests_sessions() {
        let session = |id, client: &str, pid| SessionStatus {
            id,
            client: client.to_owned(),
            pid,
            seconds: 0.25,
            bytes_in: pid.map(|_| 12),
            bytes_out: pid.map(|_| 3456),
        };
        let sessions = vec![session(9, "192.0.2.1:5", Some(77)), session(10, "[2001:db8::1]:50000", None)];
        let mut paused = service("b", vec![]);
        paused.warm = Some(3);
        (paused.state, paused.reason, paused.listen) =
            (ServiceState::Paused, Some("it failed".to_owned()), vec![]);
        let expected = "\
wininetd 1.2.3, process 42, up 1 h 2 min

SERVICE  STATE      LIVE  SERVED  REFUSED  FAILED  LISTEN
漢字     listening     2    1200        0       7  127.0.0.1:1 [::1]:1
    session 9   192.0.2.1:5          process 77  0.2 s  12 in, 3456 out
    session 10  [2001:db8::1]:50000  no process  0.2 s
b        paused        0    1200        0       7  -
    it failed
    warm: 3 waiting
";
        assert_eq!(shown(vec![service("漢字", sessions), paused]), expected);
    }

    #[test]
    fn status_table_shows_no_terminal_control_characters() {
        let hostile = "\x1b[2J\u{202e}\r\n\u{9b}31m";
        let session = SessionStatus {
            id: 1,
            client: hostile.to_owned(),
            pid: None,
            seconds: f64::NAN,
            bytes_in: None,
            bytes_out: None,
        };
        let mut one = service(hostile, vec![session]);
        (one.reason, one.listen) = (Some(hostile.to_owned()), vec![hostile.to_owned()]);
        let because = hostile.to_owned();
        let lines =
            explanations(&[Explanation { service: hostile.to_owned(), verdict: Verdict::Wait, because }]);
        for text in [shown(vec![one]), lines] {
            let harmless = |letter: char| letter == '\n' || !(letter.is_control() || letter == '\u{202e}');
            assert!(text.chars().all(harmless), "{text:?}");
        }
    }

    #[test]
    fn a_time_is_shown_in_its_two_largest_units() {
        for (seconds, text) in
            [(0.0, "0.0 s"), (61.9, "1 min 1 s"), (7_200.0, "2 h 0 min"), (1e6, "11 d 13 h"), (-1.0, "0.0 s")]
        {
            assert_eq!(lasting(seconds), text);
        }
    }
}
