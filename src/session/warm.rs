//! A program that was started ahead of its client: it waits, and is handed to
//! the session that comes for it.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::SessionContext;
use super::ending::{Over, QUICK, RunTasks, until_over};
use super::event::{Inbox, Order, Waited, WarmEvent, WarmId};
use super::pump::{Errors, Phase, Pump};
use super::start::{RunningProgram, is_too_late};
use crate::core::ending::Ending;
use crate::model::ids::ServiceId;
use crate::model::plan::Service;
use crate::spawn::environment;
use crate::spawn::stdio::ServerEnds;
use crate::sys::{self, SpawnError};

/// Takes a waiting program for a session.
pub type WarmRequest = oneshot::Sender<RunningProgram>;

/// A program to be started ahead.
#[derive(Debug)]
pub struct Ahead {
    /// Its number.
    pub id: WarmId,
    /// Its service.
    pub service: Arc<Service>,
    /// The service's number.
    pub service_id: ServiceId,
}

/// Starts the program and keeps it until a session takes it, it ends, or it is
/// ordered to.
pub async fn wait_for_client(
    ahead: Ahead,
    context: SessionContext,
    mut inbox: Inbox,
    take: oneshot::Receiver<WarmRequest>,
) {
    let waited = match start(&ahead, &context, &mut inbox).await {
        Ok(program) => {
            context.events.warm(WarmEvent::Waits(ahead.id));
            keep(&ahead, program, &context, &mut inbox, take).await
        }
        Err(failed) => failed,
    };
    context.events.warm(WarmEvent::Over(ahead.id, waited));
}

async fn start(ahead: &Ahead, context: &SessionContext, inbox: &mut Inbox) -> Result<RunningProgram, Waited> {
    let service = &ahead.service;
    let failed = |error: SpawnError| Waited::Failed {
        own: !sys::spawn::ran_out(&error),
        cause: format!("{}: {}", error.step.name(), error.cause),
    };
    let variables = environment::of_waiting(service);
    let cut = is_too_late(inbox);
    let spawned = context.spawner.spawn(ahead.service_id, service.clone(), None, variables, cut);
    let (_, started) = spawned.await.map_err(failed)?;
    let (running, ours) = started.map_err(failed)?;
    Ok(RunningProgram { running, ours, errors: Errors::of_program(service, None, context) })
}

/// Keeps the program until a session takes it or it is over.
async fn keep(
    ahead: &Ahead,
    program: RunningProgram,
    context: &SessionContext,
    inbox: &mut Inbox,
    take: oneshot::Receiver<WarmRequest>,
) -> Waited {
    let RunningProgram { mut running, ours: ServerEnds { mut pipes, errors: reader }, mut errors } = program;
    let began = Instant::now();
    let (phase, phases) = watch::channel(Phase::Runs);
    let mut pump = Pump::of_errors(reader.as_ref(), errors.as_mut(), phases);
    let told = inbox.clone();
    let beside = RunTasks {
        work: async {
            tokio::select! {
                request = taken(take, told) => request,
                never = pump.run() => match never {},
            }
        },
        idle: std::future::pending(),
        works: Some(|| context.events.warm(WarmEvent::Works(ahead.id))),
        // The end of its input is what it waits for.
        end_input: |was_asked: bool| pipes.take().is_some() || was_asked,
    };
    let ending = Ending::new(ahead.service.times.kill_grace);
    let leftovers = ahead.service.program.leftovers;
    let over = until_over(&mut running.child, leftovers, ending, inbox, beside).await;
    let lived = began.elapsed();
    if let Over::Exit(..) = over {
        phase.send_replace(Phase::Over);
        let _ = tokio::time::timeout(QUICK, pump.finish()).await;
    }
    drop(pump);
    let (exit, why) = match over {
        Over::Exit(exit, why) => (exit, why),
        Over::Worked(request) => {
            let program = RunningProgram { running, ours: ServerEnds { pipes, errors: reader }, errors };
            let Err(unwanted) = request.send(program) else { return Waited::Taken };
            // The session that came for it is gone meanwhile.
            unwanted.end(context).await;
            return Waited::Gone;
        }
        // No session will come for it.
        Over::Left => {
            RunningProgram { running, ours: ServerEnds { pipes, errors: reader }, errors }.end(context).await;
            return Waited::Gone;
        }
    };
    context.spawner.give_back(running.account.take());
    match exit {
        _ if why.is_some() => Waited::Gone,
        // An end in good order says that it does not want to wait, which may have
        // to do with others; clients may be served all the same.
        Ok(exit) if lived < QUICK && exit.is_abnormal() => {
            let cause = format!("the program ended at once, although it had no client yet: {exit}");
            Waited::Failed { cause, own: !exit.may_have_run_out() }
        }
        Ok(_) => Waited::Ended,
        Err(error) => Waited::Failed { cause: format!("waiting for the program: {error}"), own: false },
    }
}

/// The session that takes the program. Never returns once the program is to end.
async fn taken(take: oneshot::Receiver<WarmRequest>, told: Inbox) -> WarmRequest {
    // A request that is dropped tells its session at once.
    let request = take.await.ok().filter(|_| told.borrow().order == Order::Serve);
    match request {
        Some(request) => request,
        None => std::future::pending().await,
    }
}
