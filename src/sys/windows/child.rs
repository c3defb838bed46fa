//! A running program on Windows. The server waits for its handle and terminates its job,
//! which holds the whole tree from the start.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, GetProcessIoCounters, INFINITE, IO_COUNTERS, RegisterWaitForSingleObject,
    UnregisterWaitEx, WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE,
};

use super::super::fault::{self, Says};
use super::connection;
use super::handle::check;
use super::job::{Job, is_gone};
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;

/// Poll interval if the system offers no wait.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Child {
    pid: u32,
    // Before the process's handle: the wait must end while the handle is open.
    ended: Option<ProcessEnd>,
    process: OwnedHandle,
    job: Job,
}

impl Child {
    pub(super) fn new(pid: u32, process: OwnedHandle, job: Job) -> Self {
        Child { pid, ended: None, process, job }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the program's end, terminates its tree and returns the exit status. Windows
    /// has no leftovers: the configuration refuses them.
    pub async fn wait(&mut self, _leftovers: Leftovers) -> io::Result<ExitStatus> {
        if self.ended.is_none() {
            self.ended = ProcessEnd::of(&self.process).ok();
        }
        match &self.ended {
            Some(ended) => {
                ended.notify.notified().await;
                // A later call must return at once too.
                ended.notify.notify_one();
            }
            None => {
                while !is_gone(&self.process) {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
        self.job.end();
        self.job.gone().await?;
        let mut code = 0;
        fault::point("exit-code", Says::Memory)?;
        // SAFETY: the handle is open; the pointer is valid for the call.
        check(unsafe { GetExitCodeProcess(self.process.as_raw_handle(), &raw mut code) })?;
        Ok(ExitStatus::Code(code))
    }

    /// Always false, so that the caller terminates the tree: Windows has no SIGTERM.
    pub fn ask_to_end(&self) -> bool {
        false
    }

    /// True if the program has certainly read nothing, so a client cannot have caused its exit.
    pub fn has_read_nothing(&self) -> bool {
        let mut counters = IO_COUNTERS::default();
        // SAFETY: the handle is open; the pointer is valid for the call.
        let asked = unsafe { GetProcessIoCounters(self.process.as_raw_handle(), &raw mut counters) };
        asked != 0 && counters.ReadOperationCount == 0
    }

    pub fn end_tree(&self) {
        self.job.end();
    }

    #[cfg(test)]
    pub(super) fn tree(&self) -> Vec<OwnedHandle> {
        self.job.processes()
    }

    /// Terminates the tree, which cannot outlive the server: a job ends with its last handle.
    pub fn leave(self) {
        self.end_tree();
    }
}

#[derive(Debug)]
struct ProcessEnd {
    notify: Arc<Notify>,
    wait: HANDLE,
}

// SAFETY: any thread may use a wait handle.
unsafe impl Send for ProcessEnd {}
// SAFETY: no method uses a shared reference.
unsafe impl Sync for ProcessEnd {}

impl ProcessEnd {
    fn of(process: &OwnedHandle) -> io::Result<ProcessEnd> {
        fault::point("watch:process", Says::Memory)?;
        let notify = Arc::new(Notify::new());
        let mut wait = INVALID_HANDLE_VALUE;
        // SAFETY: the context is the Notify. `ProcessEnd` keeps it alive until UnregisterWaitEx
        // has waited for the callback. The process handle outlives the wait: `Child` drops
        // `ended` first.
        check(unsafe {
            RegisterWaitForSingleObject(
                &raw mut wait,
                process.as_raw_handle(),
                Some(process_ended),
                Arc::as_ptr(&notify).cast(),
                INFINITE,
                WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD,
            )
        })?;
        Ok(ProcessEnd { notify, wait })
    }
}

impl Drop for ProcessEnd {
    fn drop(&mut self) {
        // SAFETY: the wait is owned; INVALID_HANDLE_VALUE makes the call wait for the callback.
        unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) };
    }
}

unsafe extern "system" fn process_ended(context: *mut c_void, _timed_out: bool) {
    // SAFETY: the context is the Notify that `ProcessEnd` keeps alive.
    unsafe { (*context.cast::<Notify>()).notify_one() };
}

/// A session's job is counted with its process.
pub const TREE_DESCRIPTORS: usize = 0;

pub fn leftovers_have(connection: &connection::Id) -> bool {
    match *connection {}
}

/// Always false: a job takes all leftovers of its tree with it.
pub fn reap_orphans() -> bool {
    false
}

/// Always 0: closing a job needs no look back.
pub fn stuck() -> usize {
    0
}

pub fn remove_free_trees() {}
