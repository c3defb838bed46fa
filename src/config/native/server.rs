//! `[server]`: what holds for the server as a whole.

use super::Reader;
use super::fields::Fields;
use super::keys::Table;
use super::service::Entry;
use super::units::Fault;
use crate::model::endings::OnStop;
use crate::model::plan::{EventLogExtent, STOP_GRACE, Server, Service, Stderr};
use crate::sys::CAPABILITIES;

impl Reader<'_> {
    /// The server of these fields.
    pub fn server(&mut self, fields: &Fields) -> Server {
        let on_stop = match fields.choice("on_stop") {
            Some("leave") => OnStop::Leave,
            _ => OnStop::End,
        };
        if let Some(field) = fields.field("on_stop")
            && on_stop == OnStop::Leave
            && !CAPABILITIES.sessions_outlive_us
        {
            self.cannot(&field.at, Table::Server, "on_stop", "no session outlives the server on this system");
        }
        Server {
            max_connections: fields.number("max_connections"),
            stop_grace: fields.duration("stop_grace").unwrap_or(STOP_GRACE),
            on_stop,
            log_file: fields.path("log_file"),
            event_log: match fields.choice("event_log") {
                Some("all") => EventLogExtent::All,
                _ => EventLogExtent::Events,
            },
        }
    }

    /// Says of a service whose sessions need the server that they end with it,
    /// where others go on.
    pub fn outlives(&mut self, server: &Server, entry: &Entry, service: &Service) {
        if server.on_stop != OnStop::Leave || !CAPABILITIES.sessions_outlive_us || !service.enabled {
            return;
        }
        let name = &service.name;
        if service.has_pipes() {
            let message = format!(
                "sessions of `{name}` end with the server all the same: they have pipes, and `on_stop = \"leave\"` is for those with the socket"
            );
            let hint = match self.implied(entry, &service.listen).first() {
                Some(implied) => format!("`{}` implies pipes; without it they would go on", implied.name),
                None => "write `stdio = \"socket\"` in this service, and they go on".to_owned(),
            };
            self.report.warning(&entry.header, Fault::new(message, &hint));
        } else if service.program.stderr == Stderr::Log {
            let message = format!(
                "a program of `{name}` that goes on after the server's end, as `on_stop = \"leave\"` wants it, is ended by SIGPIPE once it writes to its standard error, which nobody logs any more"
            );
            let hint = "write `stderr = \"client\"` or `stderr = \"discard\"` in this service";
            self.report.warning(&entry.header, Fault::new(message, hint));
        }
    }
}
