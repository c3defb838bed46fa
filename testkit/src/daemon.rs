//! A running wininetd whose log is available as events.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::system::Interrupt;
use crate::{Client, LIMIT, probe_path, wininetd};

#[derive(Debug)]
pub struct Builder {
    folder: TempDir,
    command: Command,
    debug: bool,
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Arc<Log>,
    interrupt: Interrupt,
    folder: TempDir,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    events: Vec<Value>,
    /// Lines that are not JSON, such as errors and panics.
    other: String,
    ended: bool,
}

#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Finished {
    pub fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.errors.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|event| event["event"] == name).collect()
    }
}

/// The text of a native file, with the probe's path for each `@`.
pub(crate) fn native(text: &str) -> String {
    as_the_server(&text.replace('@', &probe_path().display().to_string()))
}

/// Adds `user = 'none'` to a native file whose `[defaults]` name no user, so that services run as
/// the server. A server that runs as root requires a `user`.
pub fn as_the_server(text: &str) -> String {
    const USER: &str = "user = 'none'\n";
    match text.split_once("[defaults]\n") {
        Some((before, after)) => {
            let own = after.split("\n[").next().unwrap_or(after);
            let user = if own.lines().any(|line| line.starts_with("user")) { "" } else { USER };
            format!("{before}[defaults]\n{user}{after}")
        }
        // Appended, so that the positions of errors do not change.
        None => format!("{text}\n[defaults]\n{USER}"),
    }
}

fn control(folder: &Path) -> String {
    if cfg!(windows) {
        let name = folder.file_name().expect("a folder's name").to_string_lossy().replace('.', "");
        format!(r"\\.\pipe\ProtectedPrefix\Administrators\wininetd\{name}")
    } else {
        folder.join("control.sock").display().to_string()
    }
}

pub fn run(arguments: &[&str]) -> Finished {
    run_with_input(arguments, "")
}

pub fn run_with_input(arguments: &[&str], input: &str) -> Finished {
    run_program(&wininetd(), arguments, input)
}

pub(crate) fn run_program(program: &Path, arguments: &[&str], input: &str) -> Finished {
    use std::io::Write;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("wininetd runs");
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("its end");
    Finished {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Builder {
    pub fn new(lines: &[String]) -> Self {
        Builder::of_bytes((lines.join("\n") + "\n").as_bytes())
    }

    pub fn of_bytes(bytes: &[u8]) -> Self {
        Builder::of_file("wininetd.conf", bytes)
    }

    fn of_file(name: &str, bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let config = folder.path().join(name);
        std::fs::write(&config, bytes).expect("the configuration file");
        let mut command = Command::new(wininetd());
        // Other daemons run at the same time.
        command.args(["--log-format", "json", "--control", &control(folder.path()), "--cfgfile"]).arg(config);
        Builder { folder, command, debug: true }
    }

    pub fn without_file(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut command = Command::new(wininetd());
        command.args(["--log-format", "json"]).args(arguments);
        Builder { folder, command, debug: true }
    }

    /// A daemon for a native file. Each `@` in the text becomes the probe's path, so it belongs in
    /// a literal string. Services without `user` get `none`.
    pub fn native(text: &str) -> Self {
        Builder::of_file("wininetd.toml", native(text).as_bytes())
    }

    /// Starts without `--debug`, as a service manager starts it.
    pub fn without_verb(mut self) -> Self {
        self.debug = false;
        self
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Starts through another program that executes wininetd, such as `setpriv …`.
    pub fn through(mut self, starter: &[&str]) -> Self {
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).arg(self.command.get_program()).args(self.command.get_args());
        self.command = command;
        self
    }

    /// Runs this copy of wininetd instead of the built one.
    pub fn of_binary(mut self, path: &Path) -> Self {
        let mut command = Command::new(path);
        command.args(self.command.get_args());
        self.command = command;
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// On Linux the server makes no cgroups then, as where it may not.
    pub fn without_cgroups(self) -> Self {
        self.variable("WININETD_TEST_NO_CGROUPS", "1")
    }

    pub fn command(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn launch(self) -> Daemon {
        self.launch_with(false)
    }

    /// Starts the daemon and closes the read end of its log after `ready`.
    pub fn deaf_after_ready(self) -> Daemon {
        let daemon = self.launch_with(true);
        daemon.event("ready", |_| true);
        daemon
    }

    fn launch_with(mut self, deaf: bool) -> Daemon {
        if self.debug {
            self.command.arg("--debug");
        }
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let interrupt = Interrupt::of(&mut self.command);
        let mut child = crate::system::start(&mut self.command).expect("wininetd starts");
        let errors = child.stderr.take().expect("its standard error");
        let log = Arc::new(Log::default());
        let reader = log.clone();
        std::thread::spawn(move || reader.read(errors, deaf));
        Daemon { child, log, interrupt, folder: self.folder }
    }

    pub fn start(self) -> Daemon {
        let daemon = self.launch();
        daemon.event("ready", |_| true);
        daemon
    }
}

impl Log {
    fn read(&self, errors: impl Read, deaf_after_ready: bool) {
        for line in BufReader::new(errors).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            let mut lines = self.lines.lock().expect("the log");
            match serde_json::from_str::<Value>(&line) {
                Ok(event) if event.is_object() => {
                    let ready = event["event"] == "ready";
                    lines.events.push(event);
                    if ready && deaf_after_ready {
                        break;
                    }
                }
                _ => lines.other.push_str(&format!("{line}\n")),
            }
            drop(lines);
            self.changed.notify_all();
        }
        self.lines.lock().expect("the log").ended = true;
        self.changed.notify_all();
    }

    /// Waits until `find` returns a value. Panics after the limit or at the end of the log.
    fn wait<T>(&self, what: &str, mut find: impl FnMut(&Lines) -> Option<T>) -> T {
        let until = Instant::now() + LIMIT;
        let mut lines = self.lines.lock().expect("the log");
        loop {
            if let Some(found) = find(&lines) {
                return found;
            }
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() || lines.ended {
                let events: String = lines.events.iter().map(|event| format!("{event}\n")).collect();
                panic!("no {what} in the log:\n{events}{}", lines.other);
            }
            lines = self.changed.wait_timeout(lines, rest).expect("the log").0;
        }
    }
}

impl Daemon {
    /// Waits for the first event of this name for which `wanted` is true.
    pub fn event(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.log.wait(name, |lines| {
            lines.events.iter().find(|event| event["event"] == name && wanted(event)).cloned()
        })
    }

    pub fn record(&self, client_port: u16) -> Value {
        let ending = format!(":{client_port}");
        self.event("session", |event| event["peer"].as_str().is_some_and(|peer| peer.ends_with(&ending)))
    }

    pub fn records(&self, count: usize) -> Vec<Value> {
        self.log.wait(&format!("{count} records"), |lines| {
            let records: Vec<_> =
                lines.events.iter().filter(|event| event["event"] == "session").cloned().collect();
            (records.len() >= count).then_some(records)
        })
    }

    pub fn events(&self) -> Vec<Value> {
        self.log.lines.lock().expect("the log").events.clone()
    }

    pub fn text(&self) -> String {
        let lines = self.log.lines.lock().expect("the log");
        lines.events.iter().map(|event| format!("{event}\n")).collect::<String>() + &lines.other
    }

    pub fn text_line(&self, part: &str) -> String {
        self.log.wait(part, |lines| lines.other.lines().find(|line| line.contains(part)).map(str::to_owned))
    }

    /// The text that the service sends once it serves again. A paused service refuses clients until
    /// its pause ends.
    pub fn says_again(&self, port: u16) -> String {
        let until = Instant::now() + LIMIT;
        loop {
            let text = Client::connect(port).read_until_gone();
            if !text.is_empty() {
                return String::from_utf8(text).expect("text");
            }
            assert!(Instant::now() < until, "not served again:\n{}", self.text());
            self.wait_a_moment();
        }
    }

    /// Waits 100 ms, or until the log ends, between two attempts at something that has no event.
    pub fn wait_a_moment(&self) {
        let lines = self.log.lines.lock().expect("the log");
        let moment = Duration::from_millis(100);
        drop(self.log.changed.wait_timeout_while(lines, moment, |lines| !lines.ended).expect("the log"));
    }

    /// Whether the log has ended, which normally means that the daemon has exited.
    pub fn has_ended(&self) -> bool {
        self.log.lines.lock().expect("the log").ended
    }

    /// Waits for two seconds in a row that each use less than this share of a processor.
    ///
    /// The first seconds may include work that is nearly done. A server that spins or wakes again
    /// and again has no two such seconds in ten.
    #[track_caller]
    pub fn uses_less_than(&self, part: f64) {
        let mut loads: Vec<f64> = Vec::new();
        while loads.len() < 10 {
            loads.push(self.load());
            if loads.len() > 1 && loads.iter().rev().take(2).all(|&load| load < part) {
                return;
            }
        }
        panic!("it goes on using {part} of a processor or more: {loads:?}\n{}", self.text());
    }

    /// The share of a processor that the daemon uses in about one second from now.
    pub fn load(&self) -> f64 {
        let (began, before) = (Instant::now(), crate::processor_time(self.pid()));
        let second = Duration::from_secs(1);
        let lines = self.log.lines.lock().expect("the log");
        drop(self.log.changed.wait_timeout_while(lines, second, |lines| !lines.ended).expect("the log"));
        (crate::processor_time(self.pid()) - before).as_secs_f64() / began.elapsed().as_secs_f64()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn rewrite(&self, text: &str) {
        let path = self.file("wininetd.toml");
        let new = self.file("wininetd.new");
        std::fs::write(&new, native(text)).expect("the configuration file");
        std::fs::rename(new, path).expect("the configuration file");
    }

    pub fn ask(&self, arguments: &[&str]) -> Finished {
        let control = control(self.folder.path());
        run(&[&["--control", &*control], arguments].concat())
    }

    pub fn reload(&self) -> Finished {
        let finished = self.ask(&["--reload"]);
        assert_eq!(finished.code, Some(0), "{}", finished.errors);
        finished
    }

    /// Reloads over the control channel without running a second wininetd.
    pub fn reload_quickly(&self) {
        let answer = crate::channel::exchange(&self.control(), br#"{"version":1,"request":"reload"}"#);
        assert!(answer.contains("reloaded"), "{answer}");
    }

    pub fn status(&self) -> Value {
        let finished = self.ask(&["--status", "--json"]);
        assert_eq!(finished.code, Some(0), "{}", finished.errors);
        serde_json::from_str(&finished.output).expect("JSON")
    }

    pub fn service(&self, name: &str) -> Value {
        let status = self.status();
        let services = status["services"].as_array().expect("services");
        services.iter().find(|service| service["name"] == name).expect("the service").clone()
    }

    /// Waits until this many warm programs of a service are ready.
    pub fn warm(&self, name: &str, count: u64) {
        let until = Instant::now() + LIMIT;
        loop {
            let service = self.service(name);
            if service["warm"] == count {
                return;
            }
            assert!(Instant::now() < until, "not {count} programs wait: {service}\n{}", self.text());
            self.wait_a_moment();
        }
    }

    pub fn control(&self) -> String {
        control(self.folder.path())
    }

    /// The path of a file in the folder of the configuration.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asks the daemon to stop, as Ctrl-C at its console does.
    pub fn request_stop(&self) {
        self.interrupt.send(&self.child);
    }

    pub fn finish(mut self) -> Finished {
        self.log.wait("end", |lines| lines.ended.then_some(()));
        let status = self.child.wait().expect("its end");
        Finished { code: status.code(), output: String::new(), errors: self.text() }
    }

    pub fn stop(self) -> Finished {
        self.request_stop();
        self.finish()
    }

    /// Stops the daemon and reads a file before the test folder is removed.
    pub fn stop_and_read(mut self, path: &Path) -> (Finished, String) {
        self.request_stop();
        self.log.wait("end", |lines| lines.ended.then_some(()));
        let status = self.child.wait().expect("its end");
        let text = std::fs::read_to_string(path).expect("the file");
        (Finished { code: status.code(), output: String::new(), errors: self.text() }, text)
    }

    /// Waits for the daemon's exit, but not for the end of its log.
    pub fn exit_code(mut self) -> Option<i32> {
        self.child.wait().expect("its end").code()
    }

    pub fn kill(mut self) {
        self.child.kill().expect("its end");
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
