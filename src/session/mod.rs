//! One connection, from accept to its record.

mod closing;
mod delivery;
mod ending;
pub mod event;
pub mod flow;
pub mod helpers;
mod lent;
mod link;
mod prelude;
mod process;
mod pump;
mod run;
mod scratch;
mod start;
pub mod warm;

use std::sync::Arc;

use tokio::time::Instant;

use crate::core::helper_queue::Owner;
use crate::log::Log;
use crate::model::ids::{ServiceId, SessionId};
use crate::model::listen::Address;
use crate::model::peer::Peer;
use crate::model::plan::Service;
use crate::session::helpers::Helpers;
use crate::spawn::Spawner;
use crate::sys::net::Socket;
use crate::tls::Keys;
use closing::Closed;
pub use delivery::refuse;
use event::{Events, Inbox, SessionEvent};
use flow::{Counted, Flow};
pub use process::Process;
pub use pump::StderrBudget;

#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub service: Arc<Service>,
    pub service_id: ServiceId,
    pub peer: Peer,
    /// The server's address that the client connected to.
    pub local: Address,
    pub began: Instant,
    /// Connections of the client's source at this service.
    pub connections: usize,
    /// This session is the probe that may end a pause of its service.
    pub is_probe: bool,
    pub process: Arc<Process>,
    pub flow: Arc<Flow>,
    pub counted: Counted,
}

#[derive(Debug, Clone)]
pub struct SessionContext {
    pub spawner: Spawner,
    pub events: Arc<dyn Events>,
    pub log: Log,
    /// Threads that drain and close connections which programs had.
    pub ends: Helpers,
    /// Threads that query connections which programs have.
    pub looks: Helpers,
    /// Limit of standard error lines for all programs of the service together.
    pub stderr_budget: StderrBudget,
    /// The TLS keys of the service, or why they are missing.
    pub keys: Option<Result<Keys, Arc<str>>>,
}

pub async fn serve(session: Session, socket: Socket, context: SessionContext, mut inbox: Inbox) {
    let (Ok(Closed { record, link }) | Err(Closed { record, link })) =
        story(&session, socket, &context, &mut inbox).await;
    context.events.session(SessionEvent::Ended(Box::new(record)));
    // Closed last: a client that sees the end may reconnect at once and must find the slot free.
    if let Some(link) = link {
        link.close();
    }
}

/// A failed step returns early with its record.
async fn story(
    session: &Session,
    socket: Socket,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Result<Closed, Closed> {
    // Boxed: the state of the first two steps is large, and dead once the program runs.
    let passed = Box::pin(prelude::pass(session, socket, context, inbox)).await?;
    let started = Box::pin(start::start(session, passed, context, inbox)).await?;
    let ran = run::run(session, started, context, inbox).await;
    Ok(delivery::deliver(session, ran, context, inbox).await)
}

impl Session {
    pub fn owner(&self) -> Owner {
        Owner { service: self.service_id, session: self.id }
    }
}
