//! Serving on any host: reads the configuration, serves it, and reports to the service manager.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use crate::config::defaults::Defaults;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::error::Error;
use crate::config::serve_option;
use crate::config::stored::Stored;
use crate::config::trust::Strictness;
use crate::config::{self, Loaded, world};
use crate::control;
use crate::control::server::ControlCommand;
use crate::core::backoff::Retry;
use crate::log::event::LogEvent;
use crate::log::{Console, Log, Targets};
use crate::model::exit_code::Exit;
use crate::model::level::Level;
use crate::model::log_format::Format;
use crate::model::plan::Plan;
use crate::supervisor::manager::Manager;
use crate::supervisor::{Reloader, Supervisor};
use crate::sys;
use crate::sys::control::Channel;
use crate::sys::event_log::EventLog;
use crate::sys::fault::{self, Says};
use crate::sys::net::Inherited;
use crate::sys::stop::Stop;

pub struct Host<'a> {
    pub manager: &'a mut dyn Manager,
    pub console: Console,
    pub system_log: Option<EventLog>,
    pub strictness: Strictness,
    /// A person is watching, so end with an error if no address can be bound.
    pub attended: bool,
    /// Log a failed start, because standard error has no reader.
    pub tells_log: bool,
    /// Services from the command line. If there are any, the server reads no file.
    pub services: Vec<OsString>,
    /// The name under which passwords are stored.
    pub service: String,
    pub inherited: Vec<Inherited>,
    pub findings: Vec<String>,
    /// Subscribes to stop requests. Called within the tokio runtime.
    pub stop: Box<dyn FnOnce() -> std::io::Result<Stop> + 'a>,
    pub beside: Option<PlanHook>,
}

/// Work on a thread of its own, which it may block.
pub type PlanHook = Arc<dyn Fn(&Plan, &Log) + Send + Sync>;

pub fn serve(options: &Stored, mut host: Host<'_>) -> Result<Exit, Error> {
    sys::process::prepare().map_err(|cause| Error::System { what: "preparing the process", cause })?;
    let strictness = host.strictness.for_writing();
    usable(options.judge_log(None, strictness))?;
    let (log, thread) = Log::start(Targets {
        format: options.log_format.unwrap_or(Format::Text),
        file: options.log_path(),
        strictness,
        console: host.console,
        system: host.system_log.take(),
    })?;
    let tells_log = host.tells_log;
    let result = load_and_serve(options, host, &log);
    if let (Err(error), true) = (&result, tells_log) {
        log.event(LogEvent::StartFailed { message: error.to_string(), exit: error.exit().code() });
    }
    thread.flush();
    result
}

fn load_and_serve(options: &Stored, mut host: Host<'_>, log: &Log) -> Result<Exit, Error> {
    let (loaded, reloader) = read(options, &host)?;
    let control = options.control_path(&host.service);
    announce(&loaded, std::mem::take(&mut host.findings), log);
    follow(&loaded, options, host.strictness.for_writing(), log)?;
    fault::point("loop", Says::Descriptors)
        .map_err(|cause| Error::System { what: "the event loop", cause })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A poll may accept many clients. With the default of 61 polls, control requests would wait
        // too long in a flood.
        .event_interval(5)
        .build()
        .map_err(|cause| Error::System { what: "the event loop", cause })?;
    runtime.block_on(run(loaded, log, host, reloader, control))
}

/// Reads the files. Also returns how to read and check them at each reload.
fn read(options: &Stored, host: &Host<'_>) -> Result<(Loaded, Reloader), Error> {
    let (path, defaults, strictness) =
        (options.config_path(), options.defaults(&host.service), host.strictness);
    let services = host.services.clone();
    // Services from the command line refer to files in the current directory.
    let directory = match services[..] {
        [] => defaults.directory.clone(),
        _ => {
            std::env::current_dir().map_err(|cause| Error::System { what: "the current directory", cause })?
        }
    };
    let defaults = Defaults { directory, ..defaults };
    let loaded = match services[..] {
        [] => config::load(&path, &defaults, strictness),
        _ => serve_option::load(&services, &defaults),
    }?;
    let (options, beside, writing) = (options.clone(), host.beside.clone(), strictness.for_writing());
    let reloader = Reloader {
        load: Arc::new(move || match services[..] {
            [] => config::load_again(&path, &defaults, strictness),
            _ => serve_option::load(&services, &defaults),
        }),
        follow: Arc::new(move |loaded, log| {
            for diagnostic in &loaded.diagnostics {
                log.event(configuration(diagnostic));
            }
            if let Err(error) = follow(loaded, &options, writing, log) {
                let message = match &error {
                    Error::Configuration { diagnostics } => {
                        diagnostics.iter().for_each(|diagnostic| log.event(configuration(diagnostic)));
                        "the log file cannot be used; the previous destination stays in use".to_owned()
                    }
                    error => format!("{error}; the previous destination stays in use"),
                };
                log.event(LogEvent::Configuration { level: Level::Warning, message, hint: None });
            }
        }),
        look: Arc::new(move |loaded, log| look(loaded, log, beside.as_ref())),
        looking: Arc::default(),
    };
    Ok((loaded, reloader))
}

/// Sends the log where the options say, or else the file. Reopens a log file that was moved away.
fn follow(loaded: &Loaded, options: &Stored, strictness: Strictness, log: &Log) -> Result<(), Error> {
    let server = &loaded.plan.server;
    log.system_extent(server.event_log);
    let path = if options.log_file.is_some() { options.log_path() } else { server.log_file.as_deref() };
    for warning in usable(options.judge_log(Some(loaded), strictness))? {
        log.event(configuration(&warning));
    }
    log.reopen(path, strictness)
}

/// The findings, or an error if one of them is an error.
fn usable(findings: Vec<Diagnostic>) -> Result<Vec<Diagnostic>, Error> {
    match findings.iter().any(|found| found.severity == Severity::Error) {
        true => Err(Error::Configuration { diagnostics: findings }),
        false => Ok(findings),
    }
}

fn announce(loaded: &Loaded, mut warnings: Vec<String>, log: &Log) {
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    log.event(LogEvent::Starting { version, pid, config: loaded.main().path.clone() });
    for diagnostic in &loaded.diagnostics {
        log.event(configuration(diagnostic));
    }
    warnings.extend(sys::process::stdio_fault());
    for message in warnings {
        log.event(LogEvent::Configuration { level: Level::Warning, message, hint: None });
    }
}

async fn run(
    loaded: Loaded,
    log: &Log,
    host: Host<'_>,
    reloader: Reloader,
    control: Option<PathBuf>,
) -> Result<Exit, Error> {
    // Subscribe before the first client, so that no stop request is missed.
    let mut stop = (host.stop)().map_err(|cause| Error::System { what: "requests to stop", cause })?;
    let wanted = loaded.plan.enabled().next().is_some();
    let plan = loaded.plan.clone();
    let supervisor = Supervisor::start(plan, log.clone(), host.inherited, reloader.clone()).await?;
    if host.attended && wanted && !supervisor.serves_anything() {
        return Err(Error::NothingBound);
    }
    // The log is open and the findings are logged, so `follow` has nothing to do.
    let first = Reloader { follow: Arc::new(|_, _| ()), ..reloader };
    first.look_beside(loaded, log.clone());
    let (questions, commands) = tokio::sync::mpsc::channel(1);
    if let Some(path) = control {
        answer(path, questions, log.clone());
    }
    supervisor.run(&mut stop, commands, host.manager).await;
    Ok(Exit::Ok)
}

/// Serves without the channel if it cannot be opened, and tries again: the previous server may be
/// stopping.
fn answer(path: PathBuf, questions: Sender<ControlCommand>, log: Log) {
    let mut opened = Channel::open(&path);
    let say = move |level, message, hint: Option<&str>| {
        log.event(LogEvent::Configuration { level, message, hint: hint.map(str::to_owned) });
    };
    tokio::spawn(async move {
        let mut retry = Retry::default();
        let channel = loop {
            let error = match opened {
                Ok(channel) => break channel,
                Err(error) => error,
            };
            if retry.cause().is_none() {
                let hint = "the server tries again; until then --status, --reload, --kill and --explain cannot reach it";
                let message = format!("the control channel {}: {error}", path.display());
                say(Level::Warning, message, Some(hint));
            }
            tokio::time::sleep(retry.failed(error.to_string())).await;
            opened = Channel::open(&path);
        };
        if retry.succeeded() {
            say(Level::Info, format!("the control channel {} is open now", path.display()), None);
        }
        control::server::serve(channel, questions).await;
    });
}

fn look(loaded: &Loaded, log: &Log, beside: Option<&PlanHook>) {
    if let Some(beside) = beside {
        beside(&loaded.plan, log);
    }
    for warning in world::examine(loaded).into_iter().flat_map(|finding| finding.warnings) {
        log.event(configuration(&warning));
    }
}

fn configuration(diagnostic: &Diagnostic) -> LogEvent {
    let level = match diagnostic.severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warning,
        Severity::Note => Level::Info,
    };
    LogEvent::Configuration { level, message: diagnostic.headline(), hint: diagnostic.hint.clone() }
}
