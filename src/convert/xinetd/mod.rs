//! Converts an xinetd.conf into the native form: one service per block, with `defaults` and
//! included files.

mod access;
mod attributes;
mod extras;
mod read;
mod restrictions;
mod service;

use super::loadable::keep_loadable;
use super::reader::ServiceReader;
use super::settle::Winner;
use super::toml::{Document, string};
use super::world::World;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;
use attributes::Attributes;

/// xinetd's default.
const RATE: &str = "50/s";

/// Converts the services. Fails with all errors of the text.
pub(super) fn convert(
    source: &Source,
    world: &World,
    notes: &mut Vec<Diagnostic>,
) -> Result<Document, Vec<Diagnostic>> {
    let read::Blocks { sources, services, defaults, findings, .. } = read::read(source);
    if findings.iter().any(|found| found.severity == Severity::Error) {
        return Err(findings);
    }
    let mut reader = ServiceReader::new(&sources, world, notes);
    let mut document = reader.document("xinetd", " and what it includes");
    document.head.extend(findings.iter().map(Diagnostic::headline));
    reader.notes.extend(findings);
    document.server.explain("on_stop", string("end"), "as xinetd at SIGTERM, but programs get a grace first");
    let rate = "as cps, but only what is over it is refused; xinetd closes the service for a while";
    document.defaults.explain("rate", string(RATE), rate);
    document.defaults.explain("when_full", string("refuse"), "as xinetd does over instances");
    for block in &services {
        let attributes = Attributes::merge(defaults.as_ref(), block);
        document.items.push(reader.service(block, &attributes));
    }
    reader.settle(&mut document.items, Winner::First);
    keep_loadable(&mut document, &sources, notes);
    Ok(document)
}

#[cfg(test)]
mod tests;
