//! Clients that are gone before the server accepts them, and clients that vanish silently.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Gate, Held, LIMIT, free_port};

/// Drops every packet to this end before TCP sees it, as a pulled cable does.
fn cut_off(stream: &TcpStream) {
    // `ret #0` in classic BPF: accept 0 bytes of the packet.
    let mut nothing = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    let length = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap();
    // SAFETY: the structures are valid for the call, which copies them.
    let attached = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length,
        )
    };
    assert_eq!(attached, 0, "{}", std::io::Error::last_os_error());
}

fn record_within(daemon: &Daemon, limit: Duration) -> testkit::Value {
    let until = Instant::now() + limit;
    loop {
        if let Some(record) = daemon.events().into_iter().find(|event| event["event"] == "session") {
            return record;
        }
        assert!(Instant::now() < until, "the session goes on:\n{}", daemon.text());
        daemon.wait_a_moment();
    }
}

fn held(keys: &str) -> (Daemon, TcpStream, testkit::Visitor) {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'visit', '{}', 'echo']\n{keys}",
        gate.address()
    ))
    .start();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let visitor = gate.visitor();
    (daemon, client, visitor)
}

#[test]
fn idle_timeout_ends_a_session_with_a_vanished_peer() {
    for stdio in ["stdio = 'socket'\n", "stdio = 'pipe'\n"] {
        let (daemon, client, visitor) = held(&format!("idle_timeout = '1s'\n{stdio}"));
        cut_off(&client);
        drop(visitor);
        let record = record_within(&daemon, LIMIT);
        assert_eq!(record["reason"], "idle", "{record}");
        assert_eq!(Held::by(daemon.pid()).children, 0);
    }
}

/// `keepalive` sends six probes, ten seconds apart.
#[test]
#[ignore = "takes a minute"]
fn keepalive_finds_a_vanished_peer_on_sockets_and_pipes() {
    for stdio in ["stdio = 'socket'\n", "stdio = 'pipe'\n"] {
        let (daemon, client, visitor) = held(&format!("keepalive = '1s'\n{stdio}"));
        cut_off(&client);
        drop(visitor);
        let cut = Instant::now();
        let record = record_within(&daemon, Duration::from_secs(90));
        assert!(cut.elapsed() > Duration::from_secs(50), "{record}");
        assert_eq!(record["outcome"], "served");
        assert_eq!(Held::by(daemon.pid()).children, 0);
        assert_eq!(daemon.stop().code, Some(0));
    }
}

#[test]
fn thousands_of_early_disconnects_are_each_recorded() {
    const GONE: usize = 3000;
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let daemon = Builder::native(&format!(
        "[service.direct]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\n\
         [service.piped]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\nstdio = 'pipe'\n\
         [service.headed]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\nproxy_protocol = ['127.0.0.1']\n",
        ports[0], ports[1], ports[2]
    ))
    .start();
    let serve = |port| assert_eq!(Client::connect(port).send(b"x\n").read_text(), "x\n");
    serve(ports[0]);
    serve(ports[1]);
    daemon.records(2);
    let before = Held::by(daemon.pid());
    for number in 0..GONE {
        Client::connect(ports[number % 3]).vanish();
    }
    serve(ports[0]);
    serve(ports[1]);
    daemon.records(GONE + 4);
    let status = daemon.status();
    let count = |of: &str| -> u64 {
        status["services"].as_array().unwrap().iter().map(|service| service[of].as_u64().unwrap()).sum()
    };
    assert_eq!(count("served") + count("failed") + count("refused"), GONE as u64 + 4, "{status}");
    let until = Instant::now() + LIMIT;
    while Held::by(daemon.pid()).handles > before.handles + 3 || Held::by(daemon.pid()).children > 0 {
        assert!(Instant::now() < until, "{before:?} became {:?}", Held::by(daemon.pid()));
        daemon.wait_a_moment();
    }
    assert!(
        daemon.events().iter().all(|event| event["event"] != "service_paused"),
        "a client paused a service"
    );
    assert_eq!(daemon.stop().code, Some(0));
}
