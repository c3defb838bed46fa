//! A program that was started ahead of its client: it waits, and is handed to
//! the session that comes for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::Context;
use super::ending::QUICK;
use super::event::{Inbox, Order, Waited, WarmEvent, WarmId};
use super::pump::{self, Errors, Phase};
use super::start::is_too_late;
use crate::core::ending::{EndAction, Ending};
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;
use crate::model::ids::ServiceId;
use crate::model::plan::{Service, Stderr};
use crate::spawn::Running;
use crate::spawn::environment;
use crate::spawn::stdio::ServerEnds;

/// A program that has waited, for the session that takes it.
#[derive(Debug)]
pub struct Ready {
    /// The program.
    pub running: Running,
    /// Our ends of its pipes.
    pub ours: ServerEnds,
    /// What becomes of its standard error, if that is for the log.
    pub errors: Option<Errors>,
}

impl Ready {
    /// Ends it: nobody has a use for it.
    pub(super) async fn end(self, context: &Context) {
        let Running { mut child, account, .. } = self.running;
        child.end_tree();
        let _ = child.wait(Leftovers::End).await;
        context.spawner.give_back(account);
    }
}

/// Where a waiting program goes.
pub type WarmRequest = oneshot::Sender<Ready>;

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

/// Starts the program and keeps it until somebody takes it, it ends, or it is
/// ordered to.
pub async fn wait_for_client(
    ahead: Ahead,
    context: Context,
    mut inbox: Inbox,
    take: oneshot::Receiver<WarmRequest>,
) {
    let waited = match start(&ahead, &context, &mut inbox).await {
        Ok(ready) => {
            context.events.warm(WarmEvent::Waits(ahead.id));
            keep(&ahead, ready, &context, &mut inbox, take).await
        }
        Err(failed) => failed,
    };
    context.events.warm(WarmEvent::Over(ahead.id, waited));
}

async fn start(ahead: &Ahead, context: &Context, inbox: &mut Inbox) -> Result<Ready, Waited> {
    let service = &ahead.service;
    let failed = |error: crate::sys::SpawnError| Waited::Failed {
        own: !crate::sys::spawn::ran_out(&error),
        cause: format!("{}: {}", error.step.name(), error.cause),
    };
    let variables = environment::of_waiting(service);
    let cut = is_too_late(inbox);
    let spawned = context.spawner.spawn(ahead.service_id, service.clone(), None, variables, cut);
    let (_, started) = spawned.await.map_err(failed)?;
    let (running, ours) = started.map_err(failed)?;
    let errors = (service.program.stderr == Stderr::Log)
        .then(|| Errors::new(context.log.clone(), service.name.clone(), None, context.stderr_budget.clone()));
    Ok(Ready { running, ours, errors })
}

/// How the time of waiting ended.
enum Over {
    Exit(std::io::Result<ExitStatus>),
    Taken(WarmRequest),
}

async fn keep(
    ahead: &Ahead,
    ready: Ready,
    context: &Context,
    inbox: &mut Inbox,
    mut take: oneshot::Receiver<WarmRequest>,
) -> Waited {
    let Ready { mut running, ours: ServerEnds { mut pipes, errors: reader }, mut errors } = ready;
    let began = Instant::now();
    let leftovers = ahead.service.program.leftovers;
    let mut ending = Ending::new(ahead.service.times.kill_grace);
    let since = |at: Instant| at.saturating_duration_since(began);
    let mut worked = false;
    let mut can_be_taken = true;
    let (over, lived) = {
        let (phase, phases) = watch::channel(Phase::Runs);
        let told = pump::tell(reader.as_ref(), errors.as_mut(), phases);
        tokio::pin!(told);
        let mut is_told = false;
        let over = loop {
            match inbox.borrow_and_update().order {
                Order::Serve => {}
                Order::End { ask, kill, why } => {
                    can_be_taken = false;
                    ending.ask_at(since(ask), why);
                    if let Some(kill) = kill {
                        ending.kill_at(since(kill));
                    }
                }
                // Nobody will come for it.
                Order::Leave { .. } => ending.kill_at(Duration::ZERO),
            }
            match ending.act(began.elapsed()) {
                EndAction::Ask => {
                    // The end of its input is what it waits for.
                    let input_ended = pipes.take().is_some();
                    if !running.child.ask_to_end() && !input_ended {
                        ending.can_not_ask(began.elapsed());
                    }
                }
                EndAction::Kill => {
                    running.child.end_tree();
                    break Over::Exit(running.child.wait(Leftovers::End).await);
                }
                EndAction::Wait(until) => tokio::select! {
                    biased;
                    exit = running.child.wait(ending.leftovers(leftovers, began.elapsed())) => {
                        break Over::Exit(exit);
                    }
                    request = &mut take, if can_be_taken => match request {
                        Ok(request) => break Over::Taken(request),
                        Err(_) => can_be_taken = false,
                    },
                    () = &mut told, if !is_told => is_told = true,
                    changed = inbox.changed() => {
                        if changed.is_err() {
                            // The supervisor is gone, and with it everything.
                            ending.kill_at(Duration::ZERO);
                        }
                    }
                    () = tokio::time::sleep_until(began + until.unwrap_or_default()), if until.is_some() => {}
                    () = tokio::time::sleep_until(began + QUICK), if !worked => {
                        worked = true;
                        context.events.warm(WarmEvent::Works(ahead.id));
                    }
                },
            }
        };
        let lived = began.elapsed();
        if matches!(over, Over::Exit(_)) && !is_told {
            phase.send_replace(Phase::Over);
            let _ = tokio::time::timeout(QUICK, told).await;
        }
        (over, lived)
    };
    let exit = match over {
        Over::Taken(request) => {
            let ready = Ready { running, ours: ServerEnds { pipes, errors: reader }, errors };
            let Err(unwanted) = request.send(ready) else { return Waited::Taken };
            // The session that came for it is gone meanwhile.
            unwanted.end(context).await;
            return Waited::Gone;
        }
        Over::Exit(exit) => exit,
    };
    context.spawner.give_back(running.account.take());
    match exit {
        _ if ending.why(lived).is_some() => Waited::Gone,
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
