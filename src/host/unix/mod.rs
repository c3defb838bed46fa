//! Unix hosts: a console, or a service manager that starts the server in the foreground.

pub(super) mod install;
mod launchd;
mod systemd;

use crate::config::error::Error;
use crate::config::trust::Strictness;
use crate::host::HostOptions;
use crate::host::own_file;
use crate::host::serve::{Host, serve};
use crate::log::Console;
use crate::model::exit_code::Exit;
use crate::model::exit_status::ExitStatus;
use crate::supervisor::manager::{Manager, Nobody};
use crate::sys;
use crate::sys::net::Inherited;
use crate::sys::notify::journal_reads_us;
use systemd::Systemd;

pub fn debug(options: &HostOptions) -> Result<Exit, Error> {
    start(options, true)
}

pub fn serve_for_manager(options: &HostOptions, _usage: &str) -> Result<Exit, Error> {
    start(options, false)
}

fn start(options: &HostOptions, attended: bool) -> Result<Exit, Error> {
    let first = sys::init::stay_if_first()
        .map_err(|cause| Error::System { what: "starting below process 1", cause })?;
    if let Some(code) = first {
        return Ok(Exit::Child(code));
    }
    if options.stored.firewall == Some(true) {
        return Err(only_windows("--firewall", "its firewall has rules for programs"));
    }
    // Take them before opening anything, which could get one of their descriptor numbers.
    let (inherited, mut findings) = Inherited::take();
    let mut systemd = if attended { None } else { Systemd::of_environment() };
    let manager: &mut dyn Manager = match &mut systemd {
        Some(systemd) => systemd,
        None => &mut Nobody,
    };
    // A root server runs what its configuration says, so check whether other accounts can change
    // it.
    let careful = sys::process::is_privileged() && !attended;
    if careful {
        findings.extend(own_file::findings());
    }
    let host = Host {
        manager,
        console: if !attended && journal_reads_us() { Console::Journal } else { Console::Plain },
        system_log: None,
        strictness: if careful { Strictness::Refuse } else { Strictness::Warn },
        attended,
        tells_log: false,
        services: options.serve.clone(),
        service: options.service_name.clone(),
        inherited,
        findings,
        stop: Box::new(move || sys::stop::Stop::listen(attended)),
        beside: None,
    };
    serve(&options.stored, host)
}

/// Like shells: the exit code, or 128 plus the signal.
pub fn end_like(program: ExitStatus) -> Exit {
    Exit::Child(match program {
        ExitStatus::Code(code) => u8::try_from(code & 0xFF).unwrap_or(u8::MAX),
        ExitStatus::Signal(signal) => u8::try_from(signal).unwrap_or(0).saturating_add(128),
    })
}

/// The journal takes lines without a mark as information.
pub(super) fn error_mark() -> &'static str {
    if journal_reads_us() { "<3>" } else { "" }
}

/// Service managers on Unix read standard error.
pub(super) fn tell_service_manager(_why: &str) -> bool {
    false
}

pub fn set_password(_service_name: &str, _user: &str) -> Result<Exit, Error> {
    Err(only_windows("--set-password", "here a program's account needs no password"))
}

pub fn grant_batch_right(_user: &str) -> Result<Exit, Error> {
    Err(only_windows("--grant-batch-right", "here root can start programs as any account"))
}

fn only_windows(option: &'static str, why: &'static str) -> Error {
    Error::OtherSystem { option, why }
}
