//! Serving, under whatever host: the file is read, the plan is served, and the
//! host's manager hears of it.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::check;
use crate::cli::Stored;
use crate::config::classic::Defaults;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::serve_option;
use crate::config::source::Source;
use crate::config::trust::Strictness;
use crate::config::{self, Loaded, plan::Plan, world};
use crate::error::Error;
use crate::exit::Exit;
use crate::host::manager::Manager;
use crate::log::event::{Event, Level};
use crate::log::{Console, Format, Log, Targets};
use crate::supervisor::Supervisor;
use crate::sys;
use crate::sys::event_log::EventLog;
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
    pub beside: Option<Beside>,
}

/// Work that may block, on a thread of its own.
pub type Beside = Box<dyn FnOnce(&Plan, &Log) + Send>;

/// Reads the configuration and serves it until a stop is requested.
pub fn serve(options: &Stored, mut host: Host<'_>) -> Result<Exit, Error> {
    sys::process::prepare().map_err(|cause| Error::System { what: "preparing the process", cause })?;
    let (log, thread) = Log::start(Targets {
        format: options.log_format.unwrap_or(Format::Text),
        file: options.log_path(),
        console: host.console,
        system: host.system_log.take(),
    })?;
    let tells_log = host.tells_log;
    let result = load_and_serve(options, host, &log);
    if let (Err(error), true) = (&result, tells_log) {
        log.event(Event::StartFailed { message: error.to_string(), exit: error.exit().code() });
    }
    thread.flush();
    result
}

fn load_and_serve(options: &Stored, mut host: Host<'_>, log: &Log) -> Result<Exit, Error> {
    let defaults = options.defaults(&host.service);
    let loaded = if host.services.is_empty() {
        config::load(&options.config_path(), &defaults, host.strictness)?
    } else {
        // Whoever tries something out means the files that lie here.
        let directory = std::env::current_dir()
            .map_err(|cause| Error::System { what: "the current directory", cause })?;
        serve_option::load(&host.services, &Defaults { directory, ..defaults })?
    };
    let Loaded { source, plan, diagnostics } = loaded;
    announce(source.path.clone(), &diagnostics, options, std::mem::take(&mut host.findings), log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::System { what: "the event loop", cause })?;
    runtime.block_on(run(plan, source, log, host))
}

fn announce(
    config: PathBuf,
    diagnostics: &[Diagnostic],
    options: &Stored,
    mut warnings: Vec<String>,
    log: &Log,
) {
    log.event(Event::Starting { config });
    for diagnostic in diagnostics {
        log.event(configuration(diagnostic));
    }
    warnings.extend(check::timeout_without_counts(options).map(str::to_owned));
    warnings.extend(sys::process::stdio_fault());
    for message in warnings {
        log.event(Event::Configuration { level: Level::Warning, message, hint: None });
    }
}

async fn run(plan: Plan, source: Source, log: &Log, host: Host<'_>) -> Result<Exit, Error> {
    // Before the first client, so that no request to stop is missed.
    let mut stop = (host.stop)().map_err(|cause| Error::System { what: "requests to stop", cause })?;
    let wanted = !plan.services.is_empty();
    let supervisor = Supervisor::start(plan.clone(), log.clone(), host.inherited)?;
    if host.attended && wanted && !supervisor.serves_anything() {
        return Err(Error::NothingBound);
    }
    look_beside(plan, source, log.clone(), host.beside);
    supervisor.run(&mut stop, host.manager).await;
    Ok(Exit::Ok)
}

/// Looks at accounts and programs beside the loop: a user database that does
/// not answer must not keep the ports closed.
fn look_beside(plan: Plan, source: Source, log: Log, beside: Option<Beside>) {
    let look = move || {
        if let Some(beside) = beside {
            beside(&plan, &log);
        }
        for warning in world::examine(&plan, &source).into_iter().flat_map(|finding| finding.warnings) {
            log.event(configuration(&warning));
        }
    };
    // Without a thread to spare there are no warnings; clients' records tell.
    let _ = std::thread::Builder::new().name("world".to_owned()).spawn(look);
}

fn configuration(diagnostic: &Diagnostic) -> Event {
    let level = match diagnostic.severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warning,
        Severity::Note => Level::Info,
    };
    Event::Configuration { level, message: diagnostic.headline(), hint: diagnostic.hint.clone() }
}
