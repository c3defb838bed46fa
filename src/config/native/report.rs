//! Collects all findings about the files and sorts them by position.

use std::collections::HashSet;
use std::ops::Range;

use super::units::Fault;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub source: usize,
    pub range: Range<usize>,
}

pub(super) struct Report<'a> {
    sources: &'a [Source],
    found: Vec<(At, Diagnostic)>,
    /// Lines with TOML syntax errors, as file and line number.
    broken: HashSet<(usize, usize)>,
    /// Errors dropped after `MOST`.
    more: usize,
}

/// The most errors kept. A file named by mistake may have one in each line.
const MOST: usize = 200;

impl<'a> Report<'a> {
    pub fn new(sources: &'a [Source]) -> Report<'a> {
        Report { sources, found: Vec::new(), broken: HashSet::new(), more: 0 }
    }

    pub fn sources(&self) -> &'a [Source] {
        self.sources
    }

    pub fn broken(&mut self, at: &At, fault: Fault) {
        self.broken.insert((at.source, self.line(at)));
        self.push(Severity::Error, at, fault);
    }

    /// Reports an error, unless the line has a syntax error.
    pub fn error(&mut self, at: &At, fault: Fault) {
        if !self.broken.contains(&(at.source, self.line(at))) {
            self.push(Severity::Error, at, fault);
        }
    }

    /// Reports something missing, unless the file has a syntax error: a broken line may hold it.
    pub fn missing(&mut self, at: &At, fault: Fault) {
        if !self.has_broken(at.source) {
            self.error(at, fault);
        }
    }

    pub fn warning(&mut self, at: &At, fault: Fault) {
        self.push(Severity::Warning, at, fault);
    }

    fn has_broken(&self, source: usize) -> bool {
        self.broken.iter().any(|(broken, _)| *broken == source)
    }

    /// Whether any file has a TOML syntax error.
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, found)| found.severity == Severity::Error)
    }

    pub fn name(&self, at: &At, from: &At) -> String {
        let place = self.sources[at.source].place(at.range.start);
        if at.source == from.source {
            format!("in line {}", place.line)
        } else {
            format!("at {}:{}:{}", self.sources[at.source].path.display(), place.line, place.column)
        }
    }

    /// Whether further errors are only counted.
    pub fn is_full(&self) -> bool {
        self.found.len() >= MOST
    }

    fn line(&self, at: &At) -> usize {
        self.sources[at.source].line_number(at.range.start)
    }

    fn push(&mut self, severity: Severity, at: &At, fault: Fault) {
        if self.is_full() {
            self.more += 1;
            return;
        }
        let source = &self.sources[at.source];
        // A value in the message may belong to a password.
        let Fault { message, hint } = fault.shown(!source.hides(&at.range));
        let diagnostic = Diagnostic::at(severity, source, &at.range, message).hint(hint);
        self.found.push((at.clone(), diagnostic));
    }

    /// All findings in the order of the text, without duplicates.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|(at, _)| (at.source, at.range.start));
        let mut all: Vec<Diagnostic> = Vec::new();
        for (_, found) in self.found {
            // An error in [defaults] occurs once per service.
            if !all.contains(&found) {
                all.push(found);
            }
        }
        if self.more > 0 {
            let message = format!("there are more findings ({}) than are shown here", self.more);
            all.extend(
                self.sources.first().map(|source| Diagnostic::of_file(Severity::Error, source, message)),
            );
        }
        all
    }
}
