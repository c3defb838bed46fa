//! Serving, under whatever host: the file is read, the plan is served, and the
//! host's manager hears of it.

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

/// What differs between hosts.
pub struct Host<'a> {
    /// Who waits to hear how far we are.
    pub manager: &'a mut dyn Manager,
    /// Who reads standard error.
    pub console: Console,
    /// The system's own log, for a service.
    pub system_log: Option<EventLog>,
    /// What to do about a file that strangers can change.
    pub strictness: Strictness,
    /// Somebody sits before us: with no port to serve we end and say so,
    /// instead of trying on.
    pub attended: bool,
    /// A failed start is told to the log: nobody reads standard error.
    pub tells_log: bool,
    /// Services of the command line; if there is one, no file is read.
    pub services: Vec<OsString>,
    /// The name under which passwords are stored.
    pub service: String,
    /// Listeners that the manager has opened for us.
    pub inherited: Vec<Inherited>,
    /// What the host itself has to say, as warnings.
    pub findings: Vec<String>,
    /// How to listen for requests to stop. Called within the loop.
    pub stop: Box<dyn FnOnce() -> std::io::Result<Stop> + 'a>,
    /// What else is to be done once the plan is known, beside the loop.
    pub beside: Option<PlanHook>,
}

/// Work that may block, on a thread of its own, each time the plan is new.
pub type PlanHook = Arc<dyn Fn(&Plan, &Log) + Send + Sync>;

/// Reads the configuration and serves it until a stop is requested.
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
        // Under a flood each turn lets many clients in; whoever asks at the control
        // channel must not wait for sixty of them, as by default.
        .event_interval(5)
        .build()
        .map_err(|cause| Error::System { what: "the event loop", cause })?;
    runtime.block_on(run(loaded, log, host, reloader, control))
}

/// Reads the files. How that is done at each reload, and what is looked at beside
/// the loop once it is.
fn read(options: &Stored, host: &Host<'_>) -> Result<(Loaded, Reloader), Error> {
    let (path, defaults, strictness) =
        (options.config_path(), options.defaults(&host.service), host.strictness);
    let services = host.services.clone();
    // Whoever tries something out means the files that lie here.
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
                        "the log file cannot be used; lines go where they went before".to_owned()
                    }
                    error => format!("{error}; lines go where they went before"),
                };
                log.event(LogEvent::Configuration { level: Level::Warning, message, hint: None });
            }
        }),
        look: Arc::new(move |loaded, log| look(loaded, log, beside.as_ref())),
        looking: Arc::default(),
    };
    Ok((loaded, reloader))
}

/// The log goes where the options say, or else the file. What was moved away
/// meanwhile is made anew.
fn follow(loaded: &Loaded, options: &Stored, strictness: Strictness, log: &Log) -> Result<(), Error> {
    let server = &loaded.plan.server;
    log.system_extent(server.event_log);
    let path = if options.log_file.is_some() { options.log_path() } else { server.log_file.as_deref() };
    for warning in usable(options.judge_log(Some(loaded), strictness))? {
        log.event(configuration(&warning));
    }
    log.reopen(path, strictness)
}

/// The findings, unless there is an error among them.
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
    // Before the first client, so that no request to stop is missed.
    let mut stop = (host.stop)().map_err(|cause| Error::System { what: "requests to stop", cause })?;
    let wanted = loaded.plan.enabled().next().is_some();
    let plan = loaded.plan.clone();
    let supervisor = Supervisor::start(plan, log.clone(), host.inherited, reloader.clone()).await?;
    if host.attended && wanted && !supervisor.serves_anything() {
        return Err(Error::NothingBound);
    }
    // The log was opened, and the text spoken of, before anything else.
    let first = Reloader { follow: Arc::new(|_, _| ()), ..reloader };
    first.look_beside(loaded, log.clone());
    let (questions, commands) = tokio::sync::mpsc::channel(1);
    if let Some(path) = control {
        answer(path, questions, log.clone());
    }
    supervisor.run(&mut stop, commands, host.manager).await;
    Ok(Exit::Ok)
}

/// Answers whoever asks at the control channel. Without one the server serves
/// all the same, and tries again: the server of before may be stopping.
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
                let hint =
                    "it is tried again; until then --status, --reload and their kin can't ask this server";
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

/// Looks at accounts and programs.
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
