//! Warm programs that fail pause their service or are replaced, never more often than the pauses
//! allow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, Gate, copy_program, free_port, probe_path};

fn service(port: u16, warm: usize, command: &str, more: &str) -> String {
    format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\nwarm = {warm}\n{more}")
}

#[test]
fn crashing_warm_program_is_paused_and_retried_on_schedule() {
    let (port, gate) = (free_port(), Gate::new());
    let began = Instant::now();
    let daemon =
        Builder::native(&service(port, 3, &format!("'visit', '{}', 'crash'", gate.address()), "")).start();
    let paused = daemon.event("service_paused", |_| true);
    assert!(paused["cause"].as_str().unwrap().contains("ended at once"), "{paused}");
    assert!(Client::connect(port).is_turned_away());
    // Three starts at once, then one after each pause. The pauses double from one second.
    for (starts, pauses) in [(3, 0), (1, 1), (1, 3), (1, 7)] {
        for _ in 0..starts {
            gate.visitor();
        }
        assert!(began.elapsed() >= Duration::from_secs(pauses), "after {:?}", began.elapsed());
    }
    assert_eq!(daemon.service("a")["state"], "paused");
}

#[test]
fn unstartable_warm_program_pauses_its_service_and_recovers() {
    let port = free_port();
    let builder = Builder::native("");
    let program = builder.folder().join(format!("missing{}", std::env::consts::EXE_SUFFIX));
    let daemon = builder.start();
    let command = format!("['{}',", program.display());
    daemon.rewrite(&service(port, 2, "'echo'", "").replace("['@',", &command));
    daemon.reload();
    let paused = daemon.event("service_paused", |_| true);
    assert!(paused["cause"].as_str().unwrap().contains("missing"), "{paused}");
    copy_program(&probe_path(), &program);
    daemon.event("service_resumed", |_| true);
    daemon.warm("a", 2);
    assert_eq!(Client::connect(port).send(b"hello").half_close().read_all(), b"hello");
    assert_eq!(daemon.service("a")["state"], "listening");
}

#[test]
fn short_lived_warm_programs_are_replaced_ever_more_slowly() {
    let (port, gate) = (free_port(), Gate::new());
    let command = format!("'visit', '{}', 'lives', '1300'", gate.address());
    let began = Instant::now();
    let daemon = Builder::native(&service(port, 4, &command, "")).start();
    // Four starts at once, then four after each pause of one and two seconds.
    for (starts, after) in [(4, 0.0), (4, 2.3), (4, 5.6)] {
        for _ in 0..starts {
            gate.visitor();
        }
        assert!(began.elapsed() >= Duration::from_secs_f64(after), "after {:?}", began.elapsed());
    }
    assert!(daemon.events().iter().all(|event| event["event"] != "service_paused"));
    assert_eq!(daemon.service("a")["state"], "listening");
}

#[test]
fn pauses_before_a_reload_do_not_shorten_later_ones() {
    let (port, gate) = (free_port(), Gate::new());
    let command = format!("'visit', '{}', 'crash'", gate.address());
    let daemon = Builder::native(&service(port, 1, &command, "")).start();
    gate.visitor();
    gate.visitor();
    daemon.event("service_paused", |event| event["pause_seconds"].as_f64() > Some(1.5));
    // The timer of the two-second pause still runs, but must not start anything after the reload.
    let began = Instant::now();
    daemon.reload();
    for pauses in [0, 1, 3] {
        gate.visitor();
        assert!(began.elapsed() >= Duration::from_secs(pauses), "after {:?}", began.elapsed());
    }
}

/// On Windows a pipe accepts data that no process will read.
#[cfg(unix)]
#[test]
fn warm_program_with_closed_input_is_replaced() {
    // Wine keeps a stream open that a program has closed.
    if testkit::is_wine() {
        return;
    }
    let (port, gate) = (free_port(), Gate::new());
    let command = format!("'without-input', 'gate', '{}'", gate.address());
    let daemon = Builder::native(&service(port, 1, &command, "warm_header = true\n")).start();
    let waiting = gate.visitor();
    daemon.warm("a", 1);
    let mut client = Client::connect(port);
    waiting.wait_gone();
    let visitors = [gate.visitor(), gate.visitor()];
    assert!(visitors.iter().any(|visitor| visitor.client_port == client.port().to_string()));
    drop(visitors);
    assert_eq!(client.read_all(), b"");
    let client_port = client.port();
    drop(client);
    let record = daemon.record(client_port);
    assert_eq!((&record["outcome"], &record["exit"]), (&"served".into(), &0.into()), "{record}");
}
