//! Turns the fields of a service table into a service.

use std::ffi::OsString;

use super::keys::RawService;
use super::raw::{Field, Raw};
use super::reader::NativeReader;
use super::report::At;
use super::rules::expects_header;
use super::units::{Fault, quote, value};
use super::value::Mode;
use crate::config::loaded::Spans;
use crate::config::missing_user::MissingUser;
use crate::model::account::Credentials;
use crate::model::command_line::CommandLine;
use crate::model::limits::KILL_GRACE;
use crate::model::limits::{Limits, Times};
use crate::model::listen::KEEPALIVE;
use crate::model::listen::Keepalive;
use crate::model::listen::{Address, UnixSocket};
use crate::model::plan::{Admit, MAX_CONNECTIONS, Program, Service, Stderr, Stdio, WhenFull};
use crate::model::secret::STORED;
use crate::sys::account::parse_credentials;
use crate::sys::command::Command;
use crate::sys::text::same_name;
use crate::sys::{self, CAPABILITIES};

#[derive(Clone)]
pub(super) struct ServiceEntry {
    pub name: String,
    pub header: At,
    /// After `fill`, with the values of `[defaults]`.
    pub raw: RawService,
}

impl ServiceEntry {
    /// Takes missing values from `[defaults]`. A service with its own user does not take a password
    /// or group from there. A service with its own command does not take `argv0`.
    pub fn fill(&mut self, shared: &RawService) {
        let of_user = if self.raw.user.is_given() { &["password", "group"][..] } else { &[] };
        let of_command = if self.raw.command.is_given() { &["argv0"][..] } else { &[] };
        self.raw.fill(shared, false, &[of_user, of_command].concat());
    }

    pub fn addresses(&self) -> &[(Address, At)] {
        self.raw.listen.get().map_or(&[], Vec::as_slice)
    }

    pub fn enabled(&self) -> bool {
        self.raw.enabled.value().unwrap_or(true)
    }

    /// Whether the key is in the table for the other system and this service is disabled here.
    fn has_elsewhere(&self, key: &str) -> bool {
        !self.enabled() && self.raw.elsewhere.contains(key)
    }

    /// Positions of the service's parts. A part from another file gets the position of the header.
    pub fn spans(&self) -> Spans {
        let raw = &self.raw;
        let span = |at: Option<&At>| {
            let here = at.filter(|at| at.source == self.header.source);
            here.unwrap_or(&self.header).range.clone()
        };
        Spans {
            source: self.header.source,
            listen: span(raw.listen.at()),
            identity: span(raw.user.at()),
            command: span(raw.command.at()),
            tls: span(raw.tls.at()),
        }
    }
}

impl NativeReader<'_> {
    pub fn service(&mut self, entry: &ServiceEntry) -> Option<Service> {
        let raw = &entry.raw;
        for (name, is_given) in [("listen", raw.listen.is_given()), ("command", raw.command.is_given())] {
            if !is_given && !entry.has_elsewhere(name) {
                let message = format!("the service `{}` has no `{name}`", entry.name);
                self.report.missing(&entry.header, Fault::plain(message));
            }
        }
        let listen: Vec<Address> = entry.addresses().iter().map(|(address, _)| address.clone()).collect();
        self.fits_addresses(raw, &listen);
        let access = self.access(raw, &listen);
        let proxy_protocol = self.proxy_protocol(raw, &listen);
        let stdio = self.stdio(entry, &listen);
        self.passes_descriptors(raw, stdio);
        let program = self.program(entry, stdio);
        let (tls, warm) = (self.tls(raw), self.warm(raw));
        if listen.is_empty() {
            return None;
        }
        Some(Service {
            name: entry.name.clone(),
            enabled: entry.enabled(),
            unix_socket: UnixSocket {
                mode: raw.socket_mode.value().map_or(UnixSocket::default().mode, |Mode(mode)| mode),
                user: raw.socket_user.value(),
                group: raw.socket_group.value(),
                pass_descriptors: raw.pass_descriptors.value().unwrap_or(false),
            },
            keepalive: (!raw.keepalive.is_off())
                .then(|| Keepalive { idle: raw.keepalive.value().unwrap_or(KEEPALIVE.idle), ..KEEPALIVE }),
            nodelay: raw.nodelay.value().unwrap_or(stdio == Stdio::Pipe),
            admit: Admit {
                access,
                max_connections: raw.max_connections.value().unwrap_or(MAX_CONNECTIONS),
                max_connections_per_source: raw.max_connections_per_source.value(),
                when_full: raw.when_full.value().unwrap_or(WhenFull::Wait),
                rate: raw.rate.value(),
                rate_per_source: raw.rate_per_source.value(),
            },
            refusal: raw.refusal.value().unwrap_or_default(),
            banner: raw.banner.value().unwrap_or_default(),
            proxy_protocol,
            tls,
            warm,
            program: program?,
            times: self.times(raw),
            listen,
        })
    }

    fn fits_addresses(&mut self, raw: &RawService, listen: &[Address]) {
        let unix = listen.iter().filter(|address| matches!(address, Address::Unix(_))).count();
        // The address itself is an error on a system without `unix:` sockets.
        if listen.is_empty() || !CAPABILITIES.unix_sockets {
            return;
        }
        let unix_only = "and this service listens on `unix:` addresses only";
        let none = || "is about `unix:` addresses, and this service has none".to_owned();
        let rule = || format!("is about networks, {unix_only}: `socket_mode` says who may connect");
        let needless = if unix == 0 {
            vec![
                ("socket_mode", raw.socket_mode.own_at(), none()),
                ("socket_user", raw.socket_user.own_at(), none()),
                ("socket_group", raw.socket_group.own_at(), none()),
                ("pass_descriptors", raw.pass_descriptors.own_at(), none()),
            ]
        } else if unix == listen.len() {
            // A PROXY header names a network client at every address.
            let named = expects_header(raw);
            vec![
                ("allow", raw.allow.own_at().filter(|_| !named), rule()),
                ("deny", raw.deny.own_at().filter(|_| !named), rule()),
                ("keepalive", raw.keepalive.own_at(), format!("is about the network, {unix_only}")),
            ]
        } else {
            return;
        };
        for (name, at, why) in needless {
            let Some(at) = at else { continue };
            self.report.error(at, Fault::plain(format!("`{name}` {why}")));
        }
    }

    fn times(&self, raw: &RawService) -> Times {
        let idle = if raw.idle_timeout.is_off() { None } else { self.defaults.idle_timeout };
        Times {
            idle_timeout: raw.idle_timeout.value().or(idle),
            session_timeout: raw.session_timeout.value(),
            linger_timeout: raw.linger_timeout.value().unwrap_or(self.defaults.linger_timeout),
            kill_grace: raw.kill_grace.value().unwrap_or(KILL_GRACE),
        }
    }

    fn program(&mut self, entry: &ServiceEntry, stdio: Stdio) -> Option<Program> {
        let raw = &entry.raw;
        let identity = self.identity(entry);
        let limits = self.limits(raw);
        let environment = self.environment(raw);
        let leftovers = self.leftovers(raw);
        let command = self.called(raw, raw.command.value()?)?;
        Some(Program {
            command,
            identity: identity?,
            directory: raw.directory.value().unwrap_or_else(|| self.defaults.directory.clone()),
            environment,
            inherit_environment: (raw.inherit_environment.get())
                .map(|names| names.iter().map(OsString::from).collect()),
            stdio,
            stderr: raw.stderr.value().unwrap_or(Stderr::Log),
            leftovers,
            limits,
        })
    }

    fn called(&mut self, raw: &RawService, command: CommandLine) -> Option<CommandLine> {
        let Some(at) = raw.argv0.at() else { return Some(command) };
        let called = CommandLine { own_name: Some(raw.argv0.get()?.clone()), ..command };
        match Command::new(&called) {
            Ok(_) => Some(called),
            Err(fault) => {
                self.report.error(at, fault.into());
                None
            }
        }
    }

    /// Reports a service without `user` if the server may have all rights. Otherwise an omission
    /// would give all rights to every client's program.
    fn missing_user(&mut self, entry: &ServiceEntry) {
        if !entry.raw.command.is_given() || entry.has_elsewhere("user") {
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

    /// The outer `None` means an error.
    fn identity(&mut self, entry: &ServiceEntry) -> Option<Option<Credentials>> {
        let raw = &entry.raw;
        let Some(at) = raw.user.at() else {
            self.missing_user(entry);
            self.needs_user(raw);
            return Some(None);
        };
        let user = raw.user.get()?;
        if user == "none" {
            self.needs_user(raw);
            return Some(None);
        }
        let password = raw.password.get();
        if raw.password.is_given() && password.is_none() {
            return None;
        }
        let credentials = self.credentials(user, password.map(|password| password.as_str()));
        let mut credentials = credentials.map_err(|fault| self.report.error(at, fault)).ok()?;
        credentials.group = raw.group.value();
        if let Some(load_profile) = raw.load_profile.value() {
            credentials.load_profile = load_profile;
        }
        Some(Some(credentials))
    }

    fn credentials(&self, user: &str, password: Option<&str>) -> Result<Credentials, Fault> {
        let service = &self.defaults.service;
        if user.eq_ignore_ascii_case("none") {
            return Err(Fault::plain("write `none` in lower case"));
        }
        if user.contains(':') {
            let hint = "a password stands in the key `password`";
            return Err(Fault::new("a user's name has no colon", hint));
        }
        parse_credentials(user, password, service).map_err(|_| {
            // If a password makes it valid, only the password is missing.
            if password.is_none() && parse_credentials(user, Some(STORED), service).is_ok() {
                let hint =
                    format!("write password = \"{STORED}\" after `wininetd --set-password {}`", value(user));
                Fault::new(format!("{} needs `password` here", value(user)), &hint)
            } else {
                Fault::plain(format!("{} is not a user's name", quote(user)))
            }
        })
    }

    fn needs_user(&mut self, raw: &RawService) {
        let keys = [
            ("password", raw.password.own_at().filter(|_| raw.password.get().is_some())),
            ("group", raw.group.own_at().filter(|_| raw.group.get().is_some())),
            ("load_profile", raw.load_profile.own_at().filter(|_| raw.load_profile.get().is_some())),
        ];
        for (name, at) in keys.into_iter().filter_map(|(name, at)| Some((name, at?))) {
            let message = format!("`{name}` has no effect without `user`");
            self.report.missing(at, Fault::plain(message));
        }
    }

    fn environment(&mut self, raw: &RawService) -> Vec<(OsString, OsString)> {
        let (Some(variables), Some(at)) = (raw.environment.get(), raw.environment.at()) else {
            return Vec::new();
        };
        for (number, (name, _)) in variables.iter().enumerate() {
            let twice =
                variables[..number].iter().find(|(other, _)| same_name(other.as_ref(), name.as_ref()));
            if let Some((other, _)) = twice {
                let message =
                    format!("{} and {} are the same variable on this system", quote(other), quote(name));
                self.report.error(at, Fault::plain(message));
            }
        }
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn limits(&mut self, raw: &RawService) -> Limits {
        let Some(limits) = raw.limits.get() else { return Limits::default() };
        if let Some(at) = limits.processes.at()
            && let Some(why) = sys::limits::processes_fault()
        {
            self.report.error(at, Fault::plain(format!("`processes`: {why}")));
        }
        let mut count = |key: &Field<usize>| {
            let count = u32::try_from(key.value()?);
            let too_many = || Fault::plain("this is more than any system supports");
            count.map_err(|_| key.at().map(|at| self.report.error(at, too_many()))).ok()
        };
        Limits {
            memory: limits.memory.value(),
            processes: count(&limits.processes),
            cpu_time: limits.cpu_time.value(),
            open_files: count(&limits.open_files).map(u64::from),
        }
    }
}
