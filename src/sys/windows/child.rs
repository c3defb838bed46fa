//! A running program on Windows: waited for by its handle, and ended with its
//! whole tree, which is in a job from its start.

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

/// How often a program is looked at whose end nobody tells us.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A program that was started.
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

    /// The process number, for people.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the program's end, ends what is left of its tree, and tells
    /// how the program ended. Nothing can be left to itself here: a file that
    /// says so is refused.
    pub async fn wait(&mut self, _leftovers: Leftovers) -> io::Result<ExitStatus> {
        if self.ended.is_none() {
            self.ended = ProcessEnd::of(&self.process).ok();
        }
        match &self.ended {
            Some(ended) => {
                ended.notify.notified().await;
                // The next call, if there is one, must not wait for a second end.
                ended.notify.notify_one();
            }
            // The system has nobody to tell us, and the program works all the same.
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
        // SAFETY: the handle is the process's, the pointer is valid for the call.
        check(unsafe { GetExitCodeProcess(self.process.as_raw_handle(), &raw mut code) })?;
        Ok(ExitStatus::Code(code))
    }

    /// Asks the program to end: with the connection as its streams there is no
    /// way to ask. False, so that the caller ends its tree.
    pub fn ask_to_end(&self) -> bool {
        false
    }

    /// Whether it is sure that the program has read nothing, so that nothing
    /// which a client sent can have changed how it ended.
    pub fn has_read_nothing(&self) -> bool {
        let mut counters = IO_COUNTERS::default();
        // SAFETY: the handle is the process's, the pointer is valid for the call.
        let asked = unsafe { GetProcessIoCounters(self.process.as_raw_handle(), &raw mut counters) };
        asked != 0 && counters.ReadOperationCount == 0
    }

    /// Ends the program's tree now; `wait` then returns.
    pub fn end_tree(&self) {
        self.job.end();
    }

    /// Handles of its tree, as far as it lives.
    #[cfg(test)]
    pub(super) fn tree(&self) -> Vec<OwnedHandle> {
        self.job.processes()
    }

    /// Nothing goes on without the server here: a job ends with its last handle.
    pub fn leave(self) {
        self.end_tree();
    }
}

/// A wait of the system's thread pool for the end of a process.
#[derive(Debug)]
struct ProcessEnd {
    notify: Arc<Notify>,
    wait: HANDLE,
}

// SAFETY: a wait handle may be used from any thread.
unsafe impl Send for ProcessEnd {}
// SAFETY: nothing is done through a shared reference.
unsafe impl Sync for ProcessEnd {}

impl ProcessEnd {
    fn of(process: &OwnedHandle) -> io::Result<ProcessEnd> {
        fault::point("watch:process", Says::Memory)?;
        let notify = Arc::new(Notify::new());
        let mut wait = INVALID_HANDLE_VALUE;
        // SAFETY: the context is the Notify, which `Ended` keeps alive until
        // UnregisterWaitEx has waited for the callback; the process handle
        // outlives the wait, as `Child` drops `ended` first.
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
        // SAFETY: the wait is ours; INVALID_HANDLE_VALUE makes the call return
        // only when the callback, which is short, is not running.
        unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) };
    }
}

unsafe extern "system" fn process_ended(context: *mut c_void, _timed_out: bool) {
    // SAFETY: the context is the Notify that `Ended` keeps alive.
    unsafe { (*context.cast::<Notify>()).notify_one() };
}

/// Whether a process that a program left behind has this connection.
pub fn leftovers_have(connection: &connection::Id) -> bool {
    match *connection {}
}

/// What is left of a tree goes with its job here.
pub fn reap_orphans() -> bool {
    false
}
