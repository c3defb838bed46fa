//! `--timeout` ends a connection on which no byte moves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, Gate, free_port, probe};

#[test]
fn idle_connection_is_ended() {
    let (port, gate) = (free_port(), Gate::new());
    let line = format!("{port} none {}", probe(&format!("gate {}", gate.address())));
    let daemon = Builder::new(&[line]).arguments(&["--timeout", "1"]).start();
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    assert!(client.is_turned_away());
    visitor.wait_gone();
    let record = daemon.record(client.port());
    assert_eq!((&record["outcome"], &record["reason"]), (&"served".into(), &"idle".into()));
    let seconds = record["seconds"].as_f64().unwrap();
    // On Windows the server asks by closing the input. This program does not read it, so the server
    // kills it after the grace period.
    let most = if cfg!(windows) { 10.0 } else { 5.0 };
    assert!((0.9..most).contains(&seconds), "{record}");
}

#[test]
fn movement_in_either_direction_keeps_a_connection() {
    let port = free_port();
    let daemon =
        Builder::new(&[format!("{port} none {}", probe("echo"))]).arguments(&["--timeout", "2"]).start();
    let mut client = Client::connect(port);
    // Half a second apart, by a read that times out.
    for _ in 0..6 {
        client.send(b"x");
        assert_eq!(client.read_exact(1), b"x");
        client.receives_nothing_for(std::time::Duration::from_millis(500));
    }
    client.half_close();
    assert_eq!(client.read_all(), b"");
    let record = daemon.record(client.port());
    assert_eq!(record["exit"], 0, "{record}");
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&6.into(), &6.into()), "{record}");
}
