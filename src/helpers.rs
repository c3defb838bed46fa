//! Threads for calls that may wait: all calls on a connection that a program has, or
//! has had, as its streams. A process can hold the connection's lock in the kernel, and
//! SO_LINGER makes the last close wait. No loop may wait for either.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::core::SessionId;
use crate::core::spawn_queue::{STUCK_AFTER, SpawnQueue, THREADS};
use crate::error::Error;
use crate::sys::fault::{self, Says};

type Job = Box<dyn FnOnce() + Send>;

/// Two threads, and one more for each that is stuck. A session that is stuck gets no
/// second thread, so the sessions bound the threads. The end of the process ends them.
#[derive(Clone)]
pub struct Helpers {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    queue: Mutex<SpawnQueue<Job, SessionId>>,
    filled: Condvar,
    began: Instant,
}

impl std::fmt::Debug for Helpers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Helpers").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, SpawnQueue<Job, SessionId>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> (SessionId, Job, Duration) {
        let mut queue = self.queue();
        loop {
            let now = self.began.elapsed();
            if let Some((session, job)) = queue.pop(now) {
                return (session, job, now);
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Helpers {
    /// Starts the first threads.
    pub fn start(name: &'static str) -> Result<Helpers, Error> {
        let (queue, began) = (Mutex::new(SpawnQueue::new()), Instant::now());
        let helpers = Helpers { shared: Arc::new(Shared { name, queue, filled: Condvar::new(), began }) };
        for _ in 0..THREADS {
            let what = "the threads that ask and close connections";
            helpers.add_thread().map_err(|cause| Error::System { what, cause })?;
        }
        Ok(helpers)
    }

    /// Does something for a session, and returns what came of it.
    pub async fn run<T: Send + 'static>(
        &self,
        session: SessionId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, mut answer) = oneshot::channel();
        self.push(session, move || {
            // A session that is gone needs no answer.
            let _ = reply.send(work());
        });
        loop {
            match timeout(STUCK_AFTER, &mut answer).await {
                Ok(answer) => return answer.ok(),
                Err(_) => self.relieve(),
            }
        }
    }

    /// Does something for a session that does not wait for it.
    pub fn push(&self, session: SessionId, work: impl FnOnce() + Send + 'static) {
        self.shared.queue().push(session, Box::new(work));
        self.shared.filled.notify_one();
        self.relieve();
    }

    /// Starts a thread in place of one that is stuck, if work waits for it.
    fn relieve(&self) {
        let grow = self.shared.queue().grow(self.shared.began.elapsed());
        // If the system has no thread to give, the next call asks again.
        if grow && self.add_thread().is_err() {
            self.shared.queue().not_grown();
        }
    }

    fn add_thread(&self) -> std::io::Result<()> {
        fault::point("thread:helper", Says::Processes)?;
        let shared = self.shared.clone();
        let work = move || {
            loop {
                let (session, job, began) = shared.next();
                job();
                shared.queue().done(session, began);
                if shared.began.elapsed() >= began + STUCK_AFTER {
                    // Work of the same session was held back.
                    shared.filled.notify_all();
                }
            }
        };
        std::thread::Builder::new().name(self.shared.name.to_owned()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(())
    }
}

/// A few frames and the buffer of a drain.
const STACK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn stuck_sessions_do_not_hold_up_others() {
        let helpers = Helpers::start("test").unwrap();
        let (free, held) = channel::<()>();
        let held = Arc::new(Mutex::new(held));
        // More than there are threads.
        for number in 0..=THREADS as u64 {
            let held = held.clone();
            helpers.push(SessionId(number), move || {
                let _ = held.lock().unwrap().recv();
            });
        }
        assert_eq!(helpers.run(SessionId(100), || 7).await, Some(7));
        drop(free);
        assert_eq!(helpers.run(SessionId(0), || 8).await, Some(8));
    }
}
