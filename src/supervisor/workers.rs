//! The worker threads, one per core, for sessions whose bytes the server moves or reads. They keep
//! bulk transfers off the supervisor's loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;

use crate::sys::fault::{self, Says};

/// All workers. Dropping it ends them and their tasks.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Cloned into each task, so that the reference count tells the number of tasks.
    tasks: Arc<()>,
    end: Option<oneshot::Sender<()>>,
    /// Disconnects when the thread ends.
    ended: std::sync::mpsc::Receiver<()>,
}

impl Workers {
    pub fn start() -> std::io::Result<Workers> {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Workers { workers: (0..count).map(|_| Worker::start()).collect::<Result<_, _>>()? })
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.workers.iter().min_by_key(|worker| Arc::strong_count(&worker.tasks)) else {
            return;
        };
        let counted = worker.tasks.clone();
        // Boxed: a captured future that is awaited would take memory twice.
        let task = Box::pin(task);
        worker.runtime.spawn(async move {
            task.await;
            drop(counted);
        });
    }
}

/// A worker's runtime. If its thread cannot start, this is dropped inside the server's runtime,
/// where a blocking shutdown would panic.
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
            // One poll may move up to a megabyte, so check for new events often.
            .event_interval(8)
            .build()?;
        let handle = runtime.handle().clone();
        let mut runtime = Loop(Some(runtime));
        let (end, asked) = oneshot::channel();
        let (running, ended) = std::sync::mpsc::channel();
        let work = move || {
            // Returns when the sender is dropped.
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

/// How long the server waits for its workers at a stop. The end of the process ends the rest.
const END_WITHIN: Duration = Duration::from_secs(1);

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.end.take());
        }
        let until = Instant::now() + END_WITHIN;
        for worker in &self.workers {
            // Nothing is ever sent: the call returns when the thread ends or the time is over.
            let _ = worker.ended.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}
