//! How the server reads its files for a reload, and the work on another thread after that.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Loaded;
use crate::config::error::Error;
use crate::log::Log;
use crate::log::event::LogEvent;
use crate::model::level::Level;
use crate::sys::fault::{self, Says};

/// Work on a configuration that was read. Runs on a thread that it may block.
pub type ReloadWork = Arc<dyn Fn(&Loaded, &Log) + Send + Sync>;

#[derive(Clone)]
pub struct Reloader {
    /// Reads the files. May block.
    pub load: Arc<dyn Fn() -> Result<Loaded, Error> + Send + Sync>,
    /// Logs the findings about the text, and reopens the log file. May block.
    pub follow: ReloadWork,
    /// Checks accounts and programs that the configuration names, and renews firewall rules. May
    /// block.
    pub look: ReloadWork,
    pub looking: Arc<Turns<Loaded>>,
}

/// Work that one thread does at a time. A thread that arrives meanwhile leaves its item to the
/// running thread, which then works on the latest item only. So nothing piles up behind a thread
/// that hangs.
#[derive(Debug)]
pub struct Turns<T>(Mutex<LastWork<T>>);

#[derive(Debug)]
struct LastWork<T> {
    running: bool,
    next: Option<T>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns(Mutex::new(LastWork { running: false, next: None }))
    }
}

impl<T> Turns<T> {
    pub fn take(&self, what: T, mut work: impl FnMut(T)) {
        let mut what = Some(what);
        {
            let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if turn.running {
                turn.next = what;
                return;
            }
            turn.running = true;
        }
        while let Some(now) = what {
            work(now);
            let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            what = turn.next.take();
            turn.running = what.is_some();
        }
    }
}

impl Reloader {
    /// Runs `follow` and `look` on a new thread: a user database that does not answer must not keep
    /// the ports closed. Only one thread runs `look` at a time.
    pub fn look_beside(&self, loaded: Loaded, log: Log) {
        let (all, own) = (self.clone(), log.clone());
        let work = move || {
            (all.follow)(&loaded, &log);
            all.looking.take(loaded, |loaded| (all.look)(&loaded, &log));
        };
        let started = fault::point("thread:world", Says::Processes)
            .and_then(|()| std::thread::Builder::new().name("world".to_owned()).spawn(work));
        if let Err(cause) = started {
            // Warn, because a log file that was moved away is not reopened.
            let message = format!(
                "accounts and programs were not looked at, nor was the log's file opened anew: a thread for it: {cause}"
            );
            let hint = Some("reload once the system has threads to give".to_owned());
            own.event(LogEvent::Configuration { level: Level::Warning, message, hint });
        }
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Reloader")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_the_latest_reload_request_runs_after_the_current_one() {
        let turns = Arc::new(Turns::default());
        let (says, hears) = mpsc::channel();
        let (goes_on, waits) = mpsc::channel::<()>();
        let worker = turns.clone();
        let worker = std::thread::spawn(move || {
            worker.take(1, |number| {
                says.send(number).unwrap();
                waits.recv().unwrap();
            });
        });
        assert_eq!(hears.recv(), Ok(1));
        for number in [2, 3] {
            turns.take(number, |number| panic!("{number} is worked on beside"));
        }
        goes_on.send(()).unwrap();
        assert_eq!(hears.recv(), Ok(3));
        goes_on.send(()).unwrap();
        worker.join().unwrap();
        let mut done = Vec::new();
        turns.take(4, |number| done.push(number));
        assert_eq!(done, [4]);
    }
}
