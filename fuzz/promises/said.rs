//! What is promised of files of both forms: what is said about one is harmless
//! lines, and no password of it is shown anywhere.

use std::path::PathBuf;
use std::time::Duration;

use wininetd::config::defaults::Defaults;
use wininetd::config::diagnostic::Diagnostic;
use wininetd::config::missing_user::MissingUser;
use wininetd::model::plan::Plan;

/// A server without options.
pub fn defaults() -> Defaults {
    Defaults {
        bind: vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()],
        idle_timeout: None,
        stdio: None,
        linger_timeout: Duration::from_secs(60),
        directory: PathBuf::from("/"),
        service: "wininetd".to_owned(),
        missing_user: MissingUser::Accepted,
    }
}

/// Whether no message could hold this password of the text by chance.
pub fn is_telling(password: &str, text: &str) -> bool {
    password.len() >= 20
        && password.bytes().all(|byte| byte.is_ascii_graphic())
        && text.matches(password).count() == 1
}

/// Panics where something is said that must not be.
pub fn is_harmless(diagnostics: &[Diagnostic], plan: &Plan, secrets: &[impl AsRef<str>]) {
    for found in diagnostics {
        let shown = found.to_string();
        assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'), "{shown:?}");
        assert!(!secrets.iter().any(|secret| shown.contains(secret.as_ref())), "{shown}");
    }
    if !secrets.is_empty() {
        let shown = format!("{plan:?}");
        assert!(!secrets.iter().any(|secret| shown.contains(secret.as_ref())), "{shown}");
    }
}
