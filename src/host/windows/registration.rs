//! The registration of a service with the service manager.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use windows_service::Error as ServiceError;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceConfig, ServiceDependency,
    ServiceErrorControl, ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceSidType,
    ServiceStartType, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation as number;

use crate::config::error::Error;
use crate::config::stored::{StartType, Stored};
use crate::core::stop::LAST_RESORT;
use crate::model::exit_code::Exit;
use crate::model::limits::KILL_GRACE;
use crate::model::plan::STOP_GRACE;
use crate::sys::scm;

const DESCRIPTION: &str =
    "Starts a program for each connection to a configured port, with the connection as its input and output.";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) program: PathBuf,
    pub(super) stored: Stored,
    pub(super) start: StartType,
    pub(super) account: String,
}

pub(super) const LOCAL_SYSTEM: &str = "LocalSystem";

impl Registration {
    pub(super) fn of(service: &Service) -> Result<Registration, Error> {
        let config = service.query_config().map_err(|error| in_words("reading the registration", error))?;
        let ServiceConfig { executable_path, account_name, start_type, .. } = config;
        let line = executable_path.into_os_string();
        let mut words = scm::words(&line).into_iter();
        let program = words.next().map_or_else(PathBuf::new, PathBuf::from);
        let strange = |why: String| {
            let message = format!(
                "a service with this name exists and is not wininetd: {why}\n    hint: choose another --service-name; `sc.exe delete` removes any service"
            );
            Error::Refused { message, exit: Exit::Config }
        };
        if !is_ours(&program) {
            return Err(strange(line.to_string_lossy().into_owned()));
        }
        let stored = Stored::parse(words).map_err(strange)?;
        let start = match start_type {
            ServiceStartType::AutoStart if scm::is_delayed(service) => StartType::Delayed,
            ServiceStartType::AutoStart => StartType::Auto,
            ServiceStartType::Disabled => StartType::Disabled,
            _ => StartType::Manual,
        };
        let account =
            account_name.map_or(LOCAL_SYSTEM.to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Registration { program, stored, start, account })
    }

    /// The path is always quoted. Otherwise Windows could start a file named like its beginning.
    pub(super) fn command_line(&self) -> OsString {
        scm::line(&self.program, &self.stored.arguments())
    }

    /// Without the account, which is set separately because it may need a password.
    pub(super) fn info(&self, name: &str) -> ServiceInfo {
        ServiceInfo {
            name: name.into(),
            display_name: name.into(),
            service_type: ServiceType::OWN_PROCESS,
            start_type: self.start_type(),
            error_control: ServiceErrorControl::Normal,
            executable_path: self.program.clone(),
            launch_arguments: self.stored.arguments(),
            dependencies: vec![
                ServiceDependency::Service("Tcpip".into()),
                ServiceDependency::Service("Afd".into()),
            ],
            account_name: None,
            account_password: None,
        }
    }

    fn start_type(&self) -> ServiceStartType {
        match self.start {
            StartType::Auto | StartType::Delayed => ServiceStartType::AutoStart,
            StartType::Manual => ServiceStartType::OnDemand,
            StartType::Disabled => ServiceStartType::Disabled,
        }
    }

    pub(super) fn start_code(&self) -> u32 {
        self.start_type().to_raw()
    }

    pub(super) fn changes(&self, old: &Registration) -> Vec<String> {
        let options = |registration: &Registration| scm::arguments(&registration.stored.arguments());
        let rows = [
            ("program", old.program.display().to_string(), self.program.display().to_string()),
            ("options", options(old), options(self)),
            ("start", old.start.name().to_owned(), self.start.name().to_owned()),
            ("account", old.account.clone(), self.account.clone()),
        ];
        let differ = rows.into_iter().filter(|(_, old, new)| old != new);
        differ
            .map(|(name, old, new)| {
                format!("{name}: was {old}\n{:width$}  now {new}", "", width = name.len())
            })
            .collect()
    }
}

/// Any version counts. The service of WinInetd has the same name and options.
fn is_ours(program: &Path) -> bool {
    let own = std::env::current_exe().unwrap_or_default();
    let names = [Some(OsStr::new("wininetd.exe")), own.file_name()];
    let name = program.file_name().map(OsStr::to_ascii_lowercase);
    names.into_iter().flatten().any(|known| Some(known.to_ascii_lowercase()) == name)
}

/// Older systems and emulations may refuse some of these, which is only worth a warning.
pub(super) fn dress(service: &Service, start: StartType) -> Vec<String> {
    let mut warnings: Vec<String> = set_delayed(service, start).into_iter().collect();
    let mut try_to = |what: &str, result: windows_service::Result<()>| {
        if let Err(error) = result {
            warnings.push(format!("{what}: {}", cause(&error)));
        }
    };
    try_to("the description", service.set_description(DESCRIPTION));
    let restart = |seconds| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: Duration::from_secs(seconds),
    };
    let recovery = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(Duration::from_hours(24)),
        reboot_msg: None,
        command: None,
        // The last action also applies to all further failures.
        actions: Some(vec![restart(5), restart(30), restart(60)]),
    };
    try_to("restarts after a crash", service.update_failure_actions(recovery));
    // An invalid file does not mend itself, so an exit with a code causes no restart.
    try_to("no restart after an error", no_restart_after_errors(service));
    try_to("the service's own SID", service.set_config_service_sid_info(ServiceSidType::Unrestricted));
    let stop = STOP_GRACE + KILL_GRACE + LAST_RESORT + Duration::from_secs(5);
    try_to("the time before a shutdown", service.set_preshutdown_timeout(stop));
    warnings
}

/// A new service does not restart after errors. If the query fails, there is nothing to do.
fn no_restart_after_errors(service: &Service) -> windows_service::Result<()> {
    match service.get_failure_actions_on_non_crash_failures() {
        Ok(true) => service.set_failure_actions_on_non_crash_failures(false),
        Ok(false) | Err(_) => Ok(()),
    }
}

/// Sets or clears the delayed automatic start. Returns a warning if the system refuses.
pub(super) fn set_delayed(service: &Service, start: StartType) -> Option<String> {
    let result = match start {
        StartType::Delayed => service.set_delayed_auto_start(true),
        _ if scm::is_delayed(service) => service.set_delayed_auto_start(false),
        _ => Ok(()),
    };
    result.err().map(|error| format!("a delayed start: {}", cause(&error)))
}

pub(super) fn manager(access: ServiceManagerAccess) -> Result<ServiceManager, Error> {
    ServiceManager::local_computer(None::<&str>, access)
        .map_err(|error| in_words("the service manager", error))
}

pub(super) fn find(
    manager: &ServiceManager,
    name: &str,
    access: ServiceAccess,
) -> Result<Option<Service>, Error> {
    match manager.open_service(name, access) {
        Ok(service) => Ok(Some(service)),
        Err(error) if code(&error) == number::ERROR_SERVICE_DOES_NOT_EXIST => Ok(None),
        Err(error) => Err(in_words("opening the service", error)),
    }
}

/// The Win32 error code, or 0 for other errors.
pub(super) fn code(error: &ServiceError) -> u32 {
    match error {
        ServiceError::Winapi(cause) => cause.raw_os_error().map_or(0, i32::cast_unsigned),
        _ => 0,
    }
}

fn cause(error: &ServiceError) -> String {
    match error {
        ServiceError::Winapi(cause) => cause.to_string(),
        other => other.to_string(),
    }
}

#[allow(clippy::needless_pass_by_value)] // for map_err
pub(super) fn in_words(what: &str, error: ServiceError) -> Error {
    let (hint, exit) = match code(&error) {
        number::ERROR_ACCESS_DENIED => ("run this from an elevated prompt", Exit::NoPermission),
        number::ERROR_SERVICE_MARKED_FOR_DELETE => (
            "Windows removes the service when no program has it open: close services.msc, Event Viewer and Task Manager, then try again",
            Exit::System,
        ),
        number::ERROR_SERVICE_DATABASE_LOCKED => {
            ("another program changes services at this moment; try again", Exit::System)
        }
        number::ERROR_INVALID_SERVICE_ACCOUNT => {
            ("no such account, or a wrong password; write DOMAIN\\user, or NT SERVICE\\NAME", Exit::Usage)
        }
        number::ERROR_DUPLICATE_SERVICE_NAME | number::ERROR_SERVICE_EXISTS => {
            ("another service has this name; choose another --service-name", Exit::Usage)
        }
        number::ERROR_SERVICE_CANNOT_ACCEPT_CTRL => {
            ("the service is starting or stopping; try again in a moment", Exit::System)
        }
        number::ERROR_DEPENDENT_SERVICES_RUNNING => {
            ("other services that depend on it run; stop them first", Exit::System)
        }
        number::ERROR_SERVICE_REQUEST_TIMEOUT => {
            ("the service does not answer; end its process, then try again", Exit::System)
        }
        _ => ("", Exit::System),
    };
    let hint = if hint.is_empty() { String::new() } else { format!("\n    hint: {hint}") };
    Error::Refused { message: format!("{what}: {}{hint}", cause(&error)), exit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(program: &str, start: StartType) -> Registration {
        let stored = Stored { cfgfile: Some(r"C:\a b\w.conf".into()), ..Stored::default() };
        Registration { program: program.into(), stored, start, account: LOCAL_SYSTEM.to_owned() }
    }

    #[test]
    fn registered_path_is_always_quoted() {
        for path in [r"C:\Program Files\wininetd\wininetd.exe", r"C:\wininetd.exe"] {
            let line = registration(path, StartType::Auto).command_line();
            assert_eq!(line.to_string_lossy(), format!(r#""{path}" --cfgfile "C:\a b\w.conf""#));
        }
    }

    #[test]
    fn the_service_waits_for_the_network_and_starts_as_asked() {
        let info = registration(r"C:\wininetd.exe", StartType::Manual).info("w");
        let needed = ["Tcpip", "Afd"].map(|name| ServiceDependency::Service(name.into()));
        assert_eq!((info.dependencies, info.start_type), (needed.to_vec(), ServiceStartType::OnDemand));
    }

    #[test]
    fn only_changed_settings_are_listed_old_and_new() {
        let old = registration(r"C:\wininetd.exe", StartType::Auto);
        let new = registration(r"C:\wininetd.exe", StartType::Delayed);
        assert_eq!(new.changes(&old), ["start: was auto\n       now delayed"]);
    }

    #[test]
    fn errors_of_the_service_manager_say_what_to_do() {
        let error = |code: u32| {
            let cause = std::io::Error::from_raw_os_error(code.cast_signed());
            in_words("removing", ServiceError::Winapi(cause))
        };
        assert!(error(1072).to_string().contains("close services.msc"));
        assert_eq!(error(5).exit(), Exit::NoPermission);
    }
}
