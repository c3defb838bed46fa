//! The native file, in TOML: `[service.NAME]` tables, with `[defaults]` for all
//! of them and `[server]` for the whole.
//!
//! Bytes become TOML (`text`), tables become fields (`fields`, by the table of
//! `keys`), values are read (`value`, `command`, `units`, `address`), fields
//! become services (`service`, `rules`, `streams`) and the server (`server`). Everything
//! that is wrong is gathered (`report`), and no password is in it (`hide`).

mod address;
mod command;
mod fields;
mod hide;
mod include;
mod keys;
mod report;
mod rules;
mod schema;
mod server;
mod service;
mod streams;
mod text;
mod units;
mod value;

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::defaults::Defaults;
use super::loaded::{Loaded, Spans};
use super::source::Source;
use crate::model::plan::{Plan, Server};
pub use address::collide;
use fields::{Context, Fields, in_order};
use keys::{Key, Kind, Table};
use report::{At, Report};
pub use schema::schema;
use service::Entry;
use units::{Fault, value};
use value::Value;

/// Reads a native file and those that it includes.
pub fn read(mut main: Source, defaults: &Defaults) -> Loaded {
    hide::hide(&mut main);
    let mut sources = vec![main];
    let included = include::read(&mut sources);
    let mut report = Report::new(&sources);
    let documents: Vec<_> = (0..sources.len()).map(|number| text::parse(&mut report, number)).collect();
    for found in included {
        if found.harmless {
            report.warning(&found.at, found.fault);
        } else {
            report.error(&found.at, found.fault);
        }
    }
    let mut reader = Reader {
        report,
        defaults,
        server: Fields::default(),
        shared: Fields::default(),
        entries: Vec::new(),
    };
    for (number, document) in documents.iter().enumerate() {
        if let Some(document) = document {
            reader.file(number, document.get_ref());
        }
    }
    let log_file_span = reader.server.field("log_file").map_or(0..0, |field| field.at.range.clone());
    let (mut plan, mut spans) = reader.plan();
    if reader.report.is_broken() {
        // What would be found about its accounts and programs would show its values.
        (plan, spans) = Default::default();
    }
    let diagnostics = reader.report.finish();
    Loaded { sources, plan, spans, log_file_span, diagnostics }
}

/// What was read so far.
struct Reader<'a> {
    report: Report<'a>,
    defaults: &'a Defaults,
    server: Fields,
    /// `[defaults]`.
    shared: Fields,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    /// One file. Only the first one speaks for all.
    fn file(&mut self, source: usize, document: &DeTable<'_>) {
        let context = Context::of(source);
        for (name, value) in in_order(document) {
            let at_key = context.at(name.span());
            let key = match Key::find(name.get_ref(), Table::File) {
                Ok(key) => key,
                Err(fault) => {
                    self.report.error(&at_key, fault);
                    continue;
                }
            };
            if source > 0 && key.kind != Kind::Services {
                let first = self.report.sources()[0].path.display().to_string();
                let message = format!("`{}` stands in the file that includes the others: {first}", key.name);
                self.report.error(&at_key, Fault::plain(message));
                continue;
            }
            match (key.kind, value.get_ref()) {
                (Kind::Services, DeValue::Table(services)) => self.services(context, services),
                (Kind::Services, _) => {
                    self.mistyped::<()>(&context.at(value.span()), key, value.get_ref());
                }
                _ => match (key.name, self.value(context, key, value)) {
                    ("server", Some(Value::Table(fields))) => self.server = fields,
                    ("defaults", Some(Value::Table(fields))) => self.shared = fields,
                    _ => {}
                },
            }
        }
    }

    fn services(&mut self, context: Context, services: &DeTable<'_>) {
        for (name, value) in in_order(services) {
            let header = context.at(name.span());
            let DeValue::Table(table) = value.get_ref() else {
                let message = format!("a service is a table: [service.{}]", name.get_ref());
                let message =
                    if is_name(name.get_ref()) { message } else { "a service is a table".to_owned() };
                self.report.error(&header, Fault::plain(message));
                continue;
            };
            if !is_name(name.get_ref()) {
                let message = "a service's name is up to 80 letters, digits and . _ -, and begins with a letter or digit";
                self.report.error(&header, Fault::plain(message));
            }
            let fields = self.fields(context, Table::Service, table);
            if let Some(first) = self.entries.iter().find(|entry| entry.name == name.get_ref().as_ref()) {
                let place = self.report.name(&first.header, &header);
                let message = format!("the service `{}` stands {place} already", first.name);
                self.report.error(&header, Fault::plain(message));
                continue;
            }
            self.entries.push(Entry { name: name.get_ref().to_string(), header, fields });
        }
    }

    /// Everything that was read, joined.
    fn plan(&mut self) -> (Plan, Vec<Spans>) {
        let mut entries = std::mem::take(&mut self.entries);
        let mut services = Vec::new();
        for entry in &mut entries {
            entry.fields = std::mem::take(&mut entry.fields).over(&self.shared);
        }
        for entry in &entries {
            services.extend(self.service(entry).map(|service| (entry, Arc::new(service))));
        }
        self.have_own_addresses(&entries);
        let fields = std::mem::take(&mut self.server);
        let server: Server = self.server(&fields);
        for (entry, service) in &services {
            self.outlives(&server, entry, service);
        }
        if entries.is_empty() && !self.report.has_errors() {
            let at = At { source: 0, range: 0..0 };
            let hint = format!("a service is a table like:  {}", crate::sys::paths::EXAMPLE_TABLE);
            let fault = Fault::new("no table of this file is a service, so nothing is served", &hint);
            self.report.warning(&at, fault);
        }
        let (spans, services) = services.into_iter().map(|(entry, service)| (entry.spans(), service)).unzip();
        (Plan { services, server }, spans)
    }

    /// No two sockets can be bound to one address.
    fn have_own_addresses(&mut self, entries: &[Entry]) {
        let all: Vec<_> = entries
            .iter()
            .flat_map(|entry| entry.addresses().iter().map(move |(address, at)| (entry, address, at)))
            .collect();
        for (number, (entry, address, at)) in all.iter().enumerate() {
            let taken = all[..number].iter().find(|(other, taken, _)| {
                let same = std::ptr::eq(*other, *entry);
                (same || other.enabled() && entry.enabled()) && collide(address, taken)
            });
            let Some((other, taken, first)) = taken else { continue };
            let place = self.report.name(first, at);
            let owner = if std::ptr::eq(*other, *entry) {
                "this service".to_owned()
            } else {
                format!("the service `{}`", other.name)
            };
            let through = if taken == address { String::new() } else { format!(" by {}", value(taken)) };
            let message = format!("{owner} listens on {}{through} already, {place}", value(address));
            self.report.error(at, Fault::plain(message));
        }
    }
}

/// A name that fits into a line of a log and a file's name.
fn is_name(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && text.len() <= 80
        && text.chars().all(plain)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod tests_of_streams;

#[cfg(test)]
mod tests_of_users;
