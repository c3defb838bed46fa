//! Records and events in both formats, on the console and in a log file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, free_port, probe};

#[test]
fn every_accepted_connection_ends_in_exactly_one_record() {
    let (port, failing) = (free_port(), free_port());
    let daemon = Builder::new(&[
        format!("{port} none {}", probe("echo")),
        format!("{failing} nosuchuser:x {}", probe("line")),
    ])
    .start();
    let mut ports = Vec::new();
    for round in 0..20 {
        let mut client = Client::connect(if round % 4 == 0 { failing } else { port });
        ports.push(client.port());
        match round % 4 {
            0 => assert!(client.is_turned_away()),
            1 => drop(client.send(b"x\n").half_close().read_text()),
            2 => {
                // The server accepts the client before it resets: Windows may drop a client that
                // resets earlier.
                client.send(b"x").read_exact(1);
                client.vanish();
            }
            _ => drop(client),
        }
    }
    let records = daemon.records(20);
    let mut sessions: Vec<_> = records.iter().map(|record| record["session"].as_u64().unwrap()).collect();
    sessions.sort_unstable();
    assert_eq!(sessions, (1..=20).collect::<Vec<_>>());
    // Lists, because the system may reuse a client's port.
    let mut recorded: Vec<u16> = records
        .iter()
        .map(|record| record["peer"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap())
        .collect();
    recorded.sort_unstable();
    ports.sort_unstable();
    assert_eq!(recorded, ports);
    let finished = daemon.stop();
    assert_eq!(finished.errors.matches("\"outcome\"").count(), 20);
}

#[test]
fn a_record_has_its_fields() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("line"))]).start();
    let mut client = Client::connect(port);
    client.send(b"hello\n").read_text();
    let client_port = client.port();
    drop(client);
    let record = daemon.record(client_port);
    assert_eq!(record["peer"], format!("127.0.0.1:{client_port}"));
    assert_eq!(record["local"], format!("127.0.0.1:{port}"));
    assert!(record["pid"].as_u64().unwrap() > 0);
    assert!(record["seconds"].as_f64().is_some() && record["linger_seconds"].as_f64().is_some());
    assert_eq!((&record["level"], &record["id"]), (&"info".into(), &30.into()));
    if cfg!(target_os = "linux") {
        assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&6.into(), &6.into()));
    }
}

/// The client resets before its system acknowledges what the client has read.
#[cfg(target_os = "linux")]
#[test]
fn bytes_that_a_client_got_before_its_reset_are_counted() {
    for stdio in ["socket", "pipe"] {
        let port = free_port();
        let text =
            format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'echo']\nstdio = '{stdio}'\n");
        let daemon = Builder::native(&text).start();
        let mut client = Client::connect(port);
        let client_port = client.port();
        // After some rounds the client's system delays each acknowledgement and sends it with the
        // next data.
        for _ in 0..20 {
            client.send(b"a").read_exact(1);
        }
        client.send(&[b'x'; 90]).read_exact(90);
        client.vanish();
        let record = daemon.record(client_port);
        assert_eq!(
            (&record["bytes_in"], &record["bytes_out"]),
            (&110.into(), &110.into()),
            "{stdio}: {record}"
        );
    }
}

#[test]
fn ready_lists_every_bound_address() {
    let ports = [free_port(), free_port()];
    let lines = ports.map(|port| format!("{port} none {}", probe("line")));
    let daemon = Builder::new(&lines).arguments(&["--bind", "127.0.0.1"]).start();
    let ready = daemon.event("ready", |_| true);
    assert_eq!(ready["listen"], serde_json::json!(ports.map(|port| format!("127.0.0.1:{port}"))));
    assert_eq!(ready["services"], 2);
}

#[test]
fn text_lines_are_for_people() {
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("line"))]);
    let daemon = builder.arguments(&["--log-format", "text"]).launch();
    daemon.text_line(" info ready services=1 listen=");
    let mut client = Client::connect(port);
    client.send(b"x\n").read_text();
    let client_port = client.port();
    drop(client);
    let line = daemon.text_line(&format!("peer=127.0.0.1:{client_port}"));
    assert!(line.contains(" info session ") && line.contains(" outcome=served exit=0 "), "{line}");
}

#[test]
fn a_log_file_gets_every_line_and_can_be_read_meanwhile() {
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("line"))]);
    let path = builder.folder().join("log");
    let daemon = builder.arguments(&["--log-file", path.to_str().unwrap()]).start();
    let mut client = Client::connect(port);
    client.send(b"x\n").read_text();
    let client_port = client.port();
    drop(client);
    daemon.record(client_port);
    assert!(std::fs::read_to_string(&path).unwrap().contains("\"ready\""));
    let (finished, text) = daemon.stop_and_read(&path);
    assert_eq!(finished.code, Some(0));
    for name in ["starting", "ready", "session", "stopping", "stopped"] {
        assert_eq!(text.matches(&format!("\"event\":\"{name}\"")).count(), 1, "{name}: {text}");
    }
}

#[test]
fn unwritable_log_file_stops_the_start() {
    let builder = Builder::new(&[format!("{} none {}", free_port(), probe("line"))]);
    let folder = builder.folder().to_owned();
    let finished = builder.arguments(&["--log-file", folder.to_str().unwrap()]).launch().finish();
    assert_eq!(finished.code, Some(78), "{finished:?}");
    assert!(finished.errors.contains("--log-file"), "{}", finished.errors);
}

#[test]
fn unread_log_affects_no_session() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("line"))]).deaf_after_ready();
    for _ in 0..20 {
        assert_eq!(Client::connect(port).send(b"served\n").read_text(), "served\n");
    }
    daemon.request_stop();
    assert_eq!(daemon.exit_code(), Some(0));
}
