//! Injected failures: a test build lets a call fail at a named point. A client here accepts any
//! answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::{Builder, Daemon};

/// Which calls fail, as `NAME:NUMBER` or `NAME:NUMBER+`.
pub const FAULTS: &str = "WININETD_TEST_FAULTS";
/// The path of the file that receives a line for each pass.
pub const SEEN: &str = "WININETD_TEST_FAULTS_SEEN";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub point: String,
    /// The number of the call at this point, from 1.
    pub number: u32,
    /// Whether all later calls fail as well.
    pub for_ever: bool,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Fault { point, number, for_ever } = self;
        write!(formatter, "{point}:{number}{}", if *for_ever { "+" } else { "" })
    }
}

#[derive(Debug, Default)]
pub struct Seen {
    passes: Vec<(String, u32, bool)>,
}

impl Seen {
    pub fn read(path: &Path) -> Seen {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let passes = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (name, number) = (words.next()?, words.next()?.parse().ok()?);
            Some((name.to_owned(), number, words.next().is_some()))
        });
        Seen { passes: passes.collect() }
    }

    pub fn add(&mut self, point: &str, failed: bool) {
        self.passes.push((point.to_owned(), self.count(point) + 1, failed));
    }

    pub fn count(&self, point: &str) -> u32 {
        self.passes.iter().filter(|(name, ..)| name == point).map(|(_, number, _)| *number).max().unwrap_or(0)
    }

    pub fn failed(&self) -> usize {
        self.passes.iter().filter(|(.., failed)| *failed).count()
    }

    pub fn points(&self) -> Vec<(String, u32)> {
        let mut names: Vec<&String> = self.passes.iter().map(|(name, ..)| name).collect();
        names.sort();
        names.dedup();
        names.into_iter().map(|name| (name.clone(), self.count(name))).collect()
    }
}

impl Builder {
    /// Records all passes in a file, and lets a call fail if a fault is given.
    pub fn with_faults(self, seen: &Path, fault: Option<&Fault>) -> Builder {
        let counted = self.variable(SEEN, &seen.display().to_string());
        match fault {
            Some(fault) => counted.variable(FAULTS, &fault.to_string()),
            None => counted,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// No server accepted the connection.
    Refused,
    /// The bytes that came before the connection was closed or reset.
    Gone(Vec<u8>),
    /// The bytes that came before the client's patience ended. The connection is still open.
    Hangs(Vec<u8>),
}

/// Sends the bytes, half-closes, and reads until the connection is closed or reset.
pub fn ask(port: u16, bytes: &[u8], patience: Duration) -> Answer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, patience) else { return Answer::Refused };
    stream.set_read_timeout(Some(patience)).expect("a read timeout");
    stream.set_write_timeout(Some(patience)).expect("a write timeout");
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Answer::Hangs(answer)
        }
        _ => Answer::Gone(answer),
    }
}

impl Builder {
    pub fn with_native(self, text: &str) -> Builder {
        let text = crate::daemon::native(text);
        std::fs::write(self.folder().join("wininetd.toml"), text).expect("the configuration file");
        self
    }

    /// On Windows, lets each logon succeed as the server's own user.
    pub fn with_own_logon(self) -> Builder {
        if cfg!(windows) { self.variable("WININETD_TEST_LOGON", "own") } else { self }
    }
}

impl Daemon {
    /// The answer to a request over the control channel, or `None` without one.
    pub fn try_ask(&self, request: &[u8], patience: Duration) -> Option<String> {
        let (path, line) = (self.control(), [request, b"\n"].concat());
        imp::exchange(&path, &line, patience)
    }
}

pub use imp::{marked, open_files, takes_identities};

#[cfg(unix)]
mod imp {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// Whether the server can start programs as another user here.
    pub fn takes_identities() -> bool {
        // SAFETY: no preconditions.
        unsafe { libc::geteuid() == 0 }
    }

    pub(super) fn exchange(path: &str, line: &[u8], patience: Duration) -> Option<String> {
        let mut stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        stream.write_all(line).ok()?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        Some(answer)
    }

    /// The processes with this text in their environment.
    pub fn marked(word: &str) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let has = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(word.len()).any(|part| part == word.as_bytes())
        };
        pids.filter(has).collect()
    }

    pub fn open_files(pid: u32) -> String {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let words = entries.map(|entry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            format!("{}={}", entry.file_name().to_string_lossy(), target.display())
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(windows)]
mod imp {
    use std::io::{BufRead, BufReader, Write};
    use std::time::{Duration, Instant};

    /// Test builds have a logon that always succeeds.
    pub fn takes_identities() -> bool {
        true
    }

    pub(super) fn exchange(path: &str, line: &[u8], patience: Duration) -> Option<String> {
        const ERROR_PIPE_BUSY: i32 = 231;
        let until = Instant::now() + patience;
        let mut file = loop {
            match std::fs::OpenOptions::new().read(true).write(true).open(path) {
                Ok(file) => break file,
                Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY) && Instant::now() < until => {
                    std::thread::yield_now();
                }
                Err(_) => return None,
            }
        };
        file.write_all(line).ok()?;
        let mut answer = String::new();
        BufReader::new(file).read_line(&mut answer).ok()?;
        Some(answer)
    }

    /// None: a job object terminates these processes when the server ends.
    pub fn marked(_: &str) -> Vec<u32> {
        Vec::new()
    }

    pub fn open_files(_: u32) -> String {
        String::new()
    }
}
