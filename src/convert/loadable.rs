//! The last step of a conversion: the server's own reader reads the result. A service that it
//! refuses becomes a comment, so the result always loads.

use std::collections::BTreeMap;
use std::path::Path;

use super::note;
use super::toml::{Document, Item};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::native;
use crate::config::source::Source;
use crate::config::stored::Stored;

pub(super) fn keep_loadable(document: &mut Document, sources: &[Source], notes: &mut Vec<Diagnostic>) {
    loop {
        let refused = refused(document);
        if refused.is_empty() {
            return;
        }
        for (number, why) in refused {
            let Item::Service(entry) = &mut document.items[number] else { continue };
            let message = format!("not carried over: a native file cannot hold it: {why}");
            let comment =
                note(notes, Severity::Warning, &sources[entry.typed.source], &entry.typed.range, message);
            let mut lines = std::mem::take(&mut entry.comments);
            lines.push(comment);
            lines.extend(entry.shown());
            document.items[number] = Item::Comment(lines);
        }
    }
}

/// The first error of each service. For two services with one address, the second has the error.
fn refused(document: &Document) -> BTreeMap<usize, String> {
    let (text, first_lines) = document.rendered();
    let written = Source::decode(Path::new("wininetd.toml"), text.into_bytes());
    let found = native::read(written, &Stored::default().defaults("wininetd")).diagnostics;
    let mut refused = BTreeMap::new();
    for error in found.into_iter().filter(|found| found.severity == Severity::Error) {
        let Some(line) = error.line() else { continue };
        let behind = first_lines.partition_point(|&first| first <= line);
        let number = behind.checked_sub(1);
        if let Some(number) = number.filter(|&number| matches!(document.items[number], Item::Service(_))) {
            refused.entry(number).or_insert(error.message);
        }
    }
    refused
}
