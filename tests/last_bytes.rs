//! The last bytes of a program arrive, no matter what its client does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, Gate, free_port, probe};

const FLOOD: usize = 2 << 20;

#[test]
fn last_bytes_arrive_although_input_was_not_read() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe(&format!("flood {FLOOD}")))]).start();
    for _ in 0..3 {
        let mut client = Client::connect(port);
        let client_port = client.port();
        client.send(&[1; 18]);
        // The program has exited long before the client reads its output.
        let received = client.read_all();
        assert_eq!(received.len(), FLOOD);
        assert!(received.iter().zip((0..=255).cycle()).all(|(&byte, expected)| byte == expected));
        drop(client);
        assert_eq!(daemon.record(client_port)["outcome"], "served");
    }
}

#[test]
fn linger_ends_at_its_timeout() {
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("say bye"))]);
    let daemon = builder.arguments(&["--linger-timeout", "1"]).start();
    let mut client = Client::connect(port);
    assert_eq!(client.read_text(), "bye");
    let record = daemon.record(client.port());
    let lingered = record["linger_seconds"].as_f64().unwrap();
    assert!((0.9..10.0).contains(&lingered), "{record}");
    assert_eq!(record["outcome"], "served");
}

/// The kernel may have given the process id to another process.
#[test]
fn lingering_session_shows_no_process_but_its_record_does() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("say bye"))]).start();
    let mut client = Client::connect(port);
    // The end of file comes after the whole process tree has ended.
    assert_eq!(client.read_text(), "bye");
    let session = &daemon.status()["services"][0]["sessions"][0];
    assert!(session["id"].is_u64() && session["pid"].is_null(), "{session}");
    let table = daemon.ask(&["--status"]).output;
    assert!(table.contains("no process"), "{table}");
    let port = client.port();
    drop(client);
    assert!(daemon.record(port)["pid"].is_u64());
}

#[test]
fn without_linger_the_connection_is_closed_at_once() {
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("say bye"))]);
    let daemon = builder.arguments(&["--linger-timeout", "0"]).start();
    let mut client = Client::connect(port);
    assert_eq!(client.read_text(), "bye");
    let record = daemon.record(client.port());
    assert!(record["linger_seconds"].as_f64().unwrap() < 0.5, "{record}");
}

const LIMIT: usize = 256;

#[test]
fn limit_holds_under_flood() {
    let (port, other_port, gate) = (free_port(), free_port(), Gate::new());
    let daemon = Builder::new(&[
        format!("{port} none {}", probe(&format!("gate {}", gate.address()))),
        format!("{other_port} none {}", probe("say served")),
    ])
    .start();
    let clients: Vec<_> = (0..LIMIT + 10).map(|_| Client::connect(port)).collect();
    let mut visitors: Vec<_> = (0..LIMIT).map(|_| gate.visitor()).collect();
    // The other service is served. By then an additional program would have come to the gate.
    for _ in 0..3 {
        assert_eq!(Client::connect(other_port).read_text(), "served");
    }
    assert!(!gate.is_visited(), "more than {LIMIT} programs run");
    // The other clients wait, and the server accepts them as slots become free.
    let first = visitors.remove(0);
    let ended = clients.iter().position(|client| client.port().to_string() == first.client_port).unwrap();
    drop(first);
    let mut clients = clients;
    drop(clients.remove(ended));
    visitors.push(gate.visitor());
    drop(visitors);
    drop(clients);
    for _ in 0..9 {
        drop(gate.visitor());
    }
    assert_eq!(daemon.records(LIMIT + 10 + 3).len(), LIMIT + 10 + 3);
}

/// A lower limit, which only test builds accept, for tests that fill all slots.
const FEW: usize = 24;

#[test]
fn full_service_closes_its_oldest_lingering_connection() {
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("say x"))]);
    // Longer than the test, so that no session stops lingering by itself.
    let daemon = builder
        .arguments(&["--linger-timeout", "3600"])
        .variable("WININETD_TEST_LIMIT", &FEW.to_string())
        .start();
    // Each client is served and keeps its side open, so lingering sessions hold all slots.
    let mut lingering: Vec<_> = (0..FEW)
        .map(|_| {
            let mut client = Client::connect(port);
            assert_eq!(client.read_text(), "x");
            client
        })
        .collect();
    assert_eq!(Client::connect(port).read_text(), "x");
    let oldest = lingering.remove(0);
    let record = daemon.record(oldest.port());
    assert_eq!((&record["outcome"], &record["reason"]), (&"served".into(), &"linger cut".into()));
}

#[test]
fn lingering_connection_stays_while_its_slot_is_not_needed() {
    let (port, other_port) = (free_port(), free_port());
    let builder = Builder::new(&[
        format!("{port} none {}", probe("say x")),
        format!("{other_port} none {}", probe("say other")),
    ]);
    let daemon = builder
        .arguments(&["--linger-timeout", "3600"])
        .variable("WININETD_TEST_LIMIT", &FEW.to_string())
        .start();
    let lingering: Vec<_> = (0..FEW)
        .map(|_| {
            let mut client = Client::connect(port);
            assert_eq!(client.read_text(), "x");
            client
        })
        .collect();
    for _ in 0..5 {
        let mut client = Client::connect(other_port);
        assert_eq!(client.read_text(), "other");
        let other = client.port();
        drop(client);
        daemon.record(other);
    }
    let cut = daemon.events().iter().filter(|event| event["service"] == port.to_string().as_str()).count();
    assert_eq!(cut, 0, "{cut} of {} were cut", lingering.len());
}

#[test]
fn flood_at_one_address_does_not_block_another() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("line"))]);
    let _daemon = builder
        .arguments(&["--bind", "127.0.0.1", "--bind", "127.0.0.2"])
        .variable("WININETD_TEST_LIMIT", &FEW.to_string())
        .start();
    let done = AtomicBool::new(false);
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let done = Done(&done);
        for _ in 0..FEW + 8 {
            let done = done.0;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    Client::connect(port).send(b"x\n").read_text();
                }
            });
        }
        for _ in 0..3 {
            let mut other = Client::connect_to(([127, 0, 0, 2], port));
            assert_eq!(other.send(b"me\n").read_text(), "me\n");
        }
    });
}
