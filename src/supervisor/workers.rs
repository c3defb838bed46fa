//! The threads on which connections are served whose bytes the server itself
//! moves or reads: one for each core, so that the supervisor's loop is alone
//! with its decisions, and no client waits for another's bulk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;

use crate::sys::fault::{self, Says};

/// All workers. Dropped, they end, and with them whatever still runs there.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Cloned into each task: how many there are.
    tasks: Arc<()>,
    /// Dropped, it ends the thread.
    end: Option<oneshot::Sender<()>>,
    /// Disconnected once the thread has ended.
    ended: std::sync::mpsc::Receiver<()>,
}

impl Workers {
    /// Starts them.
    pub fn start() -> std::io::Result<Workers> {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Workers { workers: (0..count).map(|_| Worker::start()).collect::<Result<_, _>>()? })
    }

    /// Runs a task on the worker that has the fewest.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.workers.iter().min_by_key(|worker| Arc::strong_count(&worker.tasks)) else {
            return;
        };
        let counted = worker.tasks.clone();
        // Once in memory: awaited where it was captured it would be there twice.
        let task = Box::pin(task);
        worker.runtime.spawn(async move {
            task.await;
            drop(counted);
        });
    }
}

/// The loop of a worker. Where there is no thread for it, it is dropped within the
/// loop of the server, in which none may wait for another's end: that would be a panic.
struct Loop(Option<Runtime>);

impl Drop for Loop {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Worker {
    fn start() -> std::io::Result<Worker> {
        fault::point("loop:worker", Says::Descriptors)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // A turn moves up to a megabyte: what has come meanwhile is looked at often.
            .event_interval(8)
            .build()?;
        let handle = runtime.handle().clone();
        let mut runtime = Loop(Some(runtime));
        let (end, asked) = oneshot::channel();
        let (running, ended) = std::sync::mpsc::channel();
        let work = move || {
            // An error is the sender's drop, which is the end as well.
            if let Some(runtime) = runtime.0.take() {
                let _ = runtime.block_on(asked);
                drop(runtime);
            }
            drop(running);
        };
        fault::point("thread:worker", Says::Processes)?;
        std::thread::Builder::new().name("worker".to_owned()).spawn(work)?;
        Ok(Worker { runtime: handle, tasks: Arc::new(()), end: Some(end), ended })
    }
}

/// Workers get this long to end at a stop, which must be bounded whatever they do;
/// the end of the process takes what is left.
const END_WITHIN: Duration = Duration::from_secs(1);

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.end.take());
        }
        let until = Instant::now() + END_WITHIN;
        for worker in &self.workers {
            // Nothing is ever sent: an answer is the thread's end, or time is over.
            let _ = worker.ended.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}
