//! Verbs and options. Verbs are flags, as in WinInetd; at most one is given.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgGroup, CommandFactory, Parser};

use super::color::Color;
use crate::config::stored::{SERVICE_NAME, StartType, Stored, address};
use crate::host;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "wininetd",
    version,
    about = "A super-server: a client connects, a program starts, and the connection is its input, output and error.",
    max_term_width = 100,
    args_override_self = true,
    group = ArgGroup::new("verb").multiple(false),
    after_help = "Without a verb it serves for a service manager: the one of Windows, or on Unix in the foreground.\n\n\
        A line of the file is a service:  PORT  USER:PASS  CMDLINE\n\
        `none` as USER:PASS runs the program as the server itself. Lines that do not begin with a digit are comments.\n\n\
        Exit codes: 0 as asked, 64 usage, 66 a file, session or service is not there, 69 nothing could be bound or no server \
        answered, 71 system, 77 no permission, 78 configuration."
)]
pub struct Options {
    /// Register the service with the options given beside it; given again, an option replaces only itself
    #[arg(long, group = "verb", help_heading = "Verbs")]
    pub install: bool,

    /// Stop and unregister the service with all that belongs to it, except its configuration
    #[arg(long, group = "verb", help_heading = "Verbs")]
    pub remove: bool,

    /// Serve in this console and log to it; Ctrl-C stops
    #[arg(long, group = "verb", help_heading = "Verbs")]
    pub debug: bool,

    /// Read the configuration, print every error and warning and the program of each service
    #[arg(long, group = "verb", help_heading = "Verbs")]
    pub check: bool,

    /// Warnings count as errors
    #[arg(long, requires = "check", conflicts_with_all = others("check"), help_heading = "Beside --check")]
    pub strict: bool,

    /// Try to take each account; with a wrong password that counts as a failed logon of it
    #[arg(long, requires = "check", conflicts_with_all = others("check"), help_heading = "Beside --check")]
    pub logon: bool,

    /// Run SERVICE's program on this console with its account, environment, directory and limits
    #[arg(long, group = "verb", value_name = "SERVICE", help_heading = "Verbs")]
    pub run: Option<String>,

    /// Have the running server read its files again; prints errors, and warnings go to the log
    #[arg(long, group = "verb", help_heading = "Verbs")]
    pub reload: bool,

    /// What the running server is doing: services, addresses, sessions, counters
    #[arg(long, group = "verb", help_heading = "Verbs")]
    pub status: bool,

    /// The same for machines
    #[arg(long, requires = "status", conflicts_with_all = others("status"), help_heading = "Beside --status")]
    pub json: bool,

    /// End one session of the running server; --status has their numbers
    #[arg(long, group = "verb", value_name = "SESSION", help_heading = "Verbs")]
    pub kill: Option<u64>,

    /// What the running server would do to a client from there, and which rule or limit decides; beside --cfgfile only that
    /// file's rules
    #[arg(long, group = "verb", value_name = "ADDRESS", value_parser = address, help_heading = "Verbs")]
    pub explain: Option<IpAddr>,

    /// At this service only
    #[arg(long, value_name = "NAME", requires = "explain", conflicts_with_all = others("explain"),
        help_heading = "Beside --explain")]
    pub service: Option<String>,

    /// A service without a file, such as 8080=cat; repeatable. ADDRESS is a port, which listens on 127.0.0.1 and ::1,
    /// or ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH
    #[arg(long, value_name = "ADDRESS=COMMAND", requires = "debug", conflicts_with_all = others("debug"),
        conflicts_with_all = ["cfgfile", "bind"], help_heading = "Beside --debug")]
    pub serve: Vec<OsString>,

    /// Print the native form of a classic file, an inetd.conf or an xinetd.conf, and what it could not carry over
    #[arg(long, group = "verb", value_name = "FILE", help_heading = "Verbs")]
    pub convert: Option<PathBuf>,

    /// Read a password without echo, or a line from a pipe, and store it sealed; the file then says USER:{stored} (Windows)
    #[arg(long, group = "verb", value_name = "USER", help_heading = "Verbs")]
    pub set_password: Option<String>,

    /// Let USER log on as a batch job, which programs of its need (Windows); alone or beside --install
    #[arg(long, value_name = "USER", conflicts_with_all = ["remove", "debug", "check", "convert", "run", "set_password", "reload", "status", "kill", "explain"], help_heading = "Verbs")]
    pub grant_batch_right: Option<String>,

    /// Colors in findings: auto, always or never; auto is on terminals unless NO_COLOR is set [default: auto]
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub color: Color,

    /// How to serve.
    #[command(flatten)]
    pub stored: Stored,

    /// The account of the service [default: LocalSystem on Windows, root on Unix]
    #[arg(long, value_name = "NAME", requires = "install", conflicts_with_all = not_installing(),
        help_heading = "Beside --install")]
    pub account: Option<String>,

    /// When the service starts: auto, delayed (Windows) or manual [default: auto]
    #[arg(
        long,
        value_name = "WHEN",
        requires = "install",
        conflicts_with_all = not_installing(),
        value_enum,
        hide_possible_values = true,
        help_heading = "Beside --install"
    )]
    pub start: Option<StartType>,

    /// The service's name, where there are several; also beside every other verb [default: wininetd]
    #[arg(long, value_name = "NAME", value_parser = service_name, help_heading = "Beside --install")]
    pub service_name: Option<String>,

    /// Write or remove the files of a Unix service below DIR, as packages do; nothing is registered
    #[arg(long, value_name = "DIR", conflicts_with_all = not_installing().filter(|verb| *verb != "remove"),
        help_heading = "Beside --install")]
    pub root: Option<PathBuf>,
}

/// The verbs beside which an option of `verb` has no place. (`requires` alone does
/// not see to that: beside a verb that `verb` excludes it asks for nothing.)
fn others(verb: &str) -> impl Iterator<Item = &'static str> {
    const VERBS: [&str; 12] = [
        "install",
        "remove",
        "debug",
        "check",
        "run",
        "reload",
        "status",
        "kill",
        "explain",
        "convert",
        "set_password",
        "grant_batch_right",
    ];
    VERBS.into_iter().filter(move |other| *other != verb)
}

/// The verbs that stand without --install.
fn not_installing() -> impl Iterator<Item = &'static str> {
    others("install").filter(|verb| *verb != "grant_batch_right")
}

/// A name that is a file's, a registry key's and a firewall rule's as well.
fn service_name(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && text.len() <= 80
        && text.chars().all(plain)
    {
        Ok(text.to_owned())
    } else {
        Err("a service's name is up to 80 letters, digits and . _ -, and begins with a letter or digit"
            .to_owned())
    }
}

impl Options {
    /// What to do.
    pub fn verb(&self) -> Verb {
        if self.install {
            Verb::Install
        } else if self.remove {
            Verb::Remove
        } else if self.debug {
            Verb::Debug
        } else if self.check {
            Verb::Check
        } else if let Some(service) = &self.run {
            Verb::Run(service.clone())
        } else if self.reload {
            Verb::Reload
        } else if self.status {
            Verb::Status
        } else if let Some(session) = self.kill {
            Verb::Kill(session)
        } else if let Some(address) = self.explain {
            Verb::Explain(address)
        } else if let Some(file) = &self.convert {
            Verb::Convert(file.clone())
        } else if let Some(user) = &self.set_password {
            Verb::SetPassword(user.clone())
        } else if let Some(user) = &self.grant_batch_right {
            Verb::GrantBatchRight(user.clone())
        } else {
            Verb::Serve
        }
    }

    /// The service's name.
    pub fn service_name(&self) -> &str {
        self.service_name.as_deref().unwrap_or(SERVICE_NAME)
    }

    /// What the verbs of a host need of it.
    pub fn host(&self) -> host::HostOptions {
        host::HostOptions {
            stored: self.stored.clone(),
            service_name: self.service_name().to_owned(),
            serve: self.serve.clone(),
            account: self.account.clone(),
            start: self.start,
            root: self.root.clone(),
            grant_batch_right: self.grant_batch_right.clone(),
        }
    }

    /// The usage, for somebody who called it wrongly.
    pub fn usage() -> String {
        Options::command().render_usage().to_string()
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Register the service.
    Install,
    /// Unregister it.
    Remove,
    /// Serve in this console.
    Debug,
    /// Only say what there is to say about the configuration.
    Check,
    /// Run this service's program on our console.
    Run(String),
    /// Have the running server read its files again.
    Reload,
    /// Ask it what it is doing.
    Status,
    /// Have it end this session.
    Kill(u64),
    /// Ask it, or a file, what becomes of a client from there.
    Explain(IpAddr),
    /// Print the native form of this file.
    Convert(PathBuf),
    /// Store this user's password.
    SetPassword(String),
    /// Let this user log on as a batch job.
    GrantBatchRight(String),
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
        let words = ["--timeout", "5", "--cfgfile", "a", "--debug", "--timeout", "6", "--cfgfile", "b"];
        let stored = parse(&words).unwrap().stored;
        assert_eq!((stored.timeout, stored.cfgfile), (Some(6), Some("b".into())));
    }

    #[test]
    fn two_verbs_are_refused() {
        for words in [
            ["--debug", "--check"],
            ["--install", "--remove"],
            ["--set-password=u", "--debug"],
            ["--run=s", "--check"],
            ["--status", "--reload"],
            ["--kill=1", "--status"],
            ["--explain=::1", "--kill=1"],
            ["--convert=f", "--check"],
        ] {
            assert!(parse(&words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn options_of_a_verb_are_refused_without_that_verb() {
        for words in [
            &["--account", "x"][..],
            &["--start", "auto"],
            &["--strict"],
            &["--logon"],
            &["--json"],
            &["--service", "a"],
            &["--serve", "1=cat"],
            &["--serve", "1=cat", "--check"],
            &["--json", "--debug"],
            &["--service", "a", "--status"],
            &["--run", "a", "--serve", "1=cat"],
            &["--convert", "f", "--serve", "1=cat"],
            &["--grant-batch-right", "u", "--serve", "1=cat"],
            &["--run", "a", "--json"],
            &["--run", "a", "--service", "a"],
            &["--run", "a", "--strict"],
            &["--debug", "--logon"],
            &["--check", "--account", "x"],
            &["--status", "--start", "auto"],
            &["--debug", "--root", "d"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_service_of_the_command_line_and_a_file_are_not_mixed() {
        let two = parse(&["--debug", "--serve", "1=cat", "--serve", "2=tac a=b"]).unwrap();
        assert_eq!(two.serve, ["1=cat", "2=tac a=b"]);
        for other in [["--cfgfile", "f"], ["--bind", "::1"]] {
            assert!(parse(&[&["--debug", "--serve", "1=cat"], &other[..]].concat()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn kill_takes_a_number_and_explain_an_address() {
        assert_eq!(parse(&["--kill", "7"]).unwrap().verb(), Verb::Kill(7));
        assert_eq!(parse(&["--explain", "::1"]).unwrap().verb(), Verb::Explain("::1".parse().unwrap()));
        for words in [["--kill", "-1"], ["--kill", "all"], ["--explain", "nobody"], ["--explain", "::1/64"]] {
            assert!(parse(&words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn the_batch_right_is_granted_alone_or_beside_install() {
        assert_eq!(parse(&["--grant-batch-right", "u"]).unwrap().verb(), Verb::GrantBatchRight("u".into()));
        assert_eq!(parse(&["--grant-batch-right", "u", "--install"]).unwrap().verb(), Verb::Install);
        assert!(parse(&["--grant-batch-right", "u", "--debug"]).is_err());
    }

    #[test]
    fn service_name_cannot_escape_its_folder_or_key() {
        assert!(parse(&["--install", "--service-name", "web-1"]).is_ok());
        for name in ["", "a/b", "..", "a\\b", "a b", "a%b"] {
            assert!(parse(&["--install", "--service-name", name]).is_err(), "{name}");
        }
    }

    #[test]
    fn invalid_bind_address_is_an_error_not_all_addresses() {
        assert!(parse(&["--bind", "apples"]).is_err());
    }
}
