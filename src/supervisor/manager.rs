//! The interface to a service manager, such as the Windows service manager or systemd. The
//! supervisor reports its progress; each host translates it for its manager.

use std::time::Duration;

/// Receives progress reports. No method may block or fail.
pub trait Manager {
    /// How long the start may take while addresses cannot be bound. After that the start counts as
    /// done, and the server goes on trying.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// The server is still starting. Called again within a second or two.
    fn starting(&mut self) {}

    fn ready(&mut self, _addresses: usize) {}

    fn reloading(&mut self) {}

    /// A reload is over. Either the new or the previous configuration is in use.
    fn reloaded(&mut self) {}

    /// The server is stopping, within at most this time. Called each second.
    fn stopping(&mut self, _at_most: Duration) {}
}

#[derive(Debug)]
pub struct Nobody;

impl Manager for Nobody {}
