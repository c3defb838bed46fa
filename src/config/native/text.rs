//! Parses bytes as TOML and reports syntax errors as findings.

use toml::Spanned;
use toml::de::DeTable;

use super::report::{At, Report};
use super::units::Fault;

pub(super) const SINGLE_QUOTES: &str =
    "use single quotes, in which a backslash is just that: 'c:\\temp\\new'";

/// `None` if the file is not UTF-8, else the parts that parse.
pub(super) fn parse<'a>(report: &mut Report<'a>, number: usize) -> Option<Spanned<DeTable<'a>>> {
    let source = &report.sources()[number];
    let text = match std::str::from_utf8(&source.text) {
        Ok(text) if !source.code_page => text,
        found => {
            let start = found.err().map_or(0, |error| error.valid_up_to());
            let hint = "save it as UTF-8, the only encoding of TOML";
            let range = start..(start + 1).min(source.text.len());
            report.broken(&At { source: number, range }, Fault::new("this file is not UTF-8", hint));
            return None;
        }
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    // The end of a repeated table. The parser also reports each key in it; those errors are
    // dropped.
    let mut table_until = 0;
    for error in errors {
        let end = text.len();
        let range = error.span().map_or(end..end, |span| span.start.min(end)..span.end.min(end));
        let mut hint = hint(text, range.start, error.message());
        // The search takes time, and a full report does not show the hint.
        if error.message() == DUPLICATE && !report.is_full() {
            if let Some((first, until)) = repeated_table(text, range.start) {
                hint = Some(format!("it stands in line {first} already: a key or table stands once"));
                table_until = until;
            } else if range.start < table_until {
                continue;
            }
        }
        let message = format!("this is no TOML: {}", error.message());
        report.broken(&At { source: number, range }, Fault { message, hint });
    }
    Some(document)
}

/// The parser's message for a repeated key or table. It does not tell where the first one is.
const DUPLICATE: &str = "duplicate key";

/// For the header of a repeated table: the line of the first one, and the end of this one.
fn repeated_table(text: &str, at: usize) -> Option<(usize, usize)> {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let header = text[start..].lines().next()?.trim();
    let header = header.starts_with('[').then(|| header.split_inclusive(']').next())??;
    let first = text[..start].lines().position(|line| line.trim().starts_with(header))?;
    let keys = text[at..].split_inclusive('\n').take_while(|line| !line.trim_start().starts_with('['));
    Some((first + 1, at + keys.map(str::len).sum::<usize>()))
}

fn hint(text: &str, at: usize, message: &str) -> Option<String> {
    let is_backslash = |at: usize| text.as_bytes().get(at) == Some(&b'\\');
    let backslash = is_backslash(at) || at.checked_sub(1).is_some_and(is_backslash);
    if backslash || message.contains("escape") || message.contains("unicode value") {
        return Some(SINGLE_QUOTES.to_owned());
    }
    match message {
        message if message.starts_with("string values must be quoted") => Some("put it in quotes".to_owned()),
        message if message.starts_with("invalid float") || message.starts_with("invalid boolean") => {
            Some("text, times and addresses stand in quotes".to_owned())
        }
        DUPLICATE => Some("it stands further up already: a key or table stands once".to_owned()),
        _ => None,
    }
}
