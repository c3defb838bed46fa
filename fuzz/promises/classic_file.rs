//! A classic file, whatever is in it, is read without a panic; what is wrong is
//! said in lines of a bounded length, and no password is among them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wininetd::config::classic::{Defaults, parse};
use wininetd::config::source::Source;

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
        let once = std::str::from_utf8(text).is_ok_and(|text| text.matches(password).count() == 1);
        if password.len() >= 20 && password.bytes().all(|byte| byte.is_ascii_graphic()) && once {
            found.push(password);
        }
    }
    found
}

/// Panics where the promise is broken.
pub fn check(bytes: &[u8]) {
    let defaults = Defaults {
        bind: vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()],
        idle_timeout: None,
        stdio: None,
        linger_timeout: Duration::from_secs(60),
        directory: PathBuf::from("/"),
        service: "wininetd".to_owned(),
    };
    let mut source = Source::decode(Path::new("/w.conf"), bytes.to_vec());
    let text = source.text.to_vec();
    let (plan, diagnostics) = parse(&mut source, &defaults);
    let secrets = passwords(&text);
    for found in &diagnostics {
        let shown = found.to_string();
        assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'), "{shown:?}");
        assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{shown}");
    }
    if !secrets.is_empty() {
        let shown = format!("{plan:?}");
        assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{shown}");
    }
}
