//! Windows hosts: a console, or the service manager.

mod event_source;
mod firewall;
pub(super) mod install;
mod registration;
mod service;
mod service_account;

use crate::config::error::Error;
use crate::config::trust::Strictness;
use crate::host::HostOptions;
use crate::host::output::{answer, complain};
use crate::host::serve::{Host, serve};
use crate::log::Console;
use crate::model::exit_code::Exit;
use crate::model::exit_status::ExitStatus;
use crate::supervisor::manager::Nobody;
use crate::sys;
use crate::sys::rights::{self, Right};

pub fn debug(options: &HostOptions) -> Result<Exit, Error> {
    let host = Host {
        manager: &mut Nobody,
        console: Console::Plain,
        system_log: None,
        // Programs get only the rights of the person at this console.
        strictness: Strictness::Warn,
        attended: true,
        tells_log: false,
        services: options.serve.clone(),
        service: options.service_name.clone(),
        inherited: Vec::new(),
        findings: Vec::new(),
        stop: Box::new(sys::stop::Stop::of_console),
        beside: None,
    };
    serve(&options.stored, host)
}

/// Serves under the service manager. Shows the usage if a person started the program.
pub fn serve_for_manager(options: &HostOptions, usage: &str) -> Result<Exit, Error> {
    if let Some(exit) = service::run(options)? {
        return Ok(exit);
    }
    complain(&format!(
        "the service manager starts this; by hand, --debug serves in this console and --install registers the service\n\n{usage}"
    ));
    Ok(Exit::Usage)
}

/// A code that does not fit into a `u8`, such as a crash's, ends the process here with all bits.
pub fn end_like(program: ExitStatus) -> Exit {
    let code = match program {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(_) => return Exit::System,
    };
    match u8::try_from(code) {
        Ok(code) => Exit::Child(code),
        Err(_) => sys::process::end_with(code),
    }
}

pub(super) fn error_mark() -> &'static str {
    ""
}

/// Fails a start whose stored command line is invalid, with the reason in the Event Log.
pub(super) fn tell_service_manager(why: &str) -> bool {
    // Standard error means that a person reads it. Asking the service manager takes long.
    !sys::process::has_standard_error() && service::refuse(why)
}

pub fn set_password(service_name: &str, user: &str) -> Result<Exit, Error> {
    let refused = |message: String, exit| Error::Refused { message, exit };
    // The name is parsed with any password.
    let credentials = sys::account::parse_credentials(user, Some(""), service_name)
        .map_err(|message| refused(message, Exit::Usage))?;
    if sys::account::is_built_in(&credentials.user) {
        return Err(refused(format!("{user} has no password; write {user}: in the file"), Exit::Usage));
    }
    let known = sys::account::Account::examine(&credentials);
    let password = sys::prompt::password(user).map_err(|error| refused(error.to_string(), Exit::Usage))?;
    if password.is_empty() {
        return Err(refused(
            "an empty password is not stored: no account can log on with it".to_owned(),
            Exit::Usage,
        ));
    }
    sys::passwords::store(service_name, &credentials.user, &password)
        .map_err(|cause| not_permitted("storing the password", &cause))?;
    let mut report = format!("stored; the file now says {user}:{{stored}}\n");
    if let Err(error) = known {
        report.push_str(&format!("warning: {}\n", error.cause));
    }
    answer(&report)?;
    Ok(Exit::Ok)
}

pub fn grant_batch_right(user: &str) -> Result<Exit, Error> {
    rights::grant(user, &[Right::Batch])
        .map_err(|cause| not_permitted(&format!("letting {user} log on as a batch job"), &cause))?;
    answer(&format!("{user} may log on as a batch job\n"))?;
    Ok(Exit::Ok)
}

fn not_permitted(what: &str, cause: &std::io::Error) -> Error {
    if cause.kind() == std::io::ErrorKind::PermissionDenied {
        let message = format!("{what}: {cause}\n    hint: run this from an elevated prompt");
        return Error::Refused { message, exit: Exit::NoPermission };
    }
    Error::Refused { message: format!("{what}: {cause}"), exit: Exit::System }
}
