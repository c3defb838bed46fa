//! The server reaps all of its children. A kill never hits another process that has the id of an
//! earlier child.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Builder, Client, Gate, Held, LIMIT, free_port};

fn is_zombie(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

fn children(pid: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .flat_map(|thread| {
            let list = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn short_programs_and_leftovers_are_reaped_during_a_burst() {
    const ROUNDS: usize = 30;
    const AT_ONCE: usize = 30;
    let (direct, piped, leaving, gate) = (free_port(), free_port(), free_port(), Gate::new());
    let daemon = Builder::native(&format!(
        "[service.direct]\nlisten = '127.0.0.1:{direct}'\ncommand = ['@', 'say', 'x']\n\
         [service.piped]\nlisten = '127.0.0.1:{piped}'\ncommand = ['@', 'say', 'x']\nstdio = 'pipe'\n\
         [service.leaving]\nlisten = '127.0.0.1:{leaving}'\ncommand = ['@', 'adrift', '{}']\n",
        gate.address()
    ))
    .without_cgroups()
    .start();
    // A process that has just ended may be reaped at this moment, so this looks again.
    let stays = |pid: &String| {
        let until = Instant::now() + Duration::from_secs(3);
        while is_zombie(pid) {
            if Instant::now() > until {
                return true;
            }
            daemon.wait_a_moment();
        }
        false
    };
    let mut left = Vec::new();
    for round in 0..ROUNDS {
        let ports = [direct, piped];
        let clients: Vec<_> = (0..AT_ONCE).map(|number| Client::connect(ports[number % 2])).collect();
        // A process that left its program's session ends later, as an orphan.
        if round % 3 == 0 {
            assert_eq!(Client::connect(leaving).read_all(), b"");
            left.push(gate.visitor());
        }
        for mut client in clients {
            assert_eq!(client.read_text(), "x");
        }
        if round % 6 == 5 {
            left.clear();
            assert_eq!(children(daemon.pid()).into_iter().find(stays), None, "in round {round}");
        }
    }
    drop(left);
    daemon.records(ROUNDS * AT_ONCE + ROUNDS / 3);
    let until = Instant::now() + LIMIT;
    while Held::by(daemon.pid()).children > 0 {
        assert!(Instant::now() < until, "{:?}", children(daemon.pid()));
        daemon.wait_a_moment();
    }
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn late_kill_does_not_hit_a_reused_process_id() {
    let starter = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let last = "/proc/sys/kernel/ns_last_pid";
    let try_it = format!("cat {last} && echo 100 >{last}");
    let may = Command::new(starter[0]).args(&starter[1..]).args(["sh", "-c", &try_it]).status();
    if !may.is_ok_and(|status| status.success()) {
        return; // an ordinary user, or a kernel without this file
    }
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let folder = tempfile::tempdir().unwrap();
    let number = folder.path().join("number");
    let daemon = Builder::native(&format!(
        "[service.first]\nlisten = '127.0.0.1:{}'\ncommand = ['/bin/sh', '-c', 'echo $$']\nlinger_timeout = '1h'\n\
         [service.next]\nlisten = '127.0.0.1:{}'\ncommand = ['/bin/sh', '-c', 'read wanted <{}; echo $wanted >{last}']\n\
         [service.stranger]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\n",
        ports[0],
        ports[1],
        number.display(),
        ports[2]
    ))
    .through(&starter)
    .start();
    // The program has exited and is reaped, but its session still delivers last bytes.
    let mut first = Client::connect(ports[0]);
    let pid: u64 = first.read_text().trim().parse().unwrap();
    let session = daemon.service("first")["sessions"][0]["id"].to_string();
    std::fs::write(&number, format!("{}\n", pid - 1)).unwrap();
    assert_eq!(Client::connect(ports[1]).read_all(), b"");
    let mut stranger = Client::connect(ports[2]);
    stranger.send(b"he");
    let until = Instant::now() + LIMIT;
    let found = loop {
        let sessions = daemon.service("stranger")["sessions"].clone();
        if let Some(pid) = sessions[0]["pid"].as_u64() {
            break pid;
        }
        assert!(Instant::now() < until, "{sessions}");
        daemon.wait_a_moment();
    };
    assert_eq!(found, pid, "the number was not given again");
    let killed = daemon.ask(&["--kill", &session]);
    assert_eq!(killed.code, Some(0), "{}", killed.errors);
    daemon.event("session", |event| {
        event["session"].as_u64().map(|id| id.to_string()).as_deref() == Some(&session)
    });
    assert_eq!(stranger.send(b"llo\n").read_text(), "hello\n", "it was hit");
}
