//! From bytes to TOML, with every error of it in our own form.

use toml::Spanned;
use toml::de::DeTable;

use super::report::{At, Report};
use super::units::Fault;

/// What to write instead of a string in which backslashes have a meaning.
pub(super) const SINGLE_QUOTES: &str =
    "use single quotes, in which a backslash is just that: 'c:\\temp\\new'";

/// Reads a file as far as it is TOML.
pub(super) fn parse<'a>(report: &mut Report<'a>, number: usize) -> Option<Spanned<DeTable<'a>>> {
    let source = &report.sources()[number];
    let text = match std::str::from_utf8(&source.text) {
        Ok(text) if !source.code_page => text,
        found => {
            let start = found.err().map_or(0, |error| error.valid_up_to());
            let hint = "save it as UTF-8, the one encoding of TOML";
            let range = start..(start + 1).min(source.text.len());
            report.broken(&At { source: number, range }, Fault::new("this file is not UTF-8", hint));
            return None;
        }
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let end = text.len();
        let range = error.span().map_or(end..end, |span| span.start.min(end)..span.end.min(end));
        let hint = hint(text, range.start, error.message());
        let message = format!("this is no TOML: {}", error.message());
        report.broken(&At { source: number, range }, Fault { message, hint });
    }
    Some(document)
}

/// What to do about an error of TOML, where that is known.
fn hint(text: &str, at: usize, message: &str) -> Option<String> {
    let before = &text.as_bytes()[text[..at].rfind('\n').map_or(0, |end| end + 1)..at];
    let backslash = text.as_bytes().get(at) == Some(&b'\\') || before.last() == Some(&b'\\');
    if backslash || message.contains("escape") || message.contains("unicode value") {
        return Some(SINGLE_QUOTES.to_owned());
    }
    match message {
        message if message.starts_with("string values must be quoted") => Some("put it in quotes".to_owned()),
        message if message.starts_with("invalid float") || message.starts_with("invalid boolean") => {
            Some("text, times and addresses stand in quotes".to_owned())
        }
        "duplicate key" => Some("it stands further up already: a key or table stands once".to_owned()),
        _ => None,
    }
}
