//! `[server]`: what holds for the server as a whole.

use super::Reader;
use super::fields::Fields;
use super::keys::Table;
use crate::config::plan::{EventLogExtent, OnStop, STOP_GRACE, Server};
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
}
