//! Starts a program with three inherited handles, in a job from its first instruction.

use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_COMMITMENT_LIMIT, ERROR_INTERNAL_ERROR,
    ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_MEMORY, ERROR_NOT_ENOUGH_QUOTA, ERROR_TOO_MANY_OPEN_FILES,
    HANDLE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_ERROR_HANDLE, STD_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_UNICODE_ENVIRONMENT, CreateProcessAsUserW,
    CreateProcessW, DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT, GetCurrentProcess,
    InitializeProcThreadAttributeList, LPPROC_THREAD_ATTRIBUTE_LIST, PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
    PROC_THREAD_ATTRIBUTE_JOB_LIST, PROCESS_INFORMATION, STARTF_USESTDHANDLES, STARTUPINFOEXW,
    UpdateProcThreadAttribute,
};

use super::super::fault::{self, Says};
use super::super::{ErrorStream, ProgramFault, SpawnError, Start, Stdio, Step};
use super::child::Child;
use super::command::Command;
use super::environment;
use super::handle::{check, size, wide};
use super::image::{Image, Impersonation};
use super::job::Job;
use super::rights;

/// Starts the program. Blocks the calling thread.
pub fn spawn(start: &Start<'_>) -> Result<Child, SpawnError> {
    let command = Command::new(start.command).map_err(ProgramFault::from)?;
    // The server opens the file with the account's rights and holds it until the program
    // runs. So the file that starts is the file that the account may execute.
    let (program, image) = match start.account {
        None => (command.program()?, None),
        Some(account) => {
            let impersonation = Impersonation::of(account)?;
            let program = command.program()?;
            let image = Image::open(account, &program.path)?;
            drop(impersonation);
            (program, Some(image))
        }
    };
    let streams = Streams::of(start).map_err(|error| SpawnError::of_system(Step::Stdio, &error))?;
    let job = Job::new(start.limits).map_err(|error| SpawnError::new(Step::Job, error))?;
    if start.attempt.is_cancelled() {
        return Err(SpawnError::new(Step::Spawn, "the start was cancelled"));
    }
    let child = create_process(start, command.to_start(&program.path), &program.path, &streams, job);
    drop(image);
    child
}

/// Three inheritable handles, also for one connection: a program that closes its input must
/// still be able to write.
struct Streams {
    handles: [OwnedHandle; 3],
}

impl Streams {
    fn of(start: &Start<'_>) -> io::Result<Streams> {
        let [input, output, error] = match start.stdio {
            Stdio::Connection(socket) => [socket.handle(); 3].map(for_program),
            Stdio::Pipes { input, output } => {
                [input.handle(), output.handle(), output.handle()].map(for_program)
            }
            Stdio::Console => [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE]
                .map(|stream| duplicate(console_stream(stream)).or_else(|_| nowhere())),
        };
        let error = match start.errors {
            ErrorStream::Output => error,
            ErrorStream::Nowhere => nowhere(),
            ErrorStream::Pipe(end) => for_program(end.handle()),
        };
        Ok(Streams { handles: [input?, output?, error?] })
    }

    fn raw(&self) -> [HANDLE; 3] {
        [0, 1, 2].map(|stream| self.handles[stream].as_raw_handle())
    }
}

/// An inheritable duplicate. Inheritance needs no entry in the object's access list.
fn for_program(handle: HANDLE) -> io::Result<OwnedHandle> {
    fault::point("stdio:mode", Says::Device)?;
    assert_synchronous(handle)?;
    duplicate(handle)
}

fn duplicate(handle: HANDLE) -> io::Result<OwnedHandle> {
    fault::point("stdio:duplicate", Says::Descriptors)?;
    let mut copy: HANDLE = std::ptr::null_mut();
    // SAFETY: the handle is open, or the call fails; the copy is new and owned here.
    unsafe {
        let process = GetCurrentProcess();
        check(DuplicateHandle(process, handle, process, &raw mut copy, 0, 1, DUPLICATE_SAME_ACCESS))?;
        Ok(OwnedHandle::from_raw_handle(copy))
    }
}

/// A handle to NUL: reads return the end of file, writes are discarded.
fn nowhere() -> io::Result<OwnedHandle> {
    fault::point("null-open", Says::Descriptors)?;
    let nul = std::fs::OpenOptions::new().read(true).write(true).open("NUL")?;
    for_program(nul.as_raw_handle())
}

/// A standard stream, or null: INVALID_HANDLE_VALUE would duplicate the process itself.
fn console_stream(stream: STD_HANDLE) -> HANDLE {
    // SAFETY: no pointers.
    let handle = unsafe { GetStdHandle(stream) };
    if handle == INVALID_HANDLE_VALUE { std::ptr::null_mut() } else { handle }
}

/// Checks that a handle is synchronous: plain reads and writes of programs fail on an
/// asynchronous one. Some systems let them pass, so this asks for the handle's mode.
pub(super) fn assert_synchronous(handle: HANDLE) -> io::Result<()> {
    const FILE_MODE_INFORMATION: i32 = 16;
    let mut mode = 0u32;
    // SAFETY: zeroes are a valid status block; the buffer has the four bytes of the mode.
    let status = unsafe {
        let mut status: IO_STATUS_BLOCK = std::mem::zeroed();
        NtQueryInformationFile(handle, &raw mut status, (&raw mut mode).cast(), 4, FILE_MODE_INFORMATION)
    };
    if status < 0 {
        return Err(io::Error::other(format!("the mode of a stream's handle: status {status:#x}")));
    }
    if mode & (FILE_SYNCHRONOUS_IO_NONALERT | FILE_SYNCHRONOUS_IO_ALERT) == 0 {
        return Err(io::Error::other("the handle of a stream is asynchronous, which programs cannot use"));
    }
    Ok(())
}

struct AttributeList<'a> {
    list: Vec<u64>,
    _pointed_to: std::marker::PhantomData<&'a ()>,
}

impl<'a> AttributeList<'a> {
    fn new(handles: &'a [HANDLE; 3], jobs: &'a [HANDLE; 1]) -> io::Result<AttributeList<'a>> {
        fault::point("process:attributes", Says::Memory)?;
        let mut bytes = 0;
        // SAFETY: a null list asks for the size of two attributes.
        unsafe { InitializeProcThreadAttributeList(std::ptr::null_mut(), 2, 0, &raw mut bytes) };
        let mut attributes = AttributeList {
            list: vec![0; bytes.div_ceil(size_of::<u64>())],
            _pointed_to: std::marker::PhantomData,
        };
        // SAFETY: the list has the size asked for, and the values live as long as the list.
        unsafe {
            check(InitializeProcThreadAttributeList(attributes.raw(), 2, 0, &raw mut bytes))?;
            attributes.set(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles)?;
            attributes.set(PROC_THREAD_ATTRIBUTE_JOB_LIST, jobs)?;
        }
        Ok(attributes)
    }

    fn raw(&mut self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.list.as_mut_ptr().cast()
    }

    /// # Safety
    /// The list is initialised.
    unsafe fn set<const N: usize>(&mut self, attribute: u32, value: &'a [HANDLE; N]) -> io::Result<()> {
        // SAFETY: the caller guarantees the list; the value's pointer and length match.
        check(unsafe {
            UpdateProcThreadAttribute(
                self.raw(),
                0,
                attribute as usize,
                value.as_ptr().cast(),
                size_of_val(value),
                std::ptr::null_mut(),
                std::ptr::null(),
            )
        })
    }
}

impl Drop for AttributeList<'_> {
    fn drop(&mut self) {
        // SAFETY: a list of zeroes that was never initialised is empty.
        unsafe { DeleteProcThreadAttributeList(self.raw()) };
    }
}

fn create_process(
    start: &Start<'_>,
    (application, command_line): (PathBuf, OsString),
    program: &Path,
    streams: &Streams,
    job: Job,
) -> Result<Child, SpawnError> {
    let application = wide(application);
    let mut command_line = wide(command_line);
    let directory = wide(start.directory);
    let environment = environment::block(start.environment);
    // "" creates a window station for the account, which cannot use the server's.
    let mut desktop = wide("");
    let (handles, jobs) = (streams.raw(), [job.raw()]);
    let mut attributes =
        AttributeList::new(&handles, &jobs).map_err(|error| SpawnError::new(Step::Spawn, error))?;
    // SAFETY: zeroes are a valid STARTUPINFOEXW.
    let mut startup: STARTUPINFOEXW = unsafe { std::mem::zeroed() };
    startup.StartupInfo.cb = size::<STARTUPINFOEXW>();
    startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    [startup.StartupInfo.hStdInput, startup.StartupInfo.hStdOutput, startup.StartupInfo.hStdError] = handles;
    startup.lpAttributeList = attributes.raw();
    if start.account.is_some() {
        startup.StartupInfo.lpDesktop = desktop.as_mut_ptr();
    }
    let place = match start.stdio {
        Stdio::Connection(_) | Stdio::Pipes { .. } => CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP,
        Stdio::Console => 0,
    };
    let flags = CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT | place;
    fault::point("process", Says::Processes).map_err(|error| in_words(&error, program))?;
    // SAFETY: every pointer is to a value above that outlives the call. The strings are
    // NUL-terminated, and the command line is writable. The returned handles are new.
    unsafe {
        let mut made: PROCESS_INFORMATION = std::mem::zeroed();
        let (text, block) = (command_line.as_mut_ptr(), environment.as_ptr().cast());
        let info = (&raw const startup).cast();
        let result = match start.account {
            None => CreateProcessW(
                application.as_ptr(),
                text,
                std::ptr::null(),
                std::ptr::null(),
                1,
                flags,
                block,
                directory.as_ptr(),
                info,
                &raw mut made,
            ),
            Some(account) => CreateProcessAsUserW(
                account.token(),
                application.as_ptr(),
                text,
                std::ptr::null(),
                std::ptr::null(),
                1,
                flags,
                block,
                directory.as_ptr(),
                info,
                &raw mut made,
            ),
        };
        check(result).map_err(|error| in_words(&error, program))?;
        drop(OwnedHandle::from_raw_handle(made.hThread));
        Ok(Child::new(made.dwProcessId, OwnedHandle::from_raw_handle(made.hProcess), job))
    }
}

/// Whether the system ran out of a resource, which says nothing about the program.
pub fn ran_out(error: &SpawnError) -> bool {
    is_transient(error)
}

/// Whether a retry may succeed. Wine reports an internal error if a process is slow to begin.
pub fn is_transient(error: &SpawnError) -> bool {
    let code = error.code.and_then(|code| u32::try_from(code).ok());
    matches!(
        code,
        Some(
            ERROR_NOT_ENOUGH_MEMORY
                | ERROR_NOT_ENOUGH_QUOTA
                | ERROR_TOO_MANY_OPEN_FILES
                | ERROR_NO_SYSTEM_RESOURCES
                | ERROR_COMMITMENT_LIMIT
                | ERROR_INTERNAL_ERROR
        )
    )
}

fn in_words(error: &io::Error, program: &Path) -> SpawnError {
    let (step, cause) = if rights::hint(error).is_empty() {
        (Step::Exec, format!("{}: {error}", program.display()))
    } else {
        (Step::Spawn, format!("{error}{}", rights::hint(error)))
    };
    SpawnError { step, cause, code: error.raw_os_error() }
}
