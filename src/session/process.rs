//! The number of a session's process, and until when that process has it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The process of a session's program. The session outlives it while last bytes
/// are delivered, and its number may be a stranger's by then.
#[derive(Debug, Default)]
pub struct Process {
    pid: OnceLock<u32>,
    has_ended: AtomicBool,
}

impl Process {
    /// It has begun.
    pub(super) fn began(&self, pid: u32) {
        let _ = self.pid.set(pid);
    }

    /// It has ended, and its number is free for others.
    pub(super) fn ended(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Its number, which it may have had: for records.
    pub fn pid(&self) -> Option<u32> {
        self.pid.get().copied()
    }

    /// Its number while it runs: for whoever may look for it, or end it.
    pub fn running(&self) -> Option<u32> {
        self.pid().filter(|_| !self.has_ended.load(Ordering::Relaxed))
    }
}
