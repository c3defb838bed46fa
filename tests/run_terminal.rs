//! `--run` at a terminal gives the program its own terminal. The program cannot reach the terminal
//! of its caller.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::io::Write;
use std::process::{Command, Stdio};

use testkit::{Gate, Terminal, as_the_server, probe_path, wininetd, with_default_signals};

struct Service {
    folder: tempfile::TempDir,
}

impl Service {
    fn new(command: &[&str]) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[service.a]\nlisten = 7001\ncommand = {command:?}\n");
        std::fs::write(folder.path().join("w.toml"), as_the_server(&text)).unwrap();
        Service { folder }
    }

    fn probe(what: &[&str]) -> Service {
        Service::new(&[&[probe_path().to_str().unwrap()], what].concat())
    }

    fn shell(script: &str) -> Service {
        Service::new(&["/bin/sh", "-c", script])
    }

    fn command(&self) -> Command {
        let mut command = Command::new(wininetd());
        command.args(["--run", "a", "--cfgfile"]).arg(self.folder.path().join("w.toml"));
        command
    }

    /// A shell with this script, in which `$RUN` runs the service.
    fn in_shell(&self, script: &str) -> Command {
        let config = self.folder.path().join("w.toml");
        let run = format!("'{}' --run a --cfgfile '{}'", wininetd().display(), config.display());
        let mut command = Command::new("bash");
        command.args(["-c", &script.replace("$RUN", &run)]);
        command
    }
}

#[test]
fn the_program_has_a_terminal_of_its_own() {
    let terminal = Terminal::new();
    let service =
        Service::shell("tty; test -t 0 && test -t 1 && test -t 2 && echo all; (: </dev/tty) && echo own");
    let mut run = terminal.start(&mut service.command());
    let name = terminal.shows("\r\n");
    assert!(name.starts_with("/dev/"), "{name}");
    assert_ne!(name, terminal.name());
    terminal.shows("all\r\nown\r\n");
    assert_eq!(run.wait().unwrap().code(), Some(0));
}

/// With TIOCSTI the program could type commands into the caller's shell.
#[test]
fn program_cannot_insert_input_at_the_callers_terminal() {
    let terminal = Terminal::new();
    let service = Service::probe(&["insert", "inserted\n"]);
    let mut shell = terminal.start(&mut service.in_shell("$RUN; echo ready; read -r line; echo \"<$line>\""));
    terminal.shows("ready\r\n");
    terminal.types("typed\n");
    terminal.shows("<typed>\r\n");
    assert_eq!(shell.wait().unwrap().code(), Some(0));
}

#[test]
fn leftover_process_reads_no_terminal_input() {
    let (terminal, gate) = (Terminal::new(), Gate::new());
    let service = Service::probe(&["adrift-reader", &gate.address()]);
    let mut shell = service.in_shell("$RUN; echo ready; read -r line; echo \"<$line>\"");
    // In a cgroup the process would end with the program.
    let mut shell = terminal.start(shell.env("WININETD_TEST_NO_CGROUPS", "1"));
    let reader = gate.visitor();
    terminal.shows("ready\r\n");
    terminal.types("secret\n");
    terminal.shows("<secret>\r\n");
    assert_eq!(shell.wait().unwrap().code(), Some(0));
    assert_eq!(reader.tells(), "");
}

#[test]
fn terminal_input_reaches_the_program() {
    let terminal = Terminal::new();
    let service = Service::shell("read -r line; echo \"<$line>\"; cat");
    let mut run = terminal.start(&mut service.command());
    terminal.types("first\n");
    terminal.shows("<first>\r\n");
    terminal.types("second\n");
    // The terminal of the program echoes the line, then the program writes it.
    terminal.shows("second\r\nsecond\r\n");
    terminal.types("\u{4}");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert!(terminal.is_cooked());
}

#[test]
fn all_of_a_long_output_is_shown() {
    let terminal = Terminal::new();
    let service = Service::shell("seq 1 20000; exit 5");
    let mut run = terminal.start(&mut service.command());
    let shown = terminal.shows("\r\n20000\r\n");
    assert_eq!(shown.lines().count(), 19_999);
    assert_eq!(run.wait().unwrap().code(), Some(5));
}

#[test]
fn an_interrupt_key_reaches_the_program_alone() {
    let (terminal, gate) = (Terminal::new(), Gate::new());
    let service = Service::probe(&["gate", &gate.address()]);
    let mut run = terminal.start(&mut service.command());
    let program = gate.visitor();
    terminal.types("\u{3}");
    program.wait_gone();
    assert_eq!(run.wait().unwrap().code(), Some(128 + libc::SIGINT));
    assert!(terminal.is_cooked());
}

/// The signal reaches only the caller's process, as Ctrl-C does if the input is a pipe.
#[test]
fn an_interrupt_signal_is_passed_on_to_the_program() {
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        let gate = Gate::new();
        let service = Service::probe(&["gate", &gate.address()]);
        let mut command = service.command();
        let mut run = with_default_signals(&mut command).stdin(Stdio::null()).spawn().unwrap();
        let program = gate.visitor();
        // SAFETY: no pointers. The process is a child of the test and not reaped.
        unsafe { libc::kill(libc::pid_t::try_from(run.id()).unwrap(), signal) };
        program.wait_gone();
        assert_eq!(run.wait().unwrap().code(), Some(128 + signal));
    }
}

#[test]
fn the_terminal_is_as_before_after_a_kill_of_the_program() {
    let terminal = Terminal::new();
    let service = Service::shell("echo ready; read -r line; kill -KILL $$");
    let mut run = terminal.start(&mut service.command());
    terminal.shows("ready\r\n");
    // The relay has switched the caller's terminal to raw mode by now.
    terminal.types("x\n");
    assert_eq!(run.wait().unwrap().code(), Some(128 + libc::SIGKILL));
    assert!(terminal.is_cooked());
}

#[test]
fn the_terminal_is_as_before_after_a_request_to_end() {
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let (terminal, gate) = (Terminal::new(), Gate::new());
        let service = Service::probe(&["gate", &gate.address()]);
        let mut run = terminal.start(&mut service.command());
        let program = gate.visitor();
        // SAFETY: no pointers. The process is a child of the test and not reaped.
        unsafe { libc::kill(libc::pid_t::try_from(run.id()).unwrap(), signal) };
        program.wait_gone();
        assert_eq!(run.wait().unwrap().code(), Some(128 + libc::SIGTERM));
        assert!(terminal.is_cooked());
    }
}

#[test]
fn a_closed_terminal_ends_the_program() {
    let (terminal, gate) = (Terminal::new(), Gate::new());
    let service = Service::probe(&["gate", &gate.address()]);
    let mut run = terminal.start(&mut service.command());
    let program = gate.visitor();
    // SAFETY: no pointers. The process is a child of the test and not reaped.
    unsafe { libc::kill(libc::pid_t::try_from(run.id()).unwrap(), libc::SIGKILL) };
    program.wait_gone();
    run.wait().unwrap();
}

#[test]
fn the_program_has_the_size_of_the_callers_terminal() {
    let terminal = Terminal::new();
    terminal.resize(31, 101);
    let script = "stty size; trap 'stty size; exit 4' WINCH; echo ready; sleep 60 & wait";
    let service = Service::shell(script);
    let mut run = terminal.start(&mut service.command());
    terminal.shows("31 101\r\n");
    terminal.shows("ready\r\n");
    terminal.resize(32, 102);
    terminal.shows("32 102\r\n");
    assert_eq!(run.wait().unwrap().code(), Some(4));
}

#[test]
fn a_stopped_program_gives_the_terminal_back_until_fg() {
    let terminal = Terminal::new();
    let script = "set -m; $RUN; echo \"stopped $?\"; read -r line; echo \"<$line>\"; fg; echo \"ended $?\"";
    let service = Service::shell("echo ready; exec cat");
    let mut shell = terminal.start(&mut service.in_shell(script));
    terminal.shows("ready\r\n");
    terminal.types("first\n");
    terminal.shows("first\r\nfirst\r\n");
    terminal.types("\u{1a}");
    terminal.shows(&format!("stopped {}\r\n", 128 + libc::SIGTSTP));
    assert!(terminal.is_cooked());
    terminal.types("shell\n");
    terminal.shows("<shell>\r\n");
    terminal.types("again\n");
    terminal.shows("again\r\nagain\r\n");
    terminal.types("\u{4}");
    terminal.shows("ended 0\r\n");
    assert_eq!(shell.wait().unwrap().code(), Some(0));
}

#[test]
fn a_job_in_the_background_leaves_the_keys_to_the_shell() {
    let terminal = Terminal::new();
    let script = "set -m; $RUN & read -r line; echo \"<$line>\"; fg; echo \"ended $?\"";
    let service = Service::shell("echo ready; read -r line; echo \"[$line]\"");
    let mut shell = terminal.start(&mut service.in_shell(script));
    // Both terminals add a carriage return here, which has no effect.
    terminal.shows("ready\r\r\n");
    assert!(terminal.is_cooked());
    terminal.types("shell\n");
    terminal.shows("<shell>\r\n");
    terminal.types("program\n");
    terminal.shows("[program]\r\n");
    terminal.shows("ended 0\r\n");
    assert_eq!(shell.wait().unwrap().code(), Some(0));
}

#[test]
fn a_piped_input_stays_a_pipe() {
    let terminal = Terminal::new();
    let service = Service::shell("cat; test -t 0 || echo pipe; test -t 1 && echo terminal");
    let mut run = terminal.start_with_input(&mut service.command(), Stdio::piped());
    run.stdin.take().unwrap().write_all(b"piped\n").unwrap();
    terminal.shows("piped\r\npipe\r\nterminal\r\n");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert!(terminal.is_cooked());
}

#[test]
fn program_without_terminal_streams_has_no_terminal() {
    let terminal = Terminal::new();
    let service = Service::shell("(: </dev/tty) 2>/dev/null || echo none");
    let script = "$RUN </dev/null 2>/dev/null | cat";
    let mut shell = terminal.start(&mut service.in_shell(script));
    terminal.shows("none\r\n");
    assert_eq!(shell.wait().unwrap().code(), Some(0));
}

#[cfg(all(target_os = "linux", not(portable_unix)))]
#[test]
fn jobs_of_the_program_end_with_it() {
    let (terminal, gate) = (Terminal::new(), Gate::new());
    let script = format!("set -m; '{}' gate {} & read -r line", probe_path().display(), gate.address());
    let service = Service::new(&["bash", "-c", &script]);
    let mut run = terminal.start(&mut service.command());
    let job = gate.visitor();
    terminal.types("\n");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    job.wait_gone();
}

/// The account owns the terminal, so the program can open it by name.
#[test]
fn the_terminal_belongs_to_the_account_of_the_program() {
    if !testkit::has_all_rights() {
        return;
    }
    let terminal = Terminal::new();
    let service = Service::shell("(: >\"$(tty)\") && id -un");
    let file = service.folder.path().join("w.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("'none'", "'nobody'")).unwrap();
    let mut run = terminal.start(&mut service.command());
    terminal.shows("nobody\r\n");
    assert_eq!(run.wait().unwrap().code(), Some(0));
}
