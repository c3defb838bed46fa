//! What is wrong with the files, gathered until all of it is known, and said
//! in the order of the text.

use std::collections::HashSet;
use std::ops::Range;

use super::units::Fault;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;

/// A part of one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    /// The file, by its place among those that were read.
    pub source: usize,
    pub range: Range<usize>,
}

pub(super) struct Report<'a> {
    sources: &'a [Source],
    found: Vec<(At, Diagnostic)>,
    /// The lines on which the text is no TOML, by file and number.
    broken: HashSet<(usize, usize)>,
    /// How many errors came after the last that is kept.
    more: usize,
}

/// The errors that are kept: nobody reads more, and what was named by mistake
/// may have one in each of its lines.
const MOST: usize = 200;

impl<'a> Report<'a> {
    pub fn new(sources: &'a [Source]) -> Report<'a> {
        Report { sources, found: Vec::new(), broken: HashSet::new(), more: 0 }
    }

    pub fn sources(&self) -> &'a [Source] {
        self.sources
    }

    /// The text is no TOML here.
    pub fn broken(&mut self, at: &At, fault: Fault) {
        self.broken.insert((at.source, self.line(at)));
        self.push(Severity::Error, at, fault);
    }

    /// Something is wrong here. What was made of a broken line is not judged a
    /// second time.
    pub fn error(&mut self, at: &At, fault: Fault) {
        if !self.broken.contains(&(at.source, self.line(at))) {
            self.push(Severity::Error, at, fault);
        }
    }

    /// Something is missing from what stands here. It may be on a broken line.
    pub fn missing(&mut self, at: &At, fault: Fault) {
        if !self.has_broken(at.source) {
            self.error(at, fault);
        }
    }

    pub fn warning(&mut self, at: &At, fault: Fault) {
        self.push(Severity::Warning, at, fault);
    }

    /// Whether a file is not all TOML.
    fn has_broken(&self, source: usize) -> bool {
        self.broken.iter().any(|(broken, _)| *broken == source)
    }

    /// Whether any file is not all TOML.
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, found)| found.severity == Severity::Error)
    }

    /// A place, as it is named in a message about `from`.
    pub fn name(&self, at: &At, from: &At) -> String {
        let place = self.sources[at.source].place(at.range.start);
        if at.source == from.source {
            format!("in line {}", place.line)
        } else {
            format!("at {}:{}:{}", self.sources[at.source].path.display(), place.line, place.column)
        }
    }

    /// Whether errors are only counted from here on.
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

    /// All of it, each once, in the order of the text.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|(at, _)| (at.source, at.range.start));
        let mut all: Vec<Diagnostic> = Vec::new();
        for (_, found) in self.found {
            // What stands in [defaults] is found once for each service.
            if !all.contains(&found) {
                all.push(found);
            }
        }
        if self.more > 0 {
            let message = format!("there is more to say ({}) than is shown here", self.more);
            all.extend(
                self.sources.first().map(|source| Diagnostic::of_file(Severity::Error, source, message)),
            );
        }
        all
    }
}
