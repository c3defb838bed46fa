//! What the `windows-service` crate lacks: quoted command lines, wiped passwords, delayed start.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use windows_service::service::{Service, ServiceAccess};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::System::Services::{
    ChangeServiceConfigW, QueryServiceConfig2W, SERVICE_CONFIG_DELAYED_AUTO_START_INFO,
    SERVICE_DELAYED_AUTO_START_INFO, SERVICE_NO_CHANGE,
};

use super::handle::{check, size, wide};
use super::quote::{split, word};
use crate::model::secret::Secret;

pub fn set_command_line(service: &Service, line: &OsStr) -> io::Result<()> {
    change(service, SERVICE_NO_CHANGE, Some(line), None, None)
}

pub fn set_start(service: &Service, start: u32) -> io::Result<()> {
    change(service, start, None, None, None)
}

/// Sets a service's account. The password may be empty; its copies are wiped.
pub fn set_account(service: &Service, account: &str, password: &Secret) -> io::Result<()> {
    change(service, SERVICE_NO_CHANGE, None, Some(account), Some(password))
}

fn change(
    service: &Service,
    start: u32,
    line: Option<&OsStr>,
    account: Option<&str>,
    password: Option<&Secret>,
) -> io::Result<()> {
    let (line, account, password) = (line.map(wide), account.map(wide), password.map(Secret::wide));
    let text = |text: Option<&[u16]>| text.map_or(std::ptr::null(), <[u16]>::as_ptr);
    // SAFETY: the handle is open; the strings are NUL-terminated, or null for "no change".
    check(unsafe {
        ChangeServiceConfigW(
            service.raw_handle(),
            SERVICE_NO_CHANGE,
            start,
            SERVICE_NO_CHANGE,
            text(line.as_deref()),
            std::ptr::null(),
            std::ptr::null_mut(),
            std::ptr::null(),
            text(account.as_deref()),
            text(password.as_ref().map(|password| password.as_slice())),
            std::ptr::null(),
        )
    })
}

/// The account with which a service is registered; `None` if the query fails.
pub fn account_of(service: &str) -> Option<String> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).ok()?;
    let service = manager.open_service(service, ServiceAccess::QUERY_CONFIG).ok()?;
    Some(service.query_config().ok()?.account_name?.to_string_lossy().into_owned())
}

/// Whether the automatic start is delayed; false if the query fails.
pub fn is_delayed(service: &Service) -> bool {
    let mut info = SERVICE_DELAYED_AUTO_START_INFO { fDelayedAutostart: 0 };
    let mut needed = 0;
    // SAFETY: the handle is open; the buffer has the structure's size.
    let asked = unsafe {
        QueryServiceConfig2W(
            service.raw_handle(),
            SERVICE_CONFIG_DELAYED_AUTO_START_INFO,
            (&raw mut info).cast(),
            size::<SERVICE_DELAYED_AUTO_START_INFO>(),
            &raw mut needed,
        )
    };
    asked != 0 && info.fDelayedAutostart != 0
}

pub fn line(program: &Path, arguments: &[OsString]) -> OsString {
    // A path has no quotes and does not end with a backslash.
    format!("\"{}\" {}", program.display(), self::arguments(arguments)).trim_end().into()
}

pub fn arguments(arguments: &[OsString]) -> String {
    let words: Vec<String> = arguments.iter().map(|argument| word(&argument.to_string_lossy())).collect();
    words.join(" ")
}

/// Splits a command line as the system does. CommandLineToArgvW would load user32 through
/// shell32, and a process with user32 receives no shutdown event from its console.
pub fn words(line: &OsStr) -> Vec<OsString> {
    split(&line.to_string_lossy()).into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_command_line_is_read_back_as_it_was_written(
            arguments in proptest::collection::vec(r#"[a-z \\"%:\t]{0,8}"#, 0..5)
        ) {
            let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
            let found = words(&line(Path::new(r"C:\Program Files\w\wininetd.exe"), &arguments));
            prop_assert_eq!(&found[0], r"C:\Program Files\w\wininetd.exe");
            prop_assert_eq!(&found[1..], &arguments[..]);
        }
    }
}
