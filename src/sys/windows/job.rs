//! A job object: the processes of one session. Windows terminates them when the job's last
//! handle closes, so a killed server leaves none behind.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, HANDLE, WAIT_OBJECT_0};
use windows_sys::Win32::System::JobObjects::{
    CreateJobObjectW, IsProcessInJob, JOBOBJECT_BASIC_ACCOUNTING_INFORMATION,
    JOBOBJECT_BASIC_PROCESS_ID_LIST, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectBasicAccountingInformation, JobObjectBasicProcessIdList, JobObjectExtendedLimitInformation,
    QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, WaitForSingleObject,
};

use super::super::fault::{self, Says};
use super::handle::{check, own, size};
use super::limits;
use crate::model::limits::Limits;

/// Exit code of terminated programs: that of Ctrl-C (STATUS_CONTROL_C_EXIT).
const ENDED_BY_SERVER: u32 = 0xC000_013A;

/// Terminated processes run no code, but a driver may still hold their I/O.
const TREE_GONE_WITHIN: Duration = Duration::from_secs(5);

const MOST_LISTED: usize = 1 << 16;

#[derive(Debug)]
pub(super) struct Job {
    handle: OwnedHandle,
    /// Terminated processes that may still exist. The job's counter no longer includes them.
    dying: Mutex<Vec<OwnedHandle>>,
}

impl Job {
    pub(super) fn new(limits: &Limits) -> io::Result<Job> {
        fault::point("job", Says::Memory)?;
        // SAFETY: null means no name and default security; the returned handle is new.
        let handle = unsafe { own(CreateJobObjectW(std::ptr::null(), std::ptr::null()))? };
        let limits = limits::of_job(limits);
        fault::point("job:limits", Says::Memory)?;
        // SAFETY: the structure and its length are valid for the call.
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

    pub(super) fn end(&self) {
        let found = self.processes();
        self.dying().extend(found);
        // SAFETY: the handle is an open job.
        unsafe { TerminateJobObject(self.raw(), ENDED_BY_SERVER) };
        // Includes processes created after the first list.
        let created_since = self.processes();
        self.dying().extend(created_since);
    }

    fn dying(&self) -> MutexGuard<'_, Vec<OwnedHandle>> {
        self.dying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles of the job's processes, empty if there is no list. A process that cannot be
    /// opened is missing here and still in the job's counter.
    pub(super) fn processes(&self) -> Vec<OwnedHandle> {
        let Ok(ids) = self.process_ids() else { return Vec::new() };
        // SAFETY: no pointers; a returned handle is new.
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

    /// Whether a process belongs to this job: Windows may have reused its number.
    fn has(&self, process: &OwnedHandle) -> bool {
        let mut is_in_job = 0;
        // SAFETY: both handles are open; the pointer is valid for the call.
        let asked = unsafe { IsProcessInJob(process.as_raw_handle(), self.raw(), &raw mut is_in_job) };
        asked == 0 || is_in_job != 0
    }

    fn process_ids(&self) -> io::Result<Vec<usize>> {
        // The list has two counts of four bytes, then the process numbers.
        const HEAD: usize = size_of::<u64>() / size_of::<usize>();
        let mut capacity = 64;
        loop {
            fault::point("job:list", Says::Memory)?;
            let mut list = vec![0usize; HEAD + capacity];
            let length = u32::try_from(size_of_val(&*list)).map_err(io::Error::other)?;
            // SAFETY: the list has the length passed.
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
                    if error.raw_os_error() == Some(ERROR_MORE_DATA.cast_signed())
                        && capacity < MOST_LISTED =>
                {
                    capacity *= 4;
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    // SAFETY: the buffer begins with the structure and is aligned for it.
                    let listed = unsafe {
                        (*list.as_ptr().cast::<JOBOBJECT_BASIC_PROCESS_ID_LIST>()).NumberOfProcessIdsInList
                    };
                    return Ok(list.into_iter().skip(HEAD).take(listed as usize).collect());
                }
            }
        }
    }

    fn live(&self) -> io::Result<u32> {
        fault::point("job:count", Says::Memory)?;
        // SAFETY: zeroes are valid and overwritten; the length is the structure's.
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

    /// Waits until no process exists. Until then a process may hold the connection's lock, and
    /// a call on the connection would block the server. The counter reaches 0 earlier, because
    /// a terminated process leaves its job first.
    pub(super) async fn gone(&self) -> io::Result<()> {
        let mut pause = Duration::from_millis(1);
        let until = tokio::time::Instant::now() + TREE_GONE_WITHIN;
        while self.live()? > 0 || self.any_dying() {
            if tokio::time::Instant::now() >= until {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "a process of the session cannot be terminated",
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        Ok(())
    }

    fn any_dying(&self) -> bool {
        let mut dying = self.dying();
        dying.retain(|process| !is_gone(process));
        !dying.is_empty()
    }
}

/// Whether a process has ended and closed its handles.
pub(super) fn is_gone(process: &OwnedHandle) -> bool {
    // SAFETY: the handle is open; a timeout of 0 does not wait.
    unsafe { WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_OBJECT_0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wine accepts limits, drops them and then reports none.
    #[test]
    fn a_job_keeps_the_limits_that_it_was_given() {
        let limits = Limits {
            memory: Some(64 << 20),
            processes: Some(3),
            cpu_time: Some(Duration::from_secs(2)),
            open_files: None,
        };
        let job = Job::new(&limits).unwrap();
        // SAFETY: zeroes are valid and overwritten; the length is the structure's.
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
    fn waiting() -> std::process::Child {
        #[allow(clippy::disallowed_methods)] // as any program would
        std::process::Command::new("cmd.exe")
            .args(["/c", "set /p line="])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The counter of an empty job is 0, like that of a job whose last process is dying.
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
