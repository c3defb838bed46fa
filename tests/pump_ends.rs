//! Sessions with pipes end when they are idle, after lingering, and at a stop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Gate, Value, free_port, pattern};

const SECOND: Duration = Duration::from_secs(1);

/// The delay that a busy machine may add.
const SLACK: Duration = Duration::from_secs(1);

/// `#` in the program's arguments stands for the gate's address.
fn serve(what: &str, keys: &str) -> (u16, Gate, Daemon) {
    serve_with("", what, keys, &[])
}

fn serve_with(server: &str, what: &str, keys: &str, arguments: &[&str]) -> (u16, Gate, Daemon) {
    let (port, gate) = (free_port(), Gate::new());
    let words: Vec<String> =
        what.replace('#', &gate.address()).split(' ').map(|word| format!("'{word}'")).collect();
    let daemon = Builder::native(&format!(
        "{server}[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {}]\nstdio = 'pipe'\n{keys}",
        words.join(", ")
    ))
    .arguments(arguments)
    .start();
    (port, gate, daemon)
}

fn session_of(daemon: &Daemon) -> String {
    daemon.service("a")["sessions"][0]["id"].to_string()
}

fn kill(daemon: &Daemon) {
    let answer = daemon.ask(&["--kill", &session_of(daemon)]);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
}

fn seconds(record: &Value, name: &str) -> Duration {
    Duration::from_secs_f64(record[name].as_f64().unwrap())
}

#[test]
fn idle_session_ends_within_a_second_of_its_timeout() {
    let (port, gate, daemon) = serve("gate #", "idle_timeout = '2s'\nkill_grace = '0s'\n");
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    assert!(client.is_turned_away());
    visitor.wait_gone();
    let record = daemon.record(client.port());
    let took = seconds(&record, "seconds");
    assert!(took >= 2 * SECOND && took < 3 * SECOND + SLACK, "{record}");
    assert_eq!((&record["outcome"], &record["reason"]), (&"served".into(), &"idle".into()), "{record}");
}

#[test]
fn the_option_holds_for_pipes_as_well() {
    let (port, _gate, daemon) = serve_with("", "gate #", "", &["--timeout", "1"]);
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    let record = daemon.record(client.port());
    assert_eq!(record["reason"], "idle", "{record}");
    assert!(seconds(&record, "seconds") >= SECOND, "{record}");
}

fn idle_record(daemon: &Daemon, client: &Client) -> (Value, Value) {
    let record = daemon.record(client.port());
    assert_eq!(record["reason"], "idle", "{record}");
    (record["bytes_in"].clone(), record["bytes_out"].clone())
}

#[test]
fn each_direction_alone_keeps_a_session() {
    // Only the client sends, every half second, for longer than the timeout.
    let (port, _gate, daemon) = serve("streams late #", "idle_timeout = '2s'\n");
    let mut client = Client::connect(port);
    for _ in 0..6 {
        client.send(b"x").receives_nothing_for(SECOND / 2);
    }
    assert!(client.is_turned_away());
    assert_eq!(idle_record(&daemon, &client), (6.into(), 0.into()));
    let (port, _gate, daemon) = serve("streams tick 6 500", "idle_timeout = '2s'\n");
    let mut client = Client::connect(port);
    assert_eq!(client.read_all(), b"xxxxxx");
    assert_eq!(idle_record(&daemon, &client), (0.into(), 6.into()));
}

#[test]
fn session_blocked_in_both_directions_is_idle() {
    let (port, gate, daemon) = serve("streams late #", "idle_timeout = '2s'\n");
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    client.send_until_blocked(&pattern(8 << 20));
    visitor.wait_gone();
    assert_eq!(daemon.record(client.port())["reason"], "idle");
}

#[cfg(feature = "tls")]
#[test]
fn a_silent_session_over_tls_is_ended() {
    use testkit::tls::{self, Authority, Version};

    let (port, authority, gate) = (free_port(), Authority::new(), Gate::new());
    let builder = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'gate', '{}']\nidle_timeout = '1s'\n\
         tls = {{ certificate = 'cert.pem', key = 'key.pem' }}\n",
        gate.address()
    ));
    authority.server("localhost").write(builder.folder());
    let daemon = builder.start();
    let client = tls::Client::new(&authority, Version::V13).connect(port).unwrap();
    gate.visitor().wait_gone();
    assert_eq!(daemon.record(client.port())["reason"], "idle");
}

#[test]
fn linger_ends_at_its_timeout_although_the_client_does_not_read() {
    let (port, _gate, daemon) = serve("flood 6000000", "linger_timeout = '1s'\n");
    let client = Client::connect(port);
    // The system's buffers decide whether the program can write everything or blocks. Only a
    // session timeout ends a program that blocks.
    let (port, _gate, held) = serve("say bye", "linger_timeout = '1s'\n");
    let mut open = Client::connect(port);
    assert_eq!(open.read_text(), "bye");
    let record = held.record(open.port());
    let lingered = seconds(&record, "linger_seconds");
    assert!(lingered >= SECOND && lingered < 2 * SECOND + SLACK, "{record}");
    assert_eq!(record["reason"], "linger timeout", "{record}");
    drop((client, daemon));
}

#[test]
fn last_output_is_sent_without_a_linger_timeout() {
    let (port, _gate, daemon) = serve("say bye", "linger_timeout = '0s'\n");
    for _ in 0..20 {
        let mut client = Client::connect(port);
        assert_eq!(client.read_text(), "bye");
        let record = daemon.record(client.port());
        assert!(seconds(&record, "linger_seconds") < SECOND, "{record}");
        assert_eq!((&record["exit"], &record["bytes_out"]), (&0.into(), &3.into()), "{record}");
    }
}

/// On Windows the server asks a program to end by closing its input. On Unix it sends a signal,
/// which ends this program.
#[test]
fn a_program_that_is_asked_to_end_may_have_a_last_word() {
    let (port, _gate, daemon) = serve("streams last-word bye", "kill_grace = '20s'\n");
    for _ in 0..5 {
        let mut client = Client::connect(port);
        client.send(b"hello");
        await_bytes(&daemon, 5);
        let began = Instant::now();
        kill(&daemon);
        assert_eq!(client.read_text(), if cfg!(windows) { "bye" } else { "" });
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let record = daemon.record(client.port());
        assert_eq!(record["reason"], "killed", "{record}");
        if cfg!(windows) {
            assert_eq!(record["exit"], 0, "{record}");
        }
    }
}

fn await_bytes(daemon: &Daemon, bytes: u64) {
    let until = Instant::now() + testkit::LIMIT;
    while daemon.service("a")["sessions"][0]["bytes_in"] != bytes {
        assert!(Instant::now() < until, "{}", daemon.service("a"));
        daemon.wait_a_moment();
    }
}

#[test]
fn busy_client_does_not_prevent_the_session_timeout() {
    let (port, _gate, daemon) =
        serve("streams sink", "session_timeout = '1s'\nkill_grace = '30s'\nlinger_timeout = '1s'\n");
    let mut client = Client::connect(port);
    let client_port = client.port();
    let began = Instant::now();
    client.send_until_gone();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(daemon.record(client_port)["reason"], "session timeout");
}

#[test]
fn unresponsive_program_is_killed_after_its_grace_period() {
    let (port, gate, daemon) = serve("streams deaf #", "kill_grace = '2s'\n");
    let client = Client::connect(port);
    let visitor = gate.visitor();
    let began = Instant::now();
    kill(&daemon);
    visitor.wait_gone();
    let took = began.elapsed();
    assert!(took >= 2 * SECOND && took < 3 * SECOND + SLACK, "{took:?}");
    assert_eq!(daemon.record(client.port())["reason"], "killed");
}

#[test]
fn a_stop_asks_after_the_grace_and_ends_what_does_not_listen() {
    let (port, gate, daemon) =
        serve_with("[server]\nstop_grace = '1s'\n", "streams deaf #", "kill_grace = '1s'\n", &[]);
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    client.send_until_blocked(&pattern(8 << 20));
    let began = Instant::now();
    daemon.request_stop();
    visitor.wait_gone();
    let took = began.elapsed();
    assert!(took >= 2 * SECOND && took < 4 * SECOND + SLACK, "{took:?}");
    assert_eq!(daemon.record(client.port())["reason"], "stop");
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
fn a_program_finishes_its_work_in_the_grace_of_a_stop() {
    let (port, gate, daemon) = serve("streams write-on 3000000 #", "");
    let mut client = Client::connect(port);
    client.send(b"x").half_close().read_exact(12);
    let visitor = gate.visitor();
    daemon.request_stop();
    daemon.event("stopping", |event| event["sessions"] == 1);
    drop(visitor);
    assert!(client.read_all() == pattern(3_000_000));
    let client_port = client.port();
    drop(client);
    let record = daemon.record(client_port);
    assert_eq!((&record["exit"], &record["reason"]), (&0.into(), &Value::Null), "{record}");
    assert_eq!(daemon.finish().code, Some(0));
}

#[cfg(unix)]
mod unix {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn stop_with_leave_keeps_sockets_and_ends_piped_sessions() {
        let (port, other_port, gate) = (free_port(), free_port(), Gate::new());
        let daemon = Builder::native(&format!(
            "[server]\non_stop = 'leave'\nstop_grace = '1s'\n[defaults]\ncommand = ['@', 'gate', '{}']\n\
             [service.a]\nlisten = {port}\nstdio = 'pipe'\n[service.b]\nlisten = {other_port}\nstdio = 'socket'\n",
            gate.address()
        ))
        .start();
        let mut piped = Client::connect(port);
        let piped_visitor = gate.visitor();
        let mut left = Client::connect(other_port);
        let left_visitor = gate.visitor();
        let finished = daemon.stop();
        assert_eq!(finished.code, Some(0), "{}", finished.errors);
        piped_visitor.wait_gone();
        piped.read_until_gone();
        let reason = |service: &str| {
            let records = finished.events("session").into_iter();
            records
                .filter(|record| record["service"] == service)
                .map(|record| record["reason"].clone())
                .next()
        };
        assert_eq!(reason("a"), Some("stop".into()));
        assert_eq!(reason("b"), Some("left to itself".into()));
        left.receives_nothing_for(Duration::from_millis(200));
        drop(left_visitor);
        assert_eq!(left.read_all(), b"");
    }

    /// The kernel does not count bytes of Unix sockets, so the timeout implies pipes.
    #[test]
    fn a_silent_session_at_a_socket_in_the_file_system_is_ended() {
        let gate = Gate::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let daemon = Builder::native(&format!(
            "[service.a]\nlisten = 'unix:{}'\ncommand = ['@', 'gate', '{}']\nidle_timeout = '1s'\n",
            path.display(),
            gate.address()
        ))
        .start();
        let mut client = UnixStream::connect(&path).unwrap();
        gate.visitor().wait_gone();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let record = &daemon.records(1)[0];
        assert_eq!((&record["reason"], &record["bytes_in"]), (&"idle".into(), &0.into()), "{record}");
    }
}
