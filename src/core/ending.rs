//! How a session is brought to its end: it is asked politely, then its whole
//! tree is ended.

use std::time::Duration;

use crate::model::endings::Leftovers;

/// Why a session is ended by us. Its text is the reason in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Nothing moved for the idle timeout.
    Idle,
    /// It lasted for the session timeout.
    Timeout,
    /// The server stops.
    Stop,
    /// An administrator said so.
    Killed,
}

impl EndReason {
    /// The reason in the record.
    pub fn text(self) -> &'static str {
        match self {
            EndReason::Idle => "idle",
            EndReason::Timeout => "session timeout",
            EndReason::Stop => "stop",
            EndReason::Killed => "killed",
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndAction {
    /// Nothing, until this time or for ever.
    Wait(Option<Duration>),
    /// Ask the program to end. If it can't be asked, say so.
    Ask,
    /// End the whole tree.
    Kill,
}

/// The end of one session. Times are on any monotonic scale.
#[derive(Debug)]
pub struct Ending {
    kill_grace: Duration,
    /// When it is asked, and why.
    ask: Option<(Duration, EndReason)>,
    /// When it is ended, whatever it does.
    kill: Option<Duration>,
    asked: bool,
}

impl Ending {
    /// It goes on. A program that was asked gets `kill_grace`.
    pub fn new(kill_grace: Duration) -> Self {
        Ending { kill_grace, ask: None, kill: None, asked: false }
    }

    /// It is to be asked at this time; the earliest of several counts.
    pub fn ask_at(&mut self, at: Duration, why: EndReason) {
        if self.ask.is_none_or(|(other, _)| at < other) {
            self.ask = Some((at, why));
        }
    }

    /// It must be gone at this time; the earliest of several counts.
    pub fn kill_at(&mut self, at: Duration) {
        self.kill = Some(self.kill.map_or(at, |other| other.min(at)));
    }

    /// The program can't be asked on this system: waiting would be for nothing.
    pub fn can_not_ask(&mut self, now: Duration) {
        self.kill_at(now);
    }

    /// Why it is ended, if it is by now.
    pub fn why(&self, now: Duration) -> Option<EndReason> {
        let killed = self.kill.is_some_and(|at| at <= now);
        self.ask.filter(|(at, _)| self.asked || killed || *at <= now).map(|(_, why)| why)
    }

    /// What becomes of processes that the program leaves behind if it ends now: a
    /// session that the server ends is ended whole.
    pub fn leftovers(&self, of_service: Leftovers, now: Duration) -> Leftovers {
        if self.why(now).is_some() { Leftovers::End } else { of_service }
    }

    /// What is to be done now.
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
    fn only_a_program_that_ends_by_itself_can_leave_something() {
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
    fn who_can_not_be_asked_is_not_waited_for() {
        let mut ending = Ending::new(s(5));
        ending.ask_at(s(3), EndReason::Killed);
        assert_eq!(ending.act(s(4)), EndAction::Ask);
        ending.can_not_ask(s(4));
        assert_eq!((ending.act(s(4)), ending.why(s(4))), (EndAction::Kill, Some(EndReason::Killed)));
    }

    #[test]
    fn a_last_moment_counts_though_nobody_was_asked() {
        let mut ending = Ending::new(s(5));
        ending.ask_at(s(10), EndReason::Stop);
        ending.kill_at(s(3));
        assert_eq!(ending.act(s(0)), EndAction::Wait(Some(s(3))));
        assert_eq!((ending.act(s(3)), ending.why(s(3))), (EndAction::Kill, Some(EndReason::Stop)));
    }
}
