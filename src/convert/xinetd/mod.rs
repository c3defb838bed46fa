//! Converts an xinetd.conf into the native form: one service per block, with `defaults` and
//! included files.

mod access;
mod attributes;
mod extras;
mod read;
mod restrictions;
mod service;

use super::inetd::UNLIMITED;
use super::loadable::keep_loadable;
use super::reader::ServiceReader;
use super::settle::Winner;
use super::toml::{Document, Keys, string};
use super::world::World;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;
use crate::sys::CAPABILITIES;
use attributes::Attributes;

/// xinetd's default.
const RATE: &str = "50/s";

/// Converts the services. Fails with all errors of the text.
pub(super) fn convert(
    source: &Source,
    world: &World,
    notes: &mut Vec<Diagnostic>,
) -> Result<Document, Vec<Diagnostic>> {
    let path = source.path.display().to_string();
    let read::Blocks { sources, services, defaults, findings, .. } = read::read(source);
    if findings.iter().any(|found| found.severity == Severity::Error) {
        return Err(findings);
    }
    let mut document =
        Document { head: head(&path), server: server(), defaults: common(), ..Document::default() };
    document.head.extend(findings.iter().map(Diagnostic::headline));
    notes.extend(findings);
    let mut reader = ServiceReader::new(&sources, world, notes);
    for block in &services {
        let attributes = Attributes::merge(defaults.as_ref(), block);
        document.items.push(reader.service(block, &attributes));
    }
    reader.settle(&mut document.items, Winner::First);
    keep_loadable(&mut document, &sources, notes);
    Ok(document)
}

fn head(path: &str) -> Vec<String> {
    vec![
        format!("The native form of the xinetd.conf {path} and what it includes."),
        "docs/convert.md says what is carried over, what is not, and why.".to_owned(),
    ]
}

fn server() -> Keys {
    let mut keys = Keys::default();
    keys.explain("on_stop", string("end"), "as xinetd at SIGTERM, but programs get a grace first");
    keys
}

fn common() -> Keys {
    let mut keys = Keys::default();
    keys.explain("stdio", string("socket"), "the connection itself");
    keys.explain("stderr", string("client"), "xinetd makes no difference");
    if CAPABILITIES.leftovers_go_on {
        keys.explain("leftovers", string("leave"), "xinetd leaves alone what a program leaves behind");
    }
    keys.set("directory", string("/"));
    keys.explain("max_connections", UNLIMITED, "xinetd has no bound; this one is high enough for any use");
    keys.explain(
        "rate",
        string(RATE),
        "as cps, but only what is over it is refused; xinetd closes the service for a while",
    );
    keys.explain("when_full", string("refuse"), "as xinetd does over instances");
    keys
}

#[cfg(test)]
mod tests;
