//! The service manager's side of a running service: it starts our main
//! function, sends controls, and is told the state. (The crate that registers
//! services has this too, but frees what its handler uses at the first request
//! to stop, and a second one may come.)

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

/// What the service manager wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Somebody stops the service.
    Stop,
    /// The system will shut down, and waits for us for a while.
    Preshutdown,
    /// Somebody has changed the files.
    ParametersChanged,
}

/// A service's main function: its name, then the parameters of this start.
pub type Main = fn(Vec<OsString>);

static MAIN: OnceLock<Main> = OnceLock::new();

/// Serves the service manager until the service has stopped; `main` runs on a
/// thread of the system's. False if no service manager has started us.
pub fn dispatch(main: Main) -> io::Result<bool> {
    let _ = MAIN.set(main);
    // The name is not looked at for a service with a process of its own.
    let mut name = wide("");
    let table = [
        SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(service_main) },
        SERVICE_TABLE_ENTRYW { lpServiceName: std::ptr::null_mut(), lpServiceProc: None },
    ];
    // SAFETY: the table ends with its null entry, and it and the name outlive
    // the call, which returns when the service has stopped.
    if unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) } != 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    let by_hand = error.raw_os_error() == i32::try_from(ERROR_FAILED_SERVICE_CONTROLLER_CONNECT).ok();
    if by_hand { Ok(false) } else { Err(error) }
}

/// A panic that reached this frame would end the process: that is what an
/// `extern "system"` function does, and the service manager starts us again.
extern "system" fn service_main(count: u32, arguments: *mut PWSTR) {
    let words = (0..count as usize)
        .map(|index| {
            // SAFETY: the service manager passes `count` texts that end with zero.
            unsafe { text_at(*arguments.add(index)) }
        })
        .collect();
    if let Some(main) = MAIN.get() {
        main(words);
    }
}

/// Where the service manager hears how far we are.
#[derive(Debug)]
pub struct ScmStatus {
    handle: SERVICE_STATUS_HANDLE,
    checkpoint: u32,
}

// SAFETY: the handle may be used from any thread.
unsafe impl Send for ScmStatus {}

/// The controls that we take, once somebody listens.
const STOP_CONTROLS: u32 = SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_PRESHUTDOWN;

/// How far we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScmState {
    /// Not serving yet.
    Starting {
        /// The next word comes within this time.
        next_word: Duration,
        /// Requests to stop are heard already.
        may_stop: bool,
    },
    /// Serving.
    Running,
    /// Stopping, which takes so long at most.
    Stopping(Duration),
    /// Stopped, with this exit code.
    Stopped(u8),
}

impl ScmStatus {
    /// Registers where controls go. They are sent on and nothing else: the
    /// handler runs on a thread of the service manager's.
    pub fn register(name: &str, controls: UnboundedSender<Control>) -> io::Result<ScmStatus> {
        let name = wide(name);
        // Never freed: a control may come at any time while the process lives.
        let controls: *const UnboundedSender<Control> = Box::leak(Box::new(controls));
        // SAFETY: the name ends with zero; the context lives for ever.
        let handle = unsafe { RegisterServiceCtrlHandlerExW(name.as_ptr(), Some(control), controls.cast()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(ScmStatus { handle, checkpoint: 0 })
    }

    /// Tells the state.
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
        // Without a higher number each time, the service manager would think
        // that we hang.
        self.checkpoint = if status.dwWaitHint > 0 { self.checkpoint + 1 } else { 0 };
        status.dwCheckPoint = self.checkpoint;
        // SAFETY: the handle is ours, the structure valid for the call. What
        // could be done about a failure?
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
