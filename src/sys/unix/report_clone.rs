//! A child's progress after clone, through the memory that it shares with the server.

use std::ffi::c_int;

use super::super::Step;
use super::super::attempt::Attempt;

pub(super) struct ChildReport<'a>(pub(super) &'a Attempt);

impl ChildReport<'_> {
    pub(super) fn reaches(&self, step: Step) {
        self.0.reach(step);
    }

    pub(super) fn kept(&self) -> Option<c_int> {
        None
    }
}
