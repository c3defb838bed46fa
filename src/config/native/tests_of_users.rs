//! Tests of native services without `user`.

use std::path::Path;

use super::tests::{defaults, with};
use super::*;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::missing_user::MissingUser;
use crate::sys::CAPABILITIES;

fn of_root(missing_user: MissingUser, text: &str) -> Vec<Diagnostic> {
    let source = Source::decode(Path::new("/folder/w.toml"), text.as_bytes().to_vec());
    read(source, &Defaults { missing_user, ..defaults() }).diagnostics
}

#[test]
fn missing_user_is_an_error_when_the_server_is_root() {
    let text = "[service.a]\nlisten = 80\ncommand = 'cmd'\n\n[service.bad]\nlisten = 81\ncommand = 'cmd'\n";
    let found = of_root(MissingUser::Refused("root"), text);
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    for (told, place, line) in [
        (&told[0], "w.toml:1:10: the service `a` has no `user`", "[service.a]"),
        (&told[1], "w.toml:5:10: the service `bad` has no `user`", "[service.bad]"),
    ] {
        assert!(told.contains(place), "{told}");
        assert!(told.contains("would run its program as root"), "{told}");
        assert!(told.contains(&format!("{line}\n")) && told.contains('^'), "{told}");
        assert!(told.contains("user = \"ACCOUNT\"") && told.contains("user = \"none\""), "{told}");
    }
}

#[test]
fn a_user_of_the_service_or_of_defaults_is_enough_for_root() {
    let defaults = |system| format!("[defaults{system}]\nuser = 'LocalService'\n{}", with(""));
    let of_this = format!(".{}", CAPABILITIES.table);
    for text in [with("user = 'none'"), with("user = 'LocalService'"), defaults(""), defaults(&of_this)] {
        let found = of_root(MissingUser::Refused("root"), &text);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
    let of_other = defaults(if of_this == ".unix" { ".windows" } else { ".unix" });
    assert_eq!(of_root(MissingUser::Refused("root"), &of_other).len(), 1);
}

#[test]
fn a_missing_user_is_a_warning_where_another_may_serve() {
    let found = of_root(MissingUser::Warned("root"), &with(""));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].severity, Severity::Warning);
    assert!(found[0].message.contains("a server of root refuses that"), "{found:?}");
    assert!(of_root(MissingUser::Accepted, &with("")).is_empty());
}

#[test]
fn a_missing_user_adds_no_error_to_a_missing_command() {
    let found = of_root(MissingUser::Refused("root"), "[service.a]\nlisten = 80\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("no `command`"), "{found:?}");
}
