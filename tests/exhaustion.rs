//! A shortage of descriptors, processes, memory or threads costs clients time or their session. It
//! never costs the server, another service or a resource permanently.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Gate, Held, LIMIT, copy_program, free_port, probe_path, wininetd};

/// Sets a soft limit of a running process and returns the old one.
fn limit(pid: u32, what: libc::__rlimit_resource_t, soft: libc::rlim_t) -> libc::rlim_t {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let pid = pid.cast_signed();
    // SAFETY: the structures are valid, and the process is a child of the test.
    unsafe {
        assert_eq!(libc::prlimit(pid, what, std::ptr::null(), &raw mut limits), 0);
        let old = std::mem::replace(&mut limits.rlim_cur, soft);
        assert_eq!(libc::prlimit(pid, what, &raw const limits, std::ptr::null_mut()), 0);
        old
    }
}

fn descriptors(pid: u32) -> Vec<u64> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Waits until the server holds no more than before the first client.
fn wait_for_rest(daemon: &Daemon, before: Held) {
    let until = Instant::now() + LIMIT;
    loop {
        let now = Held::by(daemon.pid());
        if now.handles <= before.handles + 3 && now.children == 0 {
            return;
        }
        assert!(Instant::now() < until, "{before:?} became {now:?}:\n{}", daemon.text());
        daemon.wait_a_moment();
    }
}

#[test]
fn connections_beyond_the_descriptor_limit_wait() {
    let (port, gate) = (free_port(), Gate::new());
    let text = format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'gate', '{}']\nmax_connections = 256\n",
        gate.address()
    );
    let daemon = Builder::native(&text).through(&["prlimit", "--nofile=112:112"]).start();
    let is_limit = |event: &testkit::Value| event["message"].as_str().unwrap().contains("descriptor limit");
    let said = daemon.event("configuration", is_limit);
    let said = said["message"].as_str().unwrap();
    let room: usize = said.split_whitespace().find_map(|word| word.parse().ok()).expect("a number");
    assert!((1..=16).contains(&room), "{said}");
    let mut served: Vec<_> = (0..room).map(|_| Client::connect(port)).collect();
    let mut visitors: Vec<_> = (0..room).map(|_| gate.visitor()).collect();
    let mut waits = Client::connect(port);
    waits.receives_nothing_for(Duration::from_millis(300));
    assert!(!gate.is_visited(), "more than there is room for");
    drop(visitors.pop());
    let freed = Instant::now();
    visitors.push(gate.visitor());
    assert!(freed.elapsed() < Duration::from_millis(1000), "{:?}", freed.elapsed());
    drop(visitors);
    served.push(waits);
    for mut client in served {
        assert_eq!(client.read_all(), b"");
    }
    assert!(daemon.events().iter().all(|event| event["event"] != "accept_paused"), "it had run out");
}

#[test]
fn listeners_without_descriptors_wait_idle_and_lose_no_client() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let gate = Gate::new();
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\n\
         [service.b]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\nstdio = 'pipe'\n\
         [service.held]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'visit', '{}', 'line']\n",
        ports[0],
        ports[1],
        ports[2],
        gate.address()
    ))
    .start();
    let mut held = Client::connect(ports[2]);
    drop(gate.visitor());
    let old = limit(daemon.pid(), libc::RLIMIT_NOFILE, 6);
    let mut waiting: Vec<_> = (0..20).map(|number| Client::connect(ports[number % 2])).collect();
    daemon.event("accept_paused", |_| true);
    for client in &mut waiting {
        client.send(b"patience\n");
    }
    daemon.uses_less_than(0.05);
    // The session from before the shortage goes on. Its end does not let a waiting client in.
    assert_eq!(held.send(b"still here\n").read_text(), "still here\n");
    let paused = daemon.events().iter().filter(|event| event["event"] == "accept_paused").count();
    assert_eq!(paused, 1);
    limit(daemon.pid(), libc::RLIMIT_NOFILE, old);
    let there = Instant::now();
    assert_eq!(waiting[0].read_text(), "patience\n");
    // The longest pause between two attempts to accept.
    assert!(there.elapsed() < Duration::from_secs(2), "{:?}", there.elapsed());
    for client in &mut waiting[1..] {
        assert_eq!(client.read_text(), "patience\n");
    }
    drop(waiting);
    daemon.event("accept_resumed", |_| true);
    daemon.records(20);
}

#[test]
fn descriptor_shortage_leaves_a_record_per_client_and_no_leak() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let daemon = Builder::native(&format!(
        "[service.direct]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\n\
         [service.piped]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\nstdio = 'pipe'\nstderr = 'log'\n\
         [service.ahead]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\nstdio = 'pipe'\nwarm = 1\n",
        ports[0], ports[1], ports[2]
    ))
    .start();
    let serve_all = || {
        for &port in &ports {
            let until = Instant::now() + LIMIT;
            while Client::connect(port).send(b"well\n").read_until_gone() != b"well\n" {
                assert!(Instant::now() < until, "port {port} does not come back:\n{}", daemon.text());
                daemon.wait_a_moment();
            }
        }
    };
    serve_all();
    daemon.warm("ahead", 1);
    let before = descriptors(daemon.pid());
    let free = (0..).filter(|number| !before.contains(number));
    let mut clients = 0;
    // Each round leaves one free number more, so each call that needs a descriptor fails once.
    for lowest in free.take(14) {
        let old = limit(daemon.pid(), libc::RLIMIT_NOFILE, lowest);
        let mut three: Vec<_> = ports.iter().map(|&port| Client::connect(port)).collect();
        for client in &mut three {
            // A client that the server has already closed does not read this.
            client.send(b"x\n");
        }
        daemon.wait_a_moment();
        limit(daemon.pid(), libc::RLIMIT_NOFILE, old);
        for client in &mut three {
            let answer = client.read_until_gone();
            assert!(answer.is_empty() || answer == b"x\n", "{answer:?}");
        }
        clients += three.len();
    }
    serve_all();
    daemon.warm("ahead", 1);
    daemon.records(clients);
    let pause = |event: &&testkit::Value| event["event"] == "service_paused";
    assert_eq!(daemon.events().iter().find(pause), None, "a shortage is no service's own fault");
    let until = Instant::now() + LIMIT;
    while descriptors(daemon.pid()).len() > before.len() + 2 {
        assert!(Instant::now() < until, "{before:?} became {:?}", descriptors(daemon.pid()));
        daemon.wait_a_moment();
    }
    assert_eq!(daemon.stop().code, Some(0));
}

/// Runs the daemon as an ordinary user, because the process limit does not hold for root.
fn as_ordinary_user(user: u32, text: &str, folder: &Path) -> Builder {
    let (server, program) = (folder.join("wininetd"), folder.join("probe"));
    copy_program(&wininetd(), &server);
    copy_program(&probe_path(), &program);
    let text = text.replace('@', &program.display().to_string());
    let builder = Builder::native(&text).of_binary(&server);
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    // SAFETY: no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return builder;
    }
    for path in [folder, &server, &program, builder.folder(), &builder.folder().join("wininetd.toml")] {
        std::fs::set_permissions(path, mode(0o755)).unwrap();
    }
    let owned = Command::new("chown").arg(user.to_string()).arg(builder.folder()).status();
    assert!(owned.is_ok_and(|status| status.success()));
    // A user id that no account has, so that it has no other processes.
    builder.through(&["setpriv", &format!("--reuid={user}"), "--regid=27180", "--clear-groups"])
}

#[test]
fn process_shortage_is_recorded_and_pauses_no_service() {
    let (port, other) = (free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'line']\n\
         [service.b]\nlisten = '127.0.0.1:{other}'\ncommand = ['@', 'line']\nstdio = 'pipe'\n"
    );
    let daemon = as_ordinary_user(27_181, &text, folder.path()).start();
    let serve = |port| assert_eq!(Client::connect(port).send(b"x\n").read_text(), "x\n");
    serve(port);
    serve(other);
    daemon.records(2);
    let before = Held::by(daemon.pid());
    let limit_processes = |count: &str| {
        // The same user sets the limit. Even root may be denied the limits of other users.
        let pid = daemon.pid().to_string();
        let change = ["prlimit", "--pid", &pid, &format!("--nproc={count}:")];
        let mut command = Command::new("setpriv");
        // SAFETY: no preconditions.
        if unsafe { libc::geteuid() } == 0 {
            command.args(["--reuid=27181", "--regid=27180", "--clear-groups"]);
        }
        let changed = command.args(change).status();
        assert!(changed.is_ok_and(|status| status.success()), "{change:?}");
    };
    limit_processes("1");
    for port in [port, other, port, other] {
        let mut client = Client::connect(port);
        assert!(client.is_turned_away());
        let record = daemon.record(client.port());
        assert_eq!((&record["outcome"], &record["step"]), (&"failed".into(), &"spawn".into()), "{record}");
    }
    limit_processes("500");
    serve(port);
    serve(other);
    wait_for_rest(&daemon, before);
    assert!(daemon.events().iter().all(|event| event["event"] != "service_paused"), "{}", daemon.text());
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn server_without_threads_or_memory_serves_or_exits() {
    let port = free_port();
    let text = format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'line']\nstdio = 'pipe'\n");
    let folder = tempfile::tempdir().unwrap();
    let no_thread =
        as_ordinary_user(27_182, &text, folder.path()).through(&["prlimit", "--nproc=1:1"]).launch();
    let finished = no_thread.finish();
    assert_eq!(finished.code, Some(71), "{}", finished.errors);
    assert!(finished.errors.contains("thread") && !finished.errors.contains("panicked"), "{finished:?}");
    let (mut served, mut ended) = (0, 0);
    for mebibytes in [8u64, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256] {
        let daemon =
            Builder::native(&text).through(&["prlimit", &format!("--as={}", mebibytes << 20)]).launch();
        let until = Instant::now() + LIMIT;
        let serves = loop {
            if daemon.events().iter().any(|event| event["event"] == "ready") {
                break true;
            }
            if !Path::new(&format!("/proc/{}/exe", daemon.pid())).exists() {
                break false;
            }
            assert!(Instant::now() < until, "neither at {mebibytes} MiB:\n{}", daemon.text());
            daemon.wait_a_moment();
        };
        if serves {
            served += 1;
            let answer = Client::connect(port).send(b"x\n").read_until_gone();
            assert!(answer.is_empty() || answer == b"x\n", "{answer:?}");
            continue;
        }
        ended += 1;
        assert_ne!(daemon.exit_code(), Some(0), "{mebibytes} MiB");
    }
    assert!(served > 0 && ended > 0, "{served} served, {ended} ended: the limits are too high or too low");
}
