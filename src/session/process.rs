//! The process ID of a session's program, and whether it is still valid.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The session outlives the process while last bytes are delivered, and the kernel may reuse the
/// ID by then.
#[derive(Debug, Default)]
pub struct Process {
    pid: OnceLock<u32>,
    has_ended: AtomicBool,
}

impl Process {
    pub(super) fn began(&self, pid: u32) {
        let _ = self.pid.set(pid);
    }

    pub(super) fn ended(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// For records: the process may have ended.
    pub fn pid(&self) -> Option<u32> {
        self.pid.get().copied()
    }

    /// Only while the process runs, so the ID is safe to look up or signal.
    pub fn running(&self) -> Option<u32> {
        self.pid().filter(|_| !self.has_ended.load(Ordering::Relaxed))
    }
}
