//! How the files are read again, and what is done beside the loop once they are.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Loaded;
use crate::config::error::Error;
use crate::log::Log;
use crate::log::event::LogEvent;
use crate::model::level::Level;
use crate::sys::fault::{self, Says};

/// Work on files that were read, on a thread that it may block.
pub type ReloadWork = Arc<dyn Fn(&Loaded, &Log) + Send + Sync>;

/// How the files are read, and what is done beside once they are.
#[derive(Clone)]
pub struct Reloader {
    /// Reads them. May block.
    pub load: Arc<dyn Fn() -> Result<Loaded, Error> + Send + Sync>,
    /// Says what there is to say of their text, and opens the log's file anew. May
    /// block.
    pub follow: ReloadWork,
    /// Looks at the world that they are about. May block.
    pub look: ReloadWork,
    /// What is still to be looked at.
    pub looking: Arc<Turns<Loaded>>,
}

/// Work that is done by one thread at a time. What comes meanwhile is done by that
/// one afterwards, and only the last of it: nothing piles up behind one that hangs.
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
    /// Works on this, now or once the thread that works on another is done with that.
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
    /// Looks at the world on a thread of its own: a user database that does not
    /// answer must not keep the ports closed. While one thread looks, others only
    /// leave to it what they have.
    pub fn look_beside(&self, loaded: Loaded, log: Log) {
        let (all, own) = (self.clone(), log.clone());
        let work = move || {
            (all.follow)(&loaded, &log);
            all.looking.take(loaded, |loaded| (all.look)(&loaded, &log));
        };
        let started = fault::point("thread:world", Says::Processes)
            .and_then(|()| std::thread::Builder::new().name("world".to_owned()).spawn(work));
        if let Err(cause) = started {
            // A log file that was moved away would be written on in silence.
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
    fn whoever_comes_while_another_works_leaves_the_work_to_that_one_and_only_the_last_is_done() {
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
        // These come back at once.
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
