//! These systems don't tell what moved on a connection in a form that all of
//! them share.

use std::os::fd::RawFd;

use super::super::Counts;

pub(super) fn of(_: RawFd, _: bool) -> Option<Counts> {
    None
}

pub(super) fn is_acknowledged(_: RawFd) -> Option<bool> {
    None
}
