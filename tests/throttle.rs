//! The server pauses a service that fails by itself and probes it later. No action of a client
//! pauses a service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, copy_program, free_port, probe_path};

/// The highest number of starts so far: the first at once, the next after pauses that double from
/// one second.
fn bound(elapsed: Duration) -> usize {
    let mut tries = 1;
    let mut at = Duration::ZERO;
    let mut pause = Duration::from_secs(1);
    while at + pause <= elapsed {
        at += pause;
        pause *= 2;
        tries += 1;
    }
    tries
}

#[test]
fn unstartable_program_is_retried_on_schedule_and_recovers() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(format!("missing{}", std::env::consts::EXE_SUFFIX));
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['{}', 'say', 'mended']\n",
        program.display()
    ))
    .start();
    let began = Instant::now();
    let tried = || {
        let failed = |event: &&serde_json::Value| event["outcome"] == "failed";
        daemon.events().iter().filter(failed).count()
    };
    while began.elapsed() < Duration::from_secs(5) {
        assert!(Client::connect(port).is_turned_away());
        let tried = tried();
        assert!(tried <= bound(began.elapsed()), "{tried} tries after {:?}", began.elapsed());
    }
    assert!(tried() >= 2);
    let status = daemon.service("a");
    assert_eq!(status["state"], "paused");
    assert!(status["reason"].as_str().unwrap().contains("missing"), "{status}");
    copy_program(&probe_path(), &program);
    let mended = Instant::now();
    assert_eq!(daemon.says_again(port), "mended");
    // The current pause is at most the fourth, of eight seconds.
    assert!(mended.elapsed() < Duration::from_secs(9), "{:?}", mended.elapsed());
    daemon.event("service_resumed", |_| true);
    assert_eq!(Client::connect(port).read_text(), "mended");
    assert_eq!(daemon.service("a")["state"], "listening");
}

#[test]
fn probe_without_a_process_does_not_resume_the_service() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(format!("missing{}", std::env::consts::EXE_SUFFIX));
    // The first two starts after the copy fail by injection; the second probe comes at once. Only
    // Unix creates a process to find a missing program, so its numbers begin at 2.
    let (faults, step) = if cfg!(windows) { ("process:1-2", "exec") } else { ("clone:2-3", "spawn") };
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['{}', 'say', 'mended']\n",
        program.display()
    ))
    .variable("WININETD_TEST_FAULTS", faults)
    .start();
    assert!(Client::connect(port).is_turned_away());
    daemon.event("service_paused", |_| true);
    copy_program(&probe_path(), &program);
    assert_eq!(daemon.says_again(port), "mended");
    daemon.event("service_resumed", |_| true);
    let events = daemon.events();
    let place = |wanted: &dyn Fn(&serde_json::Value) -> bool| events.iter().position(wanted).unwrap();
    let in_vain = place(&|event| event["step"] == step);
    assert!(place(&|event| event["event"] == "service_resumed") > in_vain, "{events:#?}");
}

#[test]
fn reload_probes_a_paused_service_at_once() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(format!("missing{}", std::env::consts::EXE_SUFFIX));
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['{}', 'say', 'mended']\n",
        program.display()
    ))
    .start();
    assert!(Client::connect(port).is_turned_away());
    daemon.event("service_paused", |_| true);
    copy_program(&probe_path(), &program);
    daemon.reload();
    assert_eq!(Client::connect(port).read_text(), "mended");
}

#[test]
fn client_behaviour_pauses_no_service() {
    let port = free_port();
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'crash-on-input']\n"
    ))
    .start();
    for round in 0..20 {
        match round % 4 {
            0 => Client::connect(port).vanish(),
            1 => drop(Client::connect(port)),
            2 => {
                Client::connect(port).half_close().read_until_gone();
            }
            _ => {
                Client::connect(port).send(b"crash\n").read_until_gone();
            }
        }
    }
    assert_eq!(Client::connect(port).send(b"hello\n").read_text(), "hello\n");
    let paused = daemon.events().into_iter().find(|event| event["event"] == "service_paused");
    assert_eq!(paused, None);
}

#[cfg(target_os = "linux")]
#[test]
fn program_that_crashes_unprovoked_pauses_its_service() {
    let port = free_port();
    let daemon =
        Builder::native(&format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'crash']\n"))
            .start();
    let mut client = Client::connect(port);
    client.read_until_gone();
    let paused = daemon.event("service_paused", |_| true);
    assert!(paused["cause"].as_str().unwrap().contains("signal 6"), "{paused}");
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    assert!(daemon.record(client.port())["reason"].as_str().unwrap().starts_with("paused"));
}

#[cfg(windows)]
#[test]
fn unloadable_program_pauses_its_service() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    // Linked to a library that does not exist.
    let mut bytes = std::fs::read(probe_path()).unwrap();
    let name = b"ws2_32.dll";
    let at = bytes.windows(name.len()).position(|part| part.eq_ignore_ascii_case(name)).unwrap();
    bytes[at..at + 3].copy_from_slice(b"zzz");
    let program = folder.path().join("unloadable.exe");
    std::fs::write(&program, bytes).unwrap();
    let text = format!("[service.a]\nlisten = {port}\ncommand = ['{}', 'say', 'x']\n", program.display());
    let daemon = Builder::native(&text).start();
    // The client keeps its connection, because a client's end may be the cause of a crash.
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    let paused = daemon.event("service_paused", |_| true);
    assert!(paused["cause"].as_str().unwrap().contains("0xc0000135"), "{paused}");
}

#[cfg(windows)]
#[test]
fn library_init_failure_pauses_only_without_other_sessions() {
    // STATUS_DLL_INIT_FAILED, which Windows reports when the desktop heap is full.
    const NO_DESKTOP_HEAP: &str = "-1073741502";
    let (port, other, gate) = (free_port(), free_port(), testkit::Gate::new());
    let text = format!(
        "[service.a]\nlisten = {port}\ncommand = ['@', 'exit', '{NO_DESKTOP_HEAP}']\n\
         [service.b]\nlisten = {other}\ncommand = ['@', 'gate', '{}']\n",
        gate.address()
    );
    let daemon = Builder::native(&text).start();
    let mut held = Client::connect(other);
    let visitor = gate.visitor();
    for _ in 0..3 {
        let mut client = Client::connect(port);
        assert!(client.is_turned_away());
        let (client_port, state) = (client.port(), daemon.service("a")["state"].clone());
        drop(client);
        daemon.record(client_port);
        assert_eq!(state, "listening");
    }
    drop(visitor);
    held.read_all();
    let held_port = held.port();
    drop(held);
    daemon.record(held_port);
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    let paused = daemon.event("service_paused", |_| true);
    assert!(paused["cause"].as_str().unwrap().contains("0xc0000142"), "{paused}");
}
