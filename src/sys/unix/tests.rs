//! Real programs on a real connection: limits, streams, termination.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use super::super::attempt::Attempt;
use super::super::{ErrorStream, SpawnError, Start, Stdio};
use super::account::{Account, parse_credentials};
use super::child::Child;
use super::limits::processes_fault;
use super::net::Listener;
use super::spawn::spawn;
use crate::model::command_line::CommandLine;
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;
use crate::model::limits::Limits;
use crate::model::listen::Address;
use crate::model::listen::ListenOptions;

const LIMIT: Duration = Duration::from_secs(30);

struct Session {
    child: Child,
    client: TcpStream,
    _script: tempfile::NamedTempFile,
}

async fn started(script: &str, limits: Limits, errors: ErrorStream<'_>) -> Result<Session, SpawnError> {
    started_as(None, script, limits, errors).await
}

async fn started_as(
    account: Option<&Account>,
    script: &str,
    limits: Limits,
    errors: ErrorStream<'_>,
) -> Result<Session, SpawnError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(script.as_bytes()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).unwrap();
    let command = CommandLine::line(format!("/bin/sh {}", file.path().display()));
    let any = Address::Tcp("127.0.0.1:0".parse().unwrap());
    let listener = Listener::bind(&any, &ListenOptions::default()).unwrap();
    let Address::Tcp(address) = listener.local_addr().unwrap() else { unreachable!() };
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    listener.readable().await.unwrap();
    let (socket, _) = listener.accept().unwrap().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let child = spawn(&Start {
        command: &command,
        directory: Path::new("/"),
        environment: &[("PATH".into(), path)],
        account,
        stdio: Stdio::Connection(&socket),
        errors,
        limits: &limits,
        attempt: &Attempt::new(),
    })?;
    Ok(Session { child, client, _script: file })
}

impl Session {
    async fn of(script: &str, limits: Limits) -> Session {
        started(script, limits, ErrorStream::Output).await.unwrap()
    }

    fn text(&mut self) -> String {
        let mut text = String::new();
        self.client.read_to_string(&mut text).unwrap();
        text
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.client.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    async fn exit(&mut self) -> ExitStatus {
        tokio::time::timeout(LIMIT, self.child.wait(Leftovers::End)).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn standard_error_goes_to_the_client_or_nowhere() {
    let script = "echo seen; echo unseen >&2; echo wrong >&3";
    for (errors, expected) in [(ErrorStream::Output, true), (ErrorStream::Nowhere, false)] {
        let mut session = started(script, Limits::default(), errors).await.unwrap();
        session.exit().await;
        let text = session.text();
        assert!(text.starts_with("seen\n"), "{text}");
        assert_eq!(text.contains("unseen"), expected, "{text}");
        assert!(!text.contains("wrong"), "{text}");
    }
}

#[tokio::test]
async fn program_cannot_raise_its_own_limits() {
    let limits = Limits {
        memory: Some(64 << 20),
        processes: None,
        cpu_time: Some(Duration::from_millis(1500)),
        open_files: Some(20),
    };
    let script = "ulimit -d; ulimit -Hd; ulimit -n; ulimit -Hn; ulimit -t; ulimit -Ht";
    let mut session = Session::of(script, limits).await;
    session.exit().await;
    assert_eq!(session.text(), "65536\n65536\n20\n20\n2\n3\n");
}

#[tokio::test]
async fn a_program_that_burns_its_processor_time_is_ended() {
    let limits = Limits { cpu_time: Some(Duration::from_secs(1)), ..Limits::default() };
    let mut session = Session::of("while :; do :; done", limits).await;
    assert_eq!(session.exit().await, ExitStatus::Signal(libc::SIGXCPU));
}

#[tokio::test]
async fn a_program_that_is_asked_to_end_may_end_in_its_own_way() {
    let script = "trap 'echo bye; exit 7' TERM; echo ready; read word";
    let mut session = Session::of(script, Limits::default()).await;
    assert_eq!(session.line(), "ready");
    assert!(session.child.ask_to_end());
    assert_eq!(session.exit().await, ExitStatus::Code(7));
    assert_eq!(session.text(), "bye\n");
    assert!(!session.child.ask_to_end());
}

/// A shell with job control gives each job its own process group.
#[cfg(all(target_os = "linux", not(portable_unix)))]
#[tokio::test]
async fn all_process_groups_of_a_session_are_asked_to_end() {
    let script = r#"exec bash <<'END'
        set -m
        trap 'wait; echo first; exit' TERM
        sh -c 'trap "echo other; exit" TERM; echo ready; read word <&1' &
        while :; do wait; done
END
"#;
    let mut session = Session::of(script, Limits::default()).await;
    assert_eq!(session.line(), "ready");
    assert!(session.child.ask_to_end());
    session.exit().await;
    assert_eq!(session.text(), "other\nfirst\n");
}

#[tokio::test]
async fn program_that_is_left_keeps_running() {
    let mut session = Session::of("echo ready; read word; echo got $word", Limits::default()).await;
    assert_eq!(session.line(), "ready");
    session.child.leave();
    session.client.write_all(b"word\n").unwrap();
    let mut text = String::new();
    session.client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "got word\n");
}

#[tokio::test]
async fn a_program_that_is_dropped_is_ended() {
    let session = Session::of("echo ready; read word", Limits::default()).await;
    let Session { child, mut client, .. } = session;
    drop(child);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(["", "ready\n"].contains(&&*text), "{text}");
}

#[tokio::test]
async fn configured_group_replaces_the_group_of_the_account() {
    if !super::process::is_privileged() {
        return;
    }
    let mut credentials = parse_credentials("daemon", None, "s").unwrap();
    credentials.group = Some("nogroup".to_owned());
    let account = Account::take(&credentials).unwrap();
    let script = "id -un; id -gn; id -Gn";
    let session = started_as(Some(&account), script, Limits::default(), ErrorStream::Output).await;
    let mut session = session.unwrap();
    session.exit().await;
    assert_eq!(session.text(), "daemon\nnogroup\nnogroup\n");
}

#[cfg(all(target_os = "linux", not(portable_unix)))]
fn left_over() -> Vec<String> {
    let home = super::cgroup_home::Home::find(super::cgroup_home::Controller::Pids).unwrap();
    let names = std::fs::read_dir(home.folder).unwrap().flatten().map(|entry| entry.file_name());
    let ours = format!("wininetd-{}-", std::process::id());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(&ours)).collect()
}

#[cfg(all(target_os = "linux", not(portable_unix)))]
#[tokio::test]
async fn session_cannot_exceed_its_process_limit() {
    if let Some(why) = processes_fault() {
        println!("not tried: {why}");
        return;
    }
    let _alone = CGROUPS.lock().await;
    let limits = Limits { processes: Some(3), ..Limits::default() };
    // The shell, two processes within the limit, and one beyond it.
    let script = "sleep 1000 & sleep 1000 & echo two; sleep 1000 & echo three";
    let mut session = Session::of(script, limits).await;
    assert_ne!(session.exit().await, ExitStatus::Code(0));
    let text = session.text();
    assert!(text.starts_with("two\n") && !text.contains("three"), "{text}");
    drop(session);
    let mut session = Session::of("setsid sleep 1000 & echo $!; cat", limits).await;
    session.line();
    session.client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(session.exit().await, ExitStatus::Code(0));
    // Not even the process that called setsid holds the connection.
    assert_eq!(session.text(), "");
    assert_eq!(left_over(), Vec::<String>::new());
    // Dropping a session kills such a process too. Later sessions remove a cgroup that was not
    // empty.
    let session = Session::of("setsid sleep 1000 & echo ready; read word", limits).await;
    let Session { child, mut client, .. } = session;
    drop(child);
    let _ = client.read_to_end(&mut Vec::new());
    for _ in 0..100 {
        // The kernel takes a moment after it has closed the connection.
        super::child::stuck();
        Session::of("", limits).await.exit().await;
        if left_over().is_empty() {
            return;
        }
    }
    panic!("still there: {:?}", left_over());
}

/// The limit stays with leftover processes, and their cgroup goes when they end.
#[cfg(all(target_os = "linux", not(portable_unix)))]
#[tokio::test]
async fn leftover_processes_keep_their_process_limit() {
    if let Some(why) = processes_fault() {
        println!("not tried: {why}");
        return;
    }
    let _alone = CGROUPS.lock().await;
    let limits = Limits { processes: Some(3), ..Limits::default() };
    // A shell gives background processes no standard input, so the script copies it to descriptor
    // 3.
    let script = "exec 3<&0; cat <&3 & echo ready";
    let mut session = Session::of(script, limits).await;
    assert_eq!(session.line(), "ready");
    let exit = tokio::time::timeout(LIMIT, session.child.wait(Leftovers::Leave)).await.unwrap().unwrap();
    assert_eq!(exit, ExitStatus::Code(0));
    assert_eq!(left_over().len(), 1);
    session.client.write_all(b"still there\n").unwrap();
    assert_eq!(session.line(), "still there");
    session.client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(session.text(), "");
    for _ in 0..100 {
        super::child::stuck();
        Session::of("", limits).await.exit().await;
        if left_over().is_empty() {
            return;
        }
    }
    panic!("still there: {:?}", left_over());
}

/// Tests that count the cgroups of this process run one at a time.
#[cfg(all(target_os = "linux", not(portable_unix)))]
static CGROUPS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[tokio::test]
async fn limit_that_cannot_be_enforced_is_an_error() {
    let limits = Limits { processes: Some(3), ..Limits::default() };
    let error = started("echo ran", limits, ErrorStream::Output).await.err().unwrap();
    assert_eq!((error.step.name(), Some(error.cause)), ("limits", processes_fault()));
}
