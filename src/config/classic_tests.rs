//! Tests of the classic file.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::missing_user::MissingUser;
use crate::model::plan::Plan;
use crate::model::secret::Password;

fn parse_bytes(bytes: &[u8]) -> (Plan, Vec<Diagnostic>) {
    let source = Source::decode(Path::new("f"), bytes.to_vec());
    let bind = vec![IpAddr::from([0, 0, 0, 0])];
    let service = "wininetd".to_owned();
    let (idle_timeout, linger_timeout, stdio) = (None, Duration::ZERO, None);
    let directory = PathBuf::new();
    let missing_user = MissingUser::Accepted;
    let defaults = Defaults { bind, idle_timeout, linger_timeout, stdio, directory, service, missing_user };
    let Loaded { plan, diagnostics, .. } = read(source, &defaults);
    (plan, diagnostics)
}

fn names(text: &str) -> Vec<String> {
    let (plan, diagnostics) = parse_bytes(text.as_bytes());
    assert!(diagnostics.iter().all(|found| found.severity != Severity::Error), "{diagnostics:?}");
    plan.services.iter().map(|service| service.name.clone()).collect()
}

#[test]
fn blanks_and_tabs_separate_in_any_number() {
    assert_eq!(names("80 none x\n81\t\tnone \t y z \t\r\n# 82 none x\nx\n\n"), ["80", "81"]);
}

#[test]
fn the_first_colon_separates_user_and_password() {
    let (plan, _) = parse_bytes(b"80 user:a:b x");
    let identity = plan.services[0].program.identity.clone().unwrap();
    assert_eq!(identity.user.to_string(), "user");
    let typed = Password::Typed(crate::model::secret::Secret::new("a:b"));
    assert_eq!(identity.password, Some(typed));
}

#[test]
fn user_names_may_begin_with_digits() {
    let (plan, _) = parse_bytes(b"80 0day:pw x");
    assert_eq!(plan.services[0].program.identity.clone().unwrap().user.to_string(), "0day");
}

#[test]
fn a_service_behind_a_byte_order_mark_or_blanks_is_warned_of() {
    for line in ["\u{feff}80 none x", "  80 none x", "\t80 none x"] {
        let (plan, diagnostics) = parse_bytes(format!("# joined\n{line}\n").as_bytes());
        assert!(plan.services.is_empty());
        assert!(diagnostics[0].to_string().contains("does not begin with a digit"), "{}", diagnostics[0]);
    }
}

#[test]
fn none_in_other_letter_case_is_an_error() {
    assert_eq!(parse_bytes(b"80 NONE x").1[0].severity, Severity::Error);
}

#[test]
fn a_no_break_space_behind_a_port_is_named() {
    let (_, found) = parse_bytes("7777\u{a0}none cmd".as_bytes());
    assert!(found.iter().any(|found| found.to_string().contains("U+00A0")), "{found:?}");
}

#[test]
fn ports_end_at_65535() {
    assert_eq!(names("65535 none x"), ["65535"]);
    let (plan, diagnostics) = parse_bytes(b"65536 none x\n0 none x\n99999999999999999999 none x");
    assert!(plan.services.is_empty());
    assert_eq!(diagnostics.len(), 3);
}

#[test]
fn an_address_before_the_port_is_no_missing_space() {
    for line in ["127.0.0.1:80 none date", "2001:db8::1 none date"] {
        let (_, diagnostics) = parse_bytes(line.as_bytes());
        let hint = diagnostics[0].hint.as_deref().unwrap();
        assert!(hint.contains("`--bind` chooses addresses"), "{line}: {hint}");
    }
    let (_, diagnostics) = parse_bytes(b"80/tcp none date");
    assert!(diagnostics[0].hint.as_deref().unwrap().contains("write a space"), "{diagnostics:?}");
}

#[test]
fn a_port_with_a_leading_zero_is_an_error() {
    let (plan, diagnostics) = parse_bytes(b"0080 none x\n");
    assert!(plan.services.is_empty());
    assert_eq!(diagnostics[0].hint.as_deref(), Some("write 80"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (_, diagnostics) = parse_bytes(&bytes);
        for found in diagnostics {
            prop_assert!(found.to_string().starts_with('f'));
        }
    }

    #[test]
    fn every_line_that_begins_with_a_digit_is_used_or_reported(
        lines in proptest::collection::vec("[0-9]{1,6}[ \t:x]{0,2}(none|u:p|)[ \t]{0,2}[a-z'\"]{0,5}", 0..20)
    ) {
        let (plan, diagnostics) = parse_bytes(lines.join("\n").as_bytes());
        let reported: std::collections::HashSet<_> = diagnostics
            .iter()
            .filter(|found| found.severity == Severity::Error)
            .map(|found| found.to_string().split(':').nth(1).unwrap().to_owned())
            .collect();
        prop_assert_eq!(plan.services.len() + reported.len(), lines.len());
    }

    #[test]
    fn a_password_is_in_no_message(password in "[A-Z]{6,12}", line in "[0-9]{1,6}[ :]u:", rest in "[ a-z']{0,9}") {
        let (_, diagnostics) = parse_bytes(format!("{line}{password}{rest}\n").as_bytes());
        for found in diagnostics {
            prop_assert!(!found.to_string().contains(&password), "{}", found);
        }
    }
}
