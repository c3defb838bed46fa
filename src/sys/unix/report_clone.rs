//! How a child tells how far it has come: it shares our memory.

use std::ffi::c_int;

use super::super::Step;
use super::super::attempt::Attempt;

/// The child tells how far it has come through the memory that it shares with us.
pub(super) struct ChildReport<'a>(pub(super) &'a Attempt);

impl ChildReport<'_> {
    pub(super) fn reaches(&self, step: Step) {
        self.0.reach(step);
    }

    /// A descriptor that it needs until its end.
    pub(super) fn kept(&self) -> Option<c_int> {
        None
    }
}
