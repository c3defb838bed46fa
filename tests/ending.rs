//! Sessions end in two steps: a polite request, then a kill of the whole process tree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Gate, free_port};

/// A service whose program comes to the gate and then behaves as `way` says.
fn service(way: &str, keys: &str) -> (u16, Gate, Daemon) {
    let (port, gate) = (free_port(), Gate::new());
    let text = format!(
        "[server]\nstop_grace = '1s'\n[service.a]\nlisten = {port}\ncommand = ['@', '{way}', '{}']\n{keys}",
        gate.address()
    );
    let daemon = Builder::native(&text).start();
    (port, gate, daemon)
}

fn session_of(daemon: &Daemon) -> String {
    daemon.service("a")["sessions"][0]["id"].to_string()
}

#[test]
fn unresponsive_tree_is_killed_within_grace_plus_a_second() {
    let (port, gate, daemon) = service("deaf", "kill_grace = '2s'\n");
    let client = Client::connect(port);
    let visitors = [gate.visitor(), gate.visitor()];
    let began = Instant::now();
    let answer = daemon.ask(&["--kill", &session_of(&daemon)]);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    for visitor in visitors {
        visitor.wait_gone();
    }
    let took = began.elapsed();
    // Under Wine, the verb that requests the kill needs some seconds to start.
    let most = Duration::from_secs(if cfg!(windows) { 8 } else { 3 });
    assert!(took >= Duration::from_secs(2) && took < most, "{took:?}");
    assert_eq!(daemon.record(client.port())["reason"], "killed");
}

#[test]
fn stop_kills_an_unresponsive_tree_after_both_graces() {
    let (port, gate, daemon) = service("deaf", "kill_grace = '1s'\n");
    let client = Client::connect(port);
    let visitors = [gate.visitor(), gate.visitor()];
    let began = Instant::now();
    daemon.request_stop();
    for visitor in visitors {
        visitor.wait_gone();
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
    assert_eq!(daemon.record(client.port())["reason"], "stop");
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
fn a_session_that_lasts_too_long_is_ended() {
    let (port, gate, daemon) = service("gate", "session_timeout = '1s'\n");
    let began = Instant::now();
    let client = Client::connect(port);
    gate.visitor().wait_gone();
    assert!(began.elapsed() >= Duration::from_secs(1));
    let client_port = client.port();
    // An open client would make the session linger to deliver last bytes.
    drop(client);
    assert_eq!(daemon.record(client_port)["reason"], "session timeout");
}

#[test]
fn killing_a_session_leaves_others_running() {
    let (port, gate, daemon) = service("gate", "");
    let client = Client::connect(port);
    let visitor = gate.visitor();
    let mut other = Client::connect(port);
    let other_visitor = gate.visitor();
    let answer = daemon.ask(&["--kill", &visitor.session]);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    visitor.wait_gone();
    assert_eq!(daemon.record(client.port())["reason"], "killed");
    drop(other_visitor);
    assert_eq!(other.read_all(), b"");
    let unknown = daemon.ask(&["--kill", "999"]);
    assert_eq!(unknown.code, Some(66), "{}", unknown.errors);
    assert!(unknown.errors.contains("no session 999"), "{}", unknown.errors);
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_connection_is_ended_and_a_busy_one_is_not() {
    let (port, gate) = (free_port(), Gate::new());
    let busy = free_port();
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = {port}\ncommand = ['@', 'gate', '{}']\nidle_timeout = '1s'\n\
         [service.busy]\nlisten = {busy}\ncommand = ['@', 'echo']\nidle_timeout = '2s'\n",
        gate.address()
    ))
    .start();
    let client = Client::connect(port);
    let mut talker = Client::connect(busy);
    let visitor = gate.visitor();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        talker.send(b"x").read_exact(1);
        daemon.wait_a_moment();
    }
    visitor.wait_gone();
    assert_eq!(daemon.record(client.port())["reason"], "idle");
    assert_eq!(talker.half_close().read_text(), "");
}

#[cfg(unix)]
#[test]
fn stop_with_leave_keeps_sessions_running() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&format!(
        "[server]\non_stop = 'leave'\n[service.a]\nlisten = {port}\ncommand = ['@', 'gate', '{}']\n",
        gate.address()
    ))
    .start();
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    let finished = daemon.stop();
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    assert_eq!(finished.events("session")[0]["reason"], "left to itself");
    client.receives_nothing_for(Duration::from_millis(200));
    // The program still has its client, and ends on its own.
    drop(visitor);
    assert_eq!(client.read_all(), b"");
}
