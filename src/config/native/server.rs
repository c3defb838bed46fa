//! The `[server]` table.

use super::keys::{RawServer, Table};
use super::reader::{NativeReader, cannot};
use super::service::ServiceEntry;
use super::units::Fault;
use crate::model::endings::OnStop;
use crate::model::plan::{EventLogExtent, STOP_GRACE, Server, Service, Stderr};
use crate::sys::CAPABILITIES;

impl NativeReader<'_> {
    pub fn server(&mut self, raw: &RawServer) -> Server {
        let on_stop = raw.on_stop.value().unwrap_or(OnStop::End);
        if let Some(at) = raw.on_stop.at()
            && on_stop == OnStop::Leave
            && !CAPABILITIES.sessions_outlive_us
        {
            let why = "no session outlives the server on this system";
            self.report.error(at, cannot(Table::Server, "on_stop", why));
        }
        Server {
            max_connections: raw.max_connections.value(),
            stop_grace: raw.stop_grace.value().unwrap_or(STOP_GRACE),
            on_stop,
            log_file: raw.log_file.value(),
            event_log: raw.event_log.value().unwrap_or(EventLogExtent::Events),
        }
    }

    /// Warns of sessions that end with the server despite `on_stop = "leave"`.
    pub fn outlives(&mut self, server: &Server, entry: &ServiceEntry, service: &Service) {
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
                "a program of `{name}` that continues after the server stops, as `on_stop = \"leave\"` allows, gets SIGPIPE when it writes to its standard error, which no server reads then"
            );
            let hint = "write `stderr = \"client\"` or `stderr = \"discard\"` in this service";
            self.report.warning(&entry.header, Fault::new(message, hint));
        }
    }
}
