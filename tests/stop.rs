//! A stop refuses new clients at once, waits for the grace period, then terminates whole process
//! trees. Its duration is bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::{Builder, Client, Gate, free_port, probe};

fn held() -> (u16, Gate, Builder) {
    let (port, gate) = (free_port(), Gate::new());
    let builder = Builder::new(&[format!("{port} none {}", probe(&format!("gate {}", gate.address())))]);
    (port, gate, builder)
}

#[test]
fn stop_is_prompt() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("line"))]).start();
    let began = Instant::now();
    let finished = daemon.stop();
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn grace_period_refuses_new_clients_and_keeps_sessions() {
    let (port, gate, builder) = held();
    let daemon = builder.start();
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    daemon.request_stop();
    daemon.event("stopping", |event| event["sessions"] == 1);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    drop(visitor);
    assert_eq!(client.read_all(), b"");
    let client_port = client.port();
    drop(client);
    let record = daemon.record(client_port);
    assert_eq!((&record["exit"], &record["reason"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
fn sessions_end_after_the_grace_period() {
    let (port, gate, builder) = held();
    let daemon = builder.start();
    let client = Client::connect(port);
    let visitor = gate.visitor();
    let began = Instant::now();
    daemon.request_stop();
    visitor.wait_gone();
    let grace = began.elapsed();
    assert!(grace > Duration::from_secs(9) && grace < Duration::from_secs(15), "{grace:?}");
    assert_eq!(daemon.record(client.port())["reason"], "stop");
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
fn second_stop_request_skips_the_grace_period() {
    let (port, gate, builder) = held();
    let daemon = builder.start();
    let _client = Client::connect(port);
    let visitor = gate.visitor();
    let began = Instant::now();
    daemon.request_stop();
    daemon.event("stopping", |_| true);
    daemon.request_stop();
    visitor.wait_gone();
    assert_eq!(daemon.finish().code, Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

/// On systems that do not report what has arrived, this applies to every client.
#[test]
fn stop_limits_lingering_to_the_grace_period() {
    let port = free_port();
    let last_words = if cfg!(target_os = "linux") { "fill" } else { "say x" };
    let builder = Builder::new(&[format!("{port} none {}", probe(last_words))]);
    let daemon = builder.arguments(&["--linger-timeout", "3600"]).start();
    let mut client = Client::connect_small(port);
    assert_eq!(client.read_exact(1), b"x");
    daemon.request_stop();
    let record = daemon.record(client.port());
    assert!((9.0..20.0).contains(&record["linger_seconds"].as_f64().unwrap()), "{record}");
    assert_eq!(record["reason"], "linger cut");
    assert_eq!(daemon.finish().code, Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn stop_gives_a_fully_served_client_two_seconds() {
    let ports = [free_port(), free_port(), free_port()];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let daemon = Builder::native(&format!(
        "[defaults]\ncommand = ['@', 'say', 'x']\nlinger_timeout = '1h'\n\
         [service.socket]\nlisten = '127.0.0.1:{}'\nstdio = 'socket'\n\
         [service.log]\nlisten = '127.0.0.1:{}'\nstdio = 'socket'\nstderr = 'log'\n\
         [service.pipe]\nlisten = '127.0.0.1:{}'\nstdio = 'pipe'\n\
         [service.unix]\nlisten = 'unix:{}'\n",
        ports[0],
        ports[1],
        ports[2],
        path.display()
    ))
    .start();
    let mut clients = ports.map(Client::connect);
    for client in &mut clients {
        assert_eq!(client.read_text(), "x");
    }
    let mut text = String::new();
    let mut neighbour = std::os::unix::net::UnixStream::connect(path).unwrap();
    std::io::Read::read_to_string(&mut neighbour, &mut text).unwrap();
    assert_eq!(text, "x");
    let began = Instant::now();
    daemon.request_stop();
    for record in daemon.records(4) {
        assert_eq!(record["reason"], "linger cut", "{record}");
    }
    assert_eq!(daemon.finish().code, Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn killed_server_restarts_at_once_on_the_same_ports() {
    let (port, gate, builder) = held();
    let daemon = builder.start();
    let _client = Client::connect(port);
    let visitor = gate.visitor();
    daemon.kill();
    drop(visitor);
    let again = Builder::new(&[format!("{port} none {}", probe("say again"))]).start();
    assert_eq!(Client::connect(port).read_text(), "again");
    assert_eq!(again.stop().code, Some(0));
}
