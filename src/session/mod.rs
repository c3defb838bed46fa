//! The story of one connection, from the moment it is accepted to its record.

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

/// An accepted connection that was admitted.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// What serves it.
    pub service: Arc<Service>,
    /// The service's number.
    pub service_id: ServiceId,
    /// The peer, as accept said.
    pub peer: Peer,
    /// To which of our addresses.
    pub local: Address,
    /// When it was accepted.
    pub began: Instant,
    /// How many connections its source has at this service.
    pub connections: usize,
    /// It is the probe that may end a pause of its service.
    pub is_probe: bool,
    /// The program's process.
    pub process: Arc<Process>,
    /// What we moved for it.
    pub flow: Arc<Flow>,
    /// Who counts what moves.
    pub counted: Counted,
}

/// What a session needs of the server.
#[derive(Debug, Clone)]
pub struct SessionContext {
    /// Starts programs.
    pub spawner: Spawner,
    /// Where it tells what happens.
    pub events: Arc<dyn Events>,
    /// Where a program's standard error may go.
    pub log: Log,
    /// Make calls on connections that programs have had.
    pub ends: Helpers,
    /// Ask what moved on connections that programs have.
    pub looks: Helpers,
    /// How much of that the service's programs may write together.
    pub stderr_budget: StderrBudget,
    /// What the service needs for TLS, or why it is not there.
    pub keys: Option<Result<Keys, Arc<str>>>,
}

/// Serves one connection, from its header to its record.
pub async fn serve(session: Session, socket: Socket, context: SessionContext, mut inbox: Inbox) {
    let (Ok(Closed { record, link }) | Err(Closed { record, link })) =
        story(&session, socket, &context, &mut inbox).await;
    context.events.session(SessionEvent::Ended(Box::new(record)));
    // Last: a client that sees the end may come again at once, and must find the slot free.
    if let Some(link) = link {
        link.close().await;
    }
}

/// The steps of a session. The last one that is reached closes the record.
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
    /// The owner of its calls on helper threads.
    pub fn owner(&self) -> Owner {
        Owner { service: self.service_id, session: self.id }
    }
}
