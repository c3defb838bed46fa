//! What a listener tells its owner.

/// A listener, counted over the life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub usize);

/// What a listener tells its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenEvent {
    /// Clients wait to be accepted. Not told again before the owner has looked.
    ClientsWait(ListenerId),
}
