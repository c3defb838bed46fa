//! Values from the command line for services that do not set their own.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::missing_user::MissingUser;
use crate::model::account::Credentials;
use crate::model::command_line::CommandLine;
use crate::model::endings::Leftovers;
use crate::model::limits::{Limits, Times};
use crate::model::listen::{Address, KEEPALIVE, UnixSocket};
use crate::model::plan::{Admit, Program, Service, Stderr, Stdio};
use crate::sys::CAPABILITIES;

#[derive(Debug, Clone)]
pub struct Defaults {
    pub bind: Vec<IpAddr>,
    pub idle_timeout: Option<Duration>,
    pub linger_timeout: Duration,
    pub stdio: Option<Stdio>,
    pub directory: PathBuf,
    /// The registered service whose stored passwords apply.
    pub service: String,
    pub missing_user: MissingUser,
}

impl Defaults {
    pub(super) fn service(
        &self,
        name: String,
        listen: Vec<Address>,
        command: CommandLine,
        identity: Option<Credentials>,
    ) -> Service {
        let stdio = self.stdio(&listen);
        Service {
            name,
            enabled: true,
            listen,
            unix_socket: UnixSocket::default(),
            keepalive: Some(KEEPALIVE),
            nodelay: stdio == Stdio::Pipe,
            admit: Admit::default(),
            refusal: Vec::new(),
            banner: Vec::new(),
            proxy_protocol: None,
            tls: None,
            warm: None,
            program: Program {
                command,
                identity,
                directory: self.directory.clone(),
                environment: Vec::new(),
                inherit_environment: None,
                stdio,
                stderr: Stderr::Client,
                leftovers: Leftovers::End,
                limits: Limits::default(),
            },
            times: Times {
                idle_timeout: self.idle_timeout,
                linger_timeout: self.linger_timeout,
                ..Times::default()
            },
        }
    }

    /// How connections become streams, for a service that sets nothing else about it.
    pub fn stdio(&self, listen: &[Address]) -> Stdio {
        match uncounted(listen) {
            Some(_) if self.idle_timeout.is_some() => Stdio::Pipe,
            _ => self.stdio.unwrap_or(Stdio::Socket),
        }
    }

    /// The error if `--timeout` and `--stdio socket` contradict each other.
    pub(super) fn stdio_fault(&self, listen: &[Address]) -> Option<String> {
        self.stdio_fault_by(CAPABILITIES.byte_counts, listen)
    }

    fn stdio_fault_by(&self, byte_counts: bool, listen: &[Address]) -> Option<String> {
        let why = uncounted_by(byte_counts, listen)?;
        let contradicts = self.idle_timeout.is_some() && self.stdio == Some(Stdio::Socket);
        contradicts.then(|| format!("`--timeout` implies `--stdio pipe`, not `socket`: {why}"))
    }
}

/// Why only the server can detect an idle connection here. `None` where the kernel counts the bytes
/// that a program moves.
pub(super) fn uncounted(listen: &[Address]) -> Option<&'static str> {
    uncounted_by(CAPABILITIES.byte_counts, listen)
}

fn uncounted_by(byte_counts: bool, listen: &[Address]) -> Option<&'static str> {
    if !byte_counts {
        Some("this system does not count the bytes of a connection that a program holds")
    } else if listen.iter().any(|address| matches!(address, Address::Unix(_))) {
        Some("no system counts the bytes of a `unix:` connection that a program holds")
    } else {
        None
    }
}

pub(super) const STDIO_FAULT_HINT: &str = "leave one of the two out";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::stored::Stored;

    fn defaults(timeout: Option<u64>, stdio: Option<Stdio>) -> Defaults {
        Stored { timeout, stdio, ..Stored::default() }.defaults("wininetd")
    }

    #[test]
    fn a_timeout_implies_pipes_where_the_system_does_not_count() {
        let (tcp, unix) =
            ([Address::Tcp("[::1]:80".parse().unwrap())], [Address::Unix("/run/x.sock".into())]);
        assert!(uncounted_by(false, &tcp).is_some() && uncounted_by(true, &unix).is_some());
        assert_eq!(uncounted_by(true, &tcp), None);
        assert_eq!(defaults(Some(5), None).stdio(&unix), Stdio::Pipe);
        assert_eq!(defaults(None, None).stdio(&unix), Stdio::Socket);
        assert_eq!(defaults(Some(0), None).stdio(&unix), Stdio::Socket);
        assert_eq!(defaults(None, Some(Stdio::Pipe)).stdio(&tcp), Stdio::Pipe);
    }

    #[test]
    fn a_timeout_and_the_socket_contradict_each_other_there() {
        let fault = |timeout, stdio, counts| defaults(timeout, stdio).stdio_fault_by(counts, &[]);
        assert!(fault(Some(5), Some(Stdio::Socket), false).unwrap().contains("does not count"));
        assert_eq!(fault(Some(5), Some(Stdio::Socket), true), None);
        assert_eq!(fault(Some(5), Some(Stdio::Pipe), false), None);
        assert_eq!(fault(Some(5), None, false), None);
        assert_eq!(fault(None, Some(Stdio::Socket), false), None);
    }
}
