//! The fields of a service become the service.

use std::ffi::OsString;
use std::time::Duration;

use super::Reader;
use super::fields::Fields;
use super::report::At;
use super::rules::expects_header;
use super::streams::stderr;
use super::units::{Fault, quote, value};
use super::value::Value;
use crate::config::loaded::Spans;
use crate::config::missing_user::MissingUser;
use crate::model::account::Credentials;
use crate::model::command_line::CommandLine;
use crate::model::limits::KILL_GRACE;
use crate::model::limits::{Limits, Times};
use crate::model::listen::KEEPALIVE;
use crate::model::listen::Keepalive;
use crate::model::listen::{Address, UnixSocket};
use crate::model::plan::{Admit, MAX_CONNECTIONS, Program, Service, Stdio, WhenFull};
use crate::model::secret::STORED;
use crate::sys::account::parse_credentials;
use crate::sys::command::Command;
use crate::sys::text::same_name;
use crate::sys::{self, CAPABILITIES, CommandFault};

/// A service as it stands in the files.
pub(super) struct Entry {
    /// Its name.
    pub name: String,
    /// Where that was typed.
    pub header: At,
    /// What holds for it, its own or by default.
    pub fields: Fields,
}

impl Entry {
    /// Its addresses, each with its place.
    pub fn addresses(&self) -> &[(Address, At)] {
        match self.fields.value("listen") {
            Some(Value::Addresses(addresses)) => addresses,
            _ => &[],
        }
    }

    /// Whether it is served.
    pub fn enabled(&self) -> bool {
        self.fields.flag("enabled").unwrap_or(true)
    }

    /// Where its parts stand.
    pub fn spans(&self) -> Spans {
        Spans {
            source: self.header.source,
            listen: self.place("listen"),
            identity: self.place("user"),
            command: self.place("command"),
            tls: self.place("tls"),
        }
    }

    /// Where a key was typed, if in the service's own file; else its header.
    fn place(&self, name: &str) -> std::ops::Range<usize> {
        let field = self.fields.field(name).filter(|field| field.at.source == self.header.source);
        field.map_or(&self.header.range, |field| &field.at.range).clone()
    }
}

impl Reader<'_> {
    /// The service, if everything that it needs is there and right.
    pub fn service(&mut self, entry: &Entry) -> Option<Service> {
        let fields = &entry.fields;
        for name in ["listen", "command"] {
            // One that is served on the other system only has its parts there.
            let of_other = !entry.enabled() && fields.has_elsewhere(name);
            if !fields.has(name) && !of_other {
                let message = format!("the service `{}` has no `{name}`", entry.name);
                self.report.missing(&entry.header, Fault::plain(message));
            }
        }
        let listen: Vec<Address> = entry.addresses().iter().map(|(address, _)| address.clone()).collect();
        self.fits_addresses(fields, &listen);
        let access = self.access(fields, &listen);
        let proxy_protocol = self.proxy_protocol(fields, &listen);
        let stdio = self.stdio(entry, &listen);
        let program = self.program(entry, stdio);
        let (tls, warm) = (self.tls(fields), self.warm(fields));
        if listen.is_empty() {
            return None;
        }
        Some(Service {
            name: entry.name.clone(),
            enabled: entry.enabled(),
            unix_socket: self.unix_socket(fields),
            keepalive: keepalive(fields),
            nodelay: fields.flag("nodelay").unwrap_or(stdio == Stdio::Pipe),
            admit: Admit {
                access,
                max_connections: fields.number("max_connections").unwrap_or(MAX_CONNECTIONS),
                max_connections_per_source: fields.number("max_connections_per_source"),
                when_full: match fields.choice("when_full") {
                    Some("refuse") => WhenFull::Refuse,
                    _ => WhenFull::Wait,
                },
                rate: fields.rate("rate"),
                rate_per_source: fields.rate("rate_per_source"),
            },
            refusal: fields.text("refusal").unwrap_or_default().as_bytes().to_vec(),
            banner: fields.text("banner").unwrap_or_default().as_bytes().to_vec(),
            proxy_protocol,
            tls,
            warm,
            program: program?,
            times: self.times(fields),
            listen,
        })
    }

    /// Keys that have a meaning for some addresses only.
    fn fits_addresses(&mut self, fields: &Fields, listen: &[Address]) {
        let is_unix = |address: &Address| matches!(address, Address::Unix(_));
        if listen.is_empty() {
            return;
        }
        let needless: &[&str] = if !CAPABILITIES.unix_sockets {
            // That there are none here is said already.
            &[]
        } else if !listen.iter().any(is_unix) {
            &["socket_mode", "socket_user", "socket_group"]
        } else if listen.iter().all(is_unix) {
            &["allow", "deny", "keepalive"]
        } else {
            &[]
        };
        // A header names clients of networks at every address.
        let needless =
            needless.iter().filter(|name| !matches!(**name, "allow" | "deny") || !expects_header(fields));
        for name in needless {
            if let Some(field) = fields.field(name).filter(|field| field.own) {
                let message = match *name {
                    "allow" | "deny" => format!(
                        "`{name}` is about networks, and this service listens on `unix:` addresses only: `socket_mode` says who may connect"
                    ),
                    "keepalive" => format!(
                        "`{name}` is about the network, and this service listens on `unix:` addresses only"
                    ),
                    _ => format!("`{name}` is about `unix:` addresses, and this service has none"),
                };
                self.report.error(&field.at, Fault::plain(message));
            }
        }
    }

    fn unix_socket(&self, fields: &Fields) -> UnixSocket {
        let name = |key| fields.text(key).map(str::to_owned);
        let mode = match fields.value("socket_mode") {
            Some(Value::Mode(mode)) => *mode,
            _ => UnixSocket::default().mode,
        };
        UnixSocket { mode, user: name("socket_user"), group: name("socket_group") }
    }

    fn times(&self, fields: &Fields) -> Times {
        let idle = if fields.is_off("idle_timeout") { None } else { self.defaults.idle_timeout };
        Times {
            idle_timeout: fields.duration("idle_timeout").or(idle),
            session_timeout: fields.duration("session_timeout"),
            linger_timeout: fields.duration("linger_timeout").unwrap_or(self.defaults.linger_timeout),
            kill_grace: fields.duration("kill_grace").unwrap_or(KILL_GRACE),
        }
    }

    fn program(&mut self, entry: &Entry, stdio: Stdio) -> Option<Program> {
        let fields = &entry.fields;
        let identity = self.identity(entry);
        let limits = self.limits(fields);
        let environment = self.environment(fields);
        let leftovers = self.leftovers(fields);
        let Some(Value::Command(command)) = fields.value("command") else { return None };
        Some(Program {
            command: self.called(fields, command.clone())?,
            identity: identity?,
            directory: fields.path("directory").unwrap_or_else(|| self.defaults.directory.clone()),
            environment,
            inherit_environment: match fields.value("inherit_environment") {
                Some(Value::Names(names)) => Some(names.iter().map(OsString::from).collect()),
                _ => None,
            },
            stdio,
            stderr: stderr(fields),
            leftovers,
            limits,
        })
    }

    /// The command with the program's own name, where that is another one.
    fn called(&mut self, fields: &Fields, command: CommandLine) -> Option<CommandLine> {
        let Some(field) = fields.field("argv0") else { return Some(command) };
        let fault = |fault: CommandFault| Fault { message: fault.message, hint: fault.hint };
        let called = CommandLine { own_name: Some(fields.text("argv0")?.to_owned()), ..command };
        self.said(&field.at, Command::new(&called).map(|_| called).map_err(fault))
    }

    /// A service without `user`, where the server may have all rights: the
    /// program of every client would have them by an omission.
    fn missing_user(&mut self, entry: &Entry) {
        let fields = &entry.fields;
        let of_other = !entry.enabled() && fields.has_elsewhere("user");
        if !fields.has("command") || of_other {
            return;
        }
        let (account, refused) = match self.defaults.missing_user {
            MissingUser::Accepted => return,
            MissingUser::Refused(account) => (account, true),
            MissingUser::Warned(account) => (account, false),
        };
        let name = &entry.name;
        let hint =
            "write user = \"ACCOUNT\" here or in [defaults], or user = \"none\" to run it as the server does";
        if refused {
            let message = format!(
                "the service `{name}` has no `user`, so every client would run its program as {account}"
            );
            self.report.missing(&entry.header, Fault::new(message, hint));
        } else {
            let message = format!("the service `{name}` has no `user`; a server of {account} refuses that");
            self.report.warning(&entry.header, Fault::new(message, hint));
        }
    }

    /// As whom; outer `None` if that is wrong.
    fn identity(&mut self, entry: &Entry) -> Option<Option<Credentials>> {
        let fields = &entry.fields;
        let Some(field) = fields.field("user") else {
            self.missing_user(entry);
            self.needs_user(fields);
            return Some(None);
        };
        let user = fields.text("user")?;
        if user == "none" {
            self.needs_user(fields);
            return Some(None);
        }
        let password = fields.text("password");
        if fields.has("password") && password.is_none() {
            return None;
        }
        let mut credentials = match self.credentials(user, password) {
            Ok(credentials) => credentials,
            Err(fault) => {
                self.report.error(&field.at, fault);
                return None;
            }
        };
        credentials.group = fields.text("group").map(str::to_owned);
        if let Some(load_profile) = fields.flag("load_profile") {
            credentials.load_profile = load_profile;
        }
        Some(Some(credentials))
    }

    fn credentials(&self, user: &str, password: Option<&str>) -> Result<Credentials, Fault> {
        let service = &self.defaults.service;
        if user.eq_ignore_ascii_case("none") {
            return Err(Fault::plain("`none` is written in small letters"));
        }
        if user.contains(':') {
            let hint = "a password stands in the key `password`";
            return Err(Fault::new("a user's name has no colon", hint));
        }
        parse_credentials(user, password, service).map_err(|_| {
            // With a password it would be right: it is what is missing.
            if password.is_none() && parse_credentials(user, Some(STORED), service).is_ok() {
                let hint =
                    format!("write password = \"{STORED}\" after `wininetd --set-password {}`", value(user));
                Fault::new(format!("{} needs `password` here", value(user)), &hint)
            } else {
                Fault::plain(format!("{} is not a user's name", quote(user)))
            }
        })
    }

    /// What belongs to a user, typed for a service without one.
    fn needs_user(&mut self, fields: &Fields) {
        for name in ["password", "group", "load_profile"] {
            if let Some(field) = fields.field(name).filter(|field| field.own && field.value.is_some()) {
                self.report.missing(
                    &field.at,
                    Fault::plain(format!("`{name}` belongs to a `user`, and there is none")),
                );
            }
        }
    }

    fn environment(&mut self, fields: &Fields) -> Vec<(OsString, OsString)> {
        let Some(Value::Variables(variables)) = fields.value("environment") else { return Vec::new() };
        for (number, (name, _)) in variables.iter().enumerate() {
            let twice =
                variables[..number].iter().find(|(other, _)| same_name(other.as_ref(), name.as_ref()));
            if let (Some((other, _)), Some(field)) = (twice, fields.field("environment")) {
                let message = format!("{} and {} are one variable on this system", quote(other), quote(name));
                self.report.error(&field.at, Fault::plain(message));
            }
        }
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn limits(&mut self, fields: &Fields) -> Limits {
        let Some(Value::Table(limits)) = fields.value("limits") else { return Limits::default() };
        if let Some(field) = limits.field("processes")
            && let Some(why) = sys::limits::processes_fault()
        {
            self.report.error(&field.at, Fault::plain(format!("`processes`: {why}")));
        }
        for name in ["processes", "open_files"] {
            let room = u64::from(u32::MAX);
            if let Some(field) =
                limits.field(name).filter(|_| limits.number(name).is_some_and(|count: u64| count > room))
            {
                self.report.error(&field.at, Fault::plain("this is more than any system has"));
            }
        }
        Limits {
            memory: limits.number("memory"),
            processes: limits.number("processes"),
            cpu_time: limits.duration("cpu_time"),
            open_files: limits.number("open_files"),
        }
    }
}

fn keepalive(fields: &Fields) -> Option<Keepalive> {
    if fields.is_off("keepalive") {
        return None;
    }
    let idle: Duration = fields.duration("keepalive").unwrap_or(KEEPALIVE.idle);
    Some(Keepalive { idle, ..KEEPALIVE })
}
