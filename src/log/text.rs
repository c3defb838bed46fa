//! A log line for people: time, level, event, then `name=value` fields.

use std::io::Write;

use super::event::{FieldValue, LogEvent};

/// The longest text of a field, in characters. A client must not fill the disk with one line.
pub(super) const LONGEST: usize = 1024;

/// Without `time`, also omits the level: the reader adds both.
pub(super) fn line(lines: &mut Vec<u8>, time: Option<jiff::Timestamp>, event: &LogEvent) {
    let name = event.kind().name;
    let _ = match time {
        Some(time) => write!(lines, "{time:.3} {} {}", event.level().name(), name),
        None => write!(lines, "{name}"),
    };
    event.fields(&mut |name, value| {
        let _ = write!(lines, " {name}=");
        match value {
            FieldValue::Text(text) => word(lines, text, LONGEST),
            FieldValue::Number(number) => drop(write!(lines, "{number}")),
            FieldValue::Seconds(duration) => drop(write!(lines, "{:.3}", duration.as_secs_f64())),
            // The server's own text, which must be complete.
            FieldValue::List(texts) => word(lines, &texts.join(","), usize::MAX),
        }
    });
    lines.push(b'\n');
}

/// Quotes text with blanks, and escapes what a terminal or parser could misread.
fn word(lines: &mut Vec<u8>, text: &str, longest: usize) {
    let plain = !text.is_empty()
        && text.len() <= longest
        && text.chars().all(|letter| letter.is_ascii_graphic() && letter != '"' && letter != '\\');
    if plain {
        lines.extend_from_slice(text.as_bytes());
        return;
    }
    lines.push(b'"');
    let mut utf8 = [0; 4];
    for letter in text.chars().take(longest) {
        match letter {
            '"' | '\\' => lines.extend_from_slice(&[b'\\', letter as u8]),
            letter => match escape(letter) {
                Some(escape) => lines.extend_from_slice(escape.as_bytes()),
                None => lines.extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes()),
            },
        }
    }
    if text.chars().nth(longest).is_some() {
        lines.extend_from_slice("…".as_bytes());
    }
    lines.push(b'"');
}

fn escape(letter: char) -> Option<String> {
    match letter {
        '\n' => Some("\\n".to_owned()),
        '\t' => Some("\\t".to_owned()),
        letter if is_unsafe(letter) => Some(format!("\\u{{{:x}}}", u32::from(letter))),
        _ => None,
    }
}

/// Escapes text to one line, without quotes around it.
pub fn escaped(text: &str) -> String {
    text.chars().take(LONGEST).map(|letter| escape(letter).unwrap_or_else(|| letter.to_string())).collect()
}

/// Control characters, bidirectional formatting characters, and line or paragraph separators.
pub(super) fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(message: &str) -> String {
        let mut lines = Vec::new();
        line(&mut lines, Some(jiff::Timestamp::UNIX_EPOCH), &LogEvent::Fault { message: message.to_owned() });
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn a_line_begins_with_time_level_and_event() {
        assert_eq!(shown("x"), "1970-01-01T00:00:00.000Z error fault message=x\n");
    }

    #[test]
    fn hostile_text_is_escaped_into_one_line() {
        let line = shown("a b\n\x1b[31m\"\u{202e}");
        assert_eq!(line, "1970-01-01T00:00:00.000Z error fault message=\"a b\\n\\u{1b}[31m\\\"\\u{202e}\"\n");
    }

    /// Other programs logged client text as a format string or as a syslog priority.
    #[test]
    fn format_directives_are_written_as_plain_text() {
        let hostile = "%n%s%1!s! <0>{0}";
        assert_eq!(shown(hostile), format!("1970-01-01T00:00:00.000Z error fault message=\"{hostile}\"\n"));
    }

    #[test]
    fn long_text_is_cut() {
        assert!(shown(&"x".repeat(100_000)).len() < LONGEST + 100);
    }

    proptest! {
        #[test]
        fn any_text_is_escaped_into_one_line(text in r"(.|[\x00-\xa0]|[\u{2000}-\u{2070}]){0,40}") {
            let line = shown(&text);
            prop_assert!(!line.strip_suffix('\n').unwrap().contains(is_unsafe), "{line:?}");
            prop_assert!(!escaped(&text).contains(is_unsafe));
        }
    }
}
