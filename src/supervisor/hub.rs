//! What all components of the supervisor use: the log, the queue, and the threads that work
//! beside the loop.

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

/// What all components of the supervisor use.
#[derive(Debug)]
pub(super) struct Hub {
    pub log: Log,
    pub sender: Sender,
    pub spawner: Spawner,
    pub workers: Workers,
    /// Make calls on connections that programs have had,
    ends: Helpers,
    /// and ask what moved on those that programs have.
    pub looks: Helpers,
    pub began: Instant,
}

impl Hub {
    /// Starts the threads. The queue's other end is the loop's.
    pub fn start(log: Log) -> Result<(Hub, mpsc::UnboundedReceiver<Event>), Error> {
        let spawner = Spawner::start(log.clone())
            .map_err(|cause| Error::System { what: "the threads that start programs", cause })?;
        let workers =
            Workers::start().map_err(|cause| Error::System { what: "the threads that move bytes", cause })?;
        let (ends, looks) = (Helpers::start("ends")?, Helpers::start("looks")?);
        let (sender, events) = Sender::channel();
        Ok((Hub { log, sender, spawner, workers, ends, looks, began: Instant::now() }, events))
    }

    /// The time since the start, as decisions count it.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Says something about the configuration.
    pub fn say(&self, level: Level, message: String, hint: Option<String>) {
        self.log.event(LogEvent::Configuration { level, message, hint });
    }

    /// What a session or a program of this service needs of the server.
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
