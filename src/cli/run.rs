//! `--run`: runs a service's program on this console, as it would run for a client. On Unix it has
//! a terminal and a session of its own (`sys::terminal`).

use crate::model::exit_status::ExitStatus;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::cli::options::Options;
use crate::config;
use crate::config::error::Error;
use crate::config::trust::Strictness;
use crate::core::spawn_queue::STUCK_AFTER;
use crate::model::endings::Leftovers;
use crate::model::exit_code::Exit;
use crate::model::plan::{Plan, Service};
use crate::spawn::environment;
use crate::spawn::{Running, hung};
use crate::sys::account::Account;
use crate::sys::attempt::Attempt;
use crate::sys::stop::BesideProgram;
use crate::sys::{self, ErrorStream, SpawnError, Start, Stdio, process};

pub(super) fn run(options: &Options, name: &str) -> Result<ExitStatus, Error> {
    // Must happen before any thread starts.
    let separated = sys::terminal::separate();
    if let Some(exit) =
        separated.map_err(|cause| Error::System { what: "a terminal for the program", cause })?
    {
        return Ok(exit);
    }
    // A privileged caller gets the strictness of the service.
    let strictness = if process::is_privileged() { Strictness::Refuse } else { Strictness::Warn };
    let defaults = options.stored.defaults(options.service_name());
    let plan = config::load(&options.stored.config_path(), &defaults, strictness)?.plan;
    let service = find(&plan, name)?;
    process::prepare().map_err(|cause| Error::System { what: "preparing the process", cause })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::System { what: "the event loop", cause })?;
    runtime.block_on(beside(service))
}

fn find(plan: &Plan, name: &str) -> Result<Arc<Service>, Error> {
    if let Some(service) = plan.services.iter().find(|service| service.name == name) {
        return Ok(service.clone());
    }
    let names: Vec<&str> = plan.services.iter().map(|service| &*service.name).collect();
    let message = match names[..] {
        [] => format!("the configuration has no services, so there is no {name}"),
        _ => format!("there is no service {name} in the configuration; there are: {}", names.join(", ")),
    };
    Err(Error::Refused { message, exit: Exit::NoInput })
}

async fn beside(service: Arc<Service>) -> Result<ExitStatus, Error> {
    // Subscribe before the program runs, so that none of its keys ends this process.
    let mut requests =
        BesideProgram::listen().map_err(|cause| Error::System { what: "requests to stop", cause })?;
    let name = service.name.clone();
    let mut leftovers = service.program.leftovers;
    let (started, asked) = started(service, &mut requests).await?;
    let mut running = started.map_err(|error| Error::Refused {
        message: format!("{name} was not started, at step {}: {}", error.step.name(), error.cause),
        exit: Exit::System,
    })?;
    if asked {
        leftovers = Leftovers::End;
        ask_to_end(&running);
    }
    let program = running.child.pid();
    let ended = loop {
        tokio::select! {
            ended = running.child.wait(leftovers) => break ended,
            () = requests.requested(program) => {
                // As in a session that the server ends, the whole tree ends.
                leftovers = Leftovers::End;
                ask_to_end(&running);
            }
        }
    };
    sys::child::remove_free_trees();
    ended.map_err(|cause| Error::System { what: "waiting for the program", cause })
}

fn ask_to_end(running: &Running) {
    if !running.child.ask_to_end() {
        running.child.end_tree();
    }
}

/// Starts the program on a thread that stays, as the server does, so that orphans can be told from
/// the program. Cancels a slow start after a stop request, which the second result reports.
async fn started(
    service: Arc<Service>,
    requests: &mut BesideProgram,
) -> Result<(Result<Running, SpawnError>, bool), Error> {
    let (tell, mut told) = oneshot::channel();
    let attempt = Attempt::new();
    let of_thread = attempt.clone();
    let work = move || {
        let _ = tell.send(start(&service, &of_thread));
        loop {
            std::thread::park();
        }
    };
    let failed = |cause| Error::System { what: "the thread that starts the program", cause };
    std::thread::Builder::new().name("spawn".to_owned()).spawn(work).map_err(failed)?;
    let mut asked = false;
    let why = loop {
        tokio::select! {
            biased;
            result = &mut told => {
                let result = result.map_err(|ended| failed(std::io::Error::other(ended)))?;
                return Ok((result, asked));
            }
            () = requests.starting(), if !asked => asked = true,
            () = tokio::time::sleep(STUCK_AFTER) => {
                if asked {
                    break "a request to stop came before the program began".to_owned();
                }
                if let Some(why) = hung(&attempt) {
                    break why;
                }
            }
        }
    };
    attempt.cancel();
    match tokio::time::timeout(STUCK_AFTER, told).await {
        Ok(Ok(Ok(running))) => Ok((Ok(running), asked)),
        _ => Ok((Err(SpawnError::new(attempt.step(), why)), asked)),
    }
}

fn start(service: &Service, attempt: &Attempt) -> Result<Running, SpawnError> {
    let program = &service.program;
    let account = program.identity.as_ref().map(Account::take).transpose()?.map(Arc::new);
    let variables = environment::of_service(&service.name);
    let environment = environment::ServerEnvironment::ours().with(account.as_deref(), program, variables);
    let child = sys::spawn::spawn(&Start {
        command: &program.command,
        directory: &program.directory,
        environment: &environment,
        account: account.as_deref(),
        stdio: Stdio::Console,
        // The person at the console sees errors, even if the service hides them from clients.
        errors: ErrorStream::Output,
        limits: &program.limits,
        attempt,
    })?;
    Ok(Running { child, account, born: tokio::time::Instant::now() })
}
