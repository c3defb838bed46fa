//! A classic file, whatever is in it, is read without a panic; what is wrong is
//! said in lines of a bounded length, and no password is among them.

use std::path::Path;

use wininetd::config::classic::read;
use wininetd::config::source::Source;

use super::said;

/// The passwords of the file that no message could hold by chance.
fn passwords(text: &[u8]) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty());
        let (Some(port), Some(identity)) = (fields.next(), fields.next()) else { continue };
        if !port.starts_with(|letter: char| letter.is_ascii_digit()) {
            continue;
        }
        let Some((_, password)) = identity.split_once(':') else { continue };
        let password = password.trim_end_matches('\r');
        if std::str::from_utf8(text).is_ok_and(|text| said::is_telling(password, text)) {
            found.push(password);
        }
    }
    found
}

/// Panics where the promise is broken.
pub fn check(bytes: &[u8]) {
    let source = Source::decode(Path::new("/w.conf"), bytes.to_vec());
    let text = source.text.to_vec();
    let loaded = read(source, &said::defaults());
    said::is_harmless(&loaded.diagnostics, &loaded.plan, &passwords(&text));
}
