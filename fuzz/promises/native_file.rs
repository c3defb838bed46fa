//! A native file, whatever is in it, is read without a panic, and no password
//! is among what is said about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;
use wininetd::config::classic::Defaults;
use wininetd::config::native::read;
use wininetd::config::source::Source;

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
    let plain = |secret: &String| {
        secret.len() >= 20
            && secret.bytes().all(|byte| byte.is_ascii_graphic())
            && text.matches(secret.as_str()).count() == 1
    };
    secrets.filter(plain).collect()
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
    let defaults = Defaults {
        bind: vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()],
        idle_timeout: None,
        stdio: None,
        linger_timeout: Duration::from_secs(60),
        directory: PathBuf::from("/"),
        service: "wininetd".to_owned(),
    };
    let (_, plan, diagnostics) = read(source, &defaults);
    for found in &diagnostics {
        let shown = found.to_string();
        assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'), "{shown:?}");
        assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{shown}");
    }
    if !secrets.is_empty() {
        let shown = format!("{plan:?}");
        assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{shown}");
    }
    true
}
