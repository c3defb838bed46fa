//! A native file, whatever is in it, is read without a panic, and no password
//! is among what is said about it.

use std::path::Path;

use toml::de::DeTable;
use wininetd::config::native::read;
use wininetd::config::source::Source;

use super::said;

fn table<'a>(document: &'a DeTable<'_>, key: &str) -> Option<&'a DeTable<'a>> {
    document.get(key)?.get_ref().as_table()
}

/// The passwords that no message could hold by chance.
fn passwords(document: &DeTable<'_>, text: &str) -> Vec<String> {
    let services = table(document, "service").into_iter().flat_map(|services| services.values());
    let services = services.filter_map(|value| value.get_ref().as_table());
    let secrets = services
        .chain(table(document, "defaults"))
        .filter_map(|table| Some(table.get("password")?.get_ref().as_str()?.to_owned()));
    secrets.filter(|secret| said::is_telling(secret, text)).collect()
}

/// Panics where the promise is broken. False where the bytes are none of its business.
pub fn check(bytes: &[u8]) -> bool {
    let source = Source::decode(Path::new("/folder/w.toml"), bytes.to_vec());
    let text = source.text.to_vec();
    let mut secrets = Vec::new();
    if let Ok(text) = std::str::from_utf8(&text) {
        let (document, _) = DeTable::parse_recoverable(text);
        // Files that are not ours to open, and pipes that would never end.
        if document.get_ref().contains_key("include") {
            return false;
        }
        secrets = passwords(document.get_ref(), text);
    }
    let loaded = read(source, &said::defaults());
    said::is_harmless(&loaded.diagnostics, &loaded.plan, &secrets);
    true
}
