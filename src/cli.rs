//! Verbs and options. Verbs are flags, as in WinInetd; at most one is given.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, CommandFactory, Parser};

use crate::config::classic::Defaults;
use crate::config::plan::LINGER_TIMEOUT;
use crate::log::Format;
use crate::sys;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "wininetd",
    version,
    about = "A super-server: a client connects, a program starts, and the connection is its input, output and error.",
    max_term_width = 100,
    args_override_self = true,
    group = ArgGroup::new("verb").multiple(false),
    after_help = "A line of the file is a service:  PORT  USER:PASS  CMDLINE\n\
        `none` as USER:PASS runs the program as the server itself. Lines that do not begin with a digit are comments.\n\n\
        Exit codes: 0 as asked, 64 usage, 66 a file cannot be read, 69 nothing could be bound, 71 system, 77 no permission, \
        78 configuration."
)]
pub struct Options {
    /// Serve in this console and log to it; Ctrl-C stops
    #[arg(long, group = "verb", help_heading = "Verbs")]
    pub debug: bool,

    /// Read the configuration, print every error and warning and the program of each service
    #[arg(long, group = "verb", help_heading = "Verbs")]
    pub check: bool,

    /// With --check: warnings count as errors
    #[arg(long, requires = "check", help_heading = "Verbs")]
    pub strict: bool,

    /// Configuration file [default: wininetd.conf in the Windows directory, or /etc/wininetd.conf]
    #[arg(long, value_name = "FILE")]
    pub cfgfile: Option<PathBuf>,

    /// End a connection on which nothing moved for SECS, in either direction [default: never]
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=MAX_SECONDS))]
    pub timeout: Option<u64>,

    /// How long a program's last bytes may take to be delivered after its end; 0 closes at once
    #[arg(long, value_name = "SECS", default_value_t = LINGER_TIMEOUT.as_secs(),
        value_parser = clap::value_parser!(u64).range(0..=MAX_SECONDS))]
    pub linger_timeout: u64,

    /// An address that ports listen on; repeatable [default: 0.0.0.0 and ::]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Vec<IpAddr>,

    /// Write every log line here too; put aside at 10 MiB, five are kept
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<PathBuf>,

    /// Form of log lines: text or json
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    pub log_format: Format,
}

/// Ten years: more is a slip of the finger, and sums of times must not overflow.
const MAX_SECONDS: u64 = 10 * 366 * 24 * 3600;

impl Options {
    /// What to do.
    pub fn verb(&self) -> Verb {
        match (self.debug, self.check) {
            (true, _) => Verb::Debug,
            (_, true) => Verb::Check,
            _ => Verb::Serve,
        }
    }

    /// The configuration file, as an absolute path.
    pub fn config_path(&self) -> PathBuf {
        let path = self.cfgfile.clone().unwrap_or_else(sys::paths::default_config);
        std::path::absolute(&path).unwrap_or(path)
    }

    /// What holds for every line of a classic file.
    pub fn defaults(&self) -> Defaults {
        let mut bind = self.bind.clone();
        if bind.is_empty() {
            bind = vec![IpAddr::V4([0, 0, 0, 0].into()), IpAddr::V6([0u16; 8].into())];
        }
        // Given twice, an address would fail to be bound the second time.
        let mut seen = Vec::new();
        bind.retain(|address| {
            !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        Defaults {
            bind,
            idle_timeout: self.timeout.map(Duration::from_secs),
            linger_timeout: Duration::from_secs(self.linger_timeout),
        }
    }

    /// The usage, for somebody who called it wrongly.
    pub fn usage() -> String {
        Options::command().render_usage().to_string()
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Serve in this console.
    Debug,
    /// Only say what there is to say about the configuration.
    Check,
    /// Serve for a service manager.
    Serve,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["wininetd"], arguments].concat())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn given_twice_the_last_wins() {
        let options =
            parse(&["--timeout", "5", "--cfgfile", "a", "--debug", "--timeout", "6", "--cfgfile", "b"])
                .unwrap();
        assert_eq!((options.timeout, options.cfgfile), (Some(6), Some("b".into())));
    }

    #[test]
    fn two_verbs_are_refused() {
        assert!(parse(&["--debug", "--check"]).is_err());
    }

    #[test]
    fn without_a_bind_a_port_listens_on_all_addresses_of_both_families() {
        let both: Vec<IpAddr> = vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
        assert_eq!(parse(&[]).unwrap().defaults().bind, both);
        let one = parse(&["--bind", "::1", "--bind", "::1"]).unwrap().defaults().bind;
        assert_eq!(one, ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_value_that_is_no_address_is_an_error_and_never_all_addresses() {
        assert!(parse(&["--bind", "apples"]).is_err());
    }
}
