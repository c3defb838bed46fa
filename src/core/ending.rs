//! How a session ends: the server asks the program, then kills its tree after the grace period.

use std::time::Duration;

use crate::model::endings::Leftovers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    Idle,
    Timeout,
    Stop,
    Killed,
}

impl EndReason {
    pub fn text(self) -> &'static str {
        match self {
            EndReason::Idle => "idle",
            EndReason::Timeout => "session timeout",
            EndReason::Stop => "stop",
            EndReason::Killed => "killed",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndAction {
    Wait(Option<Duration>),
    /// Ask the program to end, or call [`Ending::can_not_ask`].
    Ask,
    Kill,
}

/// The end of one session. Times are since any fixed moment.
#[derive(Debug)]
pub struct Ending {
    kill_grace: Duration,
    ask: Option<(Duration, EndReason)>,
    kill: Option<Duration>,
    asked: bool,
}

impl Ending {
    /// A program that was asked to end gets `kill_grace`.
    pub fn new(kill_grace: Duration) -> Self {
        Ending { kill_grace, ask: None, kill: None, asked: false }
    }

    /// Sets when to ask the program; the earliest time wins.
    pub fn ask_at(&mut self, at: Duration, why: EndReason) {
        if self.ask.is_none_or(|(other, _)| at < other) {
            self.ask = Some((at, why));
        }
    }

    /// Sets when to kill the tree; the earliest time wins.
    pub fn kill_at(&mut self, at: Duration) {
        self.kill = Some(self.kill.map_or(at, |other| other.min(at)));
    }

    /// The system has no way to ask the program, so a grace period is useless.
    pub fn can_not_ask(&mut self, now: Duration) {
        self.kill_at(now);
    }

    pub fn why(&self, now: Duration) -> Option<EndReason> {
        let killed = self.kill.is_some_and(|at| at <= now);
        self.ask.filter(|(at, _)| self.asked || killed || *at <= now).map(|(_, why)| why)
    }

    /// If the server ends the session, leftover processes end too.
    pub fn leftovers(&self, of_service: Leftovers, now: Duration) -> Leftovers {
        if self.why(now).is_some() { Leftovers::End } else { of_service }
    }

    pub fn act(&mut self, now: Duration) -> EndAction {
        if self.kill.is_some_and(|at| at <= now) {
            return EndAction::Kill;
        }
        match self.ask {
            Some((at, _)) if !self.asked && at <= now => {
                self.asked = true;
                self.kill_at(now.saturating_add(self.kill_grace));
                EndAction::Ask
            }
            Some((at, _)) if !self.asked => EndAction::Wait(Some(self.kill.map_or(at, |kill| kill.min(at)))),
            _ => EndAction::Wait(self.kill),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_program_is_asked_and_its_tree_is_ended_after_the_grace() {
        let mut ending = Ending::new(s(5));
        assert_eq!(ending.act(s(0)), EndAction::Wait(None));
        ending.ask_at(s(10), EndReason::Timeout);
        ending.ask_at(s(20), EndReason::Stop);
        assert_eq!((ending.act(s(1)), ending.why(s(1))), (EndAction::Wait(Some(s(10))), None));
        assert_eq!((ending.act(s(10)), ending.why(s(10))), (EndAction::Ask, Some(EndReason::Timeout)));
        assert_eq!(ending.act(s(11)), EndAction::Wait(Some(s(15))));
        assert_eq!(ending.act(s(15)), EndAction::Kill);
    }

    #[test]
    fn only_a_program_that_exits_unasked_may_leave_processes() {
        let mut ending = Ending::new(s(5));
        ending.ask_at(s(10), EndReason::Stop);
        assert_eq!(ending.leftovers(Leftovers::Leave, s(9)), Leftovers::Leave);
        assert_eq!(ending.leftovers(Leftovers::End, s(9)), Leftovers::End);
        assert_eq!(ending.act(s(10)), EndAction::Ask);
        assert_eq!(ending.leftovers(Leftovers::Leave, s(11)), Leftovers::End);
    }

    #[test]
    fn without_a_grace_it_is_asked_and_ended_at_once() {
        let mut ending = Ending::new(s(0));
        ending.ask_at(s(3), EndReason::Idle);
        assert_eq!((ending.act(s(3)), ending.act(s(3))), (EndAction::Ask, EndAction::Kill));
    }

    #[test]
    fn program_that_cannot_be_asked_is_killed_at_once() {
        let mut ending = Ending::new(s(5));
        ending.ask_at(s(3), EndReason::Killed);
        assert_eq!(ending.act(s(4)), EndAction::Ask);
        ending.can_not_ask(s(4));
        assert_eq!((ending.act(s(4)), ending.why(s(4))), (EndAction::Kill, Some(EndReason::Killed)));
    }

    #[test]
    fn kill_deadline_applies_before_the_program_is_asked() {
        let mut ending = Ending::new(s(5));
        ending.ask_at(s(10), EndReason::Stop);
        ending.kill_at(s(3));
        assert_eq!(ending.act(s(0)), EndAction::Wait(Some(s(3))));
        assert_eq!((ending.act(s(3)), ending.why(s(3))), (EndAction::Kill, Some(EndReason::Stop)));
    }
}
