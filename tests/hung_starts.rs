//! A hung start harms no other service, no stop and no port. A process of the same account may stop
//! the child before exec, or the child's directory may not answer.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, free_port, stopped_children};

/// The first child stops itself before it changes its directory, as another process of its account
/// could stop it.
const FIRST_STOPS: &str = "child:stops:1";

struct Hung(u32);

impl Hung {
    fn of(daemon: &Daemon) -> Hung {
        let until = Instant::now() + testkit::LIMIT;
        loop {
            if let [pid, ..] = stopped_children(daemon.pid())[..] {
                return Hung(pid);
            }
            assert!(Instant::now() < until, "no child is stopped:\n{}", daemon.text());
            daemon.wait_a_moment();
        }
    }

    fn signal(&self, signal: libc::c_int) -> bool {
        // SAFETY: no pointers.
        unsafe { libc::kill(libc::pid_t::try_from(self.0).unwrap(), signal) == 0 }
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

fn service(name: &str, port: u16, keys: &str) -> String {
    format!(
        "[service.{name}]\nlisten = '127.0.0.1:{port}'\n\
         command = ['/bin/sh', '-c', 'echo {name}']\n{keys}\n"
    )
}

fn daemon(text: &str, faults: &str) -> Daemon {
    Builder::native(text).variable("WININETD_TEST_FAULTS", faults).start()
}

fn account() -> &'static str {
    // SAFETY: no preconditions.
    if unsafe { libc::geteuid() } == 0 { "user = 'nobody'" } else { "user = 'none'" }
}

#[test]
fn hung_start_is_killed_and_recorded_with_its_step() {
    for keys in ["stdio = 'socket'", "stdio = 'pipe'"] {
        let port = free_port();
        let text = service("a", port, &format!("{}\n{keys}", account()));
        let builder = Builder::native(&text).variable("WININETD_TEST_FAULTS", FIRST_STOPS);
        let daemon = builder.variable("WININETD_TEST_HANGS", "2").start();
        let mut client = Client::connect(port);
        let hung = Hung::of(&daemon);
        assert!(client.is_turned_away());
        let record = daemon.record(client.port());
        assert_eq!((&record["outcome"], &record["step"]), (&"failed".into(), &"directory".into()));
        let reason = record["reason"].as_str().unwrap();
        assert!(reason.contains("had not become the program after 2 seconds"), "{reason}");
        assert!(!hung.signal(0), "the child is still there");
        assert_eq!(daemon.says_again(port), "a\n");
        assert_eq!(daemon.stop().code, Some(0));
    }
}

#[test]
fn hung_starts_block_no_other_service() {
    let ports = [free_port(), free_port(), free_port()];
    let texts = [
        service("a", ports[0], account()),
        service("b", ports[1], account()),
        service("c", ports[2], "user = 'none'"),
    ];
    let daemon = daemon(&texts.concat(), "child:stops:1-2");
    let _first = Client::connect(ports[0]);
    let _second = Client::connect(ports[1]);
    let until = Instant::now() + testkit::LIMIT;
    while stopped_children(daemon.pid()).len() < 2 {
        assert!(Instant::now() < until, "{}", daemon.text());
        daemon.wait_a_moment();
    }
    assert_eq!(Client::connect(ports[2]).read_text(), "c\n");
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn stop_kills_a_hung_start() {
    let ways = [
        ("", "stdio = 'socket'"),
        ("", "stdio = 'pipe'"),
        ("[server]\non_stop = 'leave'\n", "stdio = 'socket'"),
    ];
    for (server, keys) in ways {
        let port = free_port();
        let text = format!("{server}{}", service("a", port, &format!("{}\n{keys}", account())));
        let daemon = daemon(&text, FIRST_STOPS);
        let client = Client::connect(port);
        let hung = Hung::of(&daemon);
        let began = Instant::now();
        daemon.request_stop();
        let record = daemon.record(client.port());
        assert_eq!((&record["outcome"], &record["reason"]), (&"failed".into(), &"stop".into()), "{keys}");
        assert_eq!(record["step"], "directory");
        assert_eq!(daemon.finish().code, Some(0));
        assert!(began.elapsed() < Duration::from_secs(8), "{keys}: {:?}", began.elapsed());
        assert!(!hung.signal(0), "{keys}: the child is still there");
        drop(TcpListener::bind(("127.0.0.1", port)).unwrap());
    }
}

#[test]
fn stop_kills_a_hung_warm_start() {
    let port = free_port();
    let daemon = daemon(&service("a", port, &format!("{}\nwarm = 1", account())), FIRST_STOPS);
    let hung = Hung::of(&daemon);
    let began = Instant::now();
    assert_eq!(daemon.stop().code, Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(!hung.signal(0), "the child is still there");
}

#[test]
fn session_with_a_hung_start_can_be_killed() {
    let port = free_port();
    let daemon = daemon(&service("a", port, account()), FIRST_STOPS);
    let mut client = Client::connect(port);
    let hung = Hung::of(&daemon);
    let answer = daemon.ask(&["--kill", "1"]);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    assert!(client.is_turned_away());
    let record = daemon.record(client.port());
    assert_eq!((&record["step"], &record["reason"]), (&"directory".into(), &"killed".into()));
    assert!(!hung.signal(0), "the child is still there");
    assert_eq!(daemon.says_again(port), "a\n");
}

#[test]
fn hung_start_holds_no_port_of_a_killed_server() {
    let (port, other) = (free_port(), free_port());
    let text = format!("{}{}", service("a", port, account()), service("b", other, "user = 'none'"));
    let daemon = daemon(&text, FIRST_STOPS);
    let _client = Client::connect(port);
    let hung = Hung::of(&daemon);
    daemon.kill();
    assert!(hung.signal(0), "the child has ended with the server");
    for port in [port, other] {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        drop(TcpListener::bind(("127.0.0.1", port)).unwrap());
    }
}

#[test]
fn run_gives_up_a_start_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wininetd.toml");
    std::fs::write(&file, service("a", free_port(), account())).unwrap();
    // Time limit: a run that waits by mistake does not exit by itself.
    let mut command = std::process::Command::new("timeout");
    command.arg("30").arg(testkit::wininetd()).args(["--run", "a", "--cfgfile"]).arg(&file);
    command.env("WININETD_TEST_FAULTS", FIRST_STOPS).env("WININETD_TEST_HANGS", "1");
    let finished = command.output().unwrap();
    let errors = String::from_utf8_lossy(&finished.stderr);
    assert_eq!(finished.status.code(), Some(71), "{errors}");
    assert!(errors.contains("not started, at step directory"), "{errors}");
    assert!(errors.contains("after 1 seconds"), "{errors}");
}

#[test]
fn a_request_to_stop_ends_a_run_whose_start_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wininetd.toml");
    std::fs::write(&file, service("a", free_port(), account())).unwrap();
    let mut command = std::process::Command::new(testkit::wininetd());
    command.args(["--run", "a", "--cfgfile"]).arg(&file).env("WININETD_TEST_FAULTS", FIRST_STOPS);
    let mut server = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let until = Instant::now() + testkit::LIMIT;
    let hung = loop {
        if let [pid, ..] = stopped_children(server.id())[..] {
            break Hung(pid);
        }
        assert!(Instant::now() < until && server.try_wait().unwrap().is_none(), "no child is stopped");
        std::thread::yield_now();
    };
    // SAFETY: no pointers. The server is a child of the test and not reaped.
    unsafe { libc::kill(libc::pid_t::try_from(server.id()).unwrap(), libc::SIGTERM) };
    assert_eq!(server.wait().unwrap().code(), Some(71));
    assert!(!hung.signal(0), "the child is still there");
}
