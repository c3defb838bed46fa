//! `--install` and `--remove` on Unix: writes the files with which a service manager starts the
//! server, and tells the manager.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::launchd::{self, LaunchdJob};
use super::systemd::{Unit, words};
use crate::config::error::Error;
use crate::config::stored::{StartType, Stored};
use crate::config::{self, defaults::Defaults, missing_user::MissingUser, trust::Strictness};
use crate::host::HostOptions;
use crate::host::output::answer;
use crate::host::{example, own_file, refuse_missing_log_folder};
use crate::model::exit_code::Exit;
use crate::sys::account::{Account, parse_credentials};
use crate::sys::{self, CAPABILITIES};

/// With a root directory, files go below it and no service manager is told.
struct InstallRoot {
    root: Option<PathBuf>,
}

struct Registration {
    stored: Stored,
    account: Option<String>,
    /// In the service file only on macOS.
    start: StartType,
}

pub fn install(options: &HostOptions) -> Result<Exit, Error> {
    if options.stored.firewall == Some(true) {
        return Err(super::only_windows("--firewall", "its firewall has rules for programs"));
    }
    if options.start == Some(StartType::Delayed) {
        return Err(super::only_windows("--start delayed", "write auto or manual"));
    }
    if let Some(user) = &options.grant_batch_right {
        return super::grant_batch_right(user);
    }
    let place = InstallRoot::of(options)?;
    let program = place.program()?;
    let mut report = String::new();
    if place.root.is_none() {
        for warning in own_file::examine(&program, "copy the program to /usr/local/sbin and call that")? {
            let _ = writeln!(report, "warning: {warning}");
        }
    }
    let file = place.service_file(&options.service_name);
    let before = match std::fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => None,
        Err(cause) => return Err(cannot_write(&file, &cause)),
    };
    if before.is_none() && place.root.is_none() {
        refuse_shadowing(&options.service_name)?;
    }
    let old = match &before {
        Some(text) => Some(read_back(text).ok_or_else(|| unknown_file(&file))?),
        None => None,
    };
    let new = Registration::merged(old.as_ref(), options);
    if place.root.is_none() {
        refuse_missing_log_folder(&new.stored)?;
    }
    let text = if cfg!(target_os = "macos") {
        let (name, account) = (&options.service_name, new.account.as_deref());
        LaunchdJob { name, program: &program, options: &new.stored, account, start: new.start }.text()
    } else {
        let unit = Unit {
            program: &program,
            options: &new.stored,
            account: new.account.as_deref(),
            name: &options.service_name,
        };
        // Keep what an administrator has added.
        before.as_deref().map_or_else(|| unit.text(), |before| unit.edited(before))
    };
    write_file(&file, &text)?;
    changes(&mut report, &file, old.as_ref(), &new);
    let config = place.below(&new.stored.config_path());
    if let Some(folder) = config.parent() {
        make_folder(folder)?;
    }
    if example::write_if_missing(&config).map_err(|cause| cannot_write(&config, &cause))? {
        let _ = writeln!(report, "written: {}, an example", config.display());
    }
    if cfg!(target_os = "linux") {
        let hardening = place.hardening_file(&options.service_name);
        // Keep a file that an administrator may have edited.
        if !hardening.exists() {
            write_file(&hardening, &Unit::hardening())?;
        }
    }
    if place.root.is_none() {
        foresee(&mut report, &options.service_name, &new);
    }
    let told = place.root.is_some() || tell_manager(&mut report, options, old.is_none(), &file);
    answer(&report)?;
    Ok(if told { Exit::Ok } else { Exit::System })
}

pub fn remove(options: &HostOptions) -> Result<Exit, Error> {
    let place = InstallRoot::of(options)?;
    let (name, file) = (&options.service_name, place.service_file(&options.service_name));
    if !file.exists() {
        answer("not installed\n")?;
        return Ok(Exit::Ok);
    }
    // Leave another program's service alone.
    if std::fs::read_to_string(&file).ok().as_deref().and_then(read_back).is_none() {
        return Err(unknown_file(&file));
    }
    let mut report = String::new();
    if place.root.is_none() && !stopped(&mut report, name) {
        let message = format!("{report}the service could not be stopped; nothing is removed");
        return Err(Error::Refused { message, exit: Exit::System });
    }
    let gone = |path: &Path| match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cannot_write(path, &cause)),
        _ => Ok(()),
    };
    gone(&file)?;
    let hardening = place.hardening_file(name);
    if std::fs::read_to_string(&hardening).is_ok_and(|text| text == Unit::hardening()) {
        gone(&hardening)?;
    } else if hardening.exists() {
        let _ = writeln!(report, "kept: {}, which was changed", hardening.display());
    }
    if let Some(folder) = hardening.parent() {
        // Fails if the directory has other files.
        let _ = std::fs::remove_dir(folder);
    }
    if place.root.is_none() && systemd_runs() {
        manager(&mut report, &["systemctl", "daemon-reload"]);
    }
    let _ = writeln!(report, "removed: {}; the configuration is still there", file.display());
    answer(&report)?;
    Ok(Exit::Ok)
}

/// Stops the service. A service that is not loaded counts as stopped.
fn stopped(report: &mut String, name: &str) -> bool {
    if cfg!(target_os = "macos") {
        let job = format!("system/{name}");
        let loaded = manager(&mut String::new(), &["launchctl", "print", &job]);
        !loaded || manager(report, &["launchctl", "bootout", &job])
    } else {
        !systemd_runs() || manager(report, &["systemctl", "disable", "--now", &format!("{name}.service")])
    }
}

impl InstallRoot {
    fn of(options: &HostOptions) -> Result<InstallRoot, Error> {
        if !cfg!(any(target_os = "linux", target_os = "macos")) {
            let why = "write a script for its service manager that starts wininetd without a verb";
            return Err(super::only_windows("--install", why));
        }
        let root = options.root.as_deref().map(std::path::absolute).transpose();
        Ok(InstallRoot { root: root.map_err(|cause| Error::System { what: "--root", cause })? })
    }

    fn below(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    fn program(&self) -> Result<PathBuf, Error> {
        let own = std::env::current_exe()
            .map_err(|cause| Error::System { what: "the program's own path", cause })?;
        let real = self.root.as_deref().and_then(|root| std::fs::canonicalize(root).ok());
        let inside =
            real.and_then(|root| own.strip_prefix(root).ok().map(|inside| Path::new("/").join(inside)));
        Ok(inside.unwrap_or(own))
    }

    fn service_file(&self, name: &str) -> PathBuf {
        self.below(&if cfg!(target_os = "macos") {
            Path::new("/Library/LaunchDaemons").join(format!("{name}.plist"))
        } else {
            Path::new("/etc/systemd/system").join(format!("{name}.service"))
        })
    }

    fn hardening_file(&self, name: &str) -> PathBuf {
        self.below(&Path::new("/etc/systemd/system").join(format!("{name}.service.d/hardening.conf")))
    }
}

impl Registration {
    fn merged(old: Option<&Registration>, options: &HostOptions) -> Registration {
        let before = old.map(|old| old.stored.clone()).unwrap_or_default();
        let mut stored = before.replaced_by(options.stored.clone().absolute());
        stored.cfgfile = Some(stored.config_path());
        let account = options.account.clone().or_else(|| old.and_then(|old| old.account.clone()));
        let start = options.start.or(old.map(|old| old.start)).unwrap_or(StartType::Auto);
        Registration { stored, account, start }
    }

    fn text(&self) -> String {
        let words: Vec<_> =
            self.stored.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        format!("{} as {}", words.join(" "), self.account.as_deref().unwrap_or("root"))
    }
}

/// Parses a service file. `None` if it does not start this program.
fn read_back(text: &str) -> Option<Registration> {
    let (command, account, start) = if text.starts_with("<?xml") {
        launchd::words(text)?
    } else {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        (words(value("ExecStart=")?)?, value("User=").map(str::to_owned), StartType::Auto)
    };
    let (program, arguments) = command.split_first()?;
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::file_name);
    let name = Path::new(program).file_name();
    if name != Some("wininetd".as_ref()) && name != own {
        return None;
    }
    let stored = Stored::parse(arguments.iter().map(Into::into)).ok()?;
    Some(Registration { stored, account, start })
}

/// A unit in /etc overrides those of packages, which is meant only for this program's own.
fn refuse_shadowing(name: &str) -> Result<(), Error> {
    for folder in ["/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system"] {
        let file = Path::new(folder).join(format!("{name}.service"));
        if std::fs::read_to_string(&file).is_ok_and(|text| read_back(&text).is_none()) {
            return Err(unknown_file(&file));
        }
    }
    Ok(())
}

/// Warns now of problems that would keep the service from starting.
fn foresee(report: &mut String, name: &str, new: &Registration) {
    let mut is_root = new.account.is_none();
    if let Some(account) = &new.account
        && let Ok(credentials) = parse_credentials(account, None, name)
    {
        match Account::examine(&credentials) {
            Ok(root) => is_root = root,
            Err(error) => drop(writeln!(report, "warning: {}", error.cause)),
        }
    }
    let missing_user = MissingUser::of_server(is_root.then_some(CAPABILITIES.all_rights));
    let defaults = Defaults { missing_user, ..new.stored.defaults(name) };
    match config::load(&new.stored.config_path(), &defaults, Strictness::Refuse) {
        Ok(loaded) => {
            let strictness = if is_root { Strictness::Refuse } else { Strictness::Warn };
            let log = new.stored.judge_log(Some(&loaded), strictness);
            loaded.diagnostics.iter().chain(&log).for_each(|found| {
                let _ = writeln!(report, "{found}");
            });
        }
        Err(error) => {
            let first = error.to_string().lines().take(3).collect::<Vec<_>>().join("\n    ");
            let _ = writeln!(
                report,
                "warning: the service will not start until this is corrected (--check shows everything):\n    {first}"
            );
        }
    }
}

fn unknown_file(file: &Path) -> Error {
    let message = format!(
        "{} was written by another program or by hand: it is not changed\n    hint: choose another --service-name, or remove that file yourself",
        file.display()
    );
    Error::Refused { message, exit: Exit::Config }
}

fn changes(report: &mut String, file: &Path, old: Option<&Registration>, new: &Registration) {
    let _ = match old.map(Registration::text) {
        None => writeln!(report, "installed: {} ({})", file.display(), new.text()),
        Some(old) if old == new.text() => writeln!(report, "unchanged: {} ({old})", file.display()),
        Some(old) => writeln!(report, "changed: {}\n    was: {old}\n    is:  {}", file.display(), new.text()),
    };
}

/// Has the service manager read its files. Returns whether that worked.
fn tell_manager(report: &mut String, options: &HostOptions, is_new: bool, file: &Path) -> bool {
    let name = &options.service_name;
    if cfg!(target_os = "macos") {
        let _ = writeln!(report, "start it with: launchctl bootstrap system {}", file.display());
        return true;
    }
    if !systemd_runs() {
        let _ = writeln!(
            report,
            "systemd does not run here; where it does, `systemctl enable --now {name}` starts it"
        );
        return true;
    }
    let unit = format!("{name}.service");
    let told = manager(report, &["systemctl", "daemon-reload"])
        && match options.start.or(is_new.then_some(StartType::Auto)) {
            Some(StartType::Manual) => manager(report, &["systemctl", "disable", &unit]),
            Some(_) => manager(report, &["systemctl", "enable", &unit]),
            None => true,
        };
    let _ = writeln!(report, "start it with: systemctl start {name}");
    told
}

fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Runs a command of the service manager. If it fails, adds a warning and returns false.
fn manager(report: &mut String, command: &[&str]) -> bool {
    // This is no client's program, and this process has no sessions.
    #[allow(clippy::disallowed_methods)]
    let done = std::process::Command::new(command[0]).args(&command[1..]).output();
    let fault = match done {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let _ = writeln!(report, "warning: `{}`: {fault}", command.join(" "));
    false
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|cause| cannot_write(folder, &cause))
}

/// Writes atomically, because a service manager must not read half a file.
fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    let fault = |cause: std::io::Error| cannot_write(path, &cause);
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, text).map_err(fault)?;
    std::fs::rename(&new, path).map_err(fault)
}

fn cannot_write(path: &Path, cause: &std::io::Error) -> Error {
    let exit = match cause.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::NoPermission,
        _ => Exit::System,
    };
    let hint = if sys::process::is_privileged() { "" } else { "\n    hint: run this as root" };
    Error::Refused { message: format!("{}: {cause}{hint}", path.display()), exit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_back_as_it_was_written() {
        let stored = Stored {
            cfgfile: Some("/etc/a \"b\" 100%.conf".into()),
            bind: vec!["::1".parse().unwrap()],
            timeout: Some(7),
            ..Stored::default()
        };
        let unit = Unit {
            program: Path::new("/a b/wininetd"),
            options: &stored,
            account: Some("nobody"),
            name: "w",
        };
        let back = read_back(&unit.text()).unwrap();
        assert_eq!((back.stored, back.account), (stored, Some("nobody".to_owned())));
    }

    #[test]
    fn administrator_edits_in_a_unit_are_kept() {
        let old = Stored { cfgfile: Some("/etc/w.conf".into()), ..Stored::default() };
        let stored = Stored { timeout: Some(3), ..old.clone() };
        let program = Path::new("/usr/sbin/wininetd");
        let unit = |stored, account| Unit { program, options: stored, account, name: "w" };
        let edited =
            unit(&old, Some("nobody")).text().replace("RestartSec=5", "RestartSec=9\nLimitNOFILE=99");
        let again = unit(&stored, None).edited(&edited);
        assert_eq!(again, unit(&stored, None).text().replace("RestartSec=5", "RestartSec=9\nLimitNOFILE=99"));
        assert_eq!(
            unit(&stored, Some("nobody")).edited(&again),
            edited.replace("w.conf", "w.conf --timeout 3")
        );
    }

    #[test]
    fn a_job_of_launchd_is_read_back_as_it_was_written() {
        let stored = Stored { cfgfile: Some("/etc/a&b <c>.conf".into()), ..Stored::default() };
        let program = Path::new("/usr/local/sbin/wininetd");
        let (options, account) = (&stored, Some("nobody"));
        let job = LaunchdJob { name: "w", program, options, account, start: StartType::Manual };
        let back = read_back(&job.text()).unwrap();
        assert_eq!(
            (back.stored, back.account.as_deref(), back.start),
            (stored.clone(), account, StartType::Manual)
        );
    }

    #[test]
    fn a_strangers_unit_is_left_alone() {
        assert!(read_back("[Service]\nExecStart=/usr/sbin/wininetd --debug\n").is_none());
        assert!(read_back("[Service]\nExecStart=/usr/sbin/sshd\n").is_none());
        assert!(read_back("[Unit]\n").is_none());
    }
}
