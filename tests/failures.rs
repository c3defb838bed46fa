//! Each failure is reported, harms no other service, and ends when its cause is gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::net::TcpListener;

use testkit::{Builder, Client, Gate, copy_program, free_port, probe, probe_path, quoted};

#[test]
fn logon_failure_never_runs_as_service() {
    let (port, gate) = (free_port(), Gate::new());
    let line = format!("{port} nosuchuser:wrong {}", probe(&format!("gate {}", gate.address())));
    let daemon = Builder::new(&[line]).start();
    let failed = |event: &&serde_json::Value| event["event"] == "session" && event["outcome"] == "failed";
    while daemon.events().iter().filter(failed).count() < 2 {
        assert!(Client::connect(port).is_turned_away());
        daemon.wait_a_moment();
    }
    for record in daemon.events().iter().filter(|event| event["event"] == "session") {
        assert_eq!((&record["user"], &record["pid"]), (&"nosuchuser".into(), &serde_json::Value::Null));
        let step = record["step"].as_str();
        assert!(record["outcome"] == "refused" || ["account", "logon"].contains(&step.unwrap()), "{record}");
    }
    assert!(!gate.is_visited(), "the program ran");
}

#[test]
fn missing_program_fails_and_recovers_when_it_returns() {
    let (port, other_port) = (free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(format!("moved{}", std::env::consts::EXE_SUFFIX));
    copy_program(&probe_path(), &program);
    let daemon = Builder::new(&[
        format!("{port} none {} say here", quoted(&program)),
        format!("{other_port} none {}", probe("say other")),
    ])
    .start();
    let mut client = Client::connect(port);
    assert_eq!(client.read_text(), "here");
    let client_port = client.port();
    drop(client);
    // The whole process tree is gone by now, so no process holds the file.
    daemon.record(client_port);
    let away = folder.path().join("away");
    std::fs::rename(&program, &away).unwrap();
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    let record = daemon.record(client.port());
    assert_eq!((&record["outcome"], &record["step"]), (&"failed".into(), &"program".into()));
    assert!(record["reason"].as_str().unwrap().contains("moved"), "{record}");
    assert_eq!(Client::connect(other_port).read_text(), "other");
    std::fs::rename(&away, &program).unwrap();
    assert_eq!(daemon.says_again(port), "here");
    daemon.event("service_resumed", |event| event["service"].as_str() == Some(&port.to_string()));
}

#[test]
fn file_that_is_not_a_program_fails_at_a_named_step() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("text{}", std::env::consts::EXE_SUFFIX));
    std::fs::write(&file, "just text").unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let daemon = Builder::new(&[format!("{port} none {}", quoted(&file))]).start();
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    // Windows gives no useful error for such a file, so the server checks the file before the
    // start.
    let step = if cfg!(windows) { "program" } else { "exec" };
    assert_eq!(daemon.record(client.port())["step"], step);
}

#[test]
fn a_crash_is_served_and_its_end_recorded() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("crash"))]).start();
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    let client_port = client.port();
    drop(client);
    let record = daemon.record(client_port);
    assert_eq!(record["outcome"], "served");
    if cfg!(windows) {
        assert_eq!(record["exit"], 0xC000_0005u32);
    } else {
        assert_eq!(record["signal"], 6);
    }
}

#[test]
fn an_exit_code_is_recorded_and_is_no_failure() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("exit 7"))]).start();
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    let client_port = client.port();
    drop(client);
    let record = daemon.record(client_port);
    assert_eq!((&record["outcome"], &record["exit"]), (&"served".into(), &7.into()));
}

#[test]
fn clients_that_vanish_are_recorded_and_affect_no_other() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("echo"))]).start();
    let garbage: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    // Some systems never return a client from accept that is gone by then.
    for _ in 0..10 {
        Client::connect(port).vanish();
    }
    let mut ports = Vec::new();
    for round in 0..20 {
        let mut client = Client::connect(port);
        ports.push(client.port());
        client.send(b"x").read_exact(1);
        client.send(&garbage);
        if round % 2 == 0 {
            client.vanish();
        }
    }
    assert_eq!(Client::connect(port).send(b"still here").half_close().read_text(), "still here");
    for client_port in ports {
        assert_eq!(daemon.record(client_port)["outcome"], "served");
    }
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn taken_port_is_retried_while_others_serve() {
    let (port, other_port) = (free_port(), free_port());
    let thief = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let daemon = Builder::new(&[
        format!("{port} none {}", probe("say mine")),
        format!("{other_port} none {}", probe("say other")),
    ])
    .arguments(&["--bind", "0.0.0.0"])
    .start();
    let failed = daemon.event("listen_failed", |_| true);
    assert_eq!(failed["service"], port.to_string());
    assert!(failed["hint"].is_string(), "{failed}");
    assert_eq!(Client::connect(other_port).read_text(), "other");
    drop(thief);
    daemon.event("listen_recovered", |event| event["service"].as_str() == Some(&port.to_string()));
    assert_eq!(Client::connect(port).read_text(), "mine");
}

#[test]
fn console_start_without_any_port_exits_with_69() {
    let port = free_port();
    let _thief = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let builder =
        Builder::new(&[format!("{port} none {}", probe("say mine"))]).arguments(&["--bind", "0.0.0.0"]);
    let finished = builder.launch().finish();
    assert_eq!(finished.code, Some(69), "{}", finished.errors);
}

#[test]
fn accept_waits_for_descriptors_and_then_serves() {
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("line"))]);
    let daemon = builder.variable("WININETD_TEST_FAULTS", "accept:1-6").start();
    let mut client = Client::connect(port);
    assert_eq!(client.send(b"patience\n").read_text(), "patience\n");
    daemon.event("accept_resumed", |_| true);
    let said = daemon.events().iter().filter(|event| event["event"] == "accept_paused").count();
    assert_eq!(said, 1);
}

#[test]
fn a_server_that_gets_no_threads_says_so_and_ends() {
    for (point, what) in [
        ("thread:worker:2", "the threads that move bytes"),
        ("loop:worker:2", "bytes"),
        ("thread:spawn:2", "start programs"),
    ] {
        let builder = Builder::new(&[format!("{} none {}", free_port(), probe("say no"))]);
        let finished = builder.variable("WININETD_TEST_FAULTS", point).launch().finish();
        assert_eq!(finished.code, Some(71), "{point}: {}", finished.errors);
        assert!(finished.errors.contains(what), "{point}: {}", finished.errors);
    }
}

#[test]
fn skipped_system_checks_are_reported_as_a_warning() {
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("say here"))]);
    let daemon = builder.variable("WININETD_TEST_FAULTS", "thread:world:1+").start();
    let is_it = |event: &serde_json::Value| {
        event["message"].as_str().is_some_and(|text| text.contains("were not looked at"))
    };
    assert_eq!(daemon.event("configuration", is_it)["level"], "warning");
    assert_eq!(Client::connect(port).read_text(), "here");
}

#[cfg(any(target_os = "linux", windows))]
#[test]
fn program_that_cannot_be_watched_is_still_reaped() {
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("line"))]);
    // On Unix, the first watch is that of the listener.
    let faults = if cfg!(windows) { "watch:process:1+" } else { "watch:2+" };
    let daemon = builder.variable("WININETD_TEST_FAULTS", faults).start();
    let mut client = Client::connect(port);
    let client_port = client.port();
    assert_eq!(client.send(b"all the same\n").read_text(), "all the same\n");
    drop(client);
    assert_eq!(daemon.record(client_port)["exit"], 0);
    assert_eq!((testkit::Held::by(daemon.pid()).children, testkit::zombies(daemon.pid())), (0, 0));
}

#[test]
fn served_port_cannot_be_bound_by_another_process() {
    let port = free_port();
    let _daemon = Builder::new(&[format!("{port} none {}", probe("say mine"))]).start();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let address: std::net::SocketAddr = ([0, 0, 0, 0], port).into();
    let stolen = socket.bind(&address.into()).and_then(|()| socket.listen(1));
    assert!(stolen.is_err(), "the port could be bound a second time");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::Read;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    /// In ticks of 10 ms, user and system time together.
    fn cpu_ticks(pid: u32) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Sets the soft descriptor limit of a running process and returns the old one.
    fn limit_descriptors(pid: u32, limit: libc::rlim_t) -> libc::rlim_t {
        let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let pid = pid.cast_signed();
        // SAFETY: the structures are valid, and the process is a child of the test.
        unsafe {
            assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limits), 0);
            let old = std::mem::replace(&mut limits.rlim_cur, limit);
            assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limits, std::ptr::null_mut()), 0);
            old
        }
    }

    #[cfg(not(portable_unix))]
    #[test]
    fn whole_tree_is_killed_without_the_kernels_child_list() {
        let (port, gate) = (free_port(), Gate::new());
        let text = format!(
            "[server]\nstop_grace = '0s'\n[service.a]\nlisten = '127.0.0.1:{port}'\n\
             command = ['@', 'deaf', '{}']\nkill_grace = '0s'\n",
            gate.address()
        );
        let daemon = Builder::native(&text).variable("WININETD_TEST_FAULTS", "orphans-open:1+").start();
        let _client = Client::connect(port);
        // The program, and a descendant in its own process group.
        let visitors = [gate.visitor(), gate.visitor()];
        assert_eq!(daemon.stop().code, Some(0));
        for visitor in visitors {
            visitor.wait_gone();
        }
    }

    #[test]
    fn no_busy_loop_on_error() {
        let (port, gate) = (free_port(), Gate::new());
        let daemon =
            Builder::new(&[format!("{port} none {}", probe(&format!("gate {}", gate.address())))]).start();
        // All numbers below 6 are in use, so the server can open no more descriptors.
        let limit = limit_descriptors(daemon.pid(), 6);
        let mut waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
        daemon.event("accept_paused", |_| true);
        let before = cpu_ticks(daemon.pid());
        waiting.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        assert!(waiting.read(&mut [0]).is_err(), "served without descriptors");
        let used = cpu_ticks(daemon.pid()) - before;
        assert!(used <= 10, "{used} ticks in two seconds");
        let said = daemon.events().iter().filter(|event| event["event"] == "accept_paused").count();
        assert_eq!(said, 1);
        limit_descriptors(daemon.pid(), limit);
        drop(gate.visitor());
        daemon.event("accept_resumed", |_| true);
    }
}
