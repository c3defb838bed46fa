//! A finding about a configuration, with its position in the file.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::source::{Place, Source};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
    Note,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    pub hint: Option<String>,
    pub cited: Cited,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cited {
    path: String,
    place: Option<Place>,
    line: String,
    range: Range<usize>,
}

impl Diagnostic {
    pub fn at(severity: Severity, source: &Source, range: &Range<usize>, message: impl Into<String>) -> Self {
        let (line, columns) = source.cite(range);
        let path = source.path.display().to_string();
        let cited = Cited { path, place: Some(source.place(range.start)), line, range: columns };
        Diagnostic { severity, message: message.into(), hint: None, cited }
    }

    pub fn of_file(severity: Severity, source: &Source, message: impl Into<String>) -> Self {
        let cited =
            Cited { path: source.path.display().to_string(), place: None, line: String::new(), range: 0..0 };
        Diagnostic { severity, message: message.into(), hint: None, cited }
    }

    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The line number, from 1. `None` for a finding about the whole file.
    pub fn line(&self) -> Option<usize> {
        self.cited.place.map(|place| place.line)
    }

    /// `path:line:col: message`, without the severity: a log line has a level of its own.
    pub fn headline(&self) -> String {
        self.headline_with("")
    }

    fn headline_with(&self, severity: &str) -> String {
        let Cited { path, place, .. } = &self.cited;
        let message = printable(&self.message);
        match place {
            Some(place) => format!("{path}:{}:{}: {severity}{message}", place.line, place.column),
            None => format!("{path}: {severity}{message}"),
        }
    }
}

/// The longest part of a line that is shown, in characters.
const SHOWN: usize = 120;

impl fmt::Display for Diagnostic {
    /// Writes the headline, the line with a caret, and the hint. The alternate form has colors.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (severity, level) = match self.severity {
            Severity::Error => ("", Level::ERROR),
            Severity::Warning => ("warning: ", Level::WARNING),
            Severity::Note => ("note: ", Level::NOTE),
        };
        let title = level.no_name().primary_title(self.headline_with(severity));
        let snippet = self.cited.place.map(|place| {
            let Range { start, end } = self.cited.range;
            // A line can be very long: show only the part around the range.
            let first = if end < SHOWN { 0 } else { start.saturating_sub(SHOWN / 4) };
            let mark = if first > 0 { "…" } else { "" };
            let part: String = self.cited.line.chars().skip(first).take(SHOWN).collect();
            let line = format!("{mark}{}", printable(&part));
            let byte = |column: usize| {
                let shown = column - first + mark.chars().count();
                line.char_indices().nth(shown).map_or(line.len(), |(at, _)| at)
            };
            let span = byte(start)..byte(end);
            Snippet::source(line).line_start(place.line).annotation(AnnotationKind::Primary.span(span))
        });
        let hint = self.hint.as_deref().map(|hint| Level::HELP.with_name("hint").message(printable(hint)));
        let report = Group::with_title(title).elements(snippet).elements(hint);
        let renderer = if formatter.alternate() { Renderer::styled() } else { Renderer::plain() };
        formatter.write_str(&renderer.render(&[report]))
    }
}

/// Makes text safe for a terminal: a tab becomes one blank, other control characters U+FFFD.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\t' => ' ',
            letter if letter.is_control() => '\u{fffd}',
            letter => letter,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_error_is_shown_with_its_line_and_a_caret() {
        let source = Source::decode(Path::new("w.conf"), b"# x\n99999 none\tcmd\n".to_vec());
        let error =
            Diagnostic::at(Severity::Error, &source, &(4..9), "no such port").hint(Some("try 80".to_owned()));
        assert_eq!(
            error.to_string(),
            "w.conf:2:1: no such port\n  |\n2 | 99999 none cmd\n  | ^^^^^\n  |\n  = hint: try 80"
        );
    }

    #[test]
    fn the_caret_stands_below_wide_characters_too() {
        let source = Source::decode(Path::new("f"), "漢 x".as_bytes().to_vec());
        let error = Diagnostic::at(Severity::Warning, &source, &(4..5), "m");
        assert_eq!(error.to_string(), "f:1:3: warning: m\n  |\n1 | 漢 x\n  |    ^");
    }

    #[test]
    fn a_very_long_line_is_shown_in_part() {
        let source = Source::decode(Path::new("f"), vec![b'a'; 100_000]);
        let shown = Diagnostic::at(Severity::Error, &source, &(50_000..50_003), "m").to_string();
        assert!(shown.len() < 500 && shown.contains("^^^"), "{shown}");
    }

    #[test]
    fn colors_come_with_the_alternate_form_only() {
        let source = Source::decode(Path::new("f"), b"80 x".to_vec());
        let error = Diagnostic::at(Severity::Error, &source, &(0..2), "m");
        assert!(!error.to_string().contains('\x1b'));
        assert!(format!("{error:#}").contains('\x1b'));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let source = Source::decode(Path::new("f"), b"80 \x1b[31m".to_vec());
        assert!(
            !Diagnostic::at(Severity::Error, &source, &(0..2), "m\x07")
                .to_string()
                .contains(['\x1b', '\x07'])
        );
    }

    proptest! {
        #[test]
        fn any_range_of_any_bytes_is_shown(bytes: Vec<u8>, start in 0usize..120, length in 0usize..120) {
            let source = Source::typed(Path::new("f"), bytes);
            let shown = Diagnostic::at(Severity::Error, &source, &(start..start + length), "m").to_string();
            prop_assert!(shown.starts_with("f:") && shown.contains('^'), "{}", shown);
            prop_assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'), "{:?}", shown);
        }
    }
}
