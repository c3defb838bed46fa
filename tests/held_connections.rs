//! A program, or a process that it left behind, can make system calls on its connection block. No
//! other service waits for such a call.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Gate, Visitor, free_port};

const SO_LINGER: &str = "'so-linger', '50'";
/// Much shorter than the linger time of `SO_LINGER`.
const PROMPT: Duration = Duration::from_secs(15);

/// A service `a` under test and two other services: one runs on the server's loop, the other on a
/// worker.
struct Served {
    port: u16,
    beside: Vec<u16>,
    daemon: Daemon,
}

fn serve(command: &str, keys: &str) -> Served {
    let (port, beside) = (free_port(), vec![free_port(), free_port()]);
    let text = format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\n{keys}\
         [service.loop]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'say', 'said']\n\
         [service.worker]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'say', 'said']\nstdio = 'pipe'\n",
        beside[0], beside[1]
    );
    // A process that a program leaves must not end with it.
    Served { port, beside, daemon: Builder::native(&text).without_cgroups().start() }
}

impl Served {
    fn nobody_waits(&self) {
        let began = Instant::now();
        for _ in 0..4 {
            for port in &self.beside {
                assert_eq!(Client::connect(*port).read_text(), "said");
            }
        }
        self.daemon.status();
        assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    }
}

fn deaf(served: &Served) -> Client {
    Client::connect_small(served.port)
}

#[test]
fn program_so_linger_delays_no_other_service() {
    for (stderr, linger) in [("client", "1s"), ("client", "0s"), ("log", "1s"), ("log", "0s")] {
        let keys = format!("stdio = 'socket'\nstderr = '{stderr}'\nlinger_timeout = '{linger}'\n");
        let served = serve(&format!("{SO_LINGER}, 'fill'"), &keys);
        let clients: Vec<_> = (0..4).map(|_| deaf(&served)).collect();
        for client in &clients {
            assert_eq!(served.daemon.record(client.port())["outcome"], "served");
        }
        served.nobody_waits();
    }
}

#[test]
fn program_so_linger_resets_no_client() {
    let served = serve("'so-linger', '0', 'say', 'bye'", "stdio = 'socket'\nlinger_timeout = '0s'\n");
    let mut client = Client::connect(served.port);
    served.daemon.record(client.port());
    assert_eq!(client.read_text(), "bye");
}

/// Whether a program can lock its connection for long. Otherwise these tests show nothing.
#[cfg(target_os = "linux")]
fn can_lock() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Ends the program of a session that has left a process behind. That process locks the connection
/// until the result is dropped.
#[cfg(target_os = "linux")]
fn left_by_program(gate: &Gate) -> Visitor {
    let (one, other) = (gate.visitor(), gate.visitor());
    let (left, program) = if one.client_port.is_empty() { (one, other) } else { (other, one) };
    assert!(left.client_port.is_empty() && !program.client_port.is_empty());
    drop(program);
    left
}

/// A session whose program has ended, and the process that locks its connection.
#[cfg(target_os = "linux")]
fn left_locked(keys: &str) -> (Served, Client, Visitor) {
    let gate = Gate::new();
    let served = serve(&format!("'leave-locked', '{}'", gate.address()), keys);
    let client = Client::connect(served.port);
    let left = left_by_program(&gate);
    // Without a pid the session delivers last bytes, or is gone.
    let until = Instant::now() + testkit::LIMIT;
    while !served.daemon.service("a")["sessions"][0]["pid"].is_null() {
        assert!(Instant::now() < until, "the program does not end");
        served.daemon.wait_a_moment();
    }
    (served, client, left)
}

#[cfg(target_os = "linux")]
#[test]
fn connection_locked_by_its_program_delays_no_answer() {
    if !can_lock() {
        return;
    }
    let gate = Gate::new();
    let served = serve(&format!("'locked', '{}'", gate.address()), "stdio = 'socket'\nidle_timeout = '1s'\n");
    let client = Client::connect(served.port);
    let visitor = gate.visitor();
    for _ in 0..3 {
        served.nobody_waits();
    }
    let began = Instant::now();
    let session = &served.daemon.service("a")["sessions"][0];
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let answer = served.daemon.ask(&["--kill", &session["id"].to_string()]);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    visitor.wait_gone();
    assert_eq!(served.daemon.record(client.port())["reason"], "killed");
}

#[cfg(target_os = "linux")]
#[test]
fn connection_left_locked_delays_no_other_service() {
    if !can_lock() {
        return;
    }
    let (served, client, left) = left_locked("stdio = 'socket'\nlinger_timeout = '1s'\n");
    served.nobody_waits();
    // The session keeps its slot, which bounds the number of such connections.
    assert_eq!(served.daemon.service("a")["live"], 1);
    drop(left);
    let record = served.daemon.record(client.port());
    assert_eq!(record["reason"], "linger timeout", "{record}");
    served.nobody_waits();
}

#[cfg(target_os = "linux")]
#[test]
fn connection_left_locked_keeps_its_slot_others_free_theirs() {
    if !can_lock() {
        return;
    }
    let (gate, port) = (Gate::new(), free_port());
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'leave-locked', '{}']\n\
         stdio = 'socket'\nlinger_timeout = '1h'\nmax_connections = 2\n",
        gate.address()
    ))
    .without_cgroups()
    .start();
    let _locked = Client::connect(port);
    let _left = left_by_program(&gate);
    let mut lingers = Client::connect(port);
    drop(left_by_program(&gate));
    assert_eq!(lingers.read_all(), b"");
    // The oldest session cannot make room, so the next one does.
    let _third = Client::connect(port);
    drop(left_by_program(&gate));
    assert_eq!(daemon.record(lingers.port())["reason"], "linger cut");
}

#[cfg(target_os = "linux")]
#[test]
fn stop_time_is_bounded_despite_a_locked_connection() {
    if !can_lock() {
        return;
    }
    let (served, client, left) = left_locked("stdio = 'socket'\n");
    let began = Instant::now();
    served.daemon.request_stop();
    served.daemon.event("stopping", |_| true);
    // A second request skips the grace period.
    served.daemon.request_stop();
    let record = served.daemon.record(client.port());
    assert_eq!((&record["outcome"], &record["reason"]), (&"served".into(), &"linger cut".into()), "{record}");
    served.daemon.event("stopped", |_| true);
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    // The kernel keeps the server's last thread until the process releases the lock.
    drop(left);
    assert_eq!(served.daemon.finish().code, Some(0));
}
