//! A running program on Windows: waited for by its handle, and ended with its
//! whole tree, which is in a job from birth. The job ends with its last
//! handle, so that a server that is killed leaves nothing behind.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, HANDLE, INVALID_HANDLE_VALUE, WAIT_OBJECT_0};
use windows_sys::Win32::System::JobObjects::{
    CreateJobObjectW, IsProcessInJob, JOBOBJECT_BASIC_ACCOUNTING_INFORMATION,
    JOBOBJECT_BASIC_PROCESS_ID_LIST, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectBasicAccountingInformation, JobObjectBasicProcessIdList, JobObjectExtendedLimitInformation,
    QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, GetProcessIoCounters, INFINITE, IO_COUNTERS, OpenProcess,
    PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, RegisterWaitForSingleObject, UnregisterWaitEx,
    WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE, WaitForSingleObject,
};

use super::super::fault::{self, Says};
use super::handle::{check, own, size};
use super::{connection, limits};
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;
use crate::model::limits::Limits;

/// The exit code of programs that are ended by us: that of Ctrl-C, which other
/// tools show as "ended from outside".
const ENDED_BY_SERVER: u32 = 0xC000_013A;

/// How long the processes of an ended job may take to disappear. They do not
/// run any more; only a driver that holds their input or output keeps them.
const TREE_GONE_WITHIN: Duration = Duration::from_secs(5);

/// More processes than this are not listed.
const MOST_LISTED: usize = 1 << 16;

/// How often a program is looked at whose end nobody tells us.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The processes of one session.
#[derive(Debug)]
pub(super) struct Job {
    handle: OwnedHandle,
    /// Processes that were terminated and may not be gone yet. The job's counter
    /// does not have them any more.
    dying: Mutex<Vec<OwnedHandle>>,
}

impl Job {
    pub(super) fn new(limits: &Limits) -> io::Result<Job> {
        fault::point("job", Says::Memory)?;
        // SAFETY: null for no name and default security; the handle that comes back is new.
        let handle = unsafe { own(CreateJobObjectW(std::ptr::null(), std::ptr::null()))? };
        let limits = limits::of_job(limits);
        fault::point("job:limits", Says::Memory)?;
        // SAFETY: the structure is valid for the call, and the length its own.
        check(unsafe {
            SetInformationJobObject(
                handle.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>(),
            )
        })?;
        Ok(Job { handle, dying: Mutex::default() })
    }

    pub(super) fn raw(&self) -> HANDLE {
        self.handle.as_raw_handle()
    }

    /// Terminates its processes. Their handles are kept, for `gone`.
    fn end(&self) {
        let found = self.processes();
        self.dying().extend(found);
        // SAFETY: the handle is a job of ours.
        unsafe { TerminateJobObject(self.raw(), ENDED_BY_SERVER) };
        // A process that was created after the first list is in this one.
        let created_since = self.processes();
        self.dying().extend(created_since);
    }

    fn dying(&self) -> MutexGuard<'_, Vec<OwnedHandle>> {
        self.dying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles to wait for its processes. Of one that may not be opened, and where
    /// the list cannot be had, only the job's counter speaks.
    fn processes(&self) -> Vec<OwnedHandle> {
        let Ok(ids) = self.process_ids() else { return Vec::new() };
        // SAFETY: no pointers; a handle that comes back is new and ours.
        let open = |id: usize| unsafe {
            own(OpenProcess(
                PROCESS_SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION,
                0,
                u32::try_from(id).ok()?,
            ))
            .ok()
        };
        ids.into_iter().filter_map(open).filter(|process| self.has(process)).collect()
    }

    /// Whether a process is of this job. Its number may be another's by now.
    fn has(&self, process: &OwnedHandle) -> bool {
        let mut is_in_job = 0;
        // SAFETY: both handles are open, the pointer is valid for the call.
        let asked = unsafe { IsProcessInJob(process.as_raw_handle(), self.raw(), &raw mut is_in_job) };
        asked == 0 || is_in_job != 0
    }

    /// The numbers of its processes.
    fn process_ids(&self) -> io::Result<Vec<usize>> {
        // The list is two counts of four bytes, then the numbers.
        const HEAD: usize = size_of::<u64>() / size_of::<usize>();
        let mut room = 64;
        loop {
            fault::point("job:list", Says::Memory)?;
            let mut list = vec![0usize; HEAD + room];
            let length = u32::try_from(size_of_val(&*list)).map_err(io::Error::other)?;
            // SAFETY: the list has the length that is given.
            let asked = check(unsafe {
                QueryInformationJobObject(
                    self.raw(),
                    JobObjectBasicProcessIdList,
                    list.as_mut_ptr().cast(),
                    length,
                    std::ptr::null_mut(),
                )
            });
            match asked {
                Err(error)
                    if error.raw_os_error() == Some(ERROR_MORE_DATA.cast_signed()) && room < MOST_LISTED =>
                {
                    room *= 4;
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    // SAFETY: the buffer begins with the structure, and is aligned for it.
                    let listed = unsafe {
                        (*list.as_ptr().cast::<JOBOBJECT_BASIC_PROCESS_ID_LIST>()).NumberOfProcessIdsInList
                    };
                    return Ok(list.into_iter().skip(HEAD).take(listed as usize).collect());
                }
            }
        }
    }

    /// How many of its processes still exist.
    fn live(&self) -> io::Result<u32> {
        fault::point("job:count", Says::Memory)?;
        // SAFETY: zeroes are valid to be overwritten; the length is the structure's.
        unsafe {
            let mut counts: JOBOBJECT_BASIC_ACCOUNTING_INFORMATION = std::mem::zeroed();
            check(QueryInformationJobObject(
                self.raw(),
                JobObjectBasicAccountingInformation,
                (&raw mut counts).cast(),
                size::<JOBOBJECT_BASIC_ACCOUNTING_INFORMATION>(),
                std::ptr::null_mut(),
            ))?;
            Ok(counts.ActiveProcesses)
        }
    }

    /// Waits until none of its processes exists. While one does, it may hold
    /// the connection's lock, and touching the connection would stop us. The job's
    /// counter is 0 before that: a terminated process leaves its job first.
    async fn gone(&self) -> io::Result<()> {
        let mut pause = Duration::from_millis(1);
        let until = tokio::time::Instant::now() + TREE_GONE_WITHIN;
        while self.live()? > 0 || self.any_dying() {
            if tokio::time::Instant::now() >= until {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "a process of the session can't be ended",
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Whether a terminated process is not gone yet.
    fn any_dying(&self) -> bool {
        let mut dying = self.dying();
        dying.retain(|process| !is_gone(process));
        !dying.is_empty()
    }
}

/// Whether a process has ended, with everything that it had open.
pub(super) fn is_gone(process: &OwnedHandle) -> bool {
    // SAFETY: the handle is a process's; a timeout of 0 does not wait.
    unsafe { WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_OBJECT_0 }
}

/// A program that was started.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    // Before the process's handle: the wait must end while the handle is open.
    ended: Option<Ended>,
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
            self.ended = Ended::of(&self.process).ok();
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
struct Ended {
    notify: Arc<Notify>,
    wait: HANDLE,
}

// SAFETY: a wait handle may be used from any thread.
unsafe impl Send for Ended {}
// SAFETY: nothing is done through a shared reference.
unsafe impl Sync for Ended {}

impl Ended {
    fn of(process: &OwnedHandle) -> io::Result<Ended> {
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
        Ok(Ended { notify, wait })
    }
}

impl Drop for Ended {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Some systems (Wine) take limits and forget them; then they say of none.
    #[test]
    fn a_job_keeps_the_limits_that_it_was_given() {
        let limits = Limits {
            memory: Some(64 << 20),
            processes: Some(3),
            cpu_time: Some(Duration::from_secs(2)),
            open_files: None,
        };
        let job = Job::new(&limits).unwrap();
        // SAFETY: zeroes are valid to be overwritten; the length is the structure's.
        let found = unsafe {
            let mut found: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = std::mem::zeroed();
            check(QueryInformationJobObject(
                job.raw(),
                JobObjectExtendedLimitInformation,
                (&raw mut found).cast(),
                size::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>(),
                std::ptr::null_mut(),
            ))
            .unwrap();
            found
        };
        let (found, wanted) = (&found.BasicLimitInformation, limits::of_job(&limits).BasicLimitInformation);
        if found.LimitFlags == 0 {
            println!("not looked at: this system tells no limits");
            return;
        }
        assert_eq!(found.LimitFlags, wanted.LimitFlags);
        assert_eq!(found.ActiveProcessLimit, wanted.ActiveProcessLimit);
        assert_eq!(found.PerJobUserTimeLimit, wanted.PerJobUserTimeLimit);
    }
    /// A program that lives until its input ends.
    fn waiting() -> std::process::Child {
        #[allow(clippy::disallowed_methods)] // as any program would
        std::process::Command::new("cmd.exe")
            .args(["/c", "set /p line="])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The counter of an empty job is 0, as that of a job whose last process dies.
    #[test]
    fn a_job_is_gone_only_when_its_processes_are() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let job = Job::new(&Limits::default()).unwrap();
            let mut dying = waiting();
            let handle = std::os::windows::io::AsHandle::as_handle(&dying).try_clone_to_owned();
            job.dying().push(handle.unwrap());
            let (mut gone, mut looks) = (std::pin::pin!(job.gone()), 0);
            std::future::poll_fn(|context| {
                looks += 1;
                match gone.as_mut().poll(context) {
                    std::task::Poll::Ready(_) => panic!("gone while a process lives"),
                    std::task::Poll::Pending if looks > 3 => std::task::Poll::Ready(()),
                    std::task::Poll::Pending => std::task::Poll::Pending,
                }
            })
            .await;
            drop(dying.stdin.take());
            gone.await.unwrap();
            assert!(dying.try_wait().unwrap().is_some());
        });
    }
}
