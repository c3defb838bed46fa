//! Serving in the foreground: in a console, or for a Unix service manager.

use crate::check;
use crate::cli::Options;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;
use crate::config::{self, Loaded, plan::Plan, world};
use crate::error::Error;
use crate::exit::Exit;
use crate::log::Log;
use crate::log::event::{Event, Level};
use crate::supervisor::Supervisor;
use crate::sys;

/// Reads the configuration and serves it until a stop is requested.
pub fn serve(options: &Options, console: bool) -> Result<Exit, Error> {
    let path = options.config_path();
    // Before anything else is started, so that a broken file costs nothing.
    let loaded = config::load(&path, &options.defaults())?;
    sys::process::prepare().map_err(|cause| Error::System { what: "preparing the process", cause })?;
    let (log, log_thread) = Log::start(options.log_format, options.log_file.as_deref())?;
    log.event(Event::Starting { config: path });
    let Loaded { source, plan, diagnostics } = loaded;
    for diagnostic in &diagnostics {
        log.event(configuration(diagnostic));
    }
    let no_timeout = check::timeout_without_counts(options).map(str::to_owned);
    for message in [no_timeout, sys::process::stdio_fault()].into_iter().flatten() {
        log.event(Event::Configuration { level: Level::Warning, message, hint: None });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::System { what: "the event loop", cause })?;
    let result = runtime.block_on(run(plan, source, &log, console));
    log_thread.flush();
    result
}

async fn run(plan: Plan, source: Source, log: &Log, console: bool) -> Result<Exit, Error> {
    // Before the first client, so that no request to stop is missed.
    let mut stop = sys::stop::Stop::listen(console)
        .map_err(|cause| Error::System { what: "requests to stop", cause })?;
    let wanted = !plan.services.is_empty();
    let supervisor = Supervisor::start(plan.clone(), log.clone())?;
    if console && wanted && !supervisor.serves_anything() {
        return Err(Error::NothingBound);
    }
    examine_world(plan, source, log.clone());
    supervisor.run(&mut stop).await;
    Ok(Exit::Ok)
}

/// Looks at accounts and programs beside the loop: a user database that does
/// not answer must not keep the ports closed.
fn examine_world(plan: Plan, source: Source, log: Log) {
    let look = move || {
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
