//! The verbs that ask a running server: their output and their exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use testkit::{Finished, run};
use tokio::sync::{mpsc, oneshot};
use wininetd::control::protocol::{
    Explanation, Reply, Request, ServiceState, ServiceStatus, SessionStatus, Status, Verdict,
};
use wininetd::control::server::{ControlCommand, serve};
use wininetd::model::exit_code::Exit;
use wininetd::sys::control::Channel;

/// A control channel with a stub supervisor. Dropping it stops the server.
struct Server {
    path: PathBuf,
    _stop: oneshot::Sender<()>,
    _folder: tempfile::TempDir,
}

fn path() -> (PathBuf, tempfile::TempDir) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = tempfile::tempdir().unwrap();
    let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = if cfg!(windows) {
        PathBuf::from(format!(r"\\.\pipe\wininetd-verbs-{name}"))
    } else {
        folder.path().join("control.sock")
    };
    (path, folder)
}

impl Server {
    fn start(supervisor: impl Fn(Request) -> Reply + Send + 'static) -> Server {
        let (path, folder) = path();
        let (opened, is_open) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let at = path.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let channel = Channel::open(&at).unwrap();
                opened.send(()).unwrap();
                let (sender, mut commands) = mpsc::channel::<ControlCommand>(1);
                let answer = async {
                    while let Some(command) = commands.recv().await {
                        let _ = command.reply.send(supervisor(command.request));
                    }
                };
                tokio::select! {
                    () = serve(channel, sender) => {}
                    () = answer => {}
                    _ = stopped => {}
                }
            });
        });
        is_open.recv().unwrap();
        Server { path, _stop: stop, _folder: folder }
    }

    fn ask(&self, words: &[&str]) -> Finished {
        ask(&self.path, words)
    }
}

fn ask(path: &Path, words: &[&str]) -> Finished {
    run(&[words, &["--control", path.to_str().unwrap()]].concat())
}

fn supervisor(request: Request) -> Reply {
    let session = SessionStatus {
        id: 7,
        client: "192.0.2.1:5\u{1b}[2J".to_owned(),
        pid: Some(42),
        seconds: 0.5,
        bytes_in: None,
        bytes_out: None,
    };
    match request {
        Request::Status => Reply::Status(Status {
            version: "0.0.1".to_owned(),
            pid: 1,
            uptime_seconds: 90.0,
            stuck_processes: 0,
            services: vec![ServiceStatus {
                name: "web".to_owned(),
                state: ServiceState::Listening,
                reason: None,
                listen: vec!["127.0.0.1:80".to_owned()],
                live: 1,
                warm: None,
                served: 2,
                refused: 3,
                failed: 4,
                sessions: vec![session],
            }],
        }),
        Request::Reload => Reply::refused("w.conf:1:1: no such port\n1 error", Exit::Config),
        Request::Kill { session: 7 } => Reply::Killed,
        Request::Kill { session } => Reply::no_such_session(session),
        Request::Explain { address, service } => {
            let service = service.unwrap_or("web".to_owned());
            let because = format!("deny {address}/32");
            Reply::Explained(vec![Explanation { service, verdict: Verdict::Refuse, because }])
        }
    }
}

#[test]
fn the_status_is_a_table_for_people_and_json_for_machines() {
    let server = Server::start(supervisor);
    let table = server.ask(&["--status"]);
    assert_eq!(table.code, Some(0), "{}", table.errors);
    assert!(
        table.output.contains("web      listening     1       2        3       4  127.0.0.1:80\n"),
        "{}",
        table.output
    );
    assert!(
        table.output.contains("    session 7  192.0.2.1:5\\u{1b}[2J  process 42  0.5 s\n"),
        "{}",
        table.output
    );
    let json = server.ask(&["--status", "--json"]);
    let status: testkit::Value = json.output.parse().unwrap();
    assert_eq!((json.code, &status["services"][0]["sessions"][0]["id"]), (Some(0), &7.into()));
    assert_eq!(json.output.lines().count(), 1);
}

#[test]
fn refused_request_exits_with_the_servers_code() {
    let server = Server::start(supervisor);
    let reload = server.ask(&["--reload"]);
    assert_eq!((reload.code, &*reload.output), (Some(78), ""));
    assert!(reload.errors.contains("w.conf:1:1: no such port\n1 error\n"), "{}", reload.errors);
    let kill = server.ask(&["--kill", "8"]);
    assert_eq!(kill.code, Some(66));
    assert!(kill.errors.contains("there is no session 8"), "{}", kill.errors);
}

#[test]
fn granted_request_prints_the_servers_reply() {
    let server = Server::start(supervisor);
    assert_eq!(server.ask(&["--kill", "7"]).output, "session 7 is being terminated\n");
    let explained = server.ask(&["--explain", "192.0.2.1", "--service", "shell"]);
    assert_eq!((explained.code, &*explained.output), (Some(0), "shell: refuse, deny 192.0.2.1/32\n"));
}

#[test]
fn without_a_server_each_verb_names_the_path_and_exits_69() {
    let (path, _folder) = path();
    for words in [&["--status"][..], &["--reload"], &["--kill", "1"], &["--explain", "::1"]] {
        let finished = ask(&path, words);
        assert_eq!(finished.code, Some(69), "{words:?}: {}", finished.errors);
        assert!(finished.errors.contains("no server answers there"), "{}", finished.errors);
        assert!(finished.errors.contains(path.to_str().unwrap()), "{}", finished.errors);
    }
}

#[test]
fn explain_with_a_file_asks_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.conf");
    std::fs::write(&file, "80 none x\n81 none x\n").unwrap();
    let file = file.to_str().unwrap();
    let all = run(&["--explain", "192.0.2.1", "--cfgfile", file]);
    assert_eq!(
        all.output, "80: admit, no rule is about it\n81: admit, no rule is about it\n",
        "{}",
        all.errors
    );
    let one = run(&["--explain", "::1", "--cfgfile", file, "--service", "81"]);
    assert_eq!((one.code, &*one.output), (Some(0), "81: admit, no rule is about it\n"));
    let none = run(&["--explain", "::1", "--cfgfile", file, "--service", "82"]);
    assert_eq!(none.code, Some(66), "{}", none.errors);
}
