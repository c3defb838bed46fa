//! The events of the supervisor's loop. They go through one queue, so no kind can starve
//! another. (Requests to stop and control commands have queues of their own.) The loop handles the end of a session before the client that waits for its slot.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::Loaded;
use crate::config::error::Error;
use crate::listen::{self, ListenerId};
use crate::model::ids::{ServiceId, SessionId};
use crate::session::event as session;
use crate::session::warm::WarmRequest;
use crate::tls::keyring::Read;

#[derive(Debug)]
pub(super) enum Event {
    Listener(listen::ListenEvent),
    Session(session::SessionEvent),
    Warm(session::WarmEvent),
    /// A session asks for a warm program. The supervisor drops the request if there is none.
    WantsProgram(SessionId, WarmRequest),
    Rebind(ListenerId),
    /// Continue to accept after a full batch.
    AcceptMore,
    /// Try again to accept after a pause.
    AcceptAgain,
    /// Accepting has worked for a while since the system ran out of resources.
    Calm,
    /// The pause before starting more warm programs of a service is over.
    FillAgain(ServiceId),
    RefusedGone,
    ReadKeys,
    KeysRead(Read),
    Loaded(Box<Result<(Loaded, Read), Error>>),
}

#[derive(Debug, Clone)]
pub(super) struct Sender(mpsc::UnboundedSender<Event>);

impl Sender {
    pub fn channel() -> (Sender, mpsc::UnboundedReceiver<Event>) {
        let (sender, events) = mpsc::unbounded_channel();
        (Sender(sender), events)
    }

    /// Ignores the error: without its loop the event has no receiver.
    pub fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }

    pub fn send_later(&self, delay: Duration, event: Event) {
        let sender = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            sender.send(event);
        });
    }
}

impl session::Events for Sender {
    fn session(&self, event: session::SessionEvent) {
        self.send(Event::Session(event));
    }

    fn warm(&self, event: session::WarmEvent) {
        self.send(Event::Warm(event));
    }

    fn want_program(&self, session: SessionId, request: WarmRequest) {
        self.send(Event::WantsProgram(session, request));
    }
}
