//! A log line for machines: one JSON object.

use serde_json::{Map, Value as Json};

use super::event::{Event, Value};
use super::text::LONGEST;

/// Appends one line.
pub(super) fn line(lines: &mut Vec<u8>, time: jiff::Timestamp, event: &Event) {
    let mut object = Map::new();
    object.insert("time".to_owned(), format!("{time:.3}").into());
    object.insert("level".to_owned(), event.level().name().into());
    object.insert("event".to_owned(), event.name().into());
    object.insert("id".to_owned(), event.id().into());
    event.fields(&mut |name, value| {
        let value = match value {
            Value::Text(text) => cut(text),
            Value::Number(number) => number.into(),
            Value::Seconds(duration) => {
                let milliseconds = (duration.as_secs_f64() * 1000.0).round();
                serde_json::Number::from_f64(milliseconds / 1000.0).map_or(Json::Null, Json::Number)
            }
            Value::List(texts) => texts.iter().map(|text| cut(text)).collect(),
        };
        object.insert(name.to_owned(), value);
    });
    // Text keys and plain values can't fail to be written.
    let _ = serde_json::to_writer(&mut *lines, &object);
    lines.push(b'\n');
}

fn cut(text: &str) -> Json {
    text.chars().take(LONGEST).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_is_one_object_with_the_same_fields() {
        let mut lines = Vec::new();
        let event = Event::Stopping { why: "a\nb", sessions: 2, grace: Duration::from_millis(1500) };
        line(&mut lines, jiff::Timestamp::UNIX_EPOCH, &event);
        assert_eq!(lines.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let read: Json = serde_json::from_slice(&lines).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"time": "1970-01-01T00:00:00.000Z", "level": "info", "event": "stopping", "id": 3,
                "reason": "a\nb", "sessions": 2, "grace_seconds": 1.5})
        );
    }
}
