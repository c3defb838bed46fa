//! What a listener reports to its owner.

/// Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenEvent {
    /// Clients wait to be accepted. Not reported again until [`super::Slot::wait_again`].
    ClientsWait(ListenerId),
}
