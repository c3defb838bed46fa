//! One service: the keys of the defaults, of its own table and of the table for
//! this system, each replacing the one before, made into what is served.

use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeTable;

use super::keys::SERVICE;
use super::reader::{Keys, Place, Reader, Set, Value};
use crate::config::plan::{
    self, Access, Address, Admit, KEEPALIVE, Limits, Program, Rate, Service, Stderr, Times, UnixSocket,
    WhenFull,
};
use crate::sys::account::parse_credentials;
use crate::sys::{CAPABILITIES, Credentials, Keepalive};

/// A service, and where its parts were typed.
pub(super) struct Typed {
    pub(super) service: Service,
    pub(super) listen: Vec<(Address, Place)>,
    /// Rules that are the service's own.
    pub(super) allow: Vec<(IpNet, Place)>,
    pub(super) deny: Vec<(IpNet, Place)>,
    /// Its name.
    pub(super) name: Place,
}

/// The keys of a table and of its table for this system, which win.
pub(super) fn keys_of(reader: &mut Reader<'_>, table: &DeTable<'_>, name: &str) -> Keys {
    let [own, other] = CAPABILITIES.tables;
    let mut keys = reader.keys(table, SERVICE, &CAPABILITIES.tables, false, false);
    for (system, is_other) in [(other, true), (own, false)] {
        let Some(value) = table.get(system) else { continue };
        let Some(table) = reader.table(value, &format!("{name}.{system}")) else { continue };
        keys.extend(reader.keys(table, SERVICE, &[], is_other, true));
    }
    keys
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    (name, at): (&str, Range<usize>),
    table: &DeTable<'_>,
    common: &Keys,
) -> Option<Typed> {
    let errors = reader.diagnostics.len();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.is_empty() || name.len() > 80 || !name.chars().all(plain) {
        let hint = "up to 80 letters, digits and . _ - make a name".to_owned();
        reader.error(&at, format!("`{name}` is no name of a service"), hint);
    }
    let own = keys_of(reader, table, &format!("service.{name}"));
    for required in ["listen", "command"] {
        let given =
            table.contains_key(required) || own.contains_key(required) || common.contains_key(required);
        if !given {
            reader.error(&at, format!("this service has no {required}"), None);
        }
    }
    let mut keys = common.clone();
    keys.extend(own);
    let mut made = Made { reader, keys: &keys, at: at.clone() };
    let typed = made.service(name);
    if reader.diagnostics.len() > errors { None } else { typed }
}

struct Made<'m, 'a> {
    reader: &'m mut Reader<'a>,
    keys: &'m Keys,
    /// The service's name.
    at: Range<usize>,
}

impl Made<'_, '_> {
    fn set(&self, name: &str) -> Option<&Set> {
        self.keys.get(name)
    }

    /// An error at a key, or at the name of the service for one of the defaults.
    fn error(&mut self, name: &str, message: &str, hint: Option<&str>) {
        let own = self.keys.get(name).filter(|set| set.is_own);
        let range = own.map_or_else(|| self.at.clone(), |set| set.place.range.clone());
        self.reader.error(&range, message, hint.map(str::to_owned));
    }

    fn is_own(&self, name: &str) -> bool {
        self.set(name).is_some_and(|set| set.is_own)
    }

    fn text(&self, name: &str) -> Option<&str> {
        match &self.set(name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn count(&self, name: &str) -> Option<usize> {
        match self.set(name)?.value {
            Value::Count(count) => usize::try_from(count).ok(),
            _ => None,
        }
    }

    fn time(&self, name: &str) -> Option<Duration> {
        match self.set(name)?.value {
            Value::Duration(time) => time,
            _ => None,
        }
    }

    fn rate(&self, name: &str) -> Option<Rate> {
        match self.set(name)?.value {
            Value::Rate(rate) => Some(rate),
            _ => None,
        }
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.set(name)?.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    fn networks(&self, name: &str) -> Option<Vec<(IpNet, Place)>> {
        match &self.set(name)?.value {
            Value::Networks(networks) => Some(networks.clone()),
            _ => None,
        }
    }

    fn range(&self, name: &str) -> Range<usize> {
        self.set(name).filter(|set| set.is_own).map_or_else(|| self.at.clone(), |set| set.place.range.clone())
    }

    fn service(&mut self, name: &str) -> Option<Typed> {
        let listen = match self.set("listen").map(|set| &set.value) {
            Some(Value::Listen(listen)) => listen.clone(),
            _ => Vec::new(),
        };
        let unix = listen.iter().filter(|(address, _)| matches!(address, Address::Unix(_))).count();
        let only_unix = unix == listen.len();
        let unix_socket = self.unix_socket(unix > 0);
        let (allow, deny) = (self.networks("allow"), self.networks("deny").unwrap_or_default());
        for rules in ["allow", "deny"] {
            if only_unix && !listen.is_empty() && self.is_own(rules) {
                let hint = "socket_mode, socket_user and socket_group say who may connect";
                self.error(rules, "clients of a socket in the file system have no address", Some(hint));
            }
        }
        let identity = self.identity();
        let times = self.times(unix > 0);
        let keepalive = self.keepalive();
        let command = match self.set("command").map(|set| &set.value) {
            Some(Value::Command(command)) => Some(command.clone()),
            _ => None,
        };
        let typed = plan::Typed {
            source: self.reader.number,
            listen: self.range("listen"),
            identity: self.range("user"),
            command: self.range("command"),
        };
        let nets = |rules: &[(IpNet, Place)]| rules.iter().map(|(net, _)| *net).collect::<Vec<_>>();
        let service = Service {
            name: name.to_owned(),
            enabled: self.flag("enabled").unwrap_or(true),
            listen: listen.iter().map(|(address, _)| address.clone()).collect(),
            unix_socket,
            keepalive,
            admit: Admit {
                access: Access { allow: allow.as_deref().map(nets), deny: nets(&deny) },
                max_connections: self.count("max_connections").unwrap_or(plan::MAX_CONNECTIONS),
                max_connections_per_source: self.count("max_connections_per_source"),
                when_full: match self.text("when_full") {
                    Some("refuse") => WhenFull::Refuse,
                    _ => WhenFull::Wait,
                },
                rate: self.rate("rate"),
                rate_per_source: self.rate("rate_per_source"),
            },
            refusal: self.text("refusal").unwrap_or_default().as_bytes().to_vec(),
            banner: self.text("banner").unwrap_or_default().as_bytes().to_vec(),
            program: self.program(command?, identity),
            times,
            typed,
        };
        let own = |name: &str, rules: Vec<(IpNet, Place)>| if self.is_own(name) { rules } else { Vec::new() };
        let name = self.reader.place(self.at.clone());
        let (allow, deny) = (own("allow", allow.unwrap_or_default()), own("deny", deny));
        Some(Typed { service, listen, allow, deny, name })
    }

    fn program(&self, command: crate::sys::command::Command, identity: Option<Credentials>) -> Program {
        let directory = match self.set("directory").map(|set| &set.value) {
            Some(Value::Path(path)) => path.clone(),
            _ => self.reader.defaults.directory.clone(),
        };
        let environment = match self.set("environment").map(|set| &set.value) {
            Some(Value::Environment(variables)) => variables.clone(),
            _ => Vec::new(),
        };
        let inherit_environment = match self.set("inherit_environment").map(|set| &set.value) {
            Some(Value::Names(names)) => Some(names.clone()),
            _ => None,
        };
        let limits = match self.set("limits").map(|set| &set.value) {
            Some(Value::Limits(limits)) => *limits,
            _ => Limits::default(),
        };
        let stderr = match self.text("stderr") {
            Some("discard") => Stderr::Discard,
            _ => Stderr::Client,
        };
        Program { command, identity, directory, environment, inherit_environment, stderr, limits }
    }

    fn identity(&mut self) -> Option<Credentials> {
        let (password, group) = (self.text("password"), self.text("group").map(str::to_owned));
        let Some(user) = self.text("user") else {
            for key in ["password", "group", "load_profile"] {
                if self.is_own(key) {
                    self.error(key, &format!("{key} belongs to a user, and there is none"), None);
                }
            }
            return None;
        };
        let read = parse_credentials(user, password, &self.reader.defaults.service);
        match read {
            Ok(credentials) => {
                let load_profile = self.flag("load_profile").unwrap_or(true);
                Some(Credentials { group, load_profile, ..credentials })
            }
            Err(message) => {
                self.error("user", &message, None);
                None
            }
        }
    }

    fn unix_socket(&mut self, is_wanted: bool) -> UnixSocket {
        for key in ["socket_mode", "socket_user", "socket_group"] {
            if self.is_own(key) && !is_wanted {
                self.error(key, "this service listens on no unix: socket", None);
            }
        }
        let mode = match self.set("socket_mode").map(|set| &set.value) {
            Some(Value::Mode(mode)) => *mode,
            _ => UnixSocket::default().mode,
        };
        let text = |name: &str| self.text(name).map(str::to_owned);
        UnixSocket { mode, user: text("socket_user"), group: text("socket_group") }
    }

    fn times(&mut self, has_unix: bool) -> Times {
        let defaults = self.reader.defaults;
        if has_unix && self.is_own("idle_timeout") {
            let message = "nobody counts what moves on a socket in the file system, so this can't be kept";
            self.error("idle_timeout", message, Some("session_timeout can"));
        }
        let standard = Times::default();
        Times {
            idle_timeout: self.time("idle_timeout").or(defaults.idle_timeout).filter(|_| !has_unix),
            session_timeout: self.time("session_timeout"),
            linger_timeout: self.time("linger_timeout").unwrap_or(defaults.linger_timeout),
            kill_grace: self.time("kill_grace").unwrap_or(standard.kill_grace),
        }
    }

    fn keepalive(&mut self) -> Option<Keepalive> {
        match self.set("keepalive").map(|set| &set.value) {
            Some(Value::Duration(None)) => None,
            Some(Value::Duration(Some(idle))) if idle.as_secs() == 0 => {
                let hint = "keepalive = false never asks";
                self.error("keepalive", "clients are asked after a second at the earliest", Some(hint));
                None
            }
            Some(Value::Duration(Some(idle))) => Some(Keepalive { idle: *idle, ..KEEPALIVE }),
            _ => Some(KEEPALIVE),
        }
    }
}
