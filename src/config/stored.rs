//! The options that say how to serve. Their sources are the command line, a registered service and
//! the services console. A newer source replaces only the options that it sets.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Args, Parser};

use crate::config::Loaded;
use crate::config::defaults::Defaults;
use crate::config::diagnostic::Diagnostic;
use crate::config::missing_user::MissingUser;
use crate::config::source::Source;
use crate::config::trust::{self, LogFile, Strictness};
use crate::config::zeros::without_leading_zeros;
use crate::model::limits::LINGER_TIMEOUT;
use crate::model::log_format::Format;
use crate::model::plan::Stdio;
use crate::sys;

/// How to serve. What was not given is `None`, so that it can be told from
/// what was given with the default's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Stored {
    /// Configuration file; one named .toml is in the native form [default: wininetd.conf in the Windows directory, or /etc/wininetd.conf]
    #[arg(long, value_name = "FILE")]
    pub cfgfile: Option<PathBuf>,

    /// End a connection on which nothing moved for SECS, in either direction; 0 is never. It implies --stdio pipe where the
    /// system does not tell what a program moves (Windows, unix: sockets) [default: never]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub timeout: Option<u64>,

    /// How long a program's last bytes may take to be delivered after its end; 0 closes at once [default: 60]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub linger_timeout: Option<u64>,

    /// An address that ports listen on; repeatable [default: 0.0.0.0 and ::]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub bind: Vec<IpAddr>,

    /// How a connection becomes a program's streams, where a native file does not say it: socket is the connection itself,
    /// with pipe the server moves the bytes [default: socket; of a native file socket on Unix, pipe on Windows]
    #[arg(long, value_name = "HOW", value_parser = stdio)]
    pub stdio: Option<Stdio>,

    /// Write every log line here too; put aside at 10 MiB, five are kept; "" is none [default: none]
    #[arg(long, value_name = "PATH", value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from))]
    pub log_file: Option<PathBuf>,

    /// Form of log lines: text or json [default: text]
    #[arg(long, value_name = "FORM", value_enum, hide_possible_values = true)]
    pub log_format: Option<Format>,

    /// The control channel of the running server: a socket's path, or on Windows \\.\pipe\NAME; "" is the default
    /// [default: where only this account or administrators can make it]
    #[arg(long, value_name = "PATH", value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from))]
    pub control: Option<PathBuf>,

    /// A rule of the Windows firewall for each port, redone at each start; --firewall=no ends that
    #[arg(long, value_name = "WHETHER", num_args = 0..=1, require_equals = true, default_missing_value = "yes",
        value_parser = yes_or_no, hide_possible_values = true)]
    pub firewall: Option<bool>,
}

/// When a service is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StartType {
    /// With the system.
    Auto,
    /// Some minutes after the system (Windows).
    Delayed,
    /// By hand.
    Manual,
    /// Not at all: an administrator's choice that is kept, and none of ours.
    #[value(skip)]
    Disabled,
}

impl StartType {
    pub fn name(self) -> &'static str {
        match self {
            StartType::Auto => "auto",
            StartType::Delayed => "delayed",
            StartType::Manual => "manual",
            StartType::Disabled => "disabled",
        }
    }
}

pub const SERVICE_NAME: &str = "wininetd";

/// Ten years: a larger value is a typing error, and sums of times must not overflow.
const MAX_SECONDS: u64 = 10 * 366 * 24 * 3600;

fn seconds(text: &str) -> Result<u64, String> {
    let read = text.parse().ok().filter(|&seconds| seconds <= MAX_SECONDS);
    read.ok_or_else(|| "write seconds as a whole number: 300 for five minutes, at most ten years".to_owned())
}

pub fn address(text: &str) -> Result<IpAddr, String> {
    let hint = "write an address, as 192.0.2.1 or 2001:db8::1";
    text.parse().map_err(|_| {
        match without_leading_zeros(text).filter(|plain| plain.parse::<IpAddr>().is_ok()) {
            Some(plain) => {
                format!("a number has a leading zero, which some programs read as octal: write {plain}")
            }
            None => hint.to_owned(),
        }
    })
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("write yes or no".to_owned()),
    }
}

fn stdio(text: &str) -> Result<Stdio, String> {
    let known = [Stdio::Socket, Stdio::Pipe].into_iter().find(|known| known.name() == text);
    known.ok_or_else(|| "write socket or pipe".to_owned())
}

/// What may be typed into the parameters of a service's start.
#[derive(Debug, Parser)]
#[command(name = "wininetd", no_binary_name = true, args_override_self = true, disable_help_flag = true)]
struct Alone {
    #[command(flatten)]
    stored: Stored,
}

impl Stored {
    /// Parses options without a verb. The error is a sentence for the user.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Stored, String> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        match Alone::try_parse_from(&arguments) {
            Ok(alone) => Ok(alone.stored),
            Err(error) => {
                let typed: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
                let why = error.to_string();
                let first = why.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
                Err(format!("these options are not valid: {}\n{first}", typed.join(" ")))
            }
        }
    }

    /// Merges the two: an option in `newer` wins.
    pub fn replaced_by(self, newer: Stored) -> Stored {
        Stored {
            cfgfile: newer.cfgfile.or(self.cfgfile),
            timeout: newer.timeout.or(self.timeout),
            linger_timeout: newer.linger_timeout.or(self.linger_timeout),
            bind: if newer.bind.is_empty() { self.bind } else { newer.bind },
            stdio: newer.stdio.or(self.stdio),
            log_file: newer.log_file.or(self.log_file),
            log_format: newer.log_format.or(self.log_format),
            control: newer.control.or(self.control),
            firewall: newer.firewall.or(self.firewall),
        }
    }

    /// Makes paths absolute: a service starts in another directory.
    pub fn absolute(mut self) -> Stored {
        let given = [&mut self.cfgfile, &mut self.log_file, &mut self.control].into_iter().flatten();
        for path in given.filter(|path| !path.as_os_str().is_empty()) {
            *path = absolute(path);
        }
        self
    }

    /// The options as arguments, in the order of the help.
    pub fn arguments(&self) -> Vec<OsString> {
        let seconds = |value: Option<u64>| value.map(|value| OsString::from(value.to_string()));
        let path = |value: &Option<PathBuf>| value.as_ref().map(|path| path.clone().into_os_string());
        let mut pairs = vec![
            ("--cfgfile", path(&self.cfgfile)),
            ("--timeout", seconds(self.timeout.filter(|&seconds| seconds > 0))),
            ("--linger-timeout", seconds(self.linger_timeout)),
        ];
        pairs.extend(self.bind.iter().map(|address| ("--bind", Some(address.to_string().into()))));
        pairs.push(("--stdio", self.stdio.map(|stdio| stdio.name().into())));
        pairs.push(("--log-file", self.log_path().map(|path| path.as_os_str().to_owned())));
        pairs.push(("--log-format", self.log_format.map(|format| format.name().into())));
        pairs.push(("--control", self.given_control().map(|path| path.as_os_str().to_owned())));
        let mut arguments: Vec<OsString> = pairs
            .into_iter()
            .filter_map(|(name, value)| Some([OsString::from(name), value?]))
            .flatten()
            .collect();
        if self.firewall == Some(true) {
            arguments.push("--firewall".into());
        }
        arguments
    }

    pub fn config_path(&self) -> PathBuf {
        absolute(&self.cfgfile.clone().unwrap_or_else(sys::paths::default_config))
    }

    pub fn log_path(&self) -> Option<&Path> {
        self.log_file.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// Findings about the log file of `--log-file`, else of the configuration.
    pub fn judge_log(&self, loaded: Option<&Loaded>, strictness: Strictness) -> Vec<Diagnostic> {
        if self.log_file.is_some() {
            let Some(path) = self.log_path() else { return Vec::new() };
            let text = path.to_string_lossy().into_owned().into_bytes();
            let source = Source::typed(Path::new("--log-file"), text);
            let range = 0..source.text.len();
            return trust::judge_log(LogFile { path, source: &source, range: &range }, strictness);
        }
        let Some(loaded) = loaded else { return Vec::new() };
        let judge = |path| {
            let file = LogFile { path, source: loaded.main(), range: &loaded.log_file_span };
            trust::judge_log(file, strictness)
        };
        loaded.plan.server.log_file.as_deref().map(judge).unwrap_or_default()
    }

    pub fn given_control(&self) -> Option<&Path> {
        self.control.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// The control channel of the service `name`. `None` without `--control` on a system without a
    /// default.
    pub fn control_path(&self, name: &str) -> Option<PathBuf> {
        self.given_control().map(absolute).or_else(|| sys::paths::default_control(name))
    }

    /// The channels where a server of the service `name` may answer, the most likely first.
    pub fn control_paths(&self, name: &str) -> Vec<PathBuf> {
        match self.given_control() {
            Some(given) => vec![absolute(given)],
            None => sys::paths::default_controls(name),
        }
    }

    /// The defaults for a server in this process. `service` is the name under which the system
    /// stores passwords.
    pub fn defaults(&self, service: &str) -> Defaults {
        let mut bind = self.bind.clone();
        if bind.is_empty() {
            bind = vec![IpAddr::V4([0, 0, 0, 0].into()), IpAddr::V6([0u16; 8].into())];
        }
        // Drop duplicates, and addresses that a wildcard covers: the second bind would fail.
        let given = bind.clone();
        let covered = |address: &IpAddr| {
            let all =
                given.iter().any(|other| other.is_unspecified() && other.is_ipv4() == address.is_ipv4());
            all && !address.is_unspecified()
        };
        let mut seen = Vec::new();
        bind.retain(|address| {
            !covered(address) && !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        Defaults {
            bind,
            idle_timeout: self.timeout.filter(|&seconds| seconds > 0).map(Duration::from_secs),
            linger_timeout: self.linger_timeout.map_or(LINGER_TIMEOUT, Duration::from_secs),
            stdio: self.stdio,
            directory: sys::paths::default_directory(),
            service: service.to_owned(),
            missing_user: MissingUser::of_server(sys::process::dangerous_own_identity()),
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Stored, String> {
        Stored::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn port_without_bind_listens_on_all_ipv4_and_ipv6_addresses() {
        let both: Vec<IpAddr> = vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
        assert_eq!(Stored::default().defaults("s").bind, both);
        let one = parse(&["--bind", "::1", "--bind", "::1"]).unwrap().defaults("s").bind;
        assert_eq!(one, ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn an_address_that_another_covers_is_not_bound_twice() {
        let bind = parse(&["--bind", "127.0.0.1", "--bind", "0.0.0.0", "--bind", "::1"]).unwrap();
        let expected: Vec<IpAddr> = vec!["0.0.0.0".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(bind.defaults("s").bind, expected);
    }

    #[test]
    fn a_stored_option_can_be_taken_back() {
        let stored = parse(&["--timeout", "5", "--log-file", "x", "--control", "y", "--firewall"]).unwrap();
        let newer = ["--timeout", "0", "--log-file", "", "--control", "", "--firewall=no"];
        let now = stored.replaced_by(parse(&newer).unwrap());
        assert!(now.absolute().arguments().is_empty());
    }

    #[test]
    fn an_option_given_replaces_only_itself() {
        let stored = parse(&["--timeout", "5", "--bind", "::1", "--firewall"]).unwrap();
        let newer = parse(&["--timeout", "6", "--firewall=no"]).unwrap();
        let now = stored.replaced_by(newer);
        assert_eq!(now, parse(&["--timeout", "6", "--bind", "::1", "--firewall=no"]).unwrap());
    }

    #[test]
    fn stored_options_read_back_unchanged() {
        let words = [
            ["--cfgfile", "/a b"],
            ["--timeout", "5"],
            ["--linger-timeout", "0"],
            ["--bind", "::1"],
            ["--bind", "127.0.0.1"],
            ["--stdio", "socket"],
            ["--log-file", "x"],
            ["--log-format", "json"],
            ["--control", "x.sock"],
        ];
        let mut words = words.concat();
        words.push("--firewall");
        let stored = parse(&words).unwrap();
        assert_eq!(stored.arguments(), words.iter().map(OsString::from).collect::<Vec<_>>());
    }

    #[test]
    fn streams_are_a_socket_or_pipes() {
        assert_eq!(parse(&["--stdio", "pipe"]).unwrap().defaults("s").stdio, Some(Stdio::Pipe));
        let newer = parse(&["--stdio", "socket"]).unwrap();
        assert_eq!(parse(&["--stdio", "pipe"]).unwrap().replaced_by(newer).stdio, Some(Stdio::Socket));
        assert!(parse(&["--stdio", "pipes"]).unwrap_err().contains("write socket or pipe"));
    }

    #[test]
    fn a_verb_among_start_parameters_is_an_error_that_quotes_it() {
        for words in [&["--debug"][..], &["--nonsense"], &["a.conf"], &["--help"]] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(words[0]), "{error}");
        }
    }
}
