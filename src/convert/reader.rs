//! What the conversions of an inetd.conf and of an xinetd.conf share: findings as comments on their
//! entries, and a document with the defaults that hold for both.

use std::collections::HashSet;
use std::fmt::Display;

use super::note;
use super::toml::{Document, Item, TomlEntry, string};
use super::words::Span;
use super::world::World;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;
use crate::sys::CAPABILITIES;

/// inetd and xinetd do not limit concurrent programs. This limit has no effect in practice.
pub(super) const UNLIMITED: &str = "4096";

/// What to do about rules of TCP wrappers.
pub(super) const WRITE_RULES: &str = ": write them as allow and deny, then switch it on";

/// Why an entry has no native form, and the location of the reason.
pub(super) type Refusal = (Span, String);

pub(super) const DATAGRAMS: &str = "only streams are served, no datagrams";
pub(super) const MULTIPLEXER: &str = "services of the TCP multiplexer have no port of their own";
pub(super) const RPC: &str = "RPC services register with the port mapper, which is not done here";
pub(super) const WAIT: &str = "wait hands the listening socket to the program, which is not done here";

pub(super) struct ServiceReader<'a> {
    pub sources: &'a [Source],
    pub world: &'a World,
    pub notes: &'a mut Vec<Diagnostic>,
    said: HashSet<String>,
}

impl<'a> ServiceReader<'a> {
    pub(super) fn new(sources: &'a [Source], world: &'a World, notes: &'a mut Vec<Diagnostic>) -> Self {
        ServiceReader { sources, world, notes, said: HashSet::new() }
    }

    /// A document without services. `server` is `inetd` or `xinetd`, and `included` says what was
    /// read besides its file.
    pub(super) fn document(&self, server: &str, included: &str) -> Document {
        let path = self.sources[0].path.display();
        let head = vec![
            format!("The native form of the {server}.conf {path}{included}."),
            "docs/convert.md says what is carried over, what is not, and why.".to_owned(),
        ];
        let mut document = Document { head, ..Document::default() };
        let defaults = &mut document.defaults;
        defaults.explain("stdio", string("socket"), "the connection itself");
        defaults.explain("stderr", string("client"), format!("{server} makes no difference"));
        if CAPABILITIES.leftovers_go_on {
            let why = format!("{server} leaves alone what a program leaves behind");
            defaults.explain("leftovers", string("leave"), why);
        }
        defaults.set("directory", string("/"));
        let why = format!("{server} has no bound; this one is high enough for any use");
        defaults.explain("max_connections", UNLIMITED, why);
        document
    }

    pub(super) fn note(&mut self, severity: Severity, at: &Span, message: impl Into<String>) -> String {
        note(self.notes, severity, &self.sources[at.source], &at.range, message)
    }

    /// Adds a warning, also as a comment of the entry.
    pub(super) fn warn(&mut self, entry: &mut TomlEntry, at: &Span, message: impl Into<String>) {
        entry.comments.push(self.note(Severity::Warning, at, message));
    }

    /// Switches the service off, with a warning.
    pub(super) fn switch_off(&mut self, entry: &mut TomlEntry, at: &Span, why: impl Display) {
        entry.disabled = true;
        self.warn(entry, at, format!("switched off: {why}"));
    }

    /// Adds a harmless note, but only once.
    pub(super) fn once(&mut self, entry: &mut TomlEntry, at: &Span, message: impl Into<String>) {
        let message = message.into();
        if self.said.insert(message.clone()) {
            entry.comments.push(self.note(Severity::Note, at, message));
        }
    }

    /// The reason and what was typed, as a comment in place of a service.
    pub(super) fn refused(&mut self, severity: Severity, (at, why): Refusal, typed: Option<String>) -> Item {
        let comment = self.note(severity, &at, format!("not carried over: {why}"));
        Item::Comment(std::iter::once(comment).chain(typed).collect())
    }

    pub(super) fn port(&self, typed: &str, at: &Span) -> Result<u16, Refusal> {
        let unknown = || (at.clone(), format!("{typed} is no TCP port that this system knows the number of"));
        self.world.port(typed).ok_or_else(unknown)
    }

    /// Switches the service off if this system has rules of TCP wrappers, which `asker` asks.
    /// Returns whether it has. `advice` ends the message.
    pub(super) fn asks_rules(&mut self, entry: &mut TomlEntry, at: &Span, asker: &str, advice: &str) -> bool {
        let Some(path) = &self.world.wrapper_rules else { return false };
        let why = format!("{asker} asks {}, which has rules and is not asked here{advice}", path.display());
        self.switch_off(entry, at, why);
        true
    }
}
