//! Threads for blocking calls on connections that programs have or had. A process can hold the
//! connection's lock in the kernel, and SO_LINGER makes the last close wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::config::error::Error;
use crate::core::helper_queue::{HelperQueue, Owner, STUCK_AFTER, THREADS};
use crate::sys::fault::{self, Says};

type HelperCall = Box<dyn FnOnce() + Send>;

/// Two threads, and one more for each stuck thread. A session with a stuck call gets no second
/// thread, so the number of sessions limits the threads.
#[derive(Clone)]
pub struct Helpers {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    queue: Mutex<HelperQueue<HelperCall>>,
    /// Alive while a task checks for stuck threads. Lock it before the queue.
    watch: Mutex<Weak<()>>,
    filled: Condvar,
    began: Instant,
}

impl std::fmt::Debug for Helpers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Helpers").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, HelperQueue<HelperCall>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> MutexGuard<'_, Weak<()>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> (Owner, HelperCall, Duration) {
        let mut queue = self.queue();
        loop {
            let now = self.began.elapsed();
            if let Some((owner, job)) = queue.pop(now) {
                return (owner, job, now);
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Helpers {
    pub fn start(name: &'static str) -> Result<Helpers, Error> {
        let shared = Shared {
            name,
            queue: Mutex::default(),
            watch: Mutex::default(),
            filled: Condvar::new(),
            began: Instant::now(),
        };
        let helpers = Helpers { shared: Arc::new(shared) };
        for _ in 0..THREADS {
            let what = "the threads that ask and close connections";
            helpers.add_thread().map_err(|cause| Error::System { what, cause })?;
        }
        Ok(helpers)
    }

    /// `None` if the helpers are gone.
    pub async fn run<T: Send + 'static>(
        &self,
        owner: Owner,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.push(owner, move || {
            let _ = reply.send(work());
        });
        answer.await.ok()
    }

    pub fn push(&self, owner: Owner, work: impl FnOnce() + Send + 'static) {
        self.shared.queue().push(owner, Box::new(work));
        self.shared.filled.notify_one();
        self.relieve();
        self.watch();
    }

    fn watch(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut watch = self.shared.watch();
        if watch.strong_count() > 0 {
            return;
        }
        // A runtime that shuts down drops the task and its token; the next push starts another.
        let token = Arc::new(());
        *watch = Arc::downgrade(&token);
        let helpers = self.clone();
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(STUCK_AFTER).await;
                helpers.relieve();
                // A push fills the queue before it locks `watch`. So either this task sees the
                // call, or the push sees that the task is gone.
                let _watch = helpers.shared.watch();
                if helpers.shared.queue().is_empty() {
                    drop(token);
                    return;
                }
            }
        });
    }

    fn relieve(&self) {
        let missing = self.shared.queue().grow(self.shared.began.elapsed());
        for started in 0..missing {
            // If the system cannot start a thread, the next push or check tries again.
            if self.add_thread().is_err() {
                self.shared.queue().not_grown(missing - started);
                return;
            }
        }
    }

    fn add_thread(&self) -> std::io::Result<()> {
        fault::point("thread:helper", Says::Processes)?;
        let shared = self.shared.clone();
        let work = move || {
            loop {
                let (owner, job, began) = shared.next();
                job();
                shared.queue().done(owner, began);
                if shared.began.elapsed() >= began + STUCK_AFTER {
                    // A stuck call held back other calls of its session. They may run now.
                    shared.filled.notify_all();
                }
            }
        };
        std::thread::Builder::new().name(self.shared.name.to_owned()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(())
    }
}

const STACK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::model::ids::{ServiceId, SessionId};

    const fn owner(service: usize, session: u64) -> Owner {
        Owner { service: ServiceId(service), session: SessionId(session) }
    }

    #[tokio::test]
    async fn stuck_sessions_do_not_hold_up_others() {
        let helpers = Helpers::start("test").unwrap();
        let (free, held) = channel::<()>();
        let held = Arc::new(Mutex::new(held));
        for number in 0..=THREADS as u64 {
            let held = held.clone();
            helpers.push(owner(0, number), move || {
                let _ = held.lock().unwrap().recv();
            });
        }
        assert_eq!(helpers.run(owner(1, 100), || 7).await, Some(7));
        drop(free);
        assert_eq!(helpers.run(owner(0, 0), || 8).await, Some(8));
    }
}
