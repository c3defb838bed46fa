//! A program's whole tree ends with its session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, Gate, free_port, probe};

#[test]
fn leftover_processes_are_killed_with_their_program() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon =
        Builder::new(&[format!("{port} none {}", probe(&format!("leave {}", gate.address())))]).start();
    for _ in 0..5 {
        let mut client = Client::connect(port);
        assert_eq!(client.read_all(), b"");
        let client_port = client.port();
        drop(client);
        assert_eq!(daemon.record(client_port)["exit"], 0);
    }
    // Processes that came to the gate before the kill do not survive it.
    for visitor in gate.visitors_so_far() {
        visitor.wait_gone();
    }
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn leftover_process_is_gone_when_the_session_ends() {
    let (port, gate) = (free_port(), Gate::new());
    let _daemon =
        Builder::new(&[format!("{port} none {}", probe(&format!("tree {}", gate.address())))]).start();
    let client = Client::connect(port);
    let (one, other) = (gate.visitor(), gate.visitor());
    assert_eq!(one.session, other.session);
    let (program, left) = if one.client_port.is_empty() { (other, one) } else { (one, other) };
    assert_eq!(program.client_port, client.port().to_string());
    drop(program);
    left.wait_gone();
    drop(client);
}

#[test]
fn stop_ends_the_whole_tree() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon =
        Builder::new(&[format!("{port} none {}", probe(&format!("tree {}", gate.address())))]).start();
    let mut client = Client::connect(port);
    let visitors = [gate.visitor(), gate.visitor()];
    daemon.request_stop();
    daemon.event("stopping", |_| true);
    daemon.request_stop();
    for visitor in visitors {
        visitor.wait_gone();
    }
    assert!(client.is_turned_away());
    assert_eq!(daemon.finish().code, Some(0));
}

#[cfg(windows)]
#[test]
fn a_killed_server_leaves_no_process_behind() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon =
        Builder::new(&[format!("{port} none {}", probe(&format!("tree {}", gate.address())))]).start();
    let _client = Client::connect(port);
    let visitors = [gate.visitor(), gate.visitor()];
    daemon.kill();
    for visitor in visitors {
        visitor.wait_gone();
    }
}
