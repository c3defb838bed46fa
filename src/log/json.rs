//! A log line for machines: one JSON object.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Map, Serializer, Value as Json};

use super::event::{FieldValue, LogEvent};
use super::text::{LONGEST, is_unsafe};

pub(super) fn line(lines: &mut Vec<u8>, time: jiff::Timestamp, event: &LogEvent) {
    let kind = event.kind();
    let mut object = Map::new();
    object.insert("time".to_owned(), format!("{time:.3}").into());
    object.insert("level".to_owned(), event.level().name().into());
    object.insert("event".to_owned(), kind.name.into());
    object.insert("id".to_owned(), kind.id.into());
    event.fields(&mut |name, value| {
        let value = match value {
            FieldValue::Text(text) => cut(text),
            FieldValue::Number(number) => number.into(),
            FieldValue::Seconds(duration) => {
                let milliseconds = (duration.as_secs_f64() * 1000.0).round();
                serde_json::Number::from_f64(milliseconds / 1000.0).map_or(Json::Null, Json::Number)
            }
            FieldValue::List(texts) => texts.iter().map(|text| cut(text)).collect(),
        };
        object.insert(name.to_owned(), value);
    });
    // Serialization cannot fail with string keys and plain values.
    let _ = object.serialize(&mut Serializer::with_formatter(&mut *lines, Escaping));
    lines.push(b'\n');
}

/// Escapes more than JSON requires, which is only below U+0020. The log is also read in terminals,
/// which take some higher characters for commands.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unsafe) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut letters = rest[at..].chars();
            for unit in letters.next().unwrap_or_default().encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = letters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

fn cut(text: &str) -> Json {
    text.chars().take(LONGEST).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_one_object_with_the_same_fields() {
        let mut lines = Vec::new();
        let event =
            LogEvent::Stopping { reason: "a\nb", sessions: 2, grace_seconds: Duration::from_millis(1500) };
        line(&mut lines, jiff::Timestamp::UNIX_EPOCH, &event);
        assert_eq!(lines.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let read: Json = serde_json::from_slice(&lines).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"time": "1970-01-01T00:00:00.000Z", "level": "info", "event": "stopping", "id": 3,
                "reason": "a\nb", "sessions": 2, "grace_seconds": 1.5})
        );
    }

    fn shown(message: &str) -> String {
        let mut lines = Vec::new();
        line(&mut lines, jiff::Timestamp::UNIX_EPOCH, &LogEvent::Fault { message: message.to_owned() });
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn hostile_text_is_escaped_into_one_line() {
        let line = shown("a b\n\x1b[31m\"\u{7f} \u{9b}2J\u{202e}€");
        assert!(line.contains(r#""message":"a b\n\u001b[31m\"\u007f \u009b2J\u202e€""#), "{line}");
    }

    proptest! {
        #[test]
        fn any_text_is_escaped_and_reads_back(text in r"(.|[\x00-\xa0]|[\u{2000}-\u{2070}]){0,40}") {
            let line = shown(&text);
            prop_assert!(!line.trim_end_matches('\n').contains(is_unsafe), "{line:?}");
            let read: Json = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["message"].as_str().unwrap(), text);
        }
    }
}
