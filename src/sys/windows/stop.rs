//! Requests to stop, from a console or the service manager, which may also ask for a reload.

use std::io;
use std::time::Duration;

use super::super::{StopRequest, SystemRequest};
use super::service::Control;
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};
use tokio::sync::mpsc::UnboundedReceiver;

/// Windows kills a program five seconds after its window is closed. By then the records of
/// its sessions must be written.
const BEFORE_FORCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub enum Stop {
    Console(ConsoleEvents),
    Service(UnboundedReceiver<Control>),
}

#[derive(Debug)]
pub struct ConsoleEvents {
    interrupt: CtrlC,
    pause: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
    #[cfg(debug_assertions)]
    test: Option<std::sync::Arc<tokio::sync::Notify>>,
}

impl Stop {
    /// Listens to the console. Before this call, a request ends the process.
    pub fn of_console() -> io::Result<Stop> {
        Ok(Stop::Console(ConsoleEvents {
            interrupt: ctrl_c()?,
            pause: ctrl_break()?,
            close: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
            #[cfg(debug_assertions)]
            test: test::requests(),
        }))
    }

    pub async fn requested(&mut self) -> SystemRequest {
        match self {
            Stop::Console(console) => SystemRequest::Stop(console.requested().await),
            Stop::Service(controls) => match controls.recv().await {
                Some(Control::Stop) => stop("the service was stopped"),
                Some(Control::Preshutdown) => stop("the system shuts down"),
                Some(Control::ParametersChanged) => SystemRequest::Reload { why: "PARAMCHANGE" },
                // Unreachable: the sender lives as long as the process.
                None => std::future::pending().await,
            },
        }
    }
}

fn stop(why: &'static str) -> SystemRequest {
    SystemRequest::Stop(StopRequest { why, at_most: None })
}

impl ConsoleEvents {
    async fn requested(&mut self) -> StopRequest {
        #[cfg(debug_assertions)]
        if let Some(test) = self.test.clone() {
            tokio::select! {
                () = test.notified() => return StopRequest { why: "a test", at_most: None },
                request = self.typed() => return request,
            }
        }
        self.typed().await
    }

    async fn typed(&mut self) -> StopRequest {
        let (why, at_most) = tokio::select! {
            _ = self.interrupt.recv() => ("Ctrl-C", None),
            _ = self.pause.recv() => ("Ctrl-Break", None),
            _ = self.close.recv() => ("the window was closed", Some(BEFORE_FORCE)),
            _ = self.shutdown.recv() => ("the system shuts down", Some(BEFORE_FORCE)),
        };
        StopRequest { why, at_most }
    }
}

/// Requests to end while a program has the console (`--run`) and reacts to its keys alone.
#[derive(Debug)]
pub struct BesideProgram {
    _typed: (CtrlC, CtrlBreak),
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl BesideProgram {
    pub fn listen() -> io::Result<BesideProgram> {
        // With these listeners the keys no longer end this process.
        let typed = (ctrl_c()?, ctrl_break()?);
        Ok(BesideProgram { _typed: typed, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    pub async fn starting(&mut self) {
        self.requested(0).await;
    }

    pub async fn requested(&mut self, _program: u32) {
        tokio::select! {
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

#[cfg(debug_assertions)]
mod test {
    //! Tests without a shared console request a stop through a named semaphore.

    use std::sync::Arc;

    use tokio::sync::Notify;
    use windows_sys::Win32::System::Threading::{CreateSemaphoreW, INFINITE, WaitForSingleObject};

    use super::super::handle::wide;

    pub(super) fn requests() -> Option<Arc<Notify>> {
        let name = wide(std::env::var_os("WININETD_TEST_STOP")?);
        let notify = Arc::new(Notify::new());
        let requested = notify.clone();
        std::thread::spawn(move || {
            // SAFETY: the name is NUL-terminated; the handle lives as long as the process.
            unsafe {
                let semaphore = CreateSemaphoreW(std::ptr::null(), 0, 100, name.as_ptr());
                while WaitForSingleObject(semaphore, INFINITE) == 0 {
                    requested.notify_one();
                }
            }
        });
        Some(notify)
    }
}
