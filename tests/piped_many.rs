//! The cost of many sessions with pipes. The largest test takes long and needs many descriptors, so
//! run it by name: `cargo test --test piped_many -- --ignored --nocapture`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking
#![allow(clippy::print_stdout)] // prints its measurements

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;

use testkit::{Builder, Daemon, Held, Value, free_port};

/// The limit for the server's memory per idle session.
const KIBIBYTES: f64 = 20.0;

/// A small program, because thousands of probes need too much memory. Every system has this one.
const PROGRAM: &str = "/bin/cat";

fn serve(port: u16, keys: &str) -> Daemon {
    let text = format!(
        "[server]\nmax_connections = 6000\n[service.a]\nlisten = '127.0.0.1:{port}'\n\
         command = ['{PROGRAM}']\nstdio = 'pipe'\nmax_connections = 6000\n{keys}"
    );
    Builder::native(&text).command(all_descriptors).start()
}

fn all_descriptors(command: &mut std::process::Command) {
    // SAFETY: the calls are async-signal-safe and their value is valid.
    unsafe {
        command.pre_exec(|| {
            raise_descriptors();
            Ok(())
        })
    };
}

/// Raises the descriptor limit as far as needed or allowed. Returns the new limit.
fn raise_descriptors() -> usize {
    // SAFETY: the pointers are valid for the calls.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        let wanted = libc::rlimit { rlim_cur: 40_000, rlim_max: 40_000 };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) != 0 {
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
    }
}

fn sessions(daemon: &Daemon) -> usize {
    daemon.service("a")["sessions"].as_array().unwrap().len()
}

/// The server's memory in KiB for each of `count` sessions that echo a word and are then idle.
fn cost_of(count: usize, keys: &str) -> f64 {
    use std::io::{Read, Write};
    // The server accepts only as many clients as its descriptors allow.
    let count = count.min((raise_descriptors() - 200) / 8);
    let port = free_port();
    let daemon = serve(port, keys);
    let one = || {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(testkit::LIMIT)).unwrap();
        let mut word = [0; 4];
        client.write_all(b"word").unwrap();
        client.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"word");
        client
    };
    // The first sessions allocate memory that the server keeps.
    drop((0..50).map(|_| one()).collect::<Vec<_>>());
    daemon.records(50);
    let before = Held::by(daemon.pid());
    let clients: Vec<_> = (0..count).map(|_| one()).collect();
    assert_eq!(sessions(&daemon), count);
    let with = Held::by(daemon.pid());
    let each = (with.kibibytes - before.kibibytes) as f64 / count as f64;
    println!(
        "{count} idle sessions with pipes {keys:?}: {each:.1} KiB each, before {before:?}, with {with:?}"
    );
    drop(clients);
    let records = daemon.records(50 + count);
    let served = |record: &&Value| record["outcome"] == "served" && record["exit"] == 0;
    assert_eq!(records.iter().filter(served).count(), 50 + count);
    let after = Held::by(daemon.pid());
    println!("after them: {after:?}");
    assert!(after.handles <= before.handles + 3, "{after:?}");
    assert_eq!(after.children, 0);
    each
}

#[test]
fn thousand_idle_piped_sessions_use_little_memory() {
    let each = cost_of(1000, "");
    assert!(each < KIBIBYTES, "{each:.1} KiB");
}

#[test]
#[ignore = "takes a minute and five thousand processes"]
fn five_thousand_idle_sessions_with_pipes_are_small() {
    for keys in ["", "stderr = 'discard'\n"] {
        let each = cost_of(5000, keys);
        assert!(each < KIBIBYTES, "{each:.1} KiB");
    }
}
