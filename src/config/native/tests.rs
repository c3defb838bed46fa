//! What the native file promises: all of its errors in one run, each at its
//! place, and nothing that nobody typed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::plan::{Stderr, WhenFull};

fn defaults() -> Defaults {
    Defaults {
        bind: vec![IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8])],
        idle_timeout: None,
        linger_timeout: Duration::from_secs(60),
        directory: PathBuf::from("/"),
        service: "wininetd".to_owned(),
    }
}

fn load(text: &str) -> Loaded {
    parse(Source::decode(Path::new("f.toml"), text.as_bytes().to_vec()), &defaults())
}

/// The errors, each as `line:column: message`.
fn errors(text: &str) -> Vec<String> {
    let errors = load(text).diagnostics.into_iter().filter(|found| found.severity == Severity::Error);
    errors.map(|found| found.headline().trim_start_matches("f.toml:").to_owned()).collect()
}

/// The one service of a text with these keys.
fn service(keys: &str) -> Arc<Service> {
    let loaded = load(&format!("[service.a]\nlisten = 80\ncommand = 'cat'\n{keys}\n"));
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    loaded.plan.services[0].clone()
}

#[test]
fn a_service_has_what_was_typed_and_the_defaults_of_the_rest() {
    let typed = service(
        "max_connections = 5\nwhen_full = 'refuse'\nrate = '50/s'\nallow = ['10.0.0.0/8']\nstderr = 'discard'\n\
         session_timeout = '10h'\nkeepalive = '30s'\nrefusal = \"busy\\r\\n\"\nlimits = { memory = '1MiB' }",
    );
    assert_eq!((typed.admit.max_connections, typed.admit.when_full), (5, WhenFull::Refuse));
    assert_eq!(typed.admit.access.allow.as_ref().unwrap()[0].to_string(), "10.0.0.0/8");
    assert_eq!((typed.program.stderr, typed.program.limits.memory), (Stderr::Discard, Some(1 << 20)));
    assert_eq!(
        (typed.times.session_timeout, &*typed.refusal),
        (Some(Duration::from_hours(10)), &b"busy\r\n"[..])
    );
    assert_eq!(typed.listen.len(), 2);
    let plain = service("");
    assert_eq!((plain.admit.max_connections, plain.admit.when_full), (256, WhenFull::Wait));
    assert_eq!(plain.times.kill_grace, Duration::from_secs(5));
    assert_eq!(plain.keepalive.unwrap().idle, Duration::from_secs(60));
    assert_eq!(service("keepalive = false").keepalive, None);
}

#[test]
fn the_defaults_hold_where_a_service_says_nothing_and_its_own_system_s_table_wins() {
    let [own, other] = CAPABILITIES.tables;
    let text = format!(
        "[defaults]\nmax_connections = 7\nkill_grace = '1s'\n[defaults.{own}]\nrate = '1/s'\n\
         [service.a]\nlisten = 80\ncommand = 'cat'\n[service.a.{own}]\nkill_grace = '2s'\n[service.a.{other}]\nkill_grace = '3s'\n\
         [service.b]\nlisten = 81\ncommand = 'cat'\nmax_connections = 8\n"
    );
    let loaded = load(&text);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let [a, b] = &loaded.plan.services[..] else { panic!("two services") };
    assert_eq!((a.admit.max_connections, a.times.kill_grace), (7, Duration::from_secs(2)));
    assert_eq!((b.admit.max_connections, b.times.kill_grace), (8, Duration::from_secs(1)));
    assert!(a.admit.rate.is_some() && b.admit.rate.is_some());
}

#[test]
fn all_errors_come_in_one_run_each_at_its_place() {
    let text = "[service.a]\nlisten = 'apples'\ncommand = 'cat'\ncolour = 1\nkill_grace = 5\nallow = ['10.0.0.1/8']\n\
                rate = 'often'\n[server]\nstop_grace = '10'\n[sevice.b]\n";
    let found = errors(text);
    let places: Vec<&str> = found.iter().map(|found| found.split(": ").next().unwrap()).collect();
    let mut sorted = places.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["10:2", "2:10", "4:1", "5:14", "6:10", "7:8", "9:14"], "{found:#?}");
}

#[test]
fn an_unknown_key_names_the_nearest_one_that_there_is() {
    let found = load("[service.a]\nlisten = 80\ncommand = 'cat'\nmax_conections = 5\n").diagnostics;
    assert_eq!(found[0].hint.as_deref(), Some("did you mean max_connections?"));
}

#[test]
fn keys_that_are_not_there_yet_are_refused_with_words() {
    for key in [
        "warm = 4",
        "warm_header = true",
        "tls = {}",
        "proxy_protocol = []",
        "stdio = 'pipe'",
        "stderr = 'log'",
    ] {
        let found = errors(&format!("[service.a]\nlisten = 80\ncommand = 'cat'\n{key}\n"));
        assert!(found.len() == 1 && found[0].contains("later version"), "{found:?}");
    }
    service("stdio = 'socket'\nstderr = 'client'");
}

#[test]
fn a_rule_that_can_never_decide_is_an_error() {
    let rules = |listen: &str, rules: &str| {
        errors(&format!("[service.a]\ncommand = 'cat'\nlisten = {listen}\n{rules}\n"))
    };
    assert_eq!(
        rules("'127.0.0.1:80'", "deny = ['2001:db8::/32']")[0],
        "4:9: 2001:db8::/32 never matches: this service listens on no IPv6 address"
    );
    assert!(rules("80", "deny = ['10.0.0.0/8', '10.0.0.0/8']")[0].contains("in this list already"));
    assert!(
        rules("80", "deny = ['10.0.0.0/8']\nallow = ['10.0.0.0/8']")[0]
            .starts_with("5:10: 10.0.0.0/8 is denied in line 4")
    );
    assert!(rules("80", "deny = ['10.0.0.0/8', '2001:db8::/32']\nallow = ['10.1.0.0/16']").is_empty());
    // Of the defaults only some services may have the family.
    assert!(
        errors(
            "[defaults]\ndeny = ['2001:db8::/32']\n[service.a]\ncommand = 'cat'\nlisten = '127.0.0.1:80'\n"
        )
        .is_empty()
    );
}

#[test]
fn two_services_at_one_address_are_an_error_that_names_both() {
    let two = |one: &str, other: &str| {
        errors(&format!(
            "[service.a]\ncommand = 'cat'\nlisten = {one}\n[service.b]\ncommand = 'cat'\nlisten = {other}\n"
        ))
    };
    assert_eq!(
        two("'127.0.0.1:80'", "'127.0.0.1:80'"),
        ["6:10: 127.0.0.1:80 is listened on in line 3 already"]
    );
    assert_eq!(
        two("80", "'127.0.0.1:80'"),
        ["6:10: 127.0.0.1:80 can't be bound beside 0.0.0.0:80 in line 3"]
    );
    assert_eq!(two("80", "80").len(), 1);
    assert!(two("'127.0.0.1:80'", "'127.0.0.2:80'").is_empty());
    assert!(two("80", "80\nenabled = false").is_empty());
}

#[test]
fn toml_s_trap_is_told_with_its_way_out() {
    let found = load("[service.a]\nlisten = 80\ncommand = \"c:\\temp\\new.exe\"\n").diagnostics;
    assert_eq!(found[0].hint.as_deref(), Some("use single quotes, in which a backslash is a backslash"));
    let found = load("[service.a]\nlisten = 80\ncommand = \"c:\\windows\\x.exe\"\n").diagnostics;
    assert_eq!(
        found[0].hint.as_deref(),
        Some("use single quotes, in which a backslash is a backslash"),
        "{found:?}"
    );
}

#[test]
fn what_is_missing_is_told_at_the_service() {
    assert_eq!(errors("[service.a]\nlisten = 80\n"), ["1:10: this service has no command"]);
    assert_eq!(errors("[service.a]\ncommand = 'cat'\n"), ["1:10: this service has no listen"]);
    assert!(
        errors("[service.a]\nlisten = 80\ncommand = 'cat'\npassword = 'x'\n")[0].contains("there is none")
    );
}

#[cfg(unix)]
#[test]
fn a_socket_in_the_file_system_has_a_mode_and_no_rules() {
    let keys =
        |keys: &str| errors(&format!("[service.a]\nlisten = 'unix:/run/x'\ncommand = 'cat'\n{keys}\n"));
    assert!(keys("socket_mode = '0600'\nsocket_group = 'x'").is_empty());
    assert!(keys("allow = ['10.0.0.0/8']")[0].contains("no address"));
    assert!(keys("idle_timeout = '5s'")[0].contains("nobody counts"));
    assert!(
        errors("[service.a]\nlisten = 80\ncommand = 'cat'\nsocket_mode = '0600'\n")[0]
            .contains("no unix: socket")
    );
    assert!(
        errors("[service.a]\nlisten = 80\ncommand = 'cat'\nload_profile = true\n")[0]
            .contains("only on Windows")
    );
}

#[test]
fn files_that_are_included_have_services_and_their_errors_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    file("conf.d/b.toml", "[service.b]\nlisten = 81\ncommand = 'cat'\n");
    file("conf.d/a.toml", "[service.a]\nlisten = 82\ncommand = 'cat'\n");
    file("conf.d/x.conf", "this is none of it");
    let main = folder.path().join("main.toml");
    let read = |text: &str| {
        std::fs::write(&main, text).unwrap();
        parse(Source::read(&main).unwrap(), &defaults())
    };
    let loaded = read(
        "include = ['conf.d/*.toml']\n[defaults]\nmax_connections = 3\n[service.main]\nlisten = 80\ncommand = 'cat'\n",
    );
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let names: Vec<_> =
        loaded.plan.services.iter().map(|service| (&*service.name, service.admit.max_connections)).collect();
    assert_eq!(names, [("main", 3), ("a", 3), ("b", 3)]);
    file("conf.d/a.toml", "[server]\n[service.main]\nlisten = 80\ncommand = 'cat'\n");
    let loaded =
        read("include = ['conf.d/*.toml', 'missing.toml']\n[service.main]\nlisten = 80\ncommand = 'cat'\n");
    let found: Vec<String> = loaded.diagnostics.iter().map(Diagnostic::headline).collect();
    let said = |part: &str| found.iter().any(|found| found.contains(part));
    assert!(said("missing.toml") && said("a.toml:1:2: server stands in the main file only"), "{found:#?}");
    assert!(said("a.toml:2:10: a service main is in") && said("main.toml:2 already"), "{found:#?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        parse(Source::decode(Path::new("f.toml"), bytes), &defaults());
    }

    #[test]
    fn no_keys_and_values_make_it_panic(
        lines in proptest::collection::vec(
            "(listen|command|rate|allow|limits|environment|password|kill_grace|include) = ('[a-z0-9./: ]{0,12}'|[0-9]{1,6}|\\['[0-9./]{0,9}'\\]|\\{ [a-z]{1,9} = '[0-9a-zA-Z]{0,6}' \\}|true)",
            0..12
        )
    ) {
        load(&format!("[service.a]\n{}\n", lines.join("\n")));
    }

    #[test]
    fn a_password_is_in_no_message(
        password in "[A-Z]{8,12}",
        before in proptest::sample::select(vec!["", "listen = 80\n", "command = 'x\n", "user = \n", "[[\n", "colour = 1\n"]),
        form in proptest::sample::select(vec![
            "password = '@", "password = \"@\"", "password = '@'", "password = @", "password = [\"@\"]",
            "password = \"\"\"\n@\"\"\"", "password '@'", "x = { password = '@', y = }", "password = 1\npassword = '@'",
        ]),
        after in proptest::sample::select(vec!["", "\nuser = 'a'", "\n\"", "\nlisten = x"]),
    ) {
        let text = format!("[service.a]\n{before}{}{after}\n", form.replace('@', &password));
        for found in load(&text).diagnostics {
            prop_assert!(!found.to_string().contains(&password), "{found}");
        }
    }
}
