//! `--install` and `--remove` on Windows.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use windows_service::service::{Service, ServiceAccess, ServiceState};
use windows_service::service_manager::ServiceManagerAccess;

use super::registration::{LOCAL_SYSTEM, Registration, code, dress, find, in_words, manager, set_delayed};
use super::service_account::{ServiceAccount, cannot_open_passwords, grant_for_identities};
use super::{event_source, firewall};
use crate::config;
use crate::config::defaults::Defaults;
use crate::config::error::Error;
use crate::config::missing_user::MissingUser;
use crate::config::stored::StartType;
use crate::config::trust::Strictness;
use crate::core::stop::LAST_RESORT;
use crate::host::HostOptions;
use crate::host::output::answer;
use crate::host::{example, own_file, refuse_missing_log_folder};
use crate::model::exit_code::Exit;
use crate::model::limits::KILL_GRACE;
use crate::model::plan::STOP_GRACE;
use crate::model::secret::Secret;
use crate::sys::rights::{self, Right};
use crate::sys::{CAPABILITIES, passwords, process, scm};

const ACCESS: ServiceAccess = ServiceAccess::QUERY_CONFIG
    .union(ServiceAccess::CHANGE_CONFIG)
    .union(ServiceAccess::QUERY_STATUS)
    .union(ServiceAccess::START)
    .union(ServiceAccess::STOP)
    .union(ServiceAccess::DELETE);

pub fn install(options: &HostOptions) -> Result<Exit, Error> {
    refuse_root(options)?;
    let name = &options.service_name;
    let mut report = InstallReport::default();
    // What can be checked is checked before anything is changed.
    let manager = manager(ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE)?;
    let program =
        std::env::current_exe().map_err(|cause| Error::System { what: "the program's own path", cause })?;
    report
        .warnings
        .extend(own_file::examine(&program, r#"copy the program below "C:\Program Files" and call that"#)?);
    let existing = find(&manager, name, ACCESS)?;
    let old = existing.as_ref().map(Registration::of).transpose()?;
    let account =
        options.account.as_deref().map(|account| ServiceAccount::parse(account, name)).transpose()?;
    let new = merged(&program, old.as_ref(), account.as_ref(), options);
    refuse_missing_log_folder(&new.stored)?;
    let password = account.as_ref().map(ServiceAccount::password).transpose()?;

    let service = match existing {
        Some(service) => service,
        None => manager
            .create_service(&new.info(name), ACCESS)
            .map_err(|error| in_words("registering the service", error))?,
    };
    let account = account.as_ref().zip(password.as_ref());
    if let Err(error) = finish(&service, name, old.as_ref(), &new, account, &mut report) {
        if old.is_none() {
            // A partial registration would start with the wrong rights.
            let _ = service.delete();
        }
        return Err(error);
    }
    tell(&mut report, name, old.as_ref(), &new);
    let exit = surroundings(&mut report, options, name, &new);
    let _ = match is_running(&service) {
        false => writeln!(report.text, "start it with: net start {name}"),
        true if old.as_ref() == Some(&new) => writeln!(report.text, "it runs"),
        true => writeln!(
            report.text,
            "it still runs with the previous options; to use the new ones: net stop {name} && net start {name}"
        ),
    };
    answer(&report.all())?;
    Ok(exit)
}

#[derive(Default)]
struct InstallReport {
    text: String,
    warnings: Vec<String>,
    /// Findings about the configuration, with their own severity and location.
    findings: Vec<String>,
}

fn is_running(service: &Service) -> bool {
    service.query_status().is_ok_and(|status| status.current_state != ServiceState::Stopped)
}

impl InstallReport {
    fn all(&self) -> String {
        let findings = self.findings.iter().map(|finding| format!("{finding}\n"));
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        let warnings = findings.chain(warnings);
        warnings.fold(self.text.clone(), |text, warning| text + &warning)
    }
}

fn refuse_root(options: &HostOptions) -> Result<(), Error> {
    match options.root {
        None => Ok(()),
        Some(_) => Err(Error::OtherSystem {
            option: "--root",
            why: "Windows registers services; they are not files below a folder",
        }),
    }
}

fn merged(
    program: &Path,
    old: Option<&Registration>,
    account: Option<&ServiceAccount>,
    options: &HostOptions,
) -> Registration {
    let before = old.map(|old| old.stored.clone()).unwrap_or_default();
    let mut stored = before.replaced_by(options.stored.clone().absolute());
    stored.cfgfile = Some(stored.config_path());
    Registration {
        program: program.to_owned(),
        stored,
        start: options.start.or(old.map(|old| old.start)).unwrap_or(StartType::Auto),
        account: account
            .map(|account| account.name.clone())
            .or_else(|| old.map(|old| old.account.clone()))
            .unwrap_or_else(|| LOCAL_SYSTEM.to_owned()),
    }
}

/// In an existing registration, changes only what the options name: an administrator may have set
/// the rest. The account comes first, because the system can refuse it.
fn finish(
    service: &Service,
    name: &str,
    old: Option<&Registration>,
    new: &Registration,
    account: Option<(&ServiceAccount, &Secret)>,
    report: &mut InstallReport,
) -> Result<(), Error> {
    let raw = |what| move |cause| in_words(what, windows_service::Error::Winapi(cause));
    if let Some((account, password)) = account {
        account.apply(service, password)?;
    }
    scm::set_command_line(service, &new.command_line()).map_err(raw("the service's command line"))?;
    match old {
        None => report.warnings.extend(dress(service, new.start)),
        Some(old) if old.start != new.start => {
            scm::set_start(service, new.start_code()).map_err(raw("the service's start"))?;
            report.warnings.extend(set_delayed(service, new.start));
        }
        Some(_) => {}
    }
    if let Err(cause) = event_source::register(name) {
        report.warnings.push(format!("the Event Log will show entries without their words: {cause}"));
    }
    Ok(())
}

fn tell(report: &mut InstallReport, name: &str, old: Option<&Registration>, new: &Registration) {
    let _ = match old {
        None => writeln!(
            report.text,
            "installed: {name}\n    {}\n    as {}, start {}",
            new.command_line().display(),
            new.account,
            new.start.name()
        ),
        Some(old) => match new.changes(old) {
            changes if changes.is_empty() => writeln!(report.text, "unchanged: {name}"),
            changes => writeln!(report.text, "changed: {name}\n{}", changes.join("\n")),
        },
    };
}

/// A failure here is reported and does not undo the registration.
fn surroundings(report: &mut InstallReport, options: &HostOptions, name: &str, new: &Registration) -> Exit {
    let path = new.stored.config_path();
    let mut cannot_be_written = false;
    match example::write_if_missing(&path) {
        Ok(true) => drop(writeln!(report.text, "written: {}, an example", path.display())),
        Ok(false) => {}
        Err(cause) => {
            cannot_be_written = true;
            report.warnings.push(format!(
                "the service will not start: {}: {cause}\n    hint: write this file, and make its folder first",
                path.display()
            ));
        }
    }
    let all_rights = new.account.eq_ignore_ascii_case(LOCAL_SYSTEM).then_some(CAPABILITIES.all_rights);
    let missing_user = MissingUser::of_server(all_rights);
    let defaults = Defaults { missing_user, ..new.stored.defaults(name) };
    let plan = match config::load(&path, &defaults, Strictness::Refuse) {
        Ok(loaded) => {
            let log = new.stored.judge_log(Some(&loaded), Strictness::Refuse);
            report.findings.extend(loaded.diagnostics.iter().chain(&log).map(ToString::to_string));
            Some(loaded.plan)
        }
        // There is already a warning about this file.
        Err(_) if cannot_be_written => None,
        Err(error) => {
            let first = error.to_string().lines().take(3).collect::<Vec<_>>().join("\n    ");
            report.warnings.push(format!(
                "the service will not start until this is corrected (--check shows everything):\n    {first}"
            ));
            None
        }
    };
    if let Some(plan) = &plan {
        match grant_for_identities(&new.account, plan) {
            Some(Ok(done)) => drop(writeln!(report.text, "{done}")),
            Some(Err(fault)) => report.warnings.push(fault),
            None => {}
        }
        report.warnings.extend(cannot_open_passwords(&new.account, plan));
    }
    if options.stored.firewall == Some(false) {
        let _ = firewall::remove(name);
    } else if let (Some(true), Some(plan)) = (new.stored.firewall, &plan) {
        for done in firewall::redo(name, plan) {
            match done {
                Ok(done) => drop(writeln!(report.text, "{done}")),
                Err(fault) => report.warnings.push(fault),
            }
        }
    }
    if let Some(user) = &options.grant_batch_right {
        match rights::grant(user, &[Right::Batch]) {
            Ok(()) => drop(writeln!(report.text, "{user} may log on as a batch job")),
            Err(cause) => {
                report.warnings.push(format!("letting {user} log on as a batch job: {cause}"));
                return Exit::System;
            }
        }
    }
    Exit::Ok
}

pub fn remove(options: &HostOptions) -> Result<Exit, Error> {
    refuse_root(options)?;
    let name = &options.service_name;
    let manager = manager(ServiceManagerAccess::CONNECT)?;
    let Some(service) = find(&manager, name, ACCESS)? else {
        // Left by an interrupted removal, or by passwords for `--debug`.
        let warnings = forget(name);
        answer(&format!("not installed\n{warnings}"))?;
        return Ok(Exit::Ok);
    };
    // Leave another program's service alone.
    let registration = Registration::of(&service)?;
    stop(&service)?;
    let mut warnings = Vec::new();
    let own_account = format!("NT SERVICE\\{name}");
    if registration.account.eq_ignore_ascii_case(&own_account) {
        // Revoke before the removal, which also removes the account's name.
        let _ = rights::revoke_all(&own_account);
    }
    if registration.stored.firewall == Some(true)
        && let Err(fault) = firewall::remove(name)
    {
        warnings.push(fault);
    }
    service.delete().map_err(|error| in_words("removing the service", error))?;
    let warnings: String = warnings.into_iter().map(|warning| format!("warning: {warning}\n")).collect();
    answer(&format!("removed: {name}; the configuration is still there\n{warnings}{}", forget(name)))?;
    Ok(Exit::Ok)
}

/// Removes the data outside the registration. Returns warnings.
fn forget(name: &str) -> String {
    let done = [
        ("the Event Log's source", event_source::forget(name)),
        ("stored passwords", passwords::forget_all(name)),
    ];
    let failed = done.into_iter().filter_map(|(what, done)| Some((what, done.err()?)));
    failed.map(|(what, cause)| format!("warning: {what}: {cause}\n")).collect()
}

fn stop(service: &Service) -> Result<(), Error> {
    let status = service.query_status().map_err(|error| in_words("asking the service's state", error))?;
    if status.current_state == ServiceState::Stopped {
        return Ok(());
    }
    match service.stop() {
        Err(error) if code(&error) == windows_sys::Win32::Foundation::ERROR_SERVICE_NOT_ACTIVE => {
            return Ok(());
        }
        Err(error) => return Err(in_words("stopping the service", error)),
        Ok(_) => {}
    }
    let mut process = status.process_id;
    let patience_ends = Instant::now() + STOP_GRACE + KILL_GRACE + LAST_RESORT + Duration::from_secs(10);
    loop {
        let status = service.query_status().map_err(|error| in_words("asking the service's state", error))?;
        process = status.process_id.or(process);
        if status.current_state == ServiceState::Stopped {
            break;
        }
        if Instant::now() >= patience_ends {
            return Err(does_not_stop(process));
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    // The process reports its state before it ends, and its file may be replaced after that.
    match process {
        Some(pid) if !process::wait_gone(pid, LAST_RESORT) => Err(does_not_stop(process)),
        _ => Ok(()),
    }
}

fn does_not_stop(process: Option<u32>) -> Error {
    let process = process.map(|pid| format!(" {pid}")).unwrap_or_default();
    let message = format!("the service does not stop; end its process{process}, then try again");
    Error::Refused { message, exit: Exit::System }
}
