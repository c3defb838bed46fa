//! Waits until a program ends, or ends it. Sessions and warm programs share this loop.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::event::{Inbox, Order};
use crate::core::ending::{EndAction, EndReason, Ending};
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;
use crate::sys::child::Child;

/// A program that fails sooner than this failed at its start. One that lives longer works.
pub(super) const QUICK: Duration = Duration::from_secs(1);

pub(super) struct RunTasks<Work, Idle, Works, EndInput> {
    /// Moves the program's bytes. Its result ends the wait.
    pub work: Work,
    pub idle: Idle,
    /// Called once, when the program has lived for [`QUICK`].
    pub works: Option<Works>,
    /// Ends the program's input. The argument says whether the program got a signal. Returns
    /// whether it was asked in either way.
    pub end_input: EndInput,
}

pub(super) enum Over<T> {
    /// The program and its tree are gone. The reason is set if the server ended it.
    Exit(io::Result<ExitStatus>, Option<EndReason>),
    Left,
    /// The work is done, and the program still runs.
    Worked(T),
}

pub(super) async fn until_over<T>(
    child: &mut Child,
    leftovers: Leftovers,
    mut ending: Ending,
    inbox: &mut Inbox,
    beside: RunTasks<
        impl Future<Output = T>,
        impl Future<Output = ()>,
        impl FnOnce(),
        impl FnMut(bool) -> bool,
    >,
) -> Over<T> {
    let RunTasks { work, idle, mut works, mut end_input } = beside;
    let (mut work, mut idle) = (pin!(work), pin!(idle));
    let mut is_idle = false;
    let began = Instant::now();
    let since = |at: Instant| at.saturating_duration_since(began);
    let exit = loop {
        match inbox.borrow_and_update().order {
            Order::Serve => {}
            Order::End { ask, kill, why } => {
                ending.ask_at(since(ask), why);
                if let Some(kill) = kill {
                    ending.kill_at(since(kill));
                }
            }
            Order::Leave { .. } => return Over::Left,
        }
        match ending.act(began.elapsed()) {
            EndAction::Ask => {
                if !end_input(child.ask_to_end()) {
                    ending.can_not_ask(began.elapsed());
                }
            }
            EndAction::Kill => {
                child.end_tree();
                break child.wait(Leftovers::End).await;
            }
            EndAction::Wait(until) => tokio::select! {
                // Polled first: a warm program that has ended must not be handed to a session.
                biased;
                exit = child.wait(ending.leftovers(leftovers, began.elapsed())) => break exit,
                worked = &mut work => return Over::Worked(worked),
                () = &mut idle, if !is_idle => {
                    is_idle = true;
                    ending.ask_at(began.elapsed(), EndReason::Idle);
                }
                changed = inbox.changed() => {
                    if changed.is_err() {
                        ending.kill_at(Duration::ZERO);
                    }
                }
                () = tokio::time::sleep_until(began + until.unwrap_or_default()), if until.is_some() => {}
                () = tokio::time::sleep_until(began + QUICK), if works.is_some() => {
                    if let Some(works) = works.take() {
                        works();
                    }
                }
            },
        }
    };
    Over::Exit(exit, ending.why(began.elapsed()))
}
