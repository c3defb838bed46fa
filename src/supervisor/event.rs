//! What the loop hears: from listeners, sessions, programs that wait, timers and readers of
//! files. All of it goes through one queue. So no kind of event can starve another, and the
//! end of a session is heard before the client that comes for its slot.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::Loaded;
use crate::config::error::Error;
use crate::listen::{self, ListenerId};
use crate::model::ids::{ServiceId, SessionId};
use crate::session::event as session;
use crate::session::warm::WarmRequest;
use crate::tls::keyring::Read;

/// What the loop hears.
#[derive(Debug)]
pub(super) enum Event {
    Listener(listen::ListenEvent),
    Session(session::SessionEvent),
    Warm(session::WarmEvent),
    /// A session takes a program that waits; without one it hears nothing.
    WantsProgram(SessionId, WarmRequest),
    /// Try again to bind.
    Rebind(ListenerId),
    /// Go on accepting, now that other events were handled.
    AcceptMore,
    /// Try again to accept.
    AcceptAgain,
    /// Accepting has worked for a while.
    Calm,
    /// A service may have programs started ahead again.
    FillAgain(ServiceId),
    /// A client that was refused with a text is gone.
    RefusedGone,
    /// Files of keys that the system could not read are to be read again.
    ReadKeys,
    /// They were.
    KeysRead(Read),
    /// The files were read again.
    Loaded(Box<Result<(Loaded, Read), Error>>),
}

/// The queue's end that events are put into.
#[derive(Debug, Clone)]
pub(super) struct Sender(mpsc::UnboundedSender<Event>);

impl Sender {
    pub fn channel() -> (Sender, mpsc::UnboundedReceiver<Event>) {
        let (sender, events) = mpsc::unbounded_channel();
        (Sender(sender), events)
    }

    /// Without its loop nothing is left to be told.
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
