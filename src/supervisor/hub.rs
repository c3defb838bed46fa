//! Shared by all components of the supervisor: the log, the event queue, and the helper threads.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::certificates::Certificates;
use super::event::{Event, Sender};
use super::services::Services;
use super::workers::Workers;
use crate::config::error::Error;
use crate::log::Log;
use crate::log::event::LogEvent;
use crate::model::ids::ServiceId;
use crate::model::level::Level;
use crate::session::SessionContext;
use crate::session::helpers::Helpers;
use crate::spawn::Spawner;

#[derive(Debug)]
pub(super) struct Hub {
    pub log: Log,
    pub sender: Sender,
    pub spawner: Spawner,
    pub workers: Workers,
    /// Threads for calls on connections that programs have used.
    ends: Helpers,
    /// Threads that read the byte counts of connections that programs use.
    pub looks: Helpers,
    pub began: Instant,
}

impl Hub {
    pub fn start(log: Log) -> Result<(Hub, mpsc::UnboundedReceiver<Event>), Error> {
        let spawner = Spawner::start(log.clone())
            .map_err(|cause| Error::System { what: "the threads that start programs", cause })?;
        let workers =
            Workers::start().map_err(|cause| Error::System { what: "the threads that move bytes", cause })?;
        let (ends, looks) = (Helpers::start("ends")?, Helpers::start("looks")?);
        let (sender, events) = Sender::channel();
        Ok((Hub { log, sender, spawner, workers, ends, looks, began: Instant::now() }, events))
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn say(&self, level: Level, message: String, hint: Option<String>) {
        self.log.event(LogEvent::Configuration { level, message, hint });
    }

    pub fn context(&self, id: ServiceId, services: &Services, certificates: &Certificates) -> SessionContext {
        let served = services.get(id);
        SessionContext {
            spawner: self.spawner.clone(),
            events: Arc::new(self.sender.clone()),
            log: self.log.clone(),
            ends: self.ends.clone(),
            looks: self.looks.clone(),
            stderr_budget: served.map(|served| served.stderr_budget.clone()).unwrap_or_default(),
            keys: served.and_then(|served| certificates.of(&served.service)),
        }
    }
}
