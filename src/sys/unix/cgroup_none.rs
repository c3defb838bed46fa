//! These systems count processes per user, not per session.

use std::ffi::c_int;

use super::super::{SpawnError, Step};
use crate::model::limits::Limits;

#[derive(Debug)]
pub(super) enum Cgroup {}

impl Cgroup {
    /// Always `None`: processes are found by their session.
    pub(super) fn new(limits: &Limits, _by_clone: bool) -> Result<Option<Cgroup>, SpawnError> {
        match limits.processes {
            Some(_) => Err(SpawnError::new(Step::Limits, processes_fault().unwrap_or_default())),
            None => Ok(None),
        }
    }

    pub(super) fn is_needless(&self) -> bool {
        match *self {}
    }

    pub(super) fn was_removed(&mut self) {
        match *self {}
    }

    pub(super) fn do_without() {}

    pub(super) fn procs(&self) -> Vec<c_int> {
        match *self {}
    }

    pub(super) fn close_procs(&mut self) {
        match *self {}
    }

    pub(super) async fn end(&mut self) {
        match *self {}
    }

    pub(super) fn leave(&mut self) {
        match *self {}
    }
}

#[allow(clippy::unnecessary_wraps)] // as where it can be kept
pub fn processes_fault() -> Option<String> {
    Some("this system cannot limit the processes of one session: remove `processes`".to_owned())
}
