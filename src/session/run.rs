//! Runs the program with its client, and judges the service by how it ended.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::delivery;
use super::ending::{Over, QUICK, RunTasks, until_over};
use super::event::{Inbox, ServiceHealth, SessionEvent};
use super::link::Link;
use super::pump::{Phase, Pump};
use super::start::{RunningProgram, Started};
use super::{Session, SessionContext};
use crate::core::ending::{EndReason, Ending};
use crate::core::idle::{Idle, IdleCheck};
use crate::model::exit_status::ExitStatus;
use crate::model::peer::Peer;
use crate::spawn::Running;
use crate::sys::connection;

#[derive(Debug)]
pub(super) enum Ended {
    Known {
        exit: ExitStatus,
        /// Set if the server ended the program.
        why: Option<EndReason>,
    },
    Left,
    Unknown(String),
}

#[derive(Debug)]
pub(super) struct Ran {
    pub link: Link,
    pub client: Peer,
    pub connection: Option<connection::Id>,
    pub running: Running,
    pub ended: Ended,
    pub over: Instant,
    pub cut: Option<&'static str>,
}

pub(super) async fn run(
    session: &Session,
    started: Started,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Ran {
    let Started { mut link, client, connection, program, is_probe, client_sets_values } = started;
    let RunningProgram { mut running, ours, mut errors } = program;
    session.process.began(running.child.pid());
    let (phase, phases) = watch::channel(Phase::Runs);
    let mut pump = Pump::new(&mut link, ours, errors.as_mut(), &session.flow, phases);
    let times = &session.service.times;
    let mut ending = Ending::new(times.kill_grace);
    if let Some(timeout) = times.session_timeout {
        ending.ask_at(timeout, EndReason::Timeout);
    }
    let mut health_told = false;
    let beside = RunTasks {
        work: pump.run(),
        idle: idle(session, context, times.idle_timeout),
        works: is_probe.then_some(|| {
            health_told = true;
            context.events.session(SessionEvent::Health(session.id, ServiceHealth::Works));
        }),
        end_input: |was_asked: bool| {
            let can_ask = !was_asked && session.service.has_pipes();
            if can_ask {
                phase.send_replace(Phase::InputEnds);
            }
            was_asked || can_ask
        },
    };
    let leftovers = session.service.program.leftovers;
    let ended = Ended::of(until_over(&mut running.child, leftovers, ending, inbox, beside).await);
    if let Ended::Known { .. } = ended {
        session.process.ended();
    }
    phase.send_replace(Phase::Over);
    context.spawner.give_back(running.account.take());
    let over = Instant::now();
    if !health_told {
        let health = match client_sets_values {
            true => ServiceHealth::Works,
            false => ended.health(session, context, &running).await,
        };
        context.events.session(SessionEvent::Health(session.id, health));
    }
    let cut = match ended {
        // After an idle timeout no client is listening, so the pipes are not drained.
        Ended::Known { why: Some(why @ EndReason::Idle), .. } => Some(why.text()),
        Ended::Known { .. } => {
            let cut = delivery::drain_pipes(&mut pump, over + times.linger_timeout, inbox).await;
            context.events.session(SessionEvent::Lingers(session.id));
            cut
        }
        Ended::Left | Ended::Unknown(_) => None,
    };
    drop(pump);
    Ran { link, client, connection, running, ended, over, cut }
}

impl Ended {
    fn of(over: Over<Infallible>) -> Ended {
        match over {
            Over::Exit(Ok(exit), why) => Ended::Known { exit, why },
            Over::Exit(Err(error), _) => Ended::Unknown(format!("waiting for the program: {error}")),
            Over::Left => Ended::Left,
            Over::Worked(never) => match never {},
        }
    }

    /// What the end shows about the service. A crash that a client can cause is no failure, or
    /// one client could pause the service for all. So only these are failures: the program was
    /// not loaded, or it crashed at once before the client sent or ended anything. Without byte
    /// counts only the former counts.
    async fn health(&self, session: &Session, context: &SessionContext, running: &Running) -> ServiceHealth {
        let Ended::Known { exit, why: None } = self else { return ServiceHealth::Works };
        // Measured from the process's start, since a warm program lives longer than its session.
        if running.born.elapsed() >= QUICK || !exit.is_abnormal() {
            return ServiceHealth::Works;
        }
        let asked = session.counted.ask(&context.looks, session.owner());
        let silent = match timeout(QUICK, asked).await.ok().flatten() {
            Some(counts) => counts.received == 0 && !counts.end_received,
            None => exit.is_not_loaded() && running.child.has_read_nothing(),
        };
        let cause = format!("the program ended at once: {exit}");
        match silent {
            false => ServiceHealth::Works,
            true if exit.may_have_run_out() => ServiceHealth::FailedOrRanOut(cause),
            true => ServiceHealth::Failed(cause),
        }
    }
}

/// Never returns without a timeout or without counts. Then only `session_timeout` limits the
/// session.
async fn idle(session: &Session, context: &SessionContext, timeout: Option<Duration>) {
    let Some(timeout) = timeout else { return std::future::pending().await };
    let began = Instant::now();
    let mut idle = Idle::new(timeout);
    loop {
        let asked = session.counted.ask(&context.looks, session.owner());
        let Some(counts) = asked.await else { return std::future::pending().await };
        match idle.look(began.elapsed(), (counts.received, counts.acknowledged), counts.quiet) {
            IdleCheck::Again(rest) => tokio::time::sleep(rest).await,
            IdleCheck::End => return,
        }
    }
}
