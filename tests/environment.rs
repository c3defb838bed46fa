//! A program's environment, arguments and directory: its client in all known variable names, and no
//! inherited values of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::collections::HashMap;

use testkit::{Builder, Client, free_port, probe};

fn variables(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[test]
fn a_program_finds_its_client_in_every_dialect() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("environment"))]).start();
    let mut client = Client::connect(port);
    let client_port = client.port();
    let found = variables(&client.read_text());
    drop(client);
    let session = daemon.record(client_port)["session"].to_string();
    for (names, value) in [
        (&["CLIENT_IP", "TCPREMOTEIP", "REMOTE_ADDR", "REMOTE_HOST", "TCPLOCALIP"][..], "127.0.0.1"),
        (&["CLIENT_PORT", "TCPREMOTEPORT", "REMOTE_PORT"], &client_port.to_string()),
        (&["TCPLOCALPORT", "WININETD_SERVICE"], &port.to_string()),
        (&["PROTO"], "TCP"),
        (&["TCPCONNNUM"], "1"),
        (&["WININETD_SESSION"], &session),
    ] {
        for name in names {
            assert_eq!(found.get(*name).map(String::as_str), Some(value), "{name}");
        }
    }
}

#[test]
fn inherited_session_and_manager_variables_are_removed() {
    let port = free_port();
    let mut builder = Builder::new(&[format!("{port} none {}", probe("environment"))]);
    for name in
        ["CLIENT_IP", "TCPREMOTEHOST", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "INVOCATION_ID", "KEPT"]
    {
        builder = builder.variable(name, "inherited");
    }
    let _daemon = builder.start();
    let found = variables(&Client::connect(port).read_text());
    let inherited: Vec<_> =
        found.iter().filter(|(_, value)| *value == "inherited").map(|(name, _)| name).collect();
    assert_eq!(inherited, ["KEPT"]);
}

#[test]
fn parallel_children_see_their_own_peer() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("environment"))]).start();
    let clients: Vec<_> = (0..200).map(|_| Client::connect(port)).collect();
    let mut sessions = std::collections::HashSet::new();
    for mut client in clients {
        let own = client.port().to_string();
        let text = client.read_text();
        let found = variables(&text);
        let of = |name: &str| found.get(name).cloned().unwrap_or_default();
        if of("CLIENT_PORT") != own {
            let client_port = client.port();
            drop(client);
            panic!("client {own} found {text:?}: {}", daemon.record(client_port));
        }
        assert_eq!(of("TCPREMOTEPORT"), own);
        assert!(sessions.insert(of("WININETD_SESSION")));
    }
}

#[test]
fn arguments_arrive_as_they_were_written() {
    let port = free_port();
    let _daemon = Builder::new(&[format!("{port} none {}", probe(r#"arguments a  "b c" $X %X% *"#))]).start();
    assert_eq!(Client::connect(port).read_text(), "arguments\na\nb c\n$X\n%X%\n*");
}

#[test]
fn argv0_is_the_name_that_the_program_receives() {
    for more in ["stdio = 'socket'", "stdio = 'pipe'", "warm = 1"] {
        let port = free_port();
        let _daemon = Builder::native(&format!(
            "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'name']\nargv0 = 'an other'\n\
             user = 'none'\n{more}\n"
        ))
        .start();
        assert_eq!(Client::connect(port).read_text(), "an other", "{more}");
    }
}

#[test]
fn argv0_of_the_defaults_is_not_another_programs() {
    let (first, second) = (free_port(), free_port());
    let _daemon = Builder::native(&format!(
        "[defaults]\ncommand = ['@', 'name']\nargv0 = 'x'\nuser = 'none'\n\
         [service.a]\nlisten = '127.0.0.1:{first}'\n\
         [service.b]\nlisten = '127.0.0.1:{second}'\ncommand = ['@', 'name']\n"
    ))
    .start();
    assert_eq!(Client::connect(first).read_text(), "x");
    assert!(Client::connect(second).read_text().contains("probe"));
}

#[test]
fn a_program_starts_in_the_systems_directory() {
    let port = free_port();
    let _daemon = Builder::new(&[format!("{port} none {}", probe("directory"))]).start();
    let directory = Client::connect(port).read_text().to_lowercase();
    assert_eq!(directory, if cfg!(windows) { r"c:\windows\system32" } else { "/" });
}
