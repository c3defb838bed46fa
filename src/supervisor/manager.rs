//! Who waits to hear how far we are: the Windows service manager, systemd, or
//! nobody. The supervisor tells; each host makes of it what its manager wants.

use std::time::Duration;

/// A listener to our progress. Nothing here may block or fail.
pub trait Manager {
    /// How long the start may go on while addresses can't be bound. They are
    /// tried again afterwards as well, but the start counts as done then.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// Still starting; the next word comes within a second or two.
    fn starting(&mut self) {}

    /// Clients are served, at so many addresses.
    fn ready(&mut self, _addresses: usize) {}

    /// The files are being read again,
    fn reloading(&mut self) {}

    /// and now what they say holds, or what they said before.
    fn reloaded(&mut self) {}

    /// Stopping, which takes so long at most. Said again each second.
    fn stopping(&mut self, _at_most: Duration) {}
}

/// Nobody waits: a console.
#[derive(Debug)]
pub struct Nobody;

impl Manager for Nobody {}
