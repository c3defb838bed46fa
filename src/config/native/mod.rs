//! The native file, in TOML: `[service.NAME]` tables, `[defaults]` for all services, and
//! `[server]`.
//!
//! Steps: bytes to TOML (`text`), tables to structs (`reader`, `raw`, `keys`), values (`value`,
//! `command`, `units`, `address`), services (`service`, `rules`, `streams`) and the server
//! (`server`). `report` collects all errors, and `hide` masks passwords in them.

mod address;
mod command;
mod hide;
mod include;
mod keys;
mod raw;
mod reader;
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

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::defaults::Defaults;
use super::loaded::{Loaded, Spans};
use super::source::Source;
use crate::model::plan::Plan;
pub use address::collide;
use keys::{RawFile, RawServer, RawService, Table, ValueKind};
use reader::{Cell, Context, NativeReader, in_order};
use report::{At, Report};
pub use schema::schema;
use service::ServiceEntry;
use units::{Fault, value};
use value::Typed;

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
    let mut reader = NativeReader { report, defaults };
    let (mut server, mut shared, mut entries) = (RawServer::default(), RawService::default(), Vec::new());
    for (number, document) in documents.iter().enumerate() {
        let Some(document) = document else { continue };
        let file: RawFile = reader.table(Context::of(number), document.get_ref());
        server = file.server.value().unwrap_or(server);
        shared = file.defaults.value().unwrap_or(shared);
        entries.extend(file.service.value().unwrap_or_default());
    }
    let log_file_span = server.log_file.at().map_or(0..0, |at| at.range.clone());
    let (mut plan, mut spans) = reader.plan(&server, &shared, entries);
    if reader.report.is_broken() {
        // Later checks of accounts and programs would quote values that `hide` masks.
        (plan, spans) = Default::default();
    }
    let diagnostics = reader.report.finish();
    Loaded { sources, plan, spans, log_file_span, diagnostics }
}

impl Typed for Vec<ServiceEntry> {
    const KIND: ValueKind = ValueKind::Services;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let value = cell.value;
        let Some(services) = value.get_ref().as_table() else { return cell.mistyped() };
        let context = cell.context.in_table(Table::Service);
        let entry = |(name, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let (header, name) = (context.at(name.span()), name.get_ref());
            let report = &mut cell.reader.report;
            let Some(table) = value.get_ref().as_table() else {
                let message = if is_name(name) {
                    &*format!("a service is a table: [service.{name}]")
                } else {
                    "a service is a table"
                };
                report.error(&header, Fault::plain(message));
                return None;
            };
            if !is_name(name) {
                let message = "a service's name is up to 80 letters, digits and . _ -, and begins with a letter or digit";
                report.error(&header, Fault::plain(message));
            }
            Some(ServiceEntry { name: name.to_string(), header, raw: cell.reader.table(context, table) })
        };
        Some(in_order(services).into_iter().filter_map(entry).collect())
    }
}

impl NativeReader<'_> {
    fn plan(
        &mut self,
        server: &RawServer,
        shared: &RawService,
        all: Vec<ServiceEntry>,
    ) -> (Plan, Vec<Spans>) {
        let mut entries: Vec<ServiceEntry> = Vec::new();
        for mut entry in all {
            if let Some(first) = entries.iter().find(|other| other.name == entry.name) {
                let place = self.report.name(&first.header, &entry.header);
                let message = format!("the service `{}` stands {place} already", first.name);
                self.report.error(&entry.header, Fault::plain(message));
                continue;
            }
            entry.fill(shared);
            entries.push(entry);
        }
        let mut services = Vec::new();
        for entry in &entries {
            services.extend(self.service(entry).map(|service| (entry, Arc::new(service))));
        }
        self.have_own_addresses(&entries);
        let server = self.server(server);
        for (entry, service) in &services {
            self.outlives(&server, entry, service);
        }
        if entries.is_empty() && !self.report.has_errors() {
            let at = At { source: 0, range: 0..0 };
            let hint = format!("a service is a table like:  {}", crate::sys::paths::EXAMPLE_TABLE);
            let fault = Fault::new("this file has no service, so the server would serve nothing", &hint);
            self.report.warning(&at, fault);
        }
        let (spans, services) = services.into_iter().map(|(entry, service)| (entry.spans(), service)).unzip();
        (Plan { services, server }, spans)
    }

    fn have_own_addresses(&mut self, entries: &[ServiceEntry]) {
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

/// The name must fit into a log line and a file name.
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
