//! A line of the classic file serves clients: the connection is the program's standard input,
//! output and error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, Gate, free_port, probe};

#[test]
fn a_program_answers_and_its_end_is_the_end_of_the_stream() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("line"))]).start();
    let mut client = Client::connect(port);
    let client_port = client.port();
    assert_eq!(client.send(b"hello\n").read_text(), "hello\n");
    drop(client);
    let record = daemon.record(client_port);
    assert_eq!((&record["outcome"], &record["exit"]), (&"served".into(), &0.into()));
    assert_eq!(record["service"], port.to_string());
}

#[test]
fn standard_error_reaches_the_client() {
    let port = free_port();
    let _daemon = Builder::new(&[format!("{port} none {}", probe("complain oh"))]).start();
    assert_eq!(Client::connect(port).read_text(), "oh");
}

#[test]
fn a_program_that_closes_its_input_can_still_write() {
    let port = free_port();
    let _daemon = Builder::new(&[format!("{port} none {}", probe("close-input still"))]).start();
    assert_eq!(Client::connect(port).read_text(), "still");
}

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let port = free_port();
    let _daemon = Builder::new(&[format!("{port} none {}", probe("count"))]).start();
    assert_eq!(Client::connect(port).send(&[7; 100_000]).half_close().read_text(), "100000\n");
}

#[test]
fn both_families_are_served_and_ipv4_is_shown_as_ipv4() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("environment"))]).start();
    let four = Client::connect(port).read_text();
    assert!(four.contains("CLIENT_IP=127.0.0.1\n"), "{four}");
    let listens = daemon.event("ready", |_| true)["listen"].to_string();
    let host_has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    assert_eq!(listens.contains("[::]"), host_has_ipv6, "{listens}");
    if host_has_ipv6 {
        let six = Client::connect_to((std::net::Ipv6Addr::LOCALHOST, port)).read_text();
        assert!(six.contains("CLIENT_IP=::1\n"), "{six}");
    }
}

#[test]
fn clients_are_served_side_by_side() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon =
        Builder::new(&[format!("{port} none {}", probe(&format!("gate {}", gate.address())))]).start();
    let clients: Vec<_> = (0..5).map(|_| Client::connect(port)).collect();
    let visitors: Vec<_> = clients.iter().map(|_| gate.visitor()).collect();
    drop(visitors);
    for mut client in clients {
        assert_eq!(client.read_all(), b"");
    }
    assert_eq!(daemon.records(5).len(), 5);
}

#[test]
fn client_sees_eof_while_other_clients_are_connected() {
    let (held_port, port, gate) = (free_port(), free_port(), Gate::new());
    let _daemon = Builder::new(&[
        format!("{held_port} none {}", probe(&format!("gate {}", gate.address()))),
        format!("{port} none {}", probe("say done")),
    ])
    .start();
    for _ in 0..5 {
        let mut early = Client::connect(port);
        let _held = Client::connect(held_port);
        let _visitor = gate.visitor();
        assert_eq!(early.read_text(), "done");
        assert_eq!(Client::connect(port).read_text(), "done");
    }
}
