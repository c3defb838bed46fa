//! From bytes to TOML, with every error of it in our own form.

use std::collections::{HashMap, HashSet};

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
    let repeats = errors.iter().any(|error| error.message() == DUPLICATE);
    let lines = if repeats { lines(text) } else { Vec::new() };
    let mut repeated = HashSet::new();
    for error in errors {
        let end = text.len();
        let range = error.span().map_or(end..end, |span| span.start.min(end)..span.end.min(end));
        let mut hint = hint(text, range.start, error.message());
        let at = At { source: number, range };
        if error.message() == DUPLICATE
            && let Some(line) = lines.get(report.line(&at) - 1)
        {
            if line.is_header {
                repeated.insert(line.table);
            } else if repeated.contains(&line.table) {
                // Its table is what stands twice.
                continue;
            }
            if let Some(first) = line.first.filter(|_| begins_line(text, at.range.start) || line.is_header) {
                hint = Some(format!("it stands in line {} already: a key or table stands once", first + 1));
            }
        }
        let message = format!("this is no TOML: {}", error.message());
        report.broken(&at, Fault { message, hint });
    }
    Some(document)
}

/// As the parser says that a key or table stands there already. Where, it does not say.
const DUPLICATE: &str = "duplicate key";

/// A line, as far as one that stands alone can be understood.
struct Line {
    /// The line that begins its table: itself, if it is a header.
    table: Option<usize>,
    is_header: bool,
    /// The line with the same key in a table of the same name, or with the same header.
    first: Option<usize>,
}

fn lines(text: &str) -> Vec<Line> {
    let mut firsts = HashMap::new();
    let (mut table, mut name) = (None, "");
    let line = |(number, line)| {
        let line: &str = line;
        let is_header = line.starts_with('[');
        let mut key = "";
        if is_header {
            (table, name) = (Some(number), line.split(']').next().unwrap_or(line));
        } else {
            key = line.split('=').next().unwrap_or(line).trim_end();
        }
        let first = *firsts.entry((name, key)).or_insert(number);
        Line { table, is_header, first: Some(first).filter(|first| *first < number) }
    };
    text.split('\n').map(str::trim).enumerate().map(line).collect()
}

/// Whether nothing but blanks stands before this in its line.
fn begins_line(text: &str, at: usize) -> bool {
    text[..at].rsplit('\n').next().is_some_and(|before| before.trim().is_empty())
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
        DUPLICATE => Some("it stands further up already: a key or table stands once".to_owned()),
        _ => None,
    }
}
