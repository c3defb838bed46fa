//! How a connection becomes the program's streams, and the keys that decide it.

use super::keys::{RawService, Table};
use super::reader::{NativeReader, cannot};
use super::report::At;
use super::service::ServiceEntry;
use super::units::{Fault, value};
use crate::config::defaults::uncounted;
use crate::model::endings::Leftovers;
use crate::model::listen::Address;
use crate::model::plan::{MAX_CONNECTIONS, Stdio, Tls, Warm};
use crate::sys::CAPABILITIES;

pub(super) struct Implied<'f> {
    pub name: &'static str,
    /// `None` for a command-line option.
    at: Option<&'f At>,
    why: &'static str,
}

impl NativeReader<'_> {
    pub fn stdio(&mut self, entry: &ServiceEntry, listen: &[Address]) -> Stdio {
        let typed = entry.raw.stdio.value();
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

    /// Reports at `stdio` each key that excludes the socket.
    fn is_no_socket(&mut self, entry: &ServiceEntry, implied: &[Implied<'_>]) {
        let Some(stdio) = entry.raw.stdio.at() else { return };
        let is_own = entry.raw.stdio.own_at().is_some();
        for Implied { name, at, why } in implied {
            // A value from [defaults] may be right for other services, so name this one.
            let of = if is_own { String::new() } else { format!(" of the service `{}`", entry.name) };
            let place = at.map(|at| self.report.name(at, stdio)).unwrap_or_default();
            let place = if place.is_empty() { place } else { format!(", {place},") };
            let message = format!("`{name}`{of}{place} implies `stdio = \"pipe\"`: {why}");
            let hint = if is_own {
                format!("leave `stdio` out, or `{name}`")
            } else {
                "write `stdio = \"pipe\"` in that service".to_owned()
            };
            self.report.error(stdio, Fault::new(message, &hint));
        }
    }

    pub fn passes_descriptors(&mut self, raw: &RawService, stdio: Stdio) {
        let is_wanted = raw.pass_descriptors.value() == Some(true);
        if let Some(at) = raw.pass_descriptors.own_at().filter(|_| is_wanted && stdio == Stdio::Pipe) {
            let message = "`pass_descriptors` has no effect with pipes: the program has no connection";
            self.report.error(at, Fault::new(message, "write `stdio = \"socket\"`, or leave it out"));
        }
    }

    pub fn implied<'f>(&self, entry: &'f ServiceEntry, listen: &[Address]) -> Vec<Implied<'f>> {
        let raw = &entry.raw;
        let mut all = Vec::new();
        if raw.tls.get().is_some() {
            let why = "the server reads and writes in the program's place";
            all.push(Implied { name: "tls", at: raw.tls.at(), why });
        }
        if raw.warm.get().is_some() {
            all.push(Implied {
                name: "warm",
                at: raw.warm.at(),
                why: "the program starts before its client connects",
            });
        }
        // Without valid addresses it is unknown whether the kernel counts their bytes.
        if let Some(why) = uncounted(listen).filter(|_| !listen.is_empty()) {
            if raw.idle_timeout.get().is_some() {
                all.push(Implied { name: "idle_timeout", at: raw.idle_timeout.at(), why });
            } else if self.defaults.idle_timeout.is_some() && !raw.idle_timeout.is_given() {
                all.push(Implied { name: "--timeout", at: None, why });
            }
        }
        all
    }

    pub fn leftovers(&mut self, raw: &RawService) -> Leftovers {
        let leftovers = raw.leftovers.value().unwrap_or(Leftovers::End);
        if let Some(at) = raw.leftovers.at()
            && leftovers == Leftovers::Leave
            && !CAPABILITIES.leftovers_go_on
        {
            let why = "what a program leaves behind ends with it on this system";
            self.report.error(at, cannot(Table::Service, "leftovers", why));
        }
        leftovers
    }

    pub fn tls(&mut self, raw: &RawService) -> Option<Tls> {
        let (files, at) = (raw.tls.get()?, raw.tls.at()?);
        for (name, file) in [("certificate", &files.certificate), ("key", &files.key)] {
            if !file.is_given() {
                let message = format!("`tls` has no `{name}`");
                let hint = "write tls = { certificate = \"cert.pem\", key = \"key.pem\" }";
                self.report.missing(at, Fault::new(message, hint));
            }
        }
        if let Some(list) = files.crl.at().filter(|_| !files.client_ca.is_given()) {
            let message =
                "`crl` lists revoked client certificates, and without `client_ca` no client has one";
            let hint = "add `client_ca = \"ca.pem\"`, or leave `crl` out";
            self.report.missing(list, Fault::new(message, hint));
        }
        Some(Tls {
            certificate: files.certificate.value()?,
            key: files.key.value()?,
            client_ca: files.client_ca.value(),
            crl: files.crl.value(),
        })
    }

    pub fn warm(&mut self, raw: &RawService) -> Option<Warm> {
        // An invalid `warm` has an error of its own.
        let is_there = raw.warm.is_given() && !raw.warm.is_off();
        if let Some(at) = raw.warm_header.own_at().filter(|_| !is_there) {
            let hint = "write `warm = 4`, or as many as shall wait for clients";
            let message = "`warm_header` has no effect without `warm`";
            self.report.missing(at, Fault::new(message, hint));
        }
        let programs = raw.warm.value()?;
        let most = raw.max_connections.value().unwrap_or(MAX_CONNECTIONS);
        if let Some(at) = raw.warm.at().filter(|_| programs > most) {
            let (programs, most) = (value(programs), value(most));
            let message = format!(
                "{programs} programs would wait, but at most {most} clients can be connected at once"
            );
            let hint = format!("`warm = {most}` is the largest useful value; a tenth of it is usual");
            self.report.warning(at, Fault::new(message, &hint));
        }
        Some(Warm { programs, header: raw.warm_header.value().unwrap_or(false) })
    }
}
