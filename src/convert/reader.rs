//! Findings about the services of an inetd.conf or an xinetd.conf, as comments on their entries.

use std::collections::HashSet;
use std::fmt::Display;

use super::note;
use super::toml::TomlEntry;
use super::words::Span;
use super::world::World;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;

pub(super) struct ServiceReader<'a> {
    pub sources: &'a [Source],
    pub world: &'a World,
    pub notes: &'a mut Vec<Diagnostic>,
    said: HashSet<String>,
}

impl<'a> ServiceReader<'a> {
    pub(super) fn new(
        sources: &'a [Source],
        world: &'a World,
        notes: &'a mut Vec<Diagnostic>,
    ) -> ServiceReader<'a> {
        ServiceReader { sources, world, notes, said: HashSet::new() }
    }

    pub(super) fn note(&mut self, severity: Severity, at: &Span, message: impl Into<String>) -> String {
        note(self.notes, severity, &self.sources[at.source], &at.range, message)
    }

    /// Adds a finding, also as a comment of the entry.
    pub(super) fn comment(
        &mut self,
        entry: &mut TomlEntry,
        severity: Severity,
        at: &Span,
        message: impl Into<String>,
    ) {
        entry.comments.push(self.note(severity, at, message));
    }

    /// Switches the service off, with a warning.
    pub(super) fn switch_off(&mut self, entry: &mut TomlEntry, at: &Span, why: impl Display) {
        entry.disabled = true;
        self.comment(entry, Severity::Warning, at, format!("switched off: {why}"));
    }

    /// Adds a harmless note, but only once.
    pub(super) fn once(&mut self, entry: &mut TomlEntry, at: &Span, message: impl Into<String>) {
        let message = message.into();
        if self.said.insert(message.clone()) {
            self.comment(entry, Severity::Note, at, message);
        }
    }
}
