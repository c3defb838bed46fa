//! A running wininetd, its log as events.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::system::Interrupt;
use crate::{Client, LIMIT, probe_path, wininetd};

/// What a daemon is started with.
#[derive(Debug)]
pub struct Builder {
    folder: TempDir,
    command: Command,
    debug: bool,
}

/// A daemon that serves. Ended when dropped.
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
    /// What is not JSON: errors, panics.
    other: String,
    ended: bool,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

impl Finished {
    /// The events of this name among what it said.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.errors.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|event| event["event"] == name).collect()
    }
}

/// The text of a native file, with the probe in the place of `@`.
pub(crate) fn native(text: &str) -> String {
    as_the_server(&text.replace('@', &probe_path().display().to_string()))
}

/// A native file whose services run as the server if they name no account.
/// As root the file has to say so.
pub fn as_the_server(text: &str) -> String {
    const USER: &str = "user = 'none'\n";
    match text.split_once("[defaults]\n") {
        Some((before, after)) => {
            let own = after.split("\n[").next().unwrap_or(after);
            let user = if own.lines().any(|line| line.starts_with("user")) { "" } else { USER };
            format!("{before}[defaults]\n{user}{after}")
        }
        // At its end: places of errors stay as they are.
        None => format!("{text}\n[defaults]\n{USER}"),
    }
}

/// The control channel of a daemon with this folder.
fn control(folder: &Path) -> String {
    if cfg!(windows) {
        let name = folder.file_name().expect("a folder's name").to_string_lossy().replace('.', "");
        format!(r"\\.\pipe\ProtectedPrefix\Administrators\wininetd\{name}")
    } else {
        folder.join("control.sock").display().to_string()
    }
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Finished {
    run_with_input(arguments, "")
}

/// Runs the program to its end, with this on a pipe as its input.
pub fn run_with_input(arguments: &[&str], input: &str) -> Finished {
    run_program(&wininetd(), arguments, input)
}

/// Runs a copy of the program to its end.
pub(crate) fn run_program(program: &Path, arguments: &[&str], input: &str) -> Finished {
    use std::io::Write;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("wininetd runs");
    // It may have ended already, without reading.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("its end");
    Finished {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Builder {
    /// A daemon for these lines of a classic file.
    pub fn new(lines: &[String]) -> Self {
        Builder::of_bytes((lines.join("\n") + "\n").as_bytes())
    }

    /// A daemon for a file of these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Builder::of_file("wininetd.conf", bytes)
    }

    fn of_file(name: &str, bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let config = folder.path().join(name);
        std::fs::write(&config, bytes).expect("the configuration file");
        let mut command = Command::new(wininetd());
        // A channel of its own: other daemons run beside it.
        command.args(["--log-format", "json", "--control", &control(folder.path()), "--cfgfile"]).arg(config);
        Builder { folder, command, debug: true }
    }

    /// A daemon for what its arguments say, without a file.
    pub fn without_file(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut command = Command::new(wininetd());
        command.args(["--log-format", "json"]).args(arguments);
        Builder { folder, command, debug: true }
    }

    /// A daemon for a native file. `@` in the text stands for the probe's path, as
    /// a part of a literal string. Services without `user` get `none`.
    pub fn native(text: &str) -> Self {
        Builder::of_file("wininetd.toml", native(text).as_bytes())
    }

    /// As a service manager starts it, without a verb.
    pub fn without_verb(mut self) -> Self {
        self.debug = false;
        self
    }

    /// With more arguments.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Started by another program that ends in it, such as `setpriv …`.
    pub fn through(mut self, starter: &[&str]) -> Self {
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).arg(self.command.get_program()).args(self.command.get_args());
        self.command = command;
        self
    }

    /// Another copy of the program.
    pub fn of_binary(mut self, path: &Path) -> Self {
        let mut command = Command::new(path);
        command.args(self.command.get_args());
        self.command = command;
        self
    }

    /// With a variable in its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With the command changed as the system allows.
    pub fn command(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    /// The folder of the configuration file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it without waiting for anything.
    pub fn launch(self) -> Daemon {
        self.launch_with(false)
    }

    /// Starts it, and closes its log's other end once it serves.
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

    /// Starts it and waits until it serves.
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

    /// Waits until `find` finds what it wants.
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
    /// The first event of this name for which `wanted` is true, once it is there.
    pub fn event(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.log.wait(name, |lines| {
            lines.events.iter().find(|event| event["event"] == name && wanted(event)).cloned()
        })
    }

    /// The record of the client with this port, once it is there.
    pub fn record(&self, client_port: u16) -> Value {
        let ending = format!(":{client_port}");
        self.event("session", |event| event["peer"].as_str().is_some_and(|peer| peer.ends_with(&ending)))
    }

    /// All records, once there are this many.
    pub fn records(&self, count: usize) -> Vec<Value> {
        self.log.wait(&format!("{count} records"), |lines| {
            let records: Vec<_> =
                lines.events.iter().filter(|event| event["event"] == "session").cloned().collect();
            (records.len() >= count).then_some(records)
        })
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Value> {
        self.log.lines.lock().expect("the log").events.clone()
    }

    /// All text so far.
    pub fn text(&self) -> String {
        let lines = self.log.lines.lock().expect("the log");
        lines.events.iter().map(|event| format!("{event}\n")).collect::<String>() + &lines.other
    }

    /// The first line that is not JSON and has this in it, once it is there.
    pub fn text_line(&self, part: &str) -> String {
        self.log.wait(part, |lines| lines.other.lines().find(|line| line.contains(part)).map(str::to_owned))
    }

    /// What the service says once it serves: one that is paused turns clients
    /// away, and comes back by itself.
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

    /// Waits for a moment or the end of its log: between tries of what has no
    /// event of its own.
    pub fn wait_a_moment(&self) {
        let lines = self.log.lines.lock().expect("the log");
        let moment = Duration::from_millis(100);
        drop(self.log.changed.wait_timeout_while(lines, moment, |lines| !lines.ended).expect("the log"));
    }

    /// Whether it has ended, as far as its log says.
    pub fn has_ended(&self) -> bool {
        self.log.lines.lock().expect("the log").ended
    }

    /// Waits for two seconds, one after the other, that each use less than this part of a
    /// processor.
    ///
    /// The first seconds may hold work that is nearly done; a busy machine makes them many.
    /// A server that spins, or that wakes again and again, has no two such seconds in thirty.
    #[track_caller]
    pub fn uses_less_than(&self, part: f64) {
        let mut loads: Vec<f64> = Vec::new();
        while loads.len() < 30 {
            loads.push(self.load());
            if loads.len() > 1 && loads.iter().rev().take(2).all(|&load| load < part) {
                return;
            }
        }
        panic!("it goes on using {part} of a processor or more: {loads:?}\n{}", self.text());
    }

    /// The part of a processor that it uses in about a second from now.
    fn load(&self) -> f64 {
        let (began, before) = (Instant::now(), crate::processor_time(self.pid()));
        let second = Duration::from_secs(1);
        let lines = self.log.lines.lock().expect("the log");
        drop(self.log.changed.wait_timeout_while(lines, second, |lines| !lines.ended).expect("the log"));
        (crate::processor_time(self.pid()) - before).as_secs_f64() / began.elapsed().as_secs_f64()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes another native file in the place of its own. (Nothing is read before
    /// it is told.)
    pub fn rewrite(&self, text: &str) {
        let path = self.file("wininetd.toml");
        let new = self.file("wininetd.new");
        std::fs::write(&new, native(text)).expect("the configuration file");
        std::fs::rename(new, path).expect("the configuration file");
    }

    /// Asks it over its control channel.
    pub fn ask(&self, arguments: &[&str]) -> Finished {
        let control = control(self.folder.path());
        run(&[&["--control", &*control], arguments].concat())
    }

    /// Reads its files again, which is to succeed.
    pub fn reload(&self) -> Finished {
        let finished = self.ask(&["--reload"]);
        assert_eq!(finished.code, Some(0), "{}", finished.errors);
        finished
    }

    /// Reads its files again, asked over its channel without a program for it.
    pub fn reload_quickly(&self) {
        let answer = crate::channel::exchange(&self.control(), br#"{"version":1,"request":"reload"}"#);
        assert!(answer.contains("reloaded"), "{answer}");
    }

    /// What `--status --json` says.
    pub fn status(&self) -> Value {
        let finished = self.ask(&["--status", "--json"]);
        assert_eq!(finished.code, Some(0), "{}", finished.errors);
        serde_json::from_str(&finished.output).expect("JSON")
    }

    /// The status of one service.
    pub fn service(&self, name: &str) -> Value {
        let status = self.status();
        let services = status["services"].as_array().expect("services");
        services.iter().find(|service| service["name"] == name).expect("the service").clone()
    }

    /// Waits until so many programs of a service wait for their clients.
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

    /// The path of its control channel.
    pub fn control(&self) -> String {
        control(self.folder.path())
    }

    /// A file in the folder of its configuration.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asks it to stop, as a person at its console would.
    pub fn request_stop(&self) {
        self.interrupt.send(&self.child);
    }

    /// Waits for its end; its exit code, and everything that it said.
    pub fn finish(mut self) -> Finished {
        self.log.wait("end", |lines| lines.ended.then_some(()));
        let status = self.child.wait().expect("its end");
        Finished { code: status.code(), output: String::new(), errors: self.text() }
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(self) -> Finished {
        self.request_stop();
        self.finish()
    }

    /// Asks it to stop, and reads a file once it has.
    pub fn stop_and_read(mut self, path: &Path) -> (Finished, String) {
        self.request_stop();
        self.log.wait("end", |lines| lines.ended.then_some(()));
        let status = self.child.wait().expect("its end");
        let text = std::fs::read_to_string(path).expect("the file");
        (Finished { code: status.code(), output: String::new(), errors: self.text() }, text)
    }

    /// Waits for its end without its log.
    pub fn exit_code(mut self) -> Option<i32> {
        self.child.wait().expect("its end").code()
    }

    /// Ends it as a crash would.
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
