//! The native file: TOML, with every error of its text in one run, each with
//! its place. `keys` says what there is, `reader` reads it, `service` makes the
//! plan of it, `conflicts` finds what contradicts itself.

mod conflicts;
mod include;
mod keys;
mod passwords;
mod reader;
pub mod schema;
mod service;
mod value;

use std::sync::Arc;

use toml::de::DeTable;

use super::Loaded;
use super::classic::Defaults;
use super::diagnostic::{Diagnostic, Severity};
use super::plan::{EventLogExtent, OnStop, Plan, Server, Service};
use super::source::Source;
use crate::sys::CAPABILITIES;
use keys::nearest;
use reader::{Keys, Reader, Value};

/// Reads a native file, and those that it includes.
pub fn parse(mut source: Source, defaults: &Defaults) -> Loaded {
    passwords::hide(&mut source);
    let mut file = File { sources: vec![source], services: Vec::new(), diagnostics: Vec::new() };
    let server = file.main(defaults);
    let File { sources, services, mut diagnostics } = file;
    conflicts::find(&services, &sources, &mut diagnostics);
    let services: Vec<Arc<Service>> = services.into_iter().map(|typed| Arc::new(typed.service)).collect();
    let broken = diagnostics.iter().any(|found| found.severity == Severity::Error);
    if services.is_empty() && !broken {
        let message = "there is no service in this file, so nothing is served";
        diagnostics.push(
            Diagnostic::of_file(Severity::Warning, &sources[0], message)
                .hint("a service is a table like [service.NAME] with listen and command".to_owned()),
        );
    }
    Loaded { sources, plan: Plan { services, server }, diagnostics }
}

/// What was read so far.
struct File {
    sources: Vec<Source>,
    services: Vec<service::Typed>,
    diagnostics: Vec<Diagnostic>,
}

/// What `[defaults]` says.
#[derive(Default)]
struct Common {
    keys: Keys,
}

impl File {
    fn main(&mut self, defaults: &Defaults) -> Server {
        let source = self.sources[0].clone();
        let Some((document, mut reader)) = open(&source, 0, defaults, &mut self.diagnostics) else {
            return Server::default();
        };
        let tables = ["server", "defaults", "service"];
        let top = reader.keys(&document, keys::TOP, &tables, false, false);
        let server = server(&mut reader, &document);
        let common = common(&mut reader, &document);
        services(&mut reader, &document, &common, &mut self.services);
        let patterns = match top.get("include").map(|set| &set.value) {
            Some(Value::Patterns(patterns)) => patterns.clone(),
            _ => Vec::new(),
        };
        let files = include::files(&mut reader, &patterns);
        self.diagnostics.append(&mut reader.diagnostics);
        for folder in files.folders {
            self.sources[0].trust.add_folder(&folder);
        }
        for mut source in files.sources {
            passwords::hide(&mut source);
            self.included(source, defaults, &common);
        }
        server
    }

    /// A file that was included has services and nothing else.
    fn included(&mut self, source: Source, defaults: &Defaults, common: &Common) {
        let number = self.sources.len();
        if let Some((document, mut reader)) = open(&source, number, defaults, &mut self.diagnostics) {
            for (name, _) in &document {
                if matches!(&**name.get_ref(), "server" | "defaults" | "include") {
                    let message = format!("{} stands in the main file only", name.get_ref());
                    reader.error(&name.span(), message, None);
                } else if &**name.get_ref() != "service" {
                    unknown(&mut reader, name.get_ref(), &name.span());
                }
            }
            services(&mut reader, &document, common, &mut self.services);
            self.diagnostics.append(&mut reader.diagnostics);
        }
        self.sources.push(source);
    }
}

fn unknown(reader: &mut Reader<'_>, name: &str, range: &std::ops::Range<usize>) {
    let hint = nearest(["service"], name).map(|name| format!("did you mean {name}?"));
    reader.error(range, format!("there is no key {name} here"), hint);
}

/// The document of a source, as far as it is one. What is wrong with its
/// grammar is said.
fn open<'a>(
    source: &'a Source,
    number: usize,
    defaults: &'a Defaults,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(DeTable<'a>, Reader<'a>)> {
    let mut reader = Reader { source, number, defaults, diagnostics: Vec::new() };
    let text = match std::str::from_utf8(&source.text) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let hint = "save the file as UTF-8".to_owned();
            reader.error(&(at..at + 1), "this is not UTF-8, which TOML is written in", hint);
            diagnostics.append(&mut reader.diagnostics);
            return None;
        }
    };
    let (document, faults) = DeTable::parse_recoverable(text);
    for fault in &faults {
        let range = fault.span().unwrap_or(0..0);
        let message = fault.message();
        let (first, rest) = message.split_once('\n').unwrap_or((message, ""));
        let backslash = source.text.get(range.clone()).is_some_and(|text| text.contains(&b'\\'))
            || first.contains("escape");
        let hint = if backslash {
            Some("use single quotes, in which a backslash is a backslash".to_owned())
        } else {
            (!rest.is_empty()).then(|| rest.replace('\n', ", "))
        };
        reader.error(&range, first, hint);
    }
    if !faults.is_empty() {
        // What is left of it may mean something else than what was typed.
        diagnostics.append(&mut reader.diagnostics);
        return None;
    }
    Some((document.into_inner(), reader))
}

fn server(reader: &mut Reader<'_>, document: &DeTable<'_>) -> Server {
    let mut server = Server::default();
    let Some(table) = document.get("server").and_then(|value| reader.table(value, "server")) else {
        return server;
    };
    let keys = reader.keys(table, keys::SERVER, &[], false, false);
    for (name, set) in &keys {
        match (*name, &set.value) {
            ("max_connections", Value::Count(count)) => server.max_connections = usize::try_from(*count).ok(),
            ("stop_grace", Value::Duration(Some(grace))) => server.stop_grace = *grace,
            ("on_stop", Value::Text(word)) if word == "leave" => {
                if !CAPABILITIES.sessions_outlive_us {
                    reader.error(&set.place.range, "on this system no session outlives the server", None);
                }
                server.on_stop = OnStop::Leave;
            }
            ("log_file", Value::Path(path)) => server.log_file = Some(path.clone()),
            ("event_log", Value::Text(word)) if word == "all" => server.event_log = EventLogExtent::All,
            _ => {}
        }
    }
    server
}

fn common(reader: &mut Reader<'_>, document: &DeTable<'_>) -> Common {
    let Some(table) = document.get("defaults").and_then(|value| reader.table(value, "defaults")) else {
        return Common::default();
    };
    if let Some((name, _)) = table.get_key_value("listen") {
        reader.error(&name.span(), "addresses are each service's own", None);
    }
    let mut keys = service::keys_of(reader, table, "defaults");
    keys.remove("listen");
    for set in keys.values_mut() {
        set.is_own = false;
    }
    Common { keys }
}

fn services(
    reader: &mut Reader<'_>,
    document: &DeTable<'_>,
    common: &Common,
    services: &mut Vec<service::Typed>,
) {
    let Some(table) = document.get("service").and_then(|value| reader.table(value, "service.NAME")) else {
        return;
    };
    for (name, value) in table {
        let at = name.span();
        let Some(table) = reader.table(value, &format!("service.{}", name.get_ref())) else { continue };
        services.extend(service::read(reader, (name.get_ref(), at), table, &common.keys));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
