//! A running service's connection to the service manager: main function, controls, state.
//! The `windows-service` crate frees its handler at the first stop request, and a second
//! request may come.

use std::ffi::OsString;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_FAILED_SERVICE_CONTROLLER_CONNECT, ERROR_SERVICE_SPECIFIC_ERROR,
    NO_ERROR,
};
use windows_sys::Win32::System::Services::{
    RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_PARAMCHANGE, SERVICE_ACCEPT_PRESHUTDOWN,
    SERVICE_ACCEPT_STOP, SERVICE_CONTROL_INTERROGATE, SERVICE_CONTROL_PARAMCHANGE,
    SERVICE_CONTROL_PRESHUTDOWN, SERVICE_CONTROL_STOP, SERVICE_RUNNING, SERVICE_START_PENDING,
    SERVICE_STATUS, SERVICE_STATUS_HANDLE, SERVICE_STOP_PENDING, SERVICE_STOPPED, SERVICE_TABLE_ENTRYW,
    SERVICE_WIN32_OWN_PROCESS, SetServiceStatus, StartServiceCtrlDispatcherW,
};
use windows_sys::core::PWSTR;

use super::handle::{text_at, wide};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Stop,
    /// The system is about to shut down and waits for the service for a limited time.
    Preshutdown,
    ParametersChanged,
}

/// Main function of a service. Arguments: the service's name, then its start parameters.
pub type Main = fn(Vec<OsString>);

static MAIN: OnceLock<Main> = OnceLock::new();

/// Runs `main` on a thread of the system until the service has stopped. Returns false if no
/// service manager started this process.
pub fn dispatch(main: Main) -> io::Result<bool> {
    let _ = MAIN.set(main);
    let mut name = wide("");
    let table = [
        SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(service_main) },
        SERVICE_TABLE_ENTRYW { lpServiceName: std::ptr::null_mut(), lpServiceProc: None },
    ];
    // SAFETY: the table ends with its null entry. The table and the name outlive the call,
    // which returns when the service has stopped.
    if unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) } != 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    let by_hand = error.raw_os_error() == i32::try_from(ERROR_FAILED_SERVICE_CONTROLLER_CONNECT).ok();
    if by_hand { Ok(false) } else { Err(error) }
}

/// A panic here aborts the process (`extern "system"`), and the service manager restarts it.
extern "system" fn service_main(count: u32, arguments: *mut PWSTR) {
    let words = (0..count as usize)
        .map(|index| {
            // SAFETY: the service manager passes `count` NUL-terminated strings.
            unsafe { text_at(*arguments.add(index)) }
        })
        .collect();
    if let Some(main) = MAIN.get() {
        main(words);
    }
}

#[derive(Debug)]
pub struct ScmStatus {
    handle: SERVICE_STATUS_HANDLE,
    checkpoint: u32,
}

// SAFETY: any thread may use the handle.
unsafe impl Send for ScmStatus {}

const STOP_CONTROLS: u32 = SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_PRESHUTDOWN;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScmState {
    Starting {
        /// Time until the next report.
        next_word: Duration,
        may_stop: bool,
    },
    Running,
    Stopping(Duration),
    Stopped(u8),
}

impl ScmStatus {
    /// Registers the control handler, which forwards controls from a system thread.
    pub fn register(name: &str, controls: UnboundedSender<Control>) -> io::Result<ScmStatus> {
        let name = wide(name);
        // Never freed: a control may arrive as long as the process lives.
        let controls: *const UnboundedSender<Control> = Box::leak(Box::new(controls));
        // SAFETY: the name is NUL-terminated; the context lives for ever.
        let handle = unsafe { RegisterServiceCtrlHandlerExW(name.as_ptr(), Some(control), controls.cast()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(ScmStatus { handle, checkpoint: 0 })
    }

    pub fn set(&mut self, state: ScmState) {
        // SAFETY: zeroes are a valid status.
        let mut status: SERVICE_STATUS = unsafe { std::mem::zeroed() };
        status.dwServiceType = SERVICE_WIN32_OWN_PROCESS;
        let pending = |hint: Duration| u32::try_from(hint.as_millis()).unwrap_or(u32::MAX);
        match state {
            ScmState::Starting { next_word, may_stop } => {
                (status.dwCurrentState, status.dwWaitHint) = (SERVICE_START_PENDING, pending(next_word));
                status.dwControlsAccepted = if may_stop { STOP_CONTROLS } else { 0 };
            }
            ScmState::Running => {
                status.dwCurrentState = SERVICE_RUNNING;
                status.dwControlsAccepted = STOP_CONTROLS | SERVICE_ACCEPT_PARAMCHANGE;
            }
            ScmState::Stopping(hint) => {
                (status.dwCurrentState, status.dwWaitHint) = (SERVICE_STOP_PENDING, pending(hint));
            }
            ScmState::Stopped(exit) => {
                status.dwCurrentState = SERVICE_STOPPED;
                if exit != 0 {
                    status.dwWin32ExitCode = ERROR_SERVICE_SPECIFIC_ERROR;
                    status.dwServiceSpecificExitCode = exit.into();
                }
            }
        }
        // Without a rising checkpoint the service manager assumes that the service hangs.
        self.checkpoint = if status.dwWaitHint > 0 { self.checkpoint + 1 } else { 0 };
        status.dwCheckPoint = self.checkpoint;
        // SAFETY: the handle is registered, the structure valid. A failure has no remedy.
        unsafe { SetServiceStatus(self.handle, &raw const status) };
    }
}

unsafe extern "system" fn control(
    code: u32,
    _: u32,
    _: *mut std::ffi::c_void,
    context: *mut std::ffi::c_void,
) -> u32 {
    // SAFETY: the context is the sender that `register` leaked.
    let controls = unsafe { &*context.cast::<UnboundedSender<Control>>() };
    let control = match code {
        SERVICE_CONTROL_STOP => Control::Stop,
        SERVICE_CONTROL_PRESHUTDOWN => Control::Preshutdown,
        SERVICE_CONTROL_PARAMCHANGE => Control::ParametersChanged,
        SERVICE_CONTROL_INTERROGATE => return NO_ERROR,
        _ => return ERROR_CALL_NOT_IMPLEMENTED,
    };
    let _ = controls.send(control);
    NO_ERROR
}
