//! What the supervisor hears from listeners, sessions and timers.

use tokio::sync::oneshot;

use super::warm::WarmId;
use crate::config::Loaded;
use crate::config::error::Error;
use crate::core::refusals::Reason;
use crate::listen::ListenerId;
use crate::log::event::Record;
use crate::model::ids::{ServiceId, SessionId};
use crate::model::peer::Peer;
use crate::session::ServiceHealth;
use crate::session::warm::{Waited, WarmRequest};
use crate::tls::keyring::Read as Keys;

/// What listeners, sessions and timers tell the supervisor.
#[derive(Debug)]
pub enum Event {
    /// Clients wait to be accepted.
    ClientsWait(ListenerId),
    /// Try again to bind.
    Rebind(ListenerId),
    /// Go on accepting, now that others had their turn.
    AcceptMore,
    /// Try again to accept.
    AcceptAgain,
    /// Accepting has worked for a while.
    Calm,
    /// The program of a session that tries its service has lived for long
    /// enough: it works.
    Worked(SessionId),
    /// A session's program is gone. What it wrote last is still moved to its client.
    ProgramOver(SessionId, ServiceHealth),
    /// Its program is gone, and the system delivers its last bytes.
    Lingers(SessionId, ServiceHealth),
    /// Some process keeps its connection from being closed.
    IsHeld(SessionId),
    /// A PROXY header has named the client of a session. It wants to know how many
    /// connections that one's source has, or why it is turned away.
    Named(SessionId, Peer, oneshot::Sender<Result<usize, Reason>>),
    /// A session's header and handshake are done. It wants to know whether its
    /// program may start, and whether it tries its service.
    Passed(SessionId, oneshot::Sender<Result<bool, Reason>>),
    /// A session takes a program that waits; without one it hears nothing.
    WantsProgram(SessionId, WarmRequest),
    /// A program that was started ahead waits for its client.
    WarmWaits(WarmId),
    /// It has waited for a while.
    WarmWorks(WarmId),
    /// It waits no more.
    WarmOver(WarmId, Waited),
    /// A service may have programs started ahead again.
    FillAgain(ServiceId),
    /// A session has ended.
    Ended(Box<Record>, ServiceHealth),
    /// A client that was turned away is gone.
    TurnedAway,
    /// Files of keys that the system could not read are to be read again.
    ReadKeys,
    /// They were.
    KeysRead(Keys),
    /// The files were read again.
    Loaded(Box<Result<(Loaded, Keys), Error>>),
}
