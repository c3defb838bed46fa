//! Requests to stop a console program: Ctrl-C, Ctrl-Break, closing the window.

use std::io;

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};

/// The requests to stop, from now on.
#[derive(Debug)]
pub struct Stop {
    interrupt: CtrlC,
    pause: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Stop {
    /// Listens from now on; before this a request ends the process.
    pub fn listen() -> io::Result<Stop> {
        Ok(Stop { interrupt: ctrl_c()?, pause: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    /// Waits for the next request; tells what it was.
    pub async fn requested(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.pause.recv() => "Ctrl-Break",
            _ = self.close.recv() => "the window was closed",
            _ = self.shutdown.recv() => "the system shuts down",
        }
    }
}
