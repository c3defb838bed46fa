//! The server never waits for the lock that a program holds on Windows while it reads from its
//! connection. Wine lacks this lock. The lab's `serial_lock.dll` adds it to the server and its
//! programs, and logs each wait.
#![cfg(windows)] // only Windows has the lock
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::Instant;

use testkit::{Builder, Client, Daemon, Gate, LIMIT, Visitor, free_port};

struct Locked {
    daemon: Daemon,
    port: u16,
    gate: Gate,
    log: String,
}

/// Serves a program that comes to the gate and then does `act`.
fn locked(act: &str, keys: &str) -> Locked {
    let starter = std::env::var("WININETD_LAB_SERIAL_LOCK").expect("the lab names it");
    let (port, gate) = (free_port(), Gate::new());
    let text = format!(
        "[server]\nstop_grace = '1s'\n[service.a]\nlisten = {port}\nuser = 'none'\nstdio = 'socket'\n\
         command = ['{starter}', '@', 'visit', '{}', {act}]\n{keys}",
        gate.address(),
    );
    let builder = Builder::native(&text).through(&[&starter]);
    let log = builder.folder().join("serial.log").display().to_string();
    let daemon = builder.variable("SERIAL_LOG", &log).start();
    Locked { daemon, port, gate, log }
}

impl Locked {
    fn client(&self) -> (Client, Visitor) {
        let client = Client::connect(self.port);
        (client, self.gate.visitor())
    }

    /// Stops the server and checks that it has taken locks and waited for none.
    fn server_has_not_waited(self) {
        let (finished, text) = self.daemon.stop_and_read(self.log.as_ref());
        assert_eq!(finished.code, Some(0), "{}", finished.errors);
        assert!(text.contains("server took"), "the server was not watched: {text:?}");
        assert!(!text.contains("server waits"), "{text}");
    }
}

/// The control: two threads of a program block each other on one socket.
#[test]
#[ignore = "needs the lab"]
fn the_emulated_lock_stops_a_writer_beside_a_reader() {
    let locked = locked("'streams', 'duplex', '8000000'", "");
    let (mut client, _visitor) = locked.client();
    // The client neither sends nor reads, so either the read or the write blocks.
    let until = Instant::now() + LIMIT;
    while !std::fs::read_to_string(&locked.log).is_ok_and(|text| text.contains("program waits")) {
        assert!(Instant::now() < until, "no thread of the program has waited");
        locked.daemon.wait_a_moment();
    }
    client.half_close();
    assert_eq!(client.read_all().len(), 8_000_000 + "0 equal\n".len());
}

#[test]
#[ignore = "needs the lab"]
fn a_status_does_not_wait_for_a_reading_program() {
    let locked = locked("'echo'", "");
    let (_client, _visitor) = locked.client();
    assert_eq!(locked.daemon.service("a")["sessions"].as_array().unwrap().len(), 1);
    locked.server_has_not_waited();
}

#[test]
#[ignore = "needs the lab"]
fn a_kill_does_not_wait_for_a_reading_program() {
    let locked = locked("'echo'", "");
    let (mut client, visitor) = locked.client();
    let session = locked.daemon.service("a")["sessions"][0]["id"].to_string();
    assert_eq!(locked.daemon.ask(&["--kill", &session]).code, Some(0));
    visitor.wait_gone();
    client.read_until_gone();
    locked.server_has_not_waited();
}

#[test]
#[ignore = "needs the lab"]
fn a_session_timeout_does_not_wait_for_a_reading_program() {
    let locked = locked("'echo'", "session_timeout = '1s'\nkill_grace = '1s'\n");
    let (mut client, visitor) = locked.client();
    visitor.wait_gone();
    client.read_until_gone();
    locked.server_has_not_waited();
}

#[test]
#[ignore = "needs the lab"]
fn a_reset_does_not_wait_for_a_reading_program() {
    let locked = locked("'echo'", "");
    let (client, visitor) = locked.client();
    client.vanish();
    visitor.wait_gone();
    locked.server_has_not_waited();
}

#[test]
#[ignore = "needs the lab"]
fn a_half_close_does_not_wait_for_a_reading_program() {
    let locked = locked("'echo'", "");
    let (mut client, _visitor) = locked.client();
    client.send(b"word").half_close();
    assert_eq!(client.read_all(), b"word");
    locked.server_has_not_waited();
}

#[test]
#[ignore = "needs the lab"]
fn unread_input_does_not_make_the_server_wait() {
    let locked = locked("'line'", "");
    let (mut client, _visitor) = locked.client();
    client.send(b"one\n").send(&[b'x'; 100_000]).half_close();
    assert_eq!(client.read_all(), b"one\n");
    locked.server_has_not_waited();
}

#[test]
#[ignore = "needs the lab"]
fn a_reload_does_not_wait_for_a_reading_program() {
    let locked = locked("'echo'", "");
    let (mut client, _visitor) = locked.client();
    assert_eq!(locked.daemon.reload().code, Some(0));
    client.send(b"still").half_close();
    assert_eq!(client.read_all(), b"still");
    locked.server_has_not_waited();
}

#[test]
#[ignore = "needs the lab"]
fn a_stop_does_not_wait_for_a_reading_program() {
    let locked = locked("'echo'", "");
    let (_client, _visitor) = locked.client();
    locked.server_has_not_waited();
}
