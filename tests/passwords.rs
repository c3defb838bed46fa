//! Passwords that are stored for a service: the server encrypts and uses them, and never shows
//! them.
#![cfg(windows)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use testkit::service::has_key;
use testkit::{Builder, Client, Finished, Value, free_port, probe, run, run_with_input, wininetd};

const PASSWORD: &str = "hunter2-Zwölf";

/// A service name. Dropping it removes the stored passwords.
struct Store {
    name: String,
}

impl Store {
    fn new() -> Store {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Store { name: format!("wininetd-passwords-{}-{number}", std::process::id()) }
    }

    fn set(&self, user: &str, typed: &str) -> Finished {
        run_with_input(&["--set-password", user, "--service-name", &self.name], typed)
    }

    fn key(&self) -> String {
        format!(r"SOFTWARE\wininetd\{}", self.name)
    }

    /// `logon` is the value of `WININETD_TEST_LOGON`. Returns the client's text, the record and the
    /// log.
    fn serve(&self, identity: &str, logon: &str) -> (String, Value, String) {
        let port = free_port();
        let line = format!("{port} {identity} {}", probe("say served"));
        let daemon = Builder::new(&[line])
            .arguments(&["--service-name", &self.name])
            .variable("WININETD_TEST_LOGON", logon)
            .start();
        let mut client = Client::connect(port);
        let answer = if client.is_turned_away() { String::new() } else { "served".to_owned() };
        let client_port = client.port();
        drop(client);
        (answer, daemon.record(client_port), daemon.text())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        run(&["--remove", "--service-name", &self.name]);
    }
}

#[test]
fn a_stored_password_is_used_and_shown_nowhere() {
    let store = Store::new();
    let set = store.set("Davide", &format!("{PASSWORD}\r\n"));
    assert_eq!(set.code, Some(0), "{}", set.errors);
    assert!(set.output.contains("Davide:{stored}"), "{}", set.output);
    let (answer, record, log) = store.serve("davide:{stored}", &format!("own:{PASSWORD}"));
    assert_eq!((&*answer, &record["outcome"]), ("served", &"served".into()));
    for text in [set.output, set.errors, log, record.to_string()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn wrong_stored_password_fails_at_logon() {
    let store = Store::new();
    store.set("davide", "wrong\n");
    let (answer, record, _) = store.serve("davide:{stored}", &format!("own:{PASSWORD}"));
    assert_eq!((&*answer, &record["step"]), ("", &"logon".into()));
}

#[test]
fn set_again_the_last_password_counts() {
    let store = Store::new();
    store.set("davide", "wrong\n");
    store.set("DAVIDE", PASSWORD);
    let (answer, ..) = store.serve("davide:{stored}", &format!("own:{PASSWORD}"));
    assert_eq!(answer, "served");
}

#[test]
fn a_password_of_one_user_or_service_is_no_others() {
    let (store, other) = (Store::new(), Store::new());
    store.set("davide", PASSWORD);
    for (store, identity) in [(&store, "anna:{stored}"), (&other, "davide:{stored}")] {
        let (answer, record, _) = store.serve(identity, &format!("own:{PASSWORD}"));
        assert_eq!((&*answer, &record["step"]), ("", &"account".into()));
        assert!(record["reason"].as_str().unwrap().contains("--set-password"), "{record}");
    }
}

#[test]
fn crash_during_logon_shows_no_password() {
    let store = Store::new();
    store.set("davide", PASSWORD);
    for identity in ["davide:{stored}".to_owned(), format!("davide:{PASSWORD}")] {
        let port = free_port();
        let line = format!("{port} {identity} {}", probe("say no"));
        let daemon = Builder::new(&[line])
            .arguments(&["--service-name", &store.name])
            .variable("WININETD_TEST_LOGON", "crash")
            .start();
        let mut client = Client::connect(port);
        assert!(client.is_turned_away());
        daemon.text_line("the logon of");
        assert!(!daemon.text().contains("hunter2"), "{}", daemon.text());
    }
}

#[test]
fn an_empty_password_and_an_account_without_one_are_refused() {
    let store = Store::new();
    assert_eq!(store.set("davide", "\n").code, Some(64));
    assert_eq!(store.set("LocalService", "x\n").code, Some(64));
    assert!(!has_key(&store.key()));
}

#[test]
fn a_check_says_that_a_password_is_not_stored() {
    let store = Store::new();
    let own = std::env::var("USERNAME").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("w.conf").display().to_string();
    // In capitals: `{stored}` ignores case.
    std::fs::write(&config, format!("{} {own}:{{STORED}} {}\n", free_port(), probe("say x"))).unwrap();
    let check = || run(&["--check", "--cfgfile", &config, "--service-name", &store.name]).output;
    let said = check();
    assert!(said.contains("no password is stored for") && said.contains("--set-password"), "{said}");
    assert_eq!(store.set(&own, PASSWORD).code, Some(0));
    let said = check();
    assert!(!said.contains("no password is stored for"), "{said}");
}

#[test]
fn remove_forgets_what_was_stored() {
    let store = Store::new();
    store.set("davide", PASSWORD);
    assert!(has_key(&store.key()));
    run(&["--remove", "--service-name", &store.name]);
    assert!(!has_key(&store.key()));
}

#[test]
fn check_with_logon_tries_each_account() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.conf");
    std::fs::write(
        &file,
        format!("80 davide:{PASSWORD} cmd\r\n81 davide:{PASSWORD} cmd\r\n82 anna:x cmd\r\n"),
    )
    .unwrap();
    let output = Command::new(wininetd())
        .args(["--check", "--logon", "--cfgfile"])
        .arg(&file)
        .env("WININETD_TEST_LOGON", format!("own:{PASSWORD}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("accounts: 2 tried, 1 refused"), "{said}");
    assert!(said.contains("w.conf:3:4: warning: logon of anna"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
