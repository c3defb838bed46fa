//! How a connection becomes the streams of a service's program, and the keys
//! that have a say in it.

use super::Reader;
use super::fields::Fields;
use super::keys::Table;
use super::report::At;
use super::service::Entry;
use super::units::{Fault, value};
use super::value::Value;
use crate::config::defaults::uncounted;
use crate::model::endings::Leftovers;
use crate::model::listen::Address;
use crate::model::plan::{MAX_CONNECTIONS, Stderr, Stdio, Tls, Warm};
use crate::sys::CAPABILITIES;

/// What implies pipes.
pub(super) struct Implied<'f> {
    /// The key, or the option.
    pub name: &'static str,
    /// Where the key was typed; an option has no place.
    at: Option<&'f At>,
    why: &'static str,
}

impl Reader<'_> {
    /// How a connection becomes a program's streams.
    pub fn stdio(&mut self, entry: &Entry, listen: &[Address]) -> Stdio {
        let fields = &entry.fields;
        let typed = match fields.choice("stdio") {
            Some("socket") => Some(Stdio::Socket),
            Some(_) => Some(Stdio::Pipe),
            None => None,
        };
        let implied = self.implied(entry, listen);
        if implied.is_empty() {
            return typed.or(self.defaults.stdio).unwrap_or(CAPABILITIES.native_stdio);
        }
        if typed == Some(Stdio::Socket) {
            self.is_no_socket(entry, &implied);
        } else if typed.is_none() && self.defaults.stdio == Some(Stdio::Socket) {
            for Implied { name, at, why } in implied {
                let message = format!("`{name}` implies pipes, and `--stdio socket` was given: {why}");
                let hint = "write `stdio = \"pipe\"` in this service, or leave the option out";
                self.report.error(at.unwrap_or(&entry.header), Fault::new(message, hint));
            }
        }
        Stdio::Pipe
    }

    /// Says at the place of `stdio` what is against it.
    fn is_no_socket(&mut self, entry: &Entry, implied: &[Implied<'_>]) {
        let Some(field) = entry.fields.field("stdio") else { return };
        for Implied { name, at, why } in implied {
            // What stands for all services is right for the others.
            let of = if field.own { String::new() } else { format!(" of the service `{}`", entry.name) };
            let place = at.map(|at| self.report.name(at, &field.at)).unwrap_or_default();
            let place = if place.is_empty() { place } else { format!(", {place},") };
            let message = format!("`{name}`{of}{place} implies `stdio = \"pipe\"`: {why}");
            let hint = if field.own {
                format!("leave `stdio` out, or `{name}`")
            } else {
                "write `stdio = \"pipe\"` in that service".to_owned()
            };
            self.report.error(&field.at, Fault::new(message, &hint));
        }
    }

    /// Everything that implies pipes.
    pub fn implied<'f>(&self, entry: &'f Entry, listen: &[Address]) -> Vec<Implied<'f>> {
        let fields = &entry.fields;
        let key = |name: &'static str, why| {
            let at = fields.field(name).map(|field| &field.at);
            Implied { name, at, why }
        };
        let mut all = Vec::new();
        if matches!(fields.value("tls"), Some(Value::Table(_))) {
            all.push(key("tls", "the server reads and writes in the program's place"));
        }
        if matches!(fields.value("warm"), Some(Value::Number(_))) {
            all.push(key("warm", "the program is there before its client"));
        }
        // Without addresses nothing is known of what is counted at them.
        if let Some(why) = uncounted(listen).filter(|_| !listen.is_empty()) {
            if fields.duration("idle_timeout").is_some() {
                all.push(key("idle_timeout", why));
            } else if self.defaults.idle_timeout.is_some() && !fields.has("idle_timeout") {
                all.push(Implied { name: "--timeout", at: None, why });
            }
        }
        all
    }

    /// What becomes of processes that a program leaves behind.
    pub fn leftovers(&mut self, fields: &Fields) -> Leftovers {
        let Some(field) = fields.field("leftovers").filter(|_| fields.choice("leftovers") == Some("leave"))
        else {
            return Leftovers::End;
        };
        if !CAPABILITIES.leftovers_go_on {
            let why = "what a program leaves behind ends with it on this system";
            self.cannot(&field.at, Table::Service, "leftovers", why);
        }
        Leftovers::Leave
    }

    /// The files of TLS.
    pub fn tls(&mut self, fields: &Fields) -> Option<Tls> {
        let field = fields.field("tls")?;
        let Some(Value::Table(files)) = &field.value else { return None };
        for name in ["certificate", "key"] {
            if !files.has(name) {
                let message = format!("`tls` has no `{name}`");
                let hint = "write tls = { certificate = \"cert.pem\", key = \"key.pem\" }";
                self.report.missing(&field.at, Fault::new(message, hint));
            }
        }
        if let Some(list) = files.field("crl").filter(|_| !files.has("client_ca")) {
            let message =
                "`crl` lists revoked client certificates, and without `client_ca` no client has one";
            let hint = "add `client_ca = \"ca.pem\"`, or leave `crl` out";
            self.report.missing(&list.at, Fault::new(message, hint));
        }
        Some(Tls {
            certificate: files.path("certificate")?,
            key: files.path("key")?,
            client_ca: files.path("client_ca"),
            crl: files.path("crl"),
        })
    }

    /// Programs that are started ahead.
    pub fn warm(&mut self, fields: &Fields) -> Option<Warm> {
        let header = fields.field("warm_header");
        // One that is wrong is another error.
        let is_there = fields.has("warm") && !fields.is_off("warm");
        if let Some(field) = header.filter(|field| field.own && !is_there) {
            let hint = "write `warm = 4`, or as many as shall wait for clients";
            let message = "`warm_header` is about programs of `warm`, and there are none";
            self.report.missing(&field.at, Fault::new(message, hint));
        }
        let programs = fields.number("warm")?;
        let most = fields.number("max_connections").unwrap_or(MAX_CONNECTIONS);
        if let Some(field) = fields.field("warm").filter(|_| programs > most) {
            let message = format!(
                "{} programs wait, and only {} clients can be there at once",
                value(programs),
                value(most)
            );
            let hint =
                format!("`warm = {}` is the most that can be of use; a tenth of it is usual", value(most));
            self.report.warning(&field.at, Fault::new(message, &hint));
        }
        Some(Warm { programs, header: fields.flag("warm_header").unwrap_or(false) })
    }
}

/// Where standard error goes.
pub(super) fn stderr(fields: &Fields) -> Stderr {
    match fields.choice("stderr") {
        Some("client") => Stderr::Client,
        Some("discard") => Stderr::Discard,
        _ => Stderr::Log,
    }
}
