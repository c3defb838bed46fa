//! Delivers a program's last bytes to the client, then counts the bytes that moved.

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

/// Minimum time for a drain, even at a stop: some systems need one more pass of the event loop.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Drains the program's pipes to the client. Returns why the drain was cut short.
///
/// The session keeps its slot meanwhile. Otherwise its client could get truncated output and not
/// know.
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

/// Lets the kernel deliver the last bytes, and completes the record.
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
        // Another process may still hold the connection, so its options stay unchanged.
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
    // A leftover process has the connection and goes on serving the client, as under inetd.
    if why.is_none() && is_left(connection, session, context).await {
        return on_its_own(record, Some(LEFT.to_owned()));
    }
    let linger_timeout = session.service.times.linger_timeout;
    if cut.is_none() && !linger_timeout.is_zero() {
        // A reset by the client is no cut.
        cut = until_cut(link.linger(inbox.clone()), over + linger_timeout, inbox).await;
    }
    record.reason = why.map(EndReason::text).or(cut).map(str::to_owned);
    if let Some(counts) = last_counts(&link, session, context, inbox).await {
        record.bytes_in = Some(counts.received);
        // After a reset, the kernel's count of acknowledged bytes is incomplete.
        record.bytes_out = if link.is_broken() { counts.sent } else { Some(counts.acknowledged) };
    }
    record.linger_seconds = over.elapsed();
    Closed { record, link: Some(link) }
}

/// Whether a leftover process has the connection. Slow, because it may read many descriptors.
async fn is_left(connection: Option<connection::Id>, session: &Session, context: &SessionContext) -> bool {
    let Some(connection) = connection else { return false };
    let looked = context.looks.run(session.owner(), move || child::leftovers_have(&connection));
    looked.await.unwrap_or(false)
}

const LEFT: &str = "left to itself";

/// Runs `doing` until a deadline or an order to close. `doing` returns false if it was cut short.
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

/// A session that cannot get its counts for this long is held: it keeps its slot.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// The final counts. While a process blocks the query, the session keeps its slot. Connections
/// that cannot be closed must not use up all descriptors.
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

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Returns at a stop, [`CLIENT_LEAVES_WITHIN`] after the client has acknowledged all bytes. Never
/// returns on systems that do not report acknowledgements.
pub(super) async fn delivered<Answer: Future<Output = Option<bool>>>(
    mut inbox: Inbox,
    is_acknowledged: impl Fn() -> Answer,
) {
    if inbox.wait_for(|told| told.order.is_stop()).await.is_err() {
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

pub(super) const REFUSED_WITHIN: Duration = Duration::from_secs(1);

pub async fn refuse(socket: Socket) {
    let _ = timeout(REFUSED_WITHIN, socket.linger()).await;
}
