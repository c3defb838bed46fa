//! Starts programs on threads, because the system calls block, and slow accounts or disks can
//! block them for long.

mod accounts;
pub mod environment;
pub mod stdio;

use std::ffi::OsString;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::core::spawn_queue::{HANGS_AFTER, STUCK_AFTER, SpawnQueue, THREADS};
use crate::log::Log;
use crate::log::event::LogEvent;
use crate::model::ids::ServiceId;
use crate::model::level::Level;
use crate::model::plan::{Service, Stderr};
use crate::sys::account::Account;
use crate::sys::attempt::Attempt;
use crate::sys::child::Child;
use crate::sys::fault::{self, Says};
use crate::sys::net::Socket;
use crate::sys::{ErrorStream, SpawnError, Start, Stdio, Step};
use accounts::Accounts;
use stdio::{ChildEnds, ServerEnds};

#[derive(Debug)]
pub struct Running {
    pub child: Child,
    /// On Windows the account keeps its profile loaded.
    pub account: Option<Arc<Account>>,
    pub born: tokio::time::Instant,
}

/// The connection comes back, with the program and the server's ends of its pipes.
pub type Spawned = (Option<Socket>, Result<(Running, ServerEnds), SpawnError>);

struct StartJob {
    service: Arc<Service>,
    socket: Option<Socket>,
    variables: Vec<(OsString, OsString)>,
    runtime: Handle,
    attempt: Attempt,
    reply: oneshot::Sender<Spawned>,
}

/// If the whole machine stood still, the answer arrives within this extra time.
const MOMENT: Duration = Duration::from_millis(100);

const GIVEN_UP_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub struct Spawner {
    shared: Arc<SpawnerShared>,
}

struct SpawnerShared {
    queue: Mutex<SpawnQueue<StartJob>>,
    filled: Condvar,
    accounts: Accounts,
    log: Log,
    began: Instant,
    environment: environment::ServerEnvironment,
}

impl std::fmt::Debug for SpawnerShared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Shared")
    }
}

impl SpawnerShared {
    fn queue(&self) -> MutexGuard<'_, SpawnQueue<StartJob>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spawner {
    pub fn start(log: Log) -> std::io::Result<Spawner> {
        let shared = Arc::new(SpawnerShared {
            queue: Mutex::new(SpawnQueue::new()),
            filled: Condvar::new(),
            accounts: Accounts::new(Account::LIFETIME),
            log,
            began: Instant::now(),
            environment: environment::ServerEnvironment::ours(),
        });
        let spawner = Spawner { shared };
        for _ in 0..THREADS {
            spawner.add_thread()?;
        }
        Ok(spawner)
    }

    /// Call it within the runtime that moves the pipes' bytes. The connection comes back for the
    /// end of the session. If the thread stays blocked, the connection is lost.
    ///
    /// A start is cancelled if it hangs, or if it is not done when `cut` returns a reason. The
    /// error names the step that the start reached.
    pub async fn spawn(
        &self,
        id: ServiceId,
        service: Arc<Service>,
        socket: Option<Socket>,
        variables: Vec<(OsString, OsString)>,
        cut: impl Future<Output = &'static str>,
    ) -> Result<Spawned, SpawnError> {
        let (reply, mut answer) = oneshot::channel();
        let (runtime, attempt) = (Handle::current(), Attempt::new());
        let job = StartJob { service, socket, variables, runtime, attempt: attempt.clone(), reply };
        self.shared.queue().push(id, job);
        self.shared.filled.notify_one();
        tokio::pin!(cut);
        let why = loop {
            tokio::select! {
                biased;
                answered = &mut answer => return answered.map_err(|_| thread_ended()),
                why = &mut cut => break why.to_owned(),
                () = tokio::time::sleep(STUCK_AFTER) => {}
            }
            if let Ok(answered) = timeout(MOMENT, &mut answer).await {
                return answered.map_err(|_| thread_ended());
            }
            if let Some(why) = hung(&attempt) {
                break why;
            }
            self.relieve();
        };
        attempt.cancel();
        let waiting = self.shared.queue().take_out(|job| job.attempt.is(&attempt));
        if let Some(StartJob { socket, .. }) = waiting {
            return Ok((socket, Err(SpawnError::new(attempt.step(), why))));
        }
        match timeout(STUCK_AFTER, &mut answer).await {
            Ok(Ok((socket, Err(_)))) => Ok((socket, Err(SpawnError::new(attempt.step(), why)))),
            Ok(Ok(spawned)) => Ok(spawned),
            Ok(Err(_)) | Err(_) => Err(SpawnError::new(attempt.step(), why)),
        }
    }

    pub fn give_back(&self, account: Option<Arc<Account>>) {
        if account.is_some_and(|account| self.shared.accounts.give_back(account)) {
            self.shared.filled.notify_one();
        }
    }

    /// An administrator may have changed accounts.
    pub fn forget_accounts(&self) {
        self.shared.accounts.forget_all();
        self.shared.filled.notify_one();
    }

    /// A profile that is not unloaded stays in the registry. Waits a limited time.
    pub async fn give_up_accounts(&self) {
        self.shared.accounts.forget_all();
        if !self.shared.accounts.gives_up() {
            return;
        }
        let (done, is_done) = oneshot::channel();
        let shared = self.shared.clone();
        let started = fault::point("thread:accounts", Says::Processes).and_then(|()| {
            std::thread::Builder::new().name("accounts".to_owned()).spawn(move || {
                shared.accounts.clear_returned();
                let _ = done.send(());
            })
        });
        if started.is_ok() {
            let _ = timeout(GIVEN_UP_WITHIN, is_done).await;
        }
    }

    fn relieve(&self) {
        let grow = self.shared.queue().grow(self.shared.began.elapsed());
        if grow && self.add_thread().is_err() {
            self.shared.queue().not_grown();
        }
    }

    fn add_thread(&self) -> std::io::Result<()> {
        fault::point("thread:spawn", Says::Processes)?;
        let shared = self.shared.clone();
        std::thread::Builder::new()
            .name("spawn".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || work(&shared))?;
        Ok(())
    }
}

fn thread_ended() -> SpawnError {
    SpawnError::new(Step::Spawn, "the thread for it has ended")
}

pub fn hung(attempt: &Attempt) -> Option<String> {
    let limit = hangs_after();
    attempt.hangs(limit).then(|| {
        format!(
            "the process was killed because it had not become the program after {} seconds; \
             the directory or the program may be on a disk that does not answer, or a process \
             of the same account may have stopped it",
            limit.as_secs()
        )
    })
}

fn hangs_after() -> Duration {
    #[cfg(debug_assertions)]
    if let Some(seconds) = std::env::var("WININETD_TEST_HANGS").ok().and_then(|seconds| seconds.parse().ok())
    {
        return Duration::from_secs(seconds);
    }
    HANGS_AFTER
}

/// A spawn thread. It never ends, because its programs are its children. On Linux they would
/// otherwise move to the first thread, whose children the server treats as orphans.
fn work(shared: &SpawnerShared) {
    loop {
        let (service, job, began) = next(shared);
        let StartJob { service: plan, socket, variables, runtime, attempt, reply } = job;
        shared.accounts.try_clear_returned();
        let result = if reply.is_closed() {
            Err(SpawnError::new(Step::Spawn, "its session is gone"))
        } else {
            start(shared, &plan, socket.as_ref(), variables, &runtime, &attempt)
        };
        shared.queue().done(service, began);
        if shared.began.elapsed() >= began + STUCK_AFTER {
            // A stuck start held back others of its service. They may run now.
            shared.filled.notify_all();
        }
        // A session that is gone drops the program, which kills it.
        let _ = reply.send((socket, result));
    }
}

fn next(shared: &SpawnerShared) -> (ServiceId, StartJob, Duration) {
    let mut queue = shared.queue();
    loop {
        let now = shared.began.elapsed();
        if let Some((service, job)) = queue.pop(now) {
            return (service, job, now);
        }
        queue = match shared.accounts.next_expiry(now) {
            Some(at) if at <= now => {
                // Other threads start programs while this one drops accounts.
                drop(queue);
                shared.accounts.give_up_expired(now);
                shared.queue()
            }
            Some(at) => shared
                .filled
                .wait_timeout(queue, at - now)
                .map_or_else(|error| error.into_inner().0, |(queue, _)| queue),
            None => shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

fn stdio<'a>(theirs: &'a ChildEnds, socket: Option<&'a Socket>) -> Option<Stdio<'a>> {
    match (&theirs.pipes, socket) {
        (Some((input, output)), _) => Some(Stdio::Pipes { input, output }),
        (None, Some(socket)) => Some(Stdio::Connection(socket)),
        (None, None) => None,
    }
}

fn start(
    shared: &SpawnerShared,
    service: &Service,
    socket: Option<&Socket>,
    variables: Vec<(OsString, OsString)>,
    runtime: &Handle,
    attempt: &Attempt,
) -> Result<(Running, ServerEnds), SpawnError> {
    let stdio_fault = |error| SpawnError::of_system(Step::Stdio, &error);
    let account = match &service.program.identity {
        None => None,
        Some(credentials) => {
            let account = shared.accounts.take(credentials, || shared.began.elapsed())?;
            if let Some(remark) = shared.accounts.remark(credentials, &account) {
                let (level, message) = (Level::Warning, remark.to_owned());
                shared.log.event(LogEvent::Configuration { level, message, hint: None });
            }
            Some(account)
        }
    };
    let (ours, theirs) = {
        let _within = runtime.enter();
        stdio::make(&service.program).map_err(stdio_fault)?
    };
    let environment = shared.environment.with(account.as_deref(), &service.program, variables);
    let start = Start {
        command: &service.program.command,
        directory: &service.program.directory,
        environment: &environment,
        account: account.as_deref(),
        stdio: stdio(&theirs, socket)
            .ok_or_else(|| SpawnError::new(Step::Stdio, "the connection is gone"))?,
        errors: match (&theirs.errors, service.program.stderr) {
            (Some(end), _) => ErrorStream::Pipe(end),
            (None, Stderr::Client) => ErrorStream::Output,
            (None, Stderr::Discard | Stderr::Log) => ErrorStream::Nowhere,
        },
        limits: &service.program.limits,
        attempt,
    };
    let spawned = match crate::sys::spawn::spawn(&start) {
        // No program ran, so one retry is safe.
        Err(error) if crate::sys::spawn::is_transient(&error) => crate::sys::spawn::spawn(&start),
        result => result,
    };
    match spawned {
        Ok(child) => Ok((Running { child, account, born: tokio::time::Instant::now() }, ours)),
        Err(error) => {
            // The account may have changed since its logon.
            if let Some(credentials) = &service.program.identity
                && !matches!(error.step, Step::Program | Step::Exec | Step::Directory)
            {
                shared.accounts.forget(credentials);
            }
            Err(error)
        }
    }
}
