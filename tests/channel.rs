//! The control channel answers each request. Invalid input gets an error or a closed channel, and
//! never blocks the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::io::{Read, Write};

use testkit::channel::{exchange, open};
use testkit::{Builder, Client, Daemon, Gate, free_port, run};

fn daemon() -> (u16, Gate, Daemon) {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'gate', '{}']\n\
         [service.off]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\nenabled = false\n",
        gate.address(),
        free_port()
    ));
    (port, gate, daemon.start())
}

#[test]
fn the_status_tells_services_sessions_and_counts() {
    let (port, gate, daemon) = daemon();
    let client = Client::connect(port);
    let visitor = gate.visitor();
    let status = daemon.status();
    assert_eq!(status["pid"], daemon.pid());
    assert!(status["uptime_seconds"].as_f64().unwrap() > 0.0 && status["version"].is_string());
    let service = &status["services"][0];
    assert_eq!(
        (&service["name"], &service["state"], &service["live"]),
        (&"a".into(), &"listening".into(), &1.into())
    );
    assert_eq!(service["listen"], serde_json::json!([format!("127.0.0.1:{port}")]));
    let session = &service["sessions"][0];
    assert_eq!((&session["pid"], session["id"].to_string()), (&visitor.pid.into(), visitor.session));
    assert!(session["client"].as_str().unwrap().ends_with(&format!(":{}", client.port())));
    let off = &status["services"][1];
    assert_eq!((&off["state"], &off["listen"]), (&"disabled".into(), &serde_json::json!([])));
    let table = daemon.ask(&["--status"]).output;
    assert!(table.contains("listening") && table.contains("disabled"), "{table}");
}

#[test]
fn malformed_requests_do_not_affect_the_next_request() {
    let (_, _, daemon) = daemon();
    let path = daemon.control();
    let long = vec![b'x'; 100_000];
    for nonsense in [
        &b""[..],
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b"{\"version\":1}",
        b"{\"version\":1,\"request\":\"dance\"}",
        b"{\"version\":2,\"request\":\"status\"}",
        b"{\"version\":1,\"request\":\"kill\"}",
        b"{\"version\":1,\"request\":\"kill\",\"session\":-1}",
        b"{\"version\":1,\"request\":\"status\",\"more\":1}",
        b"GET / HTTP/1.1\r\n\r\n",
        &long,
    ] {
        let answer = exchange(&path, nonsense);
        assert!(answer.is_empty() || answer.contains("refused"), "{answer}");
        assert!(exchange(&path, b"{\"version\":1,\"request\":\"status\"}").contains("uptime_seconds"));
    }
}

#[test]
fn silent_control_client_blocks_no_other_and_is_dropped() {
    let (_, _, daemon) = daemon();
    let path = daemon.control();
    let mut silent = open(&path);
    silent.write_all(b"{\"version\":").unwrap();
    assert!(exchange(&path, b"{\"version\":1,\"request\":\"status\"}").contains("uptime_seconds"));
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("uptime_seconds"));
}

#[test]
fn status_without_a_server_exits_with_69() {
    let (_, _, daemon) = daemon();
    let control = daemon.control();
    assert_eq!(daemon.stop().code, Some(0));
    let answer = run(&["--control", &control, "--status"]);
    assert_eq!(answer.code, Some(69), "{}", answer.errors);
    assert!(answer.errors.contains("--control"), "{}", answer.errors);
}

// Wine lets two servers own one pipe. `docs/windows-open-points.md` says how to check.
#[cfg(unix)]
#[test]
fn control_channel_held_by_an_old_server_is_retried() {
    let (_, _, before) = daemon();
    let control = before.control();
    let text = format!("[service.b]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\n", free_port());
    let after = Builder::native(&text).arguments(&["--control", &control]).start();
    let said = after.event("configuration", |event| event["message"].to_string().contains("control channel"));
    assert!(said["hint"].as_str().unwrap().contains("tries again"), "{said}");
    assert_eq!(before.stop().code, Some(0));
    after.event("configuration", |event| event["message"].to_string().contains("is open now"));
    let status = run(&["--control", &control, "--status", "--json"]);
    assert!(status.output.contains("\"b\""), "{}{}", status.output, status.errors);
}
