//! Warm programs: started ahead of a client, they wait until a session takes them.

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

pub type WarmRequest = oneshot::Sender<RunningProgram>;

#[derive(Debug)]
pub struct Ahead {
    pub id: WarmId,
    pub service: Arc<Service>,
    pub service_id: ServiceId,
}

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
        // A warm program reads its input, so the end of the input asks it to end.
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
            unwanted.end(context).await;
            return Waited::Gone;
        }
        Over::Left => {
            RunningProgram { running, ours: ServerEnds { pipes, errors: reader }, errors }.end(context).await;
            return Waited::Gone;
        }
    };
    context.spawner.give_back(running.account.take());
    match exit {
        _ if why.is_some() => Waited::Gone,
        // Only an abnormal end is a failure. A program that exits normally can still serve
        // clients.
        Ok(exit) if lived < QUICK && exit.is_abnormal() => {
            let cause = format!("the program ended at once, although it had no client yet: {exit}");
            Waited::Failed { cause, own: !exit.may_have_run_out() }
        }
        Ok(_) => Waited::Ended,
        Err(error) => Waited::Failed { cause: format!("waiting for the program: {error}"), own: false },
    }
}

/// Never returns after an order to end.
async fn taken(take: oneshot::Receiver<WarmRequest>, told: Inbox) -> WarmRequest {
    // Dropping a request tells its session at once that it gets no program.
    let request = take.await.ok().filter(|_| told.borrow().order == Order::Serve);
    match request {
        Some(request) => request,
        None => std::future::pending().await,
    }
}
