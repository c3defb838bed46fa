//! Logs a program's standard error by lines of limited length and rate. A program that floods is
//! slowed, but never blocked for long.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{LEAST, Phase, reached};
use crate::core::lines::{Lines, Pace, SERVICE_LINES, SESSION_LINES};
use crate::core::repeat_filter::LineBudget;
use crate::log::Log;
use crate::log::event::LogEvent;
use crate::model::ids::SessionId;
use crate::model::plan::{Service, Stderr};
use crate::session::{SessionContext, scratch};
use crate::sys::pipe::{self, Reader};

#[derive(Debug)]
pub struct Errors {
    log: Log,
    service: String,
    session: Option<SessionId>,
    began: Instant,
    lines: Lines,
    budget: LineBudget,
    pace: Pace,
    shared: StderrBudget,
    /// The last suppressed line, which often says why the program gives up.
    last: Option<String>,
    told: Duration,
}

/// Limits the lines of all programs of a service.
#[derive(Debug, Clone)]
pub struct StderrBudget(Arc<(Mutex<LineBudget>, Instant)>);

impl StderrBudget {
    pub fn new() -> StderrBudget {
        StderrBudget(Arc::new((Mutex::new(LineBudget::new(SERVICE_LINES)), Instant::now())))
    }

    fn allow(&self) -> bool {
        let (budget, began) = &*self.0;
        budget.lock().unwrap_or_else(PoisonError::into_inner).allow(began.elapsed())
    }
}

impl Default for StderrBudget {
    fn default() -> Self {
        StderrBudget::new()
    }
}

const LOST_TOLD_EVERY: Duration = Duration::from_secs(1);

impl Errors {
    /// `None` if the service's standard error does not go to the log.
    pub fn of_program(
        service: &Service,
        session: Option<SessionId>,
        context: &SessionContext,
    ) -> Option<Errors> {
        let new = || Errors {
            log: context.log.clone(),
            service: service.name.clone(),
            session,
            began: Instant::now(),
            lines: Lines::default(),
            budget: LineBudget::new(SESSION_LINES),
            pace: Pace::default(),
            shared: context.stderr_budget.clone(),
            last: None,
            told: Duration::ZERO,
        };
        (service.program.stderr == Stderr::Log).then(new)
    }

    pub fn serves(&mut self, session: SessionId) {
        self.session = Some(session);
    }

    fn take(&mut self, bytes: Option<&[u8]>) {
        let now = self.began.elapsed();
        let Errors { log, service, session, lines, budget, shared, last, told, .. } = self;
        let mut tell = |line: &str| {
            let allowed = budget.allow(now);
            if !allowed || !shared.allow() {
                if allowed {
                    budget.suppress();
                }
                *last = Some(line.to_owned());
                return;
            }
            if now >= *told + LOST_TOLD_EVERY {
                *told = now;
                tell_lost(log, service, *session, budget.take_suppressed(), last.take());
            }
            let (service, line) = (service.clone(), line.to_owned());
            log.event(LogEvent::Stderr { service, session: *session, line });
        };
        match bytes {
            Some(bytes) => lines.take(bytes, &mut tell),
            None => {
                lines.end(&mut tell);
                tell_lost(log, service, *session, budget.take_suppressed(), last.take());
            }
        }
    }
}

fn tell_lost(log: &Log, service: &str, session: Option<SessionId>, lines: u64, last: Option<String>) {
    if lines > 0 {
        let last = last.unwrap_or_default();
        log.event(LogEvent::StderrLost { service: service.to_owned(), session, lines, last });
    }
}

/// Bytes read before the task yields. Scanning them takes half a millisecond.
const TURN: usize = 64 << 10;

/// Limit of bytes read after the program's end. More than a pipe holds comes from another
/// process.
const LAST: usize = 1 << 20;

/// Logs standard error until its end of file or the end of the program.
pub async fn tell(reader: &Reader, errors: &mut Errors, mut phase: watch::Receiver<Phase>) {
    let (mut turn, mut last) = (0, LAST);
    loop {
        let over = *phase.borrow() >= Phase::Over;
        let read = scratch::with(|buffer| {
            let count = if over { reader.read_now(buffer)? } else { reader.try_read(buffer)? };
            errors.take(Some(&buffer[..count]));
            Ok::<usize, std::io::Error>(count)
        });
        match read {
            Ok(count) if count > 0 && over => match last.checked_sub(count) {
                Some(rest) => last = rest,
                None => return errors.take(None),
            },
            Ok(count) if count > 0 => {
                turn += count.max(LEAST);
                if let Some(pause) = errors.pace.read(count.max(LEAST), errors.began.elapsed()) {
                    let _ = tokio::time::timeout(pause, reached(&mut phase, Phase::Over)).await;
                } else if turn >= TURN {
                    turn = 0;
                    tokio::task::yield_now().await;
                }
            }
            // Where end of file may never come, an empty pipe is the end once the tree is gone.
            Err(error) if error.kind() == ErrorKind::WouldBlock && (!over || pipe::END_ALWAYS_COMES) => {
                tokio::select! {
                    _ = reader.readable() => {}
                    () = reached(&mut phase, Phase::Over), if !over => {}
                }
            }
            _ => return errors.take(None),
        }
    }
}
