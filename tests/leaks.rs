//! Thousands of connections in a row leave nothing behind: handles, threads and memory stay the
//! same. It takes long, so run it by name: `cargo test --test leaks -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking
#![allow(clippy::print_stdout)] // prints its measurements

use testkit::{Builder, Client, Held, free_port, probe};

/// Starting a process takes thirty times as long under Wine.
const CONNECTIONS: usize = if cfg!(windows) { 500 } else { 10_000 };

#[test]
#[ignore = "takes a minute"]
fn ten_thousand_connections_leave_nothing_behind() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("line"))]).start();
    let serve = |count: usize| {
        for round in 0..count {
            let line = format!("{round}\n");
            assert_eq!(Client::connect(port).send(line.as_bytes()).read_text(), line);
        }
    };
    serve(200);
    daemon.records(200);
    let before = Held::by(daemon.pid());
    serve(CONNECTIONS);
    daemon.records(200 + CONNECTIONS);
    let after = Held::by(daemon.pid());
    println!("before: {before:?}\nafter {CONNECTIONS} connections: {after:?}");
    assert_eq!(after.children, 0);
    assert!(after.handles <= before.handles + 3, "handles");
    assert!(after.kibibytes <= before.kibibytes + 512, "memory");
}
