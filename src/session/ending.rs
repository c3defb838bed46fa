//! The time with the program: waiting for its end, or bringing it about, and
//! what the end says of the service.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::event::{Event, Inbox, Order, ServiceHealth};
use super::pump::{Phase, Pump};
use super::{Context, Session};
use crate::core::ending::{EndAction, EndReason, Ending};
use crate::core::idle::{Idle, IdleCheck};
use crate::core::stop::CLIENT_LEAVES_WITHIN;
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;
use crate::sys::child::Child;

/// A program that ends sooner than this has hardly begun; one that lives for
/// longer works.
pub(super) const QUICK: Duration = Duration::from_secs(1);

/// How the time with the program ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The program is gone, and its tree.
    Known {
        /// How it ended.
        exit: ExitStatus,
        /// Why we ended it, if we did.
        why: Option<EndReason>,
    },
    /// It goes on by itself.
    Left,
    /// We could not find out. The reason.
    Unknown(String),
}

/// Waits for the program's end and its whole tree's, or brings it about. Its
/// bytes are moved meanwhile by `pump`, which is told how far things are. A probe that
/// lives for long enough tells so, and is none from then on.
pub(super) async fn wait(
    session: &Session,
    is_probe: &mut bool,
    child: &mut Child,
    inbox: &mut Inbox,
    context: &Context,
    pump: &mut Pump<'_>,
) -> Ended {
    let times = &session.service.times;
    let leftovers = session.service.program.leftovers;
    let began = Instant::now();
    let mut ending = Ending::new(times.kill_grace);
    if let Some(timeout) = times.session_timeout {
        ending.ask_at(timeout, EndReason::Timeout);
    }
    let since = |at: Instant| at.saturating_duration_since(began);
    let mut is_idle = false;
    let idle = idle(session, context, times.idle_timeout);
    tokio::pin!(idle);
    let exit = loop {
        match inbox.borrow_and_update().order {
            Order::Serve => {}
            Order::End { ask, kill, why } => {
                ending.ask_at(since(ask), why);
                if let Some(kill) = kill {
                    ending.kill_at(since(kill));
                }
            }
            Order::Leave { .. } => return Ended::Left,
        }
        match ending.act(began.elapsed()) {
            EndAction::Ask => {
                if !child.ask_to_end() && !end_input(session, pump) {
                    ending.can_not_ask(began.elapsed());
                }
            }
            EndAction::Kill => {
                child.end_tree();
                break child.wait(Leftovers::End).await;
            }
            EndAction::Wait(until) => tokio::select! {
                // Where there is nothing to move it is done at once, before the
                // program's end has been put into the poll set for nothing.
                biased;
                () = pump.run() => {}
                exit = child.wait(ending.leftovers(leftovers, began.elapsed())) => break exit,
                () = &mut idle, if !is_idle => {
                    is_idle = true;
                    ending.ask_at(began.elapsed(), EndReason::Idle);
                }
                changed = inbox.changed() => {
                    if changed.is_err() {
                        // The supervisor is gone, and with it everything.
                        ending.kill_at(Duration::ZERO);
                    }
                }
                () = tokio::time::sleep_until(began + until.unwrap_or_default()), if until.is_some() => {}
                () = tokio::time::sleep_until(began + QUICK), if *is_probe => {
                    *is_probe = false;
                    context.events.session(Event::Health(session.id, ServiceHealth::Works));
                }
            },
        }
    };
    pump.reached(Phase::Over);
    match exit {
        Ok(exit) => {
            session.process.ended();
            Ended::Known { exit, why: ending.why(began.elapsed()) }
        }
        Err(error) => Ended::Unknown(format!("waiting for the program: {error}")),
    }
}

/// Asks by the end of its input, where that is ours to end.
fn end_input(session: &Session, pump: &Pump<'_>) -> bool {
    let ours = session.service.has_pipes();
    if ours {
        pump.reached(Phase::InputEnds);
    }
    ours
}

impl Ended {
    /// What it says of the service: that failed by itself if the program could
    /// not be loaded, or abnormally at once, while its client had neither sent nor ended
    /// anything. Whatever a client can cause is none, or one client could
    /// pause the service for all. Where nobody counts what clients sent, only
    /// what was not even loaded is seen.
    pub(super) async fn health(
        &self,
        session: &Session,
        context: &Context,
        child: &Child,
        born: Instant,
    ) -> ServiceHealth {
        let Ended::Known { exit, why: None } = self else { return ServiceHealth::Works };
        // A program that has waited for its client has lived longer than with it.
        if born.elapsed() >= QUICK || !exit.is_abnormal() {
            return ServiceHealth::Works;
        }
        let asked = session.counted.ask(&context.looks, session.owner());
        let silent = match timeout(QUICK, asked).await.ok().flatten() {
            Some(counts) => counts.received == 0 && !counts.end_received,
            None => exit.is_not_loaded() && child.has_read_nothing(),
        };
        let cause = format!("the program ended at once: {exit}");
        match silent {
            false => ServiceHealth::Works,
            true if exit.may_have_run_out() => ServiceHealth::FailedOrRanOut(cause),
            true => ServiceHealth::Failed(cause),
        }
    }
}

/// Returns when the connection is idle for the timeout; never without one.
/// Where the counts cannot be asked the session goes on: `session_timeout` bounds it.
async fn idle(session: &Session, context: &Context, timeout: Option<Duration>) {
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

/// The client is asked so often whether it has acknowledged everything.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Returns when the server stops and the client has had its time after it acknowledged
/// all that was sent. Never where the system does not tell that.
pub(super) async fn delivered<Answer: Future<Output = Option<bool>>>(
    mut inbox: Inbox,
    is_acknowledged: impl Fn() -> Answer,
) {
    if inbox.wait_for(|told| told.order.is_stop()).await.is_err() {
        // The supervisor is gone, and with it everything.
        return;
    }
    loop {
        match is_acknowledged().await {
            Some(true) => return tokio::time::sleep(CLIENT_LEAVES_WITHIN).await,
            Some(false) => tokio::time::sleep(LOOK_AGAIN).await,
            None => return std::future::pending().await,
        }
    }
}
