//! These systems count processes per user, not per session.

use std::ffi::c_int;

use super::super::{SpawnError, Step};

#[derive(Debug)]
pub(super) enum Cgroup {}

impl Cgroup {
    pub(super) fn new(_most: u32) -> Result<Cgroup, SpawnError> {
        Err(SpawnError::new(Step::Limits, processes_fault().unwrap_or_default()))
    }

    pub(super) fn cgroup_procs(&self) -> c_int {
        match *self {}
    }

    pub(super) fn close_cgroup_procs(&mut self) {
        match *self {}
    }

    pub(super) async fn end(self) {
        match self {}
    }

    pub(super) fn leave(self) {
        match self {}
    }
}

#[allow(clippy::unnecessary_wraps)] // as where it can be kept
pub fn processes_fault() -> Option<String> {
    Some("this system cannot limit the processes of one session: remove `processes`".to_owned())
}
