//! Sessions with pipes under load: memory stays bounded when a peer does not read, bulk delays no
//! other session, and a session at rest costs nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Gate, Held, free_port, is_wine, pattern};

/// More than all buffers between a program and a client with small buffers.
const MOST: usize = 8 << 20;

/// The share of a processor that a server may use for sessions at rest.
const LITTLE: f64 = 0.05;

/// The allowed growth of the server's memory, in KiB, while peers do not read.
const GROWTH: usize = 6 << 10;

const FEW: usize = 4;

fn service(name: &str, port: u16, what: &str) -> String {
    let words: Vec<String> = what.split(' ').map(|word| format!("'{word}'")).collect();
    let words = words.join(", ");
    format!("[service.{name}]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {words}]\nstdio = 'pipe'\n")
}

fn serve(what: &str) -> (u16, Gate, Daemon) {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&service("a", port, &what.replace('#', &gate.address()))).start();
    (port, gate, daemon)
}

/// The bytes that each session has sent to its client, once no byte moves and the server was quiet
/// for two seconds.
#[track_caller]
fn sent_at_rest(daemon: &Daemon) -> Vec<u64> {
    let sent = || -> Vec<u64> {
        let status = daemon.service("a");
        let sessions = status["sessions"].as_array().unwrap();
        sessions.iter().map(|session| session["bytes_out"].as_u64().unwrap()).collect()
    };
    let until = Instant::now() + testkit::LIMIT;
    let (mut before, mut quiet_seconds) = (sent(), 0);
    while quiet_seconds < 2 {
        assert!(Instant::now() < until, "not at rest: {before:?}");
        let load = daemon.load();
        let now = sent();
        quiet_seconds = if load < LITTLE && now == before { quiet_seconds + 1 } else { 0 };
        before = now;
    }
    before
}

#[test]
fn unread_output_stops_the_program_in_bounded_memory() {
    let (port, _gate, daemon) = serve(&format!("streams duplex {MOST}"));
    let mut clients: Vec<Client> = (0..FEW).map(|_| Client::connect_small(port)).collect();
    clients.iter_mut().for_each(|client| drop(client.read_exact(1)));
    let before = Held::by(daemon.pid());
    let sent = sent_at_rest(&daemon);
    assert!(sent.iter().all(|&sent| sent < MOST as u64), "the program was not stopped: {sent:?}");
    let after = Held::by(daemon.pid());
    assert!(after.kibibytes <= before.kibibytes + GROWTH, "{before:?} {after:?}");
    daemon.uses_less_than(LITTLE);
    for client in &mut clients {
        // Under Wine the client reads first. Wine 10 queues the rest of a short send and drops that
        // queue when the other end half-closes.
        if !is_wine() {
            client.half_close();
        }
        assert!(client.read_exact(MOST - 1) == pattern(MOST)[1..]);
        if is_wine() {
            client.half_close();
        }
        assert_eq!(client.read_all(), b"0 equal\n");
    }
}

#[test]
fn unread_input_stops_the_client_in_bounded_memory() {
    let (port, gate, daemon) = serve("streams late #");
    let bytes = pattern(MOST);
    let mut clients: Vec<Client> = (0..FEW).map(|_| Client::connect_small(port)).collect();
    let visitors: Vec<_> = clients.iter().map(|_| gate.visitor()).collect();
    let before = Held::by(daemon.pid());
    let sent: Vec<usize> = clients.iter_mut().map(|client| client.send_until_blocked(&bytes)).collect();
    assert!(sent.iter().all(|&sent| sent < MOST), "a client was not stopped: {sent:?}");
    let after = Held::by(daemon.pid());
    assert!(after.kibibytes <= before.kibibytes + GROWTH, "{before:?} {after:?}");
    daemon.uses_less_than(LITTLE);
    drop(visitors);
    for (client, sent) in clients.iter_mut().zip(sent) {
        let answer = client.exchange(&bytes[sent..]);
        assert_eq!(String::from_utf8_lossy(&answer), format!("{MOST} equal\n"));
    }
}

#[test]
fn reset_session_with_an_idle_program_uses_little_cpu() {
    let (port, gate, daemon) = serve("streams late #");
    let mut visitors = Vec::new();
    for bytes in [0, 1000, MOST] {
        let mut client = Client::connect_small(port);
        visitors.push(gate.visitor());
        client.send_until_blocked(&pattern(bytes));
        client.vanish();
    }
    daemon.uses_less_than(LITTLE);
    drop(visitors);
    assert_eq!(daemon.records(3).len(), 3);
}

#[test]
fn a_session_whose_program_has_closed_its_streams_costs_nothing() {
    let (port, gate, daemon) = serve("streams close-input said #");
    let mut client = Client::connect_small(port);
    let visitor = gate.visitor();
    client.send_until_blocked(&pattern(MOST));
    daemon.uses_less_than(LITTLE);
    drop(visitor);
    assert_eq!(client.read_text(), "said");
}

#[test]
fn an_urgent_byte_neither_stops_a_session_nor_makes_it_busy() {
    let (port, gate, daemon) = serve("streams late #");
    for before in [0, 1000] {
        let mut client = Client::connect(port);
        let visitor = gate.visitor();
        let bytes = pattern(before + 300_000);
        client.send(&bytes[..before]).send_urgent(b'!');
        daemon.uses_less_than(LITTLE);
        drop(visitor);
        let answer = client.exchange(&bytes[before..]);
        assert_eq!(String::from_utf8_lossy(&answer), format!("{} equal\n", bytes.len()));
    }
}

/// Starting a process takes thirty times as long under Wine.
const ROUNDS: u32 = if cfg!(windows) { 5 } else { 20 };

/// Serves a third client repeatedly while others move bulk. Each time it waits no longer than a
/// start takes on a busy machine. Under Wine, wineserver takes part in every transfer, so the limit
/// is longer.
fn is_served_promptly(port: u16) {
    let most = if is_wine() { testkit::LIMIT } else { Duration::from_secs(5) };
    for round in 0..ROUNDS {
        let (began, line) = (Instant::now(), format!("{round}\n"));
        let mut client = Client::connect(port);
        for _ in 0..20 {
            assert_eq!(client.send(b"x").read_exact(1), b"x");
        }
        assert_eq!(client.send(line.as_bytes()).half_close().read_text(), line);
        assert!(began.elapsed() < most, "{:?}", began.elapsed());
    }
}

#[test]
fn bulk_in_both_directions_does_not_keep_a_third_client_waiting() {
    let (out, into, third, gate) = (free_port(), free_port(), free_port(), Gate::new());
    let _daemon = Builder::native(
        &[
            service("out", out, &format!("streams until-broken {}", gate.address())),
            service("in", into, "streams sink"),
            service("third", third, "echo"),
        ]
        .concat(),
    )
    .start();
    std::thread::scope(|scope| {
        let mut hands = Vec::new();
        for _ in 0..2 {
            let (mut reads, mut sends) = (Client::connect(out), Client::connect(into));
            hands.push(Shut(reads.another()));
            hands.push(Shut(sends.another()));
            scope.spawn(move || reads.drop_until_gone());
            scope.spawn(move || sends.send_until_gone());
        }
        is_served_promptly(third);
    });
}

#[test]
fn byte_by_byte_programs_do_not_delay_another_client() {
    let (trickle, third) = (free_port(), free_port());
    let text = service("trickle", trickle, "streams trickle") + &service("third", third, "echo");
    let _daemon = Builder::native(&text).start();
    std::thread::scope(|scope| {
        let mut hands = Vec::new();
        for _ in 0..4 {
            let mut reads = Client::connect(trickle);
            hands.push(Shut(reads.another()));
            scope.spawn(move || reads.drop_until_gone());
        }
        is_served_promptly(third);
    });
}

/// Shuts a connection down that another thread waits for, also when the test fails.
struct Shut(Client);

impl Drop for Shut {
    fn drop(&mut self) {
        self.0.shut();
    }
}

#[cfg(feature = "tls")]
mod over_tls {
    use std::net::{Shutdown, TcpStream};

    use testkit::tls::{self, Authority, Version};

    use super::*;

    const TLS: &str = "tls = { certificate = 'cert.pem', key = 'key.pem' }\n";

    fn start(authority: &Authority, text: &str) -> Daemon {
        let builder = Builder::native(text);
        authority.server("localhost").write(builder.folder());
        builder.start()
    }

    #[test]
    fn both_directions_are_full_at_once_and_nothing_stops() {
        const MUCH: usize = 3 << 20;
        let (port, authority) = (free_port(), Authority::new());
        let daemon = start(&authority, &(service("a", port, &format!("streams duplex {MUCH}")) + TLS));
        for version in [Version::V12, Version::V13] {
            let mut client = tls::Client::new(&authority, version).connect(port).unwrap();
            let sent = MUCH + 12_345;
            let received = client.exchange(&pattern(sent));
            let answer = format!("{sent} equal\n");
            assert!(received == [&*pattern(MUCH), answer.as_bytes()].concat());
            let client_port = client.port();
            drop(client);
            let record = daemon.record(client_port);
            let wrote = MUCH + answer.len();
            assert_eq!(
                (&record["bytes_in"], &record["bytes_out"]),
                (&sent.into(), &wrote.into()),
                "{record}"
            );
        }
    }

    #[test]
    fn unread_output_stops_the_program_in_bounded_memory() {
        let (port, authority) = (free_port(), Authority::new());
        let daemon = start(&authority, &(service("a", port, &format!("streams duplex {MOST}")) + TLS));
        let client = tls::Client::new(&authority, Version::V13);
        let mut clients: Vec<_> = (0..FEW).map(|_| client.connect_small(port).unwrap()).collect();
        clients.iter_mut().for_each(|client| drop(client.read_exact(1)));
        let before = Held::by(daemon.pid());
        let sent = sent_at_rest(&daemon);
        assert!(sent.iter().all(|&sent| sent < MOST as u64), "the program was not stopped: {sent:?}");
        let after = Held::by(daemon.pid());
        assert!(after.kibibytes <= before.kibibytes + GROWTH, "{before:?} {after:?}");
        daemon.uses_less_than(LITTLE);
        // One client is enough: a debug build encrypts slowly.
        let rest = clients[0].half_close().read_all();
        assert!(rest[..MOST - 1] == pattern(MOST)[1..]);
    }

    #[test]
    fn bulk_in_both_directions_does_not_keep_a_third_client_waiting() {
        let (out, into, third, gate) = (free_port(), free_port(), free_port(), Gate::new());
        let authority = Authority::new();
        let _daemon = start(
            &authority,
            &[
                service("out", out, &format!("streams until-broken {}", gate.address())),
                TLS.to_owned(),
                service("in", into, "streams sink"),
                TLS.to_owned(),
                service("third", third, "echo"),
            ]
            .concat(),
        );
        let client = tls::Client::new(&authority, Version::V13);
        std::thread::scope(|scope| {
            let (mut reads, mut sends) = (client.connect(out).unwrap(), client.connect(into).unwrap());
            let _hands = [Cut(reads.network()), Cut(sends.network())];
            scope.spawn(move || reads.drop_until_gone());
            scope.spawn(move || sends.send_until_gone());
            is_served_promptly(third);
        });
    }

    #[test]
    fn a_client_that_resets_in_the_middle_leaves_nothing_busy() {
        let (port, authority, gate) = (free_port(), Authority::new(), Gate::new());
        let what = format!("streams until-broken {}", gate.address());
        let daemon = start(&authority, &(service("a", port, &what) + TLS));
        let mut client = tls::Client::new(&authority, Version::V13).connect(port).unwrap();
        client.read_exact(1_000_000);
        let client_port = client.port();
        client.vanish();
        let visitor = gate.visitor();
        daemon.uses_less_than(LITTLE);
        drop(visitor);
        let record = daemon.record(client_port);
        assert_eq!((&record["outcome"], &record["exit"]), (&"served".into(), &0.into()), "{record}");
    }

    struct Cut(TcpStream);

    impl Drop for Cut {
        fn drop(&mut self) {
            let _ = self.0.shutdown(Shutdown::Both);
        }
    }
}
