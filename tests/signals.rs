//! Signals at bad moments harm no client: storms of signals, a kill, and a stopped server.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Gate, Held, free_port, probe};

fn signal(daemon: &Daemon, signal: libc::c_int) {
    // SAFETY: no pointers. The daemon is a child of the test.
    unsafe { libc::kill(libc::pid_t::try_from(daemon.pid()).unwrap(), signal) };
}

/// Pseudo-random delays that differ from run to run.
struct Moments(u64);

impl Moments {
    fn new() -> Moments {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Moments(now.subsec_nanos().into())
    }

    /// Spins for a random time below this many microseconds. Sleeping is too coarse, because delays
    /// below a time slice matter here.
    fn pass(&mut self, most: u64) {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let until = Instant::now() + Duration::from_micros((self.0 >> 33) % most);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
}

/// Sets a flag when dropped, so that other threads end even if the test fails.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn reload_storm_refuses_no_client_and_ends_promptly() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("line"))]).without_verb().start();
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(Client::connect(port).send(b"x\n").read_text(), "x\n");
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _until = Until(&over);
        let mut moments = Moments::new();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            signal(&daemon, libc::SIGHUP);
            moments.pass(2000);
        }
    });
    assert!(served.load(Ordering::Relaxed) > 0, "nobody was served meanwhile");
    // The last request counts even while a reload runs: the server applies the file that was
    // written before it.
    let (mut text, mut moments) =
        (std::fs::read_to_string(daemon.file("wininetd.conf")).unwrap(), Moments::new());
    for _ in 0..15 {
        let other = free_port();
        text += &format!("{other} none {}\n", probe("say new"));
        std::fs::write(daemon.file("new"), &text).unwrap();
        signal(&daemon, libc::SIGHUP);
        moments.pass(1500);
        std::fs::rename(daemon.file("new"), daemon.file("wininetd.conf")).unwrap();
        signal(&daemon, libc::SIGHUP);
        daemon.event("reloaded", |event| event["added"].to_string().contains(&other.to_string()));
        assert_eq!(Client::connect(other).read_text(), "new");
    }
    daemon.uses_less_than(0.05);
    let finished = daemon.stop();
    assert_eq!(finished.code, Some(0));
    assert!(finished.events("reload_failed").is_empty(), "{}", finished.errors);
    let reloads = finished.events("reloading").len();
    assert_eq!(reloads, finished.events("reloaded").len(), "each that began is over");
}

#[test]
fn stop_wins_over_a_reload_at_any_moment() {
    let (port, mut moments) = (free_port(), Moments::new());
    for _ in 0..25 {
        let daemon = Builder::new(&[format!("{port} none {}", probe("line"))]).without_verb().start();
        signal(&daemon, libc::SIGHUP);
        moments.pass(3000);
        let asked = Instant::now();
        signal(&daemon, libc::SIGTERM);
        signal(&daemon, libc::SIGHUP);
        signal(&daemon, libc::SIGTERM);
        signal(&daemon, libc::SIGTERM);
        let finished = daemon.finish();
        assert_eq!(finished.code, Some(0), "{}", finished.errors);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        assert_eq!(finished.events("stopped").len(), 1, "{}", finished.errors);
    }
}

#[test]
fn suspended_server_resumes_without_losing_sessions() {
    let (port, held_port, missing, gate) = (free_port(), free_port(), free_port(), Gate::new());
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'line']\n\
         [service.held]\nlisten = '127.0.0.1:{held_port}'\ncommand = ['@', 'visit', '{}', 'line']\n\
         [service.missing]\nlisten = '127.0.0.1:{missing}'\ncommand = ['/no/such/program']\n",
        gate.address()
    ))
    .start();
    let mut held = Client::connect(held_port);
    drop(gate.visitor());
    assert!(Client::connect(missing).is_turned_away());
    daemon.event("service_paused", |event| event["pause_seconds"] == 1.0);
    signal(&daemon, libc::SIGSTOP);
    let mut waits = Client::connect(port);
    waits.send(b"early\n").receives_nothing_for(Duration::from_secs(3));
    signal(&daemon, libc::SIGCONT);
    assert_eq!(waits.read_text(), "early\n");
    assert_eq!(held.send(b"still here\n").read_text(), "still here\n");
    // The pause ended while the server was stopped, so one client starts the probe session.
    assert!(Client::connect(missing).is_turned_away());
    daemon.event("service_paused", |event| event["pause_seconds"] == 2.0);
    daemon.uses_less_than(0.05);
    drop((waits, held));
    let asked = Instant::now();
    assert_eq!(daemon.stop().code, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[test]
#[cfg(target_os = "linux")]
fn suspension_is_not_mistaken_for_hung_starts() {
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let lines: Vec<_> = ports.iter().map(|port| format!("{port} none {}", probe("line"))).collect();
    let daemon = Builder::new(&lines).start();
    let threads = || {
        let all = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let name = |thread: &std::fs::DirEntry| {
            std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default()
        };
        all.flatten().filter(|thread| name(thread) == "spawn\n").count()
    };
    let before = threads();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for &port in &ports {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(Client::connect(port).send(b"x\n").read_text(), "x\n");
                }
            });
        }
        let _until = Until(&over);
        for _ in 0..4 {
            daemon.wait_a_moment();
            signal(&daemon, libc::SIGSTOP);
            // Longer than the time after which a start counts as stuck.
            let still = Instant::now();
            while still.elapsed() < Duration::from_millis(1200) {
                daemon.wait_a_moment();
            }
            signal(&daemon, libc::SIGCONT);
        }
    });
    assert_eq!(threads(), before, "threads in the place of those that stood still");
}

#[test]
fn server_killed_under_load_restarts_at_once() {
    const ROUNDS: usize = 20;
    let (port, folder, mut moments) = (free_port(), tempfile::tempdir().unwrap(), Moments::new());
    let (socket, control) = (folder.path().join("s.sock"), folder.path().join("c.sock"));
    let text = format!(
        "[service.a]\nlisten = ['127.0.0.1:{port}', 'unix:{}']\ncommand = ['@', 'line']\n\
         [service.b]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'line']\nstdio = 'pipe'\nwarm = 2\n",
        socket.display(),
        free_port()
    );
    let builder = || Builder::native(&text).arguments(&["--control", control.to_str().unwrap()]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
                    use std::io::{Read, Write};
                    let _ = stream.write_all(b"x\n");
                    let _ = stream.set_read_timeout(Some(testkit::LIMIT));
                    let _ = stream.read_to_end(&mut Vec::new());
                }
            }
        });
        let _until = Until(&over);
        for _ in 0..ROUNDS {
            let daemon = builder().launch();
            moments.pass(60_000);
            daemon.kill();
            let began = Instant::now();
            let daemon = builder().start();
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            assert_eq!(Client::connect(port).send(b"again\n").read_text(), "again\n");
            assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
            let answer =
                testkit::channel::exchange(control.to_str().unwrap(), br#"{"version":1,"request":"status"}"#);
            assert!(answer.contains("status"), "{answer}");
            let complains = |event: &testkit::Value| {
                event["event"] == "listen_failed"
                    || event["message"].as_str().is_some_and(|text| text.contains("c.sock"))
            };
            assert_eq!(daemon.events().into_iter().find(complains), None);
            moments.pass(5000);
            daemon.kill();
        }
    });
    let daemon = builder().start();
    let before = Held::by(daemon.pid());
    assert_eq!(Client::connect(port).send(b"x\n").read_text(), "x\n");
    assert!(before.handles < 100, "{before:?}");
    assert_eq!(daemon.stop().code, Some(0));
    assert!(!socket.exists() && !control.exists(), "files of sockets are left");
}
