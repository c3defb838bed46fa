//! Running under the service manager, from its main function to the state "stopped".

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::firewall;
use crate::config::error::Error;
use crate::config::stored::{SERVICE_NAME, Stored};
use crate::config::trust::Strictness;
use crate::host::HostOptions;
use crate::host::own_file;
use crate::host::serve::{Host, PlanHook, serve};
use crate::log::event::{EventKind, LogEvent};
use crate::log::{Console, Log};
use crate::model::exit_code::Exit;
use crate::model::level::Level;
use crate::model::plan::Plan;
use crate::supervisor::manager::Manager;
use crate::sys;
use crate::sys::event_log::EventLog;
use crate::sys::service::{ScmState, ScmStatus, dispatch};
use crate::sys::stop::Stop;

/// The stored options. Static, because the system calls the service's main function.
static STORED: Mutex<Option<Result<Stored, String>>> = Mutex::new(None);
static ENDED: Mutex<Option<Exit>> = Mutex::new(None);

/// Serves until the service has stopped. `None` if no service manager started the process.
pub(super) fn run(options: &HostOptions) -> Result<Option<Exit>, Error> {
    *STORED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ok(options.stored.clone()));
    match dispatch(main) {
        Ok(true) => Ok(Some(ENDED.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(Exit::System))),
        Ok(false) => Ok(None),
        Err(cause) => Err(Error::System { what: "the service manager", cause }),
    }
}

/// Fails the start, because the stored command line is invalid. False without a service manager.
pub(super) fn refuse(why: &str) -> bool {
    let why = format!("the stored command line is not valid: {why}");
    *STORED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Err(why));
    dispatch(main).unwrap_or(false)
}

/// How long the server may retry binding before the service counts as started.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long the service manager waits for the next report. The server reports each second.
const NEXT_WORD: Duration = Duration::from_secs(10);

impl Manager for ScmStatus {
    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn starting(&mut self) {
        self.set(ScmState::Starting { next_word: NEXT_WORD, may_stop: true });
    }

    fn ready(&mut self, _addresses: usize) {
        self.set(ScmState::Running);
    }

    fn stopping(&mut self, at_most: Duration) {
        self.set(ScmState::Stopping(at_most + Duration::from_secs(1)));
    }
}

fn main(mut words: Vec<OsString>) {
    let parameters = words.split_off(words.len().min(1));
    let name = words.pop().map_or(SERVICE_NAME.to_owned(), |name| name.to_string_lossy().into_owned());
    let (controls, requests) = mpsc::unbounded_channel();
    // Without a status handle the service manager ends the process.
    let Ok(mut status) = ScmStatus::register(&name, controls) else { return };
    status.set(ScmState::Starting { next_word: NEXT_WORD, may_stop: false });
    tell_of_panics(&name);
    let stop = Box::new(move || Ok(Stop::Service(requests)));
    let exit = start(&name, parameters, &mut status, stop).unwrap_or_else(|error| {
        // Not through the log: the failure may have come before it was open.
        if let Ok(log) = EventLog::open(&name) {
            let _ = log.report(Level::Error, EventKind::StartFailed.id, &start_failure(&error));
        }
        error.exit()
    });
    *ENDED.lock().unwrap_or_else(PoisonError::into_inner) = Some(exit);
    status.set(ScmState::Stopped(exit.code()));
}

fn start_failure(error: &Error) -> String {
    let text = error.to_string().replace("\r\n", "\n").replace('\n', "\r\n");
    format!("{text}\r\nexit: {}", error.exit().code())
}

fn start(
    name: &str,
    parameters: Vec<OsString>,
    status: &mut ScmStatus,
    stop: Box<dyn FnOnce() -> std::io::Result<Stop>>,
) -> Result<Exit, Error> {
    let stored = STORED.lock().unwrap_or_else(PoisonError::into_inner).take();
    let stored = stored
        .unwrap_or_else(|| Ok(Stored::default()))
        .map_err(|message| Error::Refused { message, exit: Exit::Usage })?;
    let names_file = |word: &OsString| {
        let word = word.to_string_lossy();
        word.starts_with("--cfgfile") || word.starts_with("--log-file")
    };
    let from_elsewhere = parameters.iter().any(names_file);
    let typed = Stored::parse(parameters).map_err(|message| {
        let message =
            format!("start parameters: {message}\nOnly options are allowed, such as --cfgfile FILE.");
        Error::Refused { message, exit: Exit::Usage }
    })?;
    let options = stored.replaced_by(typed);
    sys::process::prepare_service()
        .map_err(|cause| Error::System { what: "preparing the service", cause })?;
    let host = Host {
        manager: status,
        console: Console::Nobody,
        system_log: EventLog::open(name).ok(),
        // An account that may start the service may not be an administrator's.
        strictness: if from_elsewhere { Strictness::RefuseOthers } else { Strictness::Refuse },
        attended: false,
        tells_log: true,
        services: Vec::new(),
        service: name.to_owned(),
        inherited: Vec::new(),
        findings: own_file::findings(),
        stop,
        beside: firewall(&options, name),
    };
    serve(&options, host)
}

fn firewall(options: &Stored, name: &str) -> Option<PlanHook> {
    let name = name.to_owned();
    (options.firewall == Some(true)).then(|| {
        let redo: PlanHook = Arc::new(move |plan: &Plan, log: &Log| {
            for message in firewall::redo(&name, plan).into_iter().filter_map(Result::err) {
                log.event(LogEvent::Configuration { level: Level::Warning, message, hint: None });
            }
        });
        redo
    })
}

/// Logs a panic to the Event Log. The panic ends the process, and the service manager restarts it.
fn tell_of_panics(name: &str) {
    let Ok(log) = EventLog::open(name) else { return };
    let log = Mutex::new(log);
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(log) = log.try_lock() {
            let _ = log.report(
                Level::Error,
                EventKind::Fault.id,
                &format!("A fault in the program; it starts again. {panic}"),
            );
        }
    }));
}
