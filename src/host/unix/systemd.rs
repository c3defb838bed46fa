//! systemd: reports to it while the server runs, and the unit that starts the server.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::config::stored::Stored;
use crate::core::stop::LAST_RESORT;
use crate::model::limits::KILL_GRACE;
use crate::model::plan::STOP_GRACE;
use crate::supervisor::manager::Manager;
use crate::sys;
use crate::sys::notify::NotifySocket;

/// systemd's notification socket (`Type=notify`).
pub(super) struct Systemd {
    socket: NotifySocket,
}

impl Systemd {
    pub(super) fn of_environment() -> Option<Systemd> {
        NotifySocket::of_environment().map(|socket| Systemd { socket })
    }
}

impl Manager for Systemd {
    fn ready(&mut self, addresses: usize) {
        let plural = if addresses == 1 { "" } else { "es" };
        self.socket.say(&format!("READY=1\nSTATUS=serving at {addresses} address{plural}"));
    }

    fn reloading(&mut self) {
        self.socket.say("RELOADING=1");
    }

    fn reloaded(&mut self) {
        self.socket.say("READY=1");
    }

    fn stopping(&mut self, at_most: Duration) {
        // The unit's TimeoutStopSec may be shorter than a service's grace period.
        let more = at_most + Duration::from_secs(5);
        let seconds = at_most.as_secs();
        self.socket.say(&format!(
            "STOPPING=1\nSTATUS=ending sessions, {seconds} s at most\nEXTEND_TIMEOUT_USEC={}",
            more.as_micros()
        ));
    }
}

pub(super) struct Unit<'a> {
    pub(super) program: &'a Path,
    pub(super) options: &'a Stored,
    /// `None` is root.
    pub(super) account: Option<&'a str>,
    pub(super) name: &'a str,
}

impl Unit<'_> {
    /// The unit file. It does not restrict what programs may do.
    pub(super) fn text(&self) -> String {
        let mut command = word(&self.program.to_string_lossy());
        for argument in self.options.arguments() {
            command.push(' ');
            command.push_str(&word(&argument.to_string_lossy()));
        }
        let mut reload = format!("{} --reload", word(&self.program.to_string_lossy()));
        // The default channel is found through the unit's runtime directory. A given path is not.
        if let Some(path) = self.options.given_control() {
            reload.push_str(" --control ");
            reload.push_str(&word(&path.to_string_lossy()));
        }
        let folder = sys::paths::runtime_folder(self.name);
        let account = self.account.map(|name| format!("User={name}\n")).unwrap_or_default();
        // Time for the grace period, for programs to end by themselves, and for the kill.
        let stop = (STOP_GRACE + KILL_GRACE + LAST_RESORT).as_secs();
        format!(
            "\
[Unit]
Description=wininetd, a super-server: ports to programs
After=network.target
# It is started again however often it crashed.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command}
ExecReload={reload}
{account}# Where --status and its kin find the server.
RuntimeDirectory={folder}
# A crash is mended by a new start; a wrong command line, file or right is not.
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=64 66 77 78
# The server ends its sessions itself, with their grace.
KillMode=mixed
TimeoutStopSec={stop}
# One program that runs out of memory must not end all the others.
OOMPolicy=continue
# Each session is a cgroup below the service's, which the server makes. The
# limits are its own.
TasksMax=infinity
Delegate=pids memory

[Install]
WantedBy=multi-user.target
"
        )
    }

    /// Updates the server's own keys in a unit, and keeps all other lines.
    pub(super) fn edited(&self, before: &str) -> String {
        let fresh = self.text();
        let ours = |name: &str| fresh.lines().find(|line| line.starts_with(name));
        let mut text = String::new();
        // Keep an administrator's own way to reload.
        let is_ours = |line: &&str| {
            line.starts_with("User=") || line.starts_with("ExecReload=") && line.contains("--reload")
        };
        let reloads = before.lines().any(|line| line.starts_with("ExecReload=") && !is_ours(&line));
        let folder = before.lines().any(|line| line.starts_with("RuntimeDirectory="));
        for line in before.lines().filter(|line| !is_ours(line)) {
            if line.starts_with("ExecStart=") {
                let reload = ours("ExecReload=").filter(|_| !reloads);
                let folder = ours("RuntimeDirectory=").filter(|_| !folder);
                for line in [ours("ExecStart="), reload, ours("User="), folder].into_iter().flatten() {
                    text.push_str(line);
                    text.push('\n');
                }
            } else {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }

    /// Restrictions that also apply to programs, for administrators to choose from.
    pub(super) fn hardening() -> String {
        let mut text = String::from(
            "\
# Restrictions that hold for the server and for every program that it starts.
# A program that needs what is taken here fails, often without a good message,
# so all are switched off. Remove the # of those that fit your programs, then:
#   systemctl daemon-reload && systemctl restart wininetd

[Service]
",
        );
        for (line, breaks) in HARDENING {
            let _ = write!(text, "# {breaks}\n#{line}\n");
        }
        text
    }
}

const HARDENING: [(&str, &str); 10] = [
    ("NoNewPrivileges=yes", "breaks sudo, su, and every other program with the setuid bit"),
    (
        "ProtectSystem=strict",
        "breaks programs that write below /usr, /etc or /var; ReadWritePaths= lists exceptions",
    ),
    ("ProtectHome=yes", "breaks programs that use home directories, as git and rsync servers often do"),
    ("PrivateTmp=yes", "breaks programs that share files in /tmp with others"),
    ("PrivateDevices=yes", "breaks programs that use devices, such as serial ports"),
    ("ProtectKernelTunables=yes", "breaks programs that write to /proc/sys or /sys"),
    ("RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "breaks programs that need other kinds of sockets"),
    (
        "CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH CAP_SYS_PTRACE",
        "breaks programs that run as root and need other capabilities",
    ),
    (
        "SystemCallFilter=@system-service",
        "breaks programs with unusual system calls, such as debuggers and sandboxes",
    ),
    ("MemoryMax=1G", "ends programs when all of them together use more"),
];

/// Quotes a word if needed, and doubles `%` and `$`, which systemd would expand.
fn word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-=:,+@".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '%' | '$' => quoted.extend([letter, letter]),
            '\n' => quoted.push_str("\\n"),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// The words of a command line that `word` wrote. `None` for any other text.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut letters = line.chars().peekable();
    while letters.peek().is_some() {
        let mut text = String::new();
        if letters.next_if_eq(&'"').is_some() {
            loop {
                match letters.next()? {
                    '"' => break,
                    '\\' => match letters.next()? {
                        'n' => text.push('\n'),
                        letter => text.push(letter),
                    },
                    letter @ ('%' | '$') => text.push(letters.next_if_eq(&letter)?),
                    letter => text.push(letter),
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != ' ') {
                text.push(letter);
            }
        }
        words.push(text);
        if letters.next().is_some_and(|letter| letter != ' ') {
            return None;
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_systemd() {
        assert_eq!(word("/usr/sbin/wininetd"), "/usr/sbin/wininetd");
        assert_eq!(word("/a b/%i$x\"\\"), r#""/a b/%%i$$x\"\\""#);
        assert_eq!(word(""), "\"\"");
    }

    #[test]
    fn a_unit_starts_the_program_with_its_options() {
        let options = Stored { cfgfile: Some("/etc/my file".into()), ..Stored::default() };
        let unit = Unit {
            program: Path::new("/usr/sbin/wininetd"),
            options: &options,
            account: Some("nobody"),
            name: "wininetd",
        };
        let text = unit.text();
        assert!(
            text.contains("\nExecStart=/usr/sbin/wininetd --cfgfile \"/etc/my file\"\nExecReload=/usr/sbin/wininetd --reload\nUser=nobody\n"),
            "{text}"
        );
    }

    #[test]
    fn nothing_of_the_hardening_is_switched_on() {
        let on = Unit::hardening();
        let on: Vec<_> = on.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(on, ["[Service]"]);
    }
}
