//! A program can keep its own end from being seen, and leave thousands of processes. Neither delays
//! another service, with cgroups and without them.
#![cfg(all(target_os = "linux", not(portable_unix)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Gate, free_port};

/// A service `a` under test, and one beside it.
struct Served {
    port: u16,
    beside: u16,
    daemon: Daemon,
}

fn serve(with_cgroups: bool, command: &str, keys: &str) -> Served {
    let (port, beside) = (free_port(), free_port());
    let text = format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\n{keys}\
         [service.beside]\nlisten = '127.0.0.1:{beside}'\ncommand = ['@', 'say', 'said']\n"
    );
    let builder = Builder::native(&text);
    let builder = if with_cgroups { builder } else { builder.without_cgroups() };
    Served { port, beside, daemon: builder.start() }
}

impl Served {
    /// How long a session of the other service takes, the median of several.
    fn time_beside(&self) -> Duration {
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let began = Instant::now();
                let mut client = Client::connect(self.beside);
                let (port, text) = (client.port(), client.read_text());
                drop(client);
                assert_eq!(text, "said", "{}", self.daemon.record(port));
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    fn stuck(&self) -> u64 {
        self.daemon.status()["stuck_processes"].as_u64().unwrap()
    }
}

/// Whether this machine lets the server make cgroups. Otherwise half of a test shows nothing new.
fn has_cgroups() -> bool {
    // SAFETY: no preconditions.
    let is_root = unsafe { libc::geteuid() } == 0;
    is_root && can_make_cgroup().unwrap_or(false)
}

/// Makes one below the cgroup of this process, as the server does, and removes it.
fn can_make_cgroup() -> std::io::Result<bool> {
    let (own, mounts) =
        (std::fs::read_to_string("/proc/self/cgroup")?, std::fs::read_to_string("/proc/self/mountinfo")?);
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let mount = mounts.lines().find(|line| line.contains(" / ") && line.contains(" - cgroup2 "));
    let (Some(own), Some(mount)) = (own, mount.and_then(|line| line.split(' ').nth(4))) else {
        return Ok(false);
    };
    let made = std::path::Path::new(mount).join(own).join(format!("test-of-trees-{}", std::process::id()));
    std::fs::create_dir(&made)?;
    let is_domain = std::fs::read_to_string(made.join("cgroup.type"))?.trim_end() == "domain";
    let can_kill = made.join("cgroup.kill").exists();
    std::fs::remove_dir(&made)?;
    Ok(is_domain && can_kill)
}

#[test]
fn tracer_outside_a_cgroup_keeps_an_exit_status_for_two_seconds() {
    let gate = Gate::new();
    let served = serve(false, &format!("'traced', '{}'", gate.address()), "linger_timeout = '0s'\n");
    let client = Client::connect(served.port);
    let tracer = gate.visitor();
    served.time_beside();
    let record = served.daemon.record(client.port());
    assert_eq!(record["exit"], testkit::Value::Null, "{record}");
    assert!(
        record["reason"]
            .as_str()
            .unwrap()
            .ends_with("a process that traces the program keeps its exit status")
    );
    assert_eq!(served.stuck(), 1);
    served.time_beside();
    drop(tracer);
    let until = Instant::now() + testkit::LIMIT;
    while served.stuck() > 0 {
        assert!(Instant::now() < until, "the program is never reaped");
        served.daemon.wait_a_moment();
    }
    assert_eq!(served.daemon.stop().code, Some(0));
}

#[test]
fn tracer_in_a_cgroup_ends_with_its_session() {
    if !has_cgroups() {
        return;
    }
    let gate = Gate::new();
    let served = serve(true, &format!("'traced', '{}'", gate.address()), "");
    let client = Client::connect(served.port);
    gate.visitor().wait_gone();
    let port = client.port();
    drop(client);
    let record = served.daemon.record(port);
    assert_eq!(record["exit"], 0, "{record}");
    assert_eq!(served.stuck(), 0);
}

#[test]
fn stop_does_not_wait_for_a_traced_program() {
    let gate = Gate::new();
    let served = serve(false, &format!("'traced', '{}'", gate.address()), "linger_timeout = '0s'\n");
    let _client = Client::connect(served.port);
    let _tracer = gate.visitor();
    let began = Instant::now();
    assert_eq!(served.daemon.stop().code, Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn process_that_called_setsid_ends_with_its_session() {
    if !has_cgroups() {
        return;
    }
    let gate = Gate::new();
    let command = format!("'leaves', 'adrift-with-streams', 'answers', '{}'", gate.address());
    let served = serve(true, &command, "");
    let mut client = Client::connect(served.port);
    assert_eq!(client.read_text(), "");
    for visitor in gate.visitors_so_far() {
        visitor.wait_gone();
    }
    assert_eq!(served.stuck(), 0);
}

#[test]
fn four_thousand_leftovers_delay_no_other_service() {
    for with_cgroups in [true, false] {
        if with_cgroups && !has_cgroups() {
            continue;
        }
        let served = serve(with_cgroups, "'sleepers', '4000', 'echo'", "");
        let before = served.time_beside();
        let mut client = Client::connect(served.port);
        client.send(b"x").read_exact(1);
        let beside_living = served.time_beside();
        let port = client.half_close().port();
        assert_eq!(client.read_all(), b"");
        drop(client);
        assert_eq!(served.daemon.record(port)["exit"], 0);
        let after = served.time_beside();
        println!("cgroups {with_cgroups}: {before:?}, {beside_living:?}, {after:?}");
        let bound = before * 3 + Duration::from_millis(20);
        assert!(beside_living < bound && after < bound, "{before:?} {beside_living:?} {after:?}");
        assert_eq!(served.daemon.stop().code, Some(0));
    }
}

#[test]
fn processes_that_are_left_are_not_stuck() {
    for with_cgroups in [true, false] {
        let served = serve(with_cgroups, "'sleepers', '1', 'say', 'said'", "leftovers = 'leave'\n");
        let mut client = Client::connect(served.port);
        assert_eq!(client.read_text(), "said");
        let port = client.port();
        drop(client);
        assert_eq!(served.daemon.record(port)["exit"], 0);
        assert_eq!(served.stuck(), 0);
    }
}

#[test]
fn cgroup_that_another_process_removes_fails_no_start() {
    if !has_cgroups() {
        return;
    }
    let served = serve(true, "'echo'", "");
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(served.port)).collect();
    clients.iter_mut().for_each(|client| drop(client.send(b"x").read_exact(1)));
    drop(clients);
    served.daemon.records(40);
    let open = std::fs::read_dir(format!("/proc/{}/fd", served.daemon.pid())).unwrap().flatten();
    let links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let is_cgroup = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wininetd-"))
    };
    let removed = links.filter(is_cgroup).filter(|path| std::fs::remove_dir(path).is_ok()).count();
    assert!(removed >= 40, "the server keeps {removed} free cgroups");
    served.time_beside();
    let events = served.daemon.events();
    let mut records = events.iter().filter(|event| event["event"] == "session");
    assert!(records.all(|record| record["outcome"] == "served"));
}
