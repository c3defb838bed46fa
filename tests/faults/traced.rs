//! The cross-check: the same scenarios with the release build, while strace changes results of
//! system calls. It does not use the server's own points.

use std::fmt;
use std::path::{Path, PathBuf};

use testkit::Builder;
use testkit::faults::Seen;

use super::attempt::{Attempt, Expected};

#[derive(Debug, Clone, Copy)]
pub struct Injection {
    call: &'static str,
    error: &'static str,
    /// The number of the call within a thread. strace counts for each thread.
    when: u32,
    for_ever: bool,
    /// Programs do not make this call, or only after they have answered.
    ours_alone: bool,
}

/// Calls, their errors, the highest number of a call to try, and whether only the server makes
/// them. `recvfrom` and `sendto` are missing: the event loop uses them only for signals, on its own
/// socket pair, where no kernel fails.
const CALLS: &[(&str, &str, u32, bool)] = &[
    ("accept4", "EMFILE", 3, true),
    ("bind", "EADDRINUSE", 2, true),
    ("chdir", "EACCES", 1, false),
    ("clone", "EAGAIN", 3, true),
    ("clone3", "EAGAIN", 6, false),
    ("dup2", "EMFILE", 2, false),
    ("epoll_create1", "EMFILE", 2, true),
    ("epoll_ctl", "ENOMEM", 8, true),
    ("fchown", "EPERM", 2, true),
    ("fcntl", "ENOMEM", 6, false),
    ("listen", "EADDRINUSE", 2, true),
    ("openat", "EMFILE", 16, false),
    ("pidfd_open", "EMFILE", 1, true),
    ("pipe2", "EMFILE", 4, true),
    ("prlimit64", "EPERM", 3, false),
    ("setgroups", "EPERM", 1, false),
    ("setresgid", "EPERM", 1, false),
    ("setresuid", "EAGAIN", 2, false),
    ("setsid", "EPERM", 1, false),
    ("setsockopt", "ENOMEM", 4, false),
    ("shutdown", "ECONNRESET", 2, false),
    ("socket", "EMFILE", 4, false),
    ("splice", "ECONNRESET", 4, true),
    ("waitid", "ENOMEM", 1, true),
];

pub fn all() -> Vec<Attempt> {
    let each = CALLS.iter().flat_map(|&(call, error, most, ours_alone)| {
        (1..=most).flat_map(move |when| {
            [false, true]
                .map(|for_ever| Attempt::Traced(Injection { call, error, when, for_ever, ours_alone }))
        })
    });
    each.collect()
}

pub fn release() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let path = folder.join("release/wininetd");
    assert!(path.exists(), "{} is missing: `cargo build --release` makes it", path.display());
    path
}

impl fmt::Display for Injection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}{}", self.call, self.when, if self.for_ever { "+" } else { "" })
    }
}

impl Injection {
    /// If programs make the call too, or each thread counts it anew, even a single fault acts as a
    /// permanent one.
    pub fn expected(self) -> Expected {
        let once = self.ours_alone && !self.for_ever;
        // Without `waitid` the server cannot reap.
        Expected { same: once, other: once, control: once, reaped: self.call != "waitid", waits: !once }
    }

    /// Runs the server under strace. With `-D` the started process is the server and strace runs
    /// beside it.
    pub fn of(self, builder: Builder, seen: &Path) -> Builder {
        let Injection { call, error, when, for_ever, .. } = self;
        let ever = if for_ever { "+" } else { "" };
        let inject = format!("inject={call}:error={error}:when={when}{ever}");
        let trace = format!("trace={call},accept4");
        let seen = seen.display().to_string();
        let words =
            ["strace", "-D", "-f", "-qq", "-e", &trace, "-e", "signal=none", "-e", &inject, "-o", &seen];
        builder.of_binary(&release()).through(&words)
    }
}

pub fn read(seen: &Path) -> Seen {
    let text = std::fs::read_to_string(seen).unwrap_or_default();
    let mut found = Seen::default();
    for line in text.lines() {
        if line.contains("(INJECTED)") {
            found.add("injected", true);
        } else if line.contains("accept4") && line.contains("sa_family=AF_INET") && !line.contains("= -1") {
            found.add("accepted", false);
        }
    }
    found
}
