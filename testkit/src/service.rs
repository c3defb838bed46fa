//! A copy of wininetd that is registered as a Windows service under a unique name.

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use windows_service::Error;
use windows_service::service::{
    Service as Registered, ServiceAccess, ServiceConfig, ServiceErrorControl, ServiceInfo, ServiceStartType,
    ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_REQUEST_TIMEOUT, ERROR_SUCCESS, LocalFree,
    WAIT_OBJECT_0,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1, SE_FILE_OBJECT,
    SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    ACL, DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, PROTECTED_DACL_SECURITY_INFORMATION,
};
use windows_sys::Win32::System::Registry::{HKEY, HKEY_LOCAL_MACHINE, KEY_READ, RegCloseKey, RegOpenKeyExW};
use windows_sys::Win32::System::Services::{ControlService, SERVICE_CONTROL_PARAMCHANGE, SERVICE_STATUS};
use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject};

use crate::daemon::run_program;
use crate::{Finished, LIMIT, wininetd};

/// A Windows service with its own folder. Dropping it stops and removes the service.
#[derive(Debug)]
pub struct Service {
    pub name: String,
    folder: TempDir,
    /// Allows one service at a time. When several start at once, Wine's service manager confuses
    /// their processes or exits.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Service {
    /// A service with these lines as its classic file. It is not installed yet.
    pub fn new(lines: &[String]) -> Service {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let service = Service {
            name: format!("wininetd-test-{}-{number}", std::process::id()),
            folder: tempfile::tempdir().expect("a folder for the test"),
            _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
        };
        service.write(lines);
        // The server does not register a program that ordinary users can replace. The folders above
        // the build may be writable for them, so this is a copy.
        crate::copy_program(&wininetd(), &service.program());
        service
    }

    pub fn program(&self) -> PathBuf {
        self.file("wininetd.exe")
    }

    pub fn write(&self, lines: &[String]) {
        std::fs::write(self.file("wininetd.conf"), lines.join("\r\n") + "\r\n").expect("the configuration");
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn verb(&self, words: &[&str]) -> Finished {
        self.verb_with_input(words, "")
    }

    pub fn verb_with_input(&self, words: &[&str], input: &str) -> Finished {
        run_program(&self.program(), &[words, &["--service-name", &self.name]].concat(), input)
    }

    pub fn install(&self, more: &[&str]) -> Finished {
        let (config, log) = (self.file("wininetd.conf"), self.file("log"));
        let (config, log) = (config.display().to_string(), log.display().to_string());
        let words = ["--install", "--cfgfile", &config, "--log-file", &log, "--log-format", "json"];
        let finished = self.verb(&[&words, more].concat());
        assert_eq!(finished.code, Some(0), "{}", finished.errors);
        finished
    }

    fn opened(&self, access: ServiceAccess) -> Option<Registered> {
        let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT);
        manager.expect("the service manager").open_service(&self.name, access).ok()
    }

    fn registered(&self) -> Registered {
        self.opened(ServiceAccess::all()).expect("the service is registered")
    }

    pub fn is_registered(&self) -> bool {
        self.opened(ServiceAccess::QUERY_STATUS).is_some()
    }

    pub fn config(&self) -> ServiceConfig {
        self.registered().query_config().expect("its configuration")
    }

    /// Disables the service and changes its display name, as an administrator may do with other
    /// tools.
    pub fn disable(&self) {
        self.change(|info| {
            info.start_type = ServiceStartType::Disabled;
            info.display_name = "by hand".into();
        });
    }

    pub fn set_command_line(&self, line: &str) {
        let mut words = line.rsplitn(2, "\" ");
        let arguments = words.next().expect("arguments").split(' ').map(Into::into).collect::<Vec<_>>();
        let program = words.next().expect("a program").trim_matches('"').to_owned();
        self.change(|info| {
            info.executable_path = program.clone().into();
            info.launch_arguments.clone_from(&arguments);
        });
    }

    fn change(&self, change: impl Fn(&mut ServiceInfo)) {
        let mut info = self.info();
        let command = self.config().executable_path.display().to_string();
        // The crate quotes the path again, so this code splits the command line first.
        let program = command.trim_start_matches('"').split('"').next().expect("a path").to_owned();
        let arguments = command.split("\" ").nth(1).unwrap_or_default();
        info.executable_path = program.into();
        info.launch_arguments =
            arguments.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect();
        change(&mut info);
        self.registered().change_config(&info).expect("a change");
    }

    fn info(&self) -> ServiceInfo {
        ServiceInfo {
            name: self.name.clone().into(),
            display_name: self.name.clone().into(),
            service_type: ServiceType::OWN_PROCESS,
            start_type: ServiceStartType::OnDemand,
            error_control: ServiceErrorControl::Normal,
            executable_path: r"C:\windows\system32\cmd.exe".into(),
            launch_arguments: Vec::new(),
            dependencies: Vec::new(),
            account_name: None,
            account_password: None,
        }
    }

    /// Registers another program under this service's name.
    pub fn register_stranger(&self) {
        let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
        let manager = ServiceManager::local_computer(None::<&str>, access).expect("the service manager");
        manager.create_service(&self.info(), ServiceAccess::all()).expect("a stranger's service");
    }

    pub fn delete(&self) {
        self.registered().delete().expect("its end");
    }

    pub fn status(&self) -> ServiceStatus {
        self.registered().query_status().expect("its state")
    }

    /// Requests a start with these parameters and does not wait for it. After a stop or a crash,
    /// the service manager may not have seen the end of the previous process. It then answers that
    /// the service runs. Wine may also send the start to the old process and time out. The call
    /// retries in both cases.
    pub fn request_start(&self, parameters: &[&str]) {
        let service = self.registered();
        until("start", || match service.start(parameters) {
            Err(Error::Winapi(error))
                if error.raw_os_error().is_some_and(|code| PROCESS_OF_BEFORE.contains(&code)) =>
            {
                None
            }
            started => {
                started.expect("a start");
                Some(())
            }
        });
    }

    pub fn start(&self, parameters: &[&str]) -> ServiceStatus {
        self.request_start(parameters);
        self.settled(ServiceState::StartPending)
    }

    pub fn stop(&self) -> ServiceStatus {
        let service = self.registered();
        let process = service.query_status().expect("its state").process_id;
        service.stop().expect("a stop");
        // The control handler only passes the request to the server's loop.
        let stopped = self.reaches(ServiceState::Stopped);
        // The process reports `Stopped` before it exits.
        if let Some(process) = process {
            until("end of its process", || is_gone(process).then_some(()));
        }
        stopped
    }

    pub fn parameters_changed(&self) {
        let service = self.registered();
        // SAFETY: the handle is open. Zeroes are a valid status, which the call overwrites.
        unsafe {
            let mut status: SERVICE_STATUS = std::mem::zeroed();
            let sent = ControlService(service.raw_handle(), SERVICE_CONTROL_PARAMCHANGE, &raw mut status);
            assert!(sent != 0, "{}", std::io::Error::last_os_error());
        }
    }

    /// Waits until the state is another than this. Returns it.
    pub fn settled(&self, passing: ServiceState) -> ServiceStatus {
        let service = self.registered();
        until("another state of the service", || {
            let status = service.query_status().expect("its state");
            (status.current_state != passing).then_some(status)
        })
    }

    pub fn reaches(&self, state: ServiceState) -> ServiceStatus {
        let service = self.registered();
        until("a state of the service", || {
            let status = service.query_status().expect("its state");
            (status.current_state == state).then_some(status)
        })
    }

    pub fn event(&self, name: &str) -> Value {
        let path = self.file("log");
        until(name, || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            events.into_iter().find(|event| event["event"] == name)
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.is_registered() {
            let _ = self.verb(&["--remove"]);
        }
    }
}

const PROCESS_OF_BEFORE: [i32; 2] =
    [ERROR_SERVICE_ALREADY_RUNNING.cast_signed(), ERROR_SERVICE_REQUEST_TIMEOUT.cast_signed()];

/// Asks until there is an answer. Windows and Wine share no event for a state of the service
/// manager or for a file.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    let (_never, pause) = std::sync::mpsc::channel::<()>();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "no {what}");
        let _ = pause.recv_timeout(Duration::from_millis(20));
    }
}

fn is_gone(pid: u32) -> bool {
    // SAFETY: no pointers. A handle that the call returns is owned here.
    unsafe {
        let process = OpenProcess(PROCESS_SYNCHRONIZE, 0, pid);
        if process.is_null() {
            return true;
        }
        let gone = WaitForSingleObject(process, 1000) == WAIT_OBJECT_0;
        CloseHandle(process);
        gone
    }
}

pub fn has_key(path: &str) -> bool {
    let path: Vec<u16> = OsStr::new(path).encode_wide().chain([0]).collect();
    let mut key: HKEY = std::ptr::null_mut();
    // SAFETY: the path ends with NUL. A key that the call returns is owned here.
    unsafe {
        let found =
            RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, KEY_READ, &raw mut key) == ERROR_SUCCESS;
        if found {
            RegCloseKey(key);
        }
        found
    }
}

/// Gives a file or folder this access list (SDDL) and removes inherited entries.
pub fn set_access(path: &std::path::Path, sddl: &str) {
    let wide = |text: &OsStr| text.encode_wide().chain([0]).collect::<Vec<u16>>();
    let (path, sddl) = (wide(path.as_os_str()), wide(OsStr::new(sddl)));
    // SAFETY: the texts end with NUL. The list lies within the descriptor, which is freed after its
    // last use.
    unsafe {
        let mut descriptor = std::ptr::null_mut();
        let made = ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            std::ptr::null_mut(),
        );
        assert!(made != 0, "an access list: {}", std::io::Error::last_os_error());
        let mut list: *mut ACL = std::ptr::null_mut();
        let (mut present, mut defaulted) = (0, 0);
        GetSecurityDescriptorDacl(descriptor, &raw mut present, &raw mut list, &raw mut defaulted);
        let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
        let code = SetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            what,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            list,
            std::ptr::null(),
        );
        LocalFree(descriptor);
        assert_eq!(code, ERROR_SUCCESS, "setting an access list");
    }
}
