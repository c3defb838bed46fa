//! Tests of the native file, except for streams and users.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::missing_user::MissingUser;
use crate::model::endings::OnStop;
use crate::model::limits::Rate;
use crate::model::plan::{EventLogExtent, Service, Stderr, WhenFull};
use crate::model::secret::{Password, Secret};

pub(super) fn defaults() -> Defaults {
    let bind: Vec<IpAddr> = vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
    Defaults {
        bind,
        idle_timeout: None,
        linger_timeout: Duration::from_secs(7),
        stdio: None,
        directory: PathBuf::from("/default"),
        service: "wininetd".to_owned(),
        missing_user: MissingUser::Accepted,
    }
}

fn read_bytes(bytes: &[u8]) -> (Plan, Vec<Diagnostic>) {
    let source = Source::decode(Path::new("/folder/w.toml"), bytes.to_vec());
    let Loaded { plan, mut diagnostics, .. } = read(source, &defaults());
    // Whether this system can enforce the limit is not the reader's concern.
    diagnostics.retain(|found| !found.message.starts_with("`processes`"));
    (plan, diagnostics)
}

pub(super) fn service(text: &str) -> Service {
    let (plan, diagnostics) = read_bytes(text.as_bytes());
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    plan.services[0].as_ref().clone()
}

pub(super) fn with(keys: &str) -> String {
    format!("[service.x]\nlisten = 80\ncommand = 'cmd'\n{keys}\n")
}

/// All errors, as `line:column: message | hint`.
pub(super) fn faults(text: &str) -> Vec<String> {
    let (_, diagnostics) = read_bytes(text.as_bytes());
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let place =
        |headline: &str| headline.split_once("w.toml:").map_or(String::new(), |(_, rest)| rest.to_owned());
    errors
        .map(|found| format!("{} | {}", place(&found.headline()), found.hint.as_deref().unwrap_or_default()))
        .collect()
}

pub(super) fn fault(keys: &str) -> String {
    let found = faults(&with(keys));
    assert_eq!(found.len(), 1, "{keys}: {found:?}");
    found[0].clone()
}

#[test]
fn duplicate_table_is_one_error_naming_the_first_line() {
    let service = "[service.a]\nlisten = 81\ncommand = 'cmd'\n";
    let hint = "it stands in line 1 already: a key or table stands once";
    let found = faults(&format!(
        "{service}limits = {{ memory = '1MiB' }}\n[service.b]\nlisten = 80\ncommand = 'cmd'\n{service}"
    ));
    assert_eq!(found, [format!("8:10: this is no TOML: duplicate key | {hint}")]);
    // New faults in the repeated table are still reported, and so are those below another header.
    let found = faults(&format!("{service}{service}deny = 5\n[service.a.windows]\nuser = 5\n"));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("4:10: ") && found[1].starts_with("7:8: ") && found[2].starts_with("9:8: "));
}

#[test]
fn minimal_service_has_the_classic_file_defaults() {
    let found = service("[service.x]\nlisten = 80\ncommand = 'cmd a'");
    assert_eq!(found.name, "x");
    assert!(found.enabled);
    let listen: Vec<_> = found.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:80", "[::]:80"]);
    assert_eq!(found.admit, crate::model::plan::Admit::default());
    assert_eq!(found.keepalive, Some(crate::model::listen::KEEPALIVE));
    assert_eq!(found.program.identity, None);
    assert_eq!(found.program.directory, Path::new("/default"));
    assert_eq!((found.times.idle_timeout, found.times.linger_timeout), (None, Duration::from_secs(7)));
}

#[test]
fn every_key_reaches_the_plan() {
    let found = service(&with(
        "directory = 'srv'\nenvironment = { A = 'b' }\ninherit_environment = ['C']\nstdio = 'socket'\n\
         stderr = 'discard'\nallow = ['10.0.0.0/8', '2001:db8::1']\ndeny = ['10.1.0.0/16']\nmax_connections = 50\n\
         max_connections_per_source = 4\nwhen_full = 'refuse'\nrate = '50/s'\nrate_per_source = '10/m'\n\
         refusal = \"busy\\r\\n\"\nbanner = 'hi'\nlinger_timeout = '0s'\nkeepalive = '2m'\nsession_timeout = '10h'\n\
         kill_grace = '1s'\nnodelay = true\nenabled = false\nlimits = { memory = '1GiB', cpu_time = '1m', processes = 3 }",
    ));
    assert!(!found.enabled);
    assert_eq!(found.program.directory, Path::new("/folder").join("srv"));
    assert_eq!(found.program.environment, [("A".into(), "b".into())]);
    assert_eq!(found.program.inherit_environment, Some(vec!["C".into()]));
    assert_eq!(found.program.stderr, Stderr::Discard);
    assert_eq!(found.program.limits.memory, Some(1 << 30));
    assert_eq!(found.program.limits.cpu_time, Some(Duration::from_mins(1)));
    assert_eq!((found.program.limits.processes, found.program.limits.open_files), (Some(3), None));
    let access = &found.admit.access;
    assert_eq!(access.allow.as_ref().unwrap()[1].to_string(), "2001:db8::1/128");
    assert_eq!(access.deny[0].to_string(), "10.1.0.0/16");
    assert_eq!((found.admit.max_connections, found.admit.max_connections_per_source), (50, Some(4)));
    assert_eq!(found.admit.when_full, WhenFull::Refuse);
    assert_eq!(found.admit.rate, Some(Rate { count: 50, per: Duration::from_secs(1) }));
    assert_eq!(found.admit.rate_per_source, Some(Rate { count: 10, per: Duration::from_mins(1) }));
    assert_eq!((&*found.refusal, &*found.banner), (&b"busy\r\n"[..], &b"hi"[..]));
    assert_eq!(found.keepalive.unwrap().idle, Duration::from_mins(2));
    assert_eq!(found.times.linger_timeout, Duration::ZERO);
    assert_eq!(found.times.session_timeout, Some(Duration::from_hours(10)));
    assert_eq!(found.times.kill_grace, Duration::from_secs(1));
    assert!(found.nodelay);
}

#[test]
fn the_server_has_keys_of_its_own() {
    let text =
        with("[server]\nmax_connections = 9\nstop_grace = '1m'\nlog_file = 'w.log'\nevent_log = 'all'");
    let (plan, diagnostics) = read_bytes(text.as_bytes());
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert_eq!((plan.server.max_connections, plan.server.stop_grace), (Some(9), Duration::from_mins(1)));
    assert_eq!(plan.server.log_file, Some(Path::new("/folder").join("w.log")));
    assert_eq!((plan.server.on_stop, plan.server.event_log), (OnStop::End, EventLogExtent::All));
}

#[test]
fn service_overrides_defaults_and_false_unsets_them() {
    let shared =
        "[defaults]\nmax_connections = 5\nrate = '1/s'\nlimits = { memory = '1MiB', processes = 3 }\n";
    let found = service(&(with("rate = false\nkeepalive = false\nlimits = { memory = '2MiB' }") + shared));
    assert_eq!((found.admit.max_connections, found.admit.rate, found.keepalive), (5, None, None));
    assert_eq!((found.program.limits.memory, found.program.limits.processes), (Some(2 << 20), None));
}

#[test]
fn service_with_its_own_user_inherits_no_password() {
    let shared = "[defaults]\nuser = 'a'\npassword = 'pw'\n";
    let identity = |keys: &str| service(&(with(keys) + shared)).program.identity;
    let found = identity("").unwrap();
    assert_eq!(found.user.to_string(), "a");
    assert_eq!(found.password, Some(Password::Typed(Secret::new("pw"))));
    let found = identity("user = 'b'\npassword = '{stored}'").unwrap();
    assert_eq!(found.password, Some(Password::Stored { service: "wininetd".into() }));
    assert_eq!(identity("user = 'none'"), None);
}

#[test]
fn a_table_for_one_system_is_read_on_all_and_used_on_its_own() {
    let text = with(
        "max_connections = 1\n[service.x.windows]\nmax_connections = 2\n[service.x.unix]\nmax_connections = 3",
    );
    let expected = if crate::sys::CAPABILITIES.table == "windows" { 2 } else { 3 };
    assert_eq!(service(&text).admit.max_connections, expected);
    for system in ["windows", "unix"] {
        assert!(
            fault(&format!("[service.x.{system}]\nbanana = 1")).contains("5:1: there is no key `banana`")
        );
        assert!(fault(&format!("[service.x.{system}]\nrate = 1")).contains("a rate has a unit"));
    }
}

#[test]
fn a_service_of_the_other_system_lacks_nothing_here() {
    let other = if crate::sys::CAPABILITIES.table == "windows" { "unix" } else { "windows" };
    let text = |off: &str| {
        format!("[service.x]\n{off}\n[service.x.{other}]\nenabled = true\nlisten = 1\ncommand = 'c'\n")
    };
    assert_eq!(faults(&text("enabled = false")), [""; 0]);
    assert_eq!(faults(&text("")).len(), 2);
}

#[test]
fn file_that_is_not_toml_gets_a_bounded_error_count() {
    let (_, found) = read_bytes("this is a log\n".repeat(5000).as_bytes());
    assert!((2..300).contains(&found.len()), "{}", found.len());
    assert!(found.last().unwrap().to_string().contains("more findings"), "{}", found.last().unwrap());
}

#[test]
fn unsupported_key_is_an_error_outside_its_system_table() {
    let (mine, others) = if crate::sys::CAPABILITIES.table == "windows" {
        ("group = 'g'", "load_profile = true")
    } else {
        ("load_profile = true", "group = 'g'")
    };
    let other = if crate::sys::CAPABILITIES.table == "windows" { "unix" } else { "windows" };
    assert!(
        fault(&format!("user = 'u'\npassword = 'p'\n{mine}")).contains(&format!("[service.NAME.{other}]"))
    );
    service(&with(&format!("user = 'u'\npassword = 'p'\n{others}\n[service.x.{other}]\n{mine}")));
}

#[test]
fn all_errors_are_reported_at_once_in_text_order() {
    let text = "[server]\nmax_conections = 1\nstop_grace = 10\n[service.a]\nlisten = 'localhost:80'\ncommand = 5\n\
                allow = ['10.0.0.1/8']\n[service.b]\nlisten = 80\n[service.c]\nlisten = 80\ncommand = 'c'\n\
                banana = = 3\nrate = 'often'\n";
    let found = faults(text);
    let starts = [
        "2:1: there is no key",
        "3:14: a time has a unit",
        "5:10: `…`",
        "6:11: `command` is",
        "7:10: `…` has bits",
        "11:10: the service `b` listens on … already, in line 9",
    ];
    for start in starts {
        assert!(found.iter().any(|fault| fault.starts_with(start)), "{start}: {found:#?}");
    }
    assert!(found.iter().any(|fault| fault.starts_with("13:10: this is no TOML")), "{found:#?}");
    assert!(found.iter().any(|fault| fault.starts_with("14:8: `…` is not a rate")), "{found:#?}");
}

#[test]
fn a_key_that_is_not_known_gets_the_nearest_one() {
    assert!(fault("max_conections = 1").ends_with("did you mean `max_connections`?"));
}

#[test]
fn a_value_of_the_wrong_kind_is_told_what_is_wanted() {
    for (keys, wanted) in [
        ("max_connections = '5'", "a whole number from 1 on; this is a string"),
        ("max_connections = 0", "a whole number from 1 on"),
        ("max_connections = -1", "a whole number from 1 on"),
        ("max_connections_per_source = true", "or `false` for none"),
        ("idle = 1", "no key"),
        ("session_timeout = 10", "a time has a unit"),
        ("session_timeout = '0s'", "at least 1 ms"),
        ("rate = '0/s'", "admits no client"),
        ("enabled = 'yes'", "`true` or `false`"),
        ("allow = '10.0.0.0/8'", "an array of networks"),
        ("when_full = 'maybe'", "\"wait\" or \"refuse\""),
        ("environment = { A = 1 }", "a string without NUL"),
        ("environment = { CLIENT_IP = 'x' }", "is set for each session"),
        ("environment = { 'a=b' = 'x' }", "has no `=`"),
        ("inherit_environment = ['TCPREMOTEIP']", "is set for each session"),
        ("limits = { memory = 5 }", "a size has a unit"),
        ("limits = { memory = '5MB' }", "256MiB"),
        ("limits = { banana = 5 }", "no key `banana` in `limits`"),
        ("user = 'NONE'", "lower case"),
        ("password = 'x'", "has no effect without `user`"),
        ("directory = ''", "this is empty"),
    ] {
        assert!(fault(keys).contains(wanted), "{keys}: {}", fault(keys));
    }
    let long = format!("banner = '{}'", "x".repeat(4097));
    assert!(fault(&long).contains("at most 4096"), "{}", fault(&long));
}

#[test]
fn the_trap_of_backslashes_is_named() {
    for keys in [r#"directory = "c:\temp\new""#, r#"directory = "c:\srv""#, r#"directory = "c:\users""#] {
        assert!(faults(&with(keys))[0].contains("single quotes"), "{:?}", faults(&with(keys)));
    }
    service(&with(r"directory = 'c:\temp\new'"));
}

#[test]
fn a_rule_that_can_never_match_is_an_error() {
    assert!(
        fault("allow = ['10.0.0.0/8', '10.0.0.0/8']")
            .contains("4:24: 10.0.0.0/8 stands in this list already")
    );
    assert!(fault("allow = ['10.0.0.0/8']\ndeny = ['10.0.0.0/8']").contains("denied in line 5"));
    assert!(fault("deny = ['::ffff:10.0.0.1']").contains("10.0.0.1/32"));
    let one = "[service.x]\nlisten = '127.0.0.1:80'\ncommand = 'c'\n";
    assert!(faults(&format!("{one}deny = ['::1']"))[0].contains("no address of IPv6"));
    // A rule in [defaults] need not match every service.
    service(&format!("{one}[defaults]\ndeny = ['::1']"));
}

#[test]
fn no_two_services_have_one_address_unless_one_is_not_enabled() {
    let two = |keys: &str| with("") + "[service.y]\nlisten = '127.0.0.1:80'\ncommand = 'c'\n" + keys;
    let found = &faults(&two(""))[0];
    let expected = "6:10: the service `x` listens on 127.0.0.1:80 by 0.0.0.0:80 already, in line 2";
    assert!(found.starts_with(expected), "{found}");
    assert_eq!(faults(&two("enabled = false")), [""; 0]);
    let own = "[service.x]\nlisten = [80, '[::1]:80']\ncommand = 'c'";
    assert!(faults(own)[0].contains("2:15: this service listens on"), "{:?}", faults(own));
}

#[test]
fn a_service_lacks_nothing_that_it_needs() {
    let found = faults(
        "[service.x]\nuser = 'u'\npassword = 'p'\n[service.'a b']\nlisten = 1\ncommand = 'c'\n[service]\ny = 1",
    );
    assert!(
        found.iter().any(|fault| fault.starts_with("1:10: the service `x` has no `listen`")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|fault| fault.starts_with("1:10: the service `x` has no `command`")),
        "{found:?}"
    );
    assert!(found.iter().any(|fault| fault.starts_with("4:10: a service's name")), "{found:?}");
}

#[test]
fn a_file_without_services_is_warned_of() {
    for text in ["", "# nothing\n", "[defaults]\nrate = '1/s'\n"] {
        let (plan, diagnostics) = read_bytes(text.as_bytes());
        assert!(plan.services.is_empty());
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(diagnostics[0].severity, Severity::Warning);
    }
}

#[test]
fn the_example_that_messages_show_is_a_service() {
    assert_eq!(faults(crate::sys::paths::EXAMPLE_TABLE), [""; 0]);
}

#[test]
fn a_file_that_is_not_utf_8_is_an_error_with_its_place() {
    let found = read_bytes(b"# \xff\n").1;
    assert!(found[0].to_string().contains("not UTF-8"), "{found:?}");
}

/// The first file is read.
fn read_files(files: &[(&str, &str)]) -> (Loaded, Vec<String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let main = Source::read(&folder.path().join(files[0].0)).unwrap();
    let loaded = read(main, &defaults());
    let shown =
        loaded.diagnostics.iter().map(|found| format!("{}{:?}", found.headline(), found.hint)).collect();
    (loaded, shown, folder)
}

#[test]
fn included_files_hold_services_and_are_read_by_name() {
    let b = "[service.b]\nlisten = 81\ncommand = 'c'\ndirectory = 'd'";
    let (loaded, found, folder) = read_files(&[
        ("w.toml", "include = ['conf.d/*.toml', 'z.toml']\n[defaults]\nmax_connections = 3"),
        ("conf.d/b.toml", b),
        ("conf.d/a.toml", "[service.a]\nlisten = 80\ncommand = 'c'"),
        ("conf.d/c.toml~", "no toml"),
        ("z.toml", "[service.z]\nlisten = 82\ncommand = 'c'"),
    ]);
    assert!(found.is_empty(), "{found:?}");
    let names: Vec<_> = loaded.services().map(|(service, spans)| (&*service.name, spans.source)).collect();
    assert_eq!(names, [("a", 1), ("b", 2), ("z", 3)]);
    assert!(loaded.services().all(|(service, _)| service.admit.max_connections == 3));
    assert_eq!(loaded.plan.services[1].program.directory, folder.path().join("conf.d").join("d"));
}

#[test]
fn faulty_include_is_reported_at_its_position() {
    let (_, found, _folder) = read_files(&[
        (
            "w.toml",
            "include = ['gone.toml', 'a.toml', 'none/*.toml', 'x*/y', 'q*.toml', 'w.toml', 5]\n[service.x]\nlisten = 80\ncommand = 'c'",
        ),
        ("a.toml", "[server]\n[service.x]\nlisten = 80\ncommand = 'c'"),
    ]);
    let all = found.join("\n");
    for part in [
        "w.toml:1:12: ",
        "w.toml:1:35: there is no folder",
        "last part of a path only",
        "w.toml is read already",
        "`include` is an array of strings; this is an integer",
        "a.toml:1:2: `server` belongs in the file that includes the others",
        "a.toml:2:10: the service `x` stands at ",
        "w.toml:2:10 already",
    ] {
        assert!(all.contains(part), "{part}:\n{all}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for found in read_bytes(&bytes).1 {
            prop_assert!(found.to_string().contains("w.toml"));
        }
    }

    #[test]
    fn no_text_makes_it_panic(
        lines in proptest::collection::vec(
            "(\\[service\\.x\\]|\\[defaults\\]|\\[\\[?[a-z.]{0,9}\\]?\\]|[a-z_]{1,9} = ['\"\\[{0-9]{0,3}[a-z0-9ä/:.,= ]{0,9}['\"\\]}]{0,3}|(listen|command|allow|rate|user|limits|environment|keepalive|include|windows) = (1|'|''|\"\\\\x\"|\\[\\]|\\{\\}|\\[1, '::1', 1.5\\]|\\{ a = \\[\\] \\}|false|1979-05-27))", 0..12)
    ) {
        for found in read_bytes(lines.join("\n").as_bytes()).1 {
            prop_assert!(found.to_string().contains("w.toml"));
        }
    }

    #[test]
    fn a_password_is_in_no_message(
        secret in "[A-Z]{6,12}",
        key in "(password|pasword|Password|PASSWORD|passwd|'password'|\"password\"|password.x|user)",
        form in "(= 'X'|= \"X\"|= X|X|'X'|= \"X|= 'X|: X|= \"\"\"\nX\n\"\"\"|= \"\"\"X|= \\['X'\\]|= \\{ a = 'X' \\}|=\n'X')",
        before in "(|\\[service.x\\]\n|\\[defaults\\]\n|\\[service.x.windows\\]\n|x = = 1\n|user = 'u', |a = \\{ |user = 'u\n)",
        after in "(|\n|x| # y|\nx = = 1\n| b = 2|\nuser = 5)",
    ) {
        let value = if key == "user" { format!("davide:{secret}") } else { secret.clone() };
        let mut text = String::new();
        let _ = writeln!(text, "{before}{key} {}{after}", form.replace('X', &value));
        for found in read_bytes(text.as_bytes()).1 {
            prop_assert!(!found.to_string().contains(&secret), "{text}\n{found}");
        }
    }
}
