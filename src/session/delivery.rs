//! The end of a connection: what a program wrote last reaches the client, as far as there is
//! time for it, and then what moved is counted.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::closing::Closed;
use super::event::{Inbox, Instructions, SessionEvent, reached};
use super::link::Link;
use super::pump::Pump;
use super::run::{Ended, Ran};
use super::{Session, SessionContext};
use crate::core::ending::EndReason;
use crate::core::stop::CLIENT_LEAVES_WITHIN;
use crate::log::event::Record;
use crate::sys::net::Socket;
use crate::sys::{Counts, child, connection};

/// What is in a program's pipe has this long to come out of it, also where the
/// session was to be gone already: on some systems that takes a turn of the loop.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Moves what is left in a program's pipes. Says why that was cut short, if it was.
///
/// Until it is done no client that waits gets the session's slot. The same holds for a program
/// that has the connection itself and still writes. A client whose last bytes were cut for
/// another one would take what it has for all.
pub(super) async fn drain_pipes(
    pump: &mut Pump<'_>,
    until: Instant,
    inbox: &mut Inbox,
) -> Option<&'static str> {
    if timeout(LAST_WORD, pump.finish()).await.is_ok() {
        return None;
    }
    let finish = async {
        pump.finish().await;
        true
    };
    until_cut(finish, until, inbox).await
}

/// Delivers what the system still holds for the client.
pub(super) async fn deliver(
    session: &Session,
    ran: Ran,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Closed {
    let Ran { mut link, client, connection, running, ended, over, mut cut } = ran;
    let seconds = over - session.began;
    let mut record = Record { client: session.named(client), seconds, ..session.record() };
    let on_its_own = |record: Record, reason| Closed { record: Record { reason, ..record }, link: None };
    let why = match ended {
        // A process may have the connection still: its options stay as they are.
        Ended::Unknown(why) => return on_its_own(record, Some(why)),
        Ended::Left => {
            running.child.leave();
            return on_its_own(record, Some(LEFT.to_owned()));
        }
        Ended::Known { exit, why } => {
            record.exit = Some(exit);
            why
        }
    };
    // What the program left behind has the connection: it goes on with the client,
    // as under inetd.
    if why.is_none() && is_left(connection, session, context).await {
        return on_its_own(record, Some(LEFT.to_owned()));
    }
    let linger_timeout = session.service.times.linger_timeout;
    if cut.is_none() && !linger_timeout.is_zero() {
        // A client that resets has said that it wants no more.
        cut = until_cut(link.linger(inbox.clone()), over + linger_timeout, inbox).await;
    }
    record.reason = why.map(EndReason::text).or(cut).map(str::to_owned);
    if let Some(counts) = last_counts(&link, session, context, inbox).await {
        record.bytes_in = Some(counts.received);
        // With a reset comes no acknowledgement of what arrived before it.
        record.bytes_out = if link.is_broken() { counts.sent } else { Some(counts.acknowledged) };
    }
    record.linger_seconds = over.elapsed();
    Closed { record, link: Some(link) }
}

/// Whether a process that the program left behind has the connection. Many descriptors
/// may have to be looked at, so a helper does it.
async fn is_left(connection: Option<connection::Id>, session: &Session, context: &SessionContext) -> bool {
    let Some(connection) = connection else { return false };
    let looked = context.looks.run(session.owner(), move || child::leftovers_have(&connection));
    looked.await.unwrap_or(false)
}

/// The reason in the record of a connection that goes on without the server.
const LEFT: &str = "left to itself";

/// Delivers what is left; says why if that was cut short, as `doing` does by `false`.
async fn until_cut(
    doing: impl Future<Output = bool>,
    until: Instant,
    inbox: &mut Inbox,
) -> Option<&'static str> {
    tokio::select! {
        biased;
        is_done = doing => (!is_done).then_some("linger cut"),
        () = tokio::time::sleep_until(until) => Some("linger timeout"),
        () = reached(inbox, Instructions::close_at) => Some("linger cut"),
    }
}

/// A connection that does not answer for so long keeps its slot.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// What moved on the connection. While some process keeps it from answering, the session
/// keeps its slot: connections that cannot be closed must not take all descriptors.
async fn last_counts(
    link: &Link,
    session: &Session,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Option<Counts> {
    let asked = link.counts(&session.counted);
    tokio::pin!(asked);
    if let Ok(counts) = timeout(ANSWERS_WITHIN, &mut asked).await {
        return counts;
    }
    context.events.session(SessionEvent::IsHeld(session.id));
    tokio::select! {
        counts = asked => counts,
        () = reached(inbox, Instructions::stop_at) => None,
    }
}

/// The client is asked so often whether it has acknowledged everything.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Returns when the server stops and the client has had its time after it acknowledged
/// all that was sent. Never where the system does not tell that.
pub(super) async fn delivered<Answer: Future<Output = Option<bool>>>(
    mut inbox: Inbox,
    is_acknowledged: impl Fn() -> Answer,
) {
    if inbox.wait_for(|told| told.order.is_stop()).await.is_err() {
        // The supervisor is gone, and with it everything.
        return;
    }
    loop {
        match is_acknowledged().await {
            Some(true) => return tokio::time::sleep(CLIENT_LEAVES_WITHIN).await,
            Some(false) => tokio::time::sleep(LOOK_AGAIN).await,
            None => return std::future::pending().await,
        }
    }
}

/// A client that is refused has this long to read why.
pub(super) const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// Delivers the text that a refused client was sent, and closes.
pub async fn refuse(socket: Socket) {
    let _ = timeout(REFUSED_WITHIN, socket.linger()).await;
}
