//! Exit codes, with the numbers of sysexits.h.

use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok,
    Usage,
    /// A file, session or service does not exist.
    NoInput,
    /// The server could bind no address (in a console only), or no server answered.
    Unavailable,
    /// A system call failed.
    System,
    NoPermission,
    Config,
    /// The exit code of another process: the server below this init process, or a program run on
    /// this console.
    Child(u8),
}

impl Exit {
    /// Also the service-specific exit code on Windows.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Usage => 64,
            Exit::NoInput => 66,
            Exit::Unavailable => 69,
            Exit::System => 71,
            Exit::NoPermission => 77,
            Exit::Config => 78,
            Exit::Child(code) => code,
        }
    }
}

impl Exit {
    /// Maps a server's refusal. The result is a failure for every `code`.
    pub fn of_refusal(code: u8) -> Exit {
        [Exit::Usage, Exit::NoInput, Exit::Unavailable, Exit::NoPermission, Exit::Config]
            .into_iter()
            .find(|exit| exit.code() == code)
            .unwrap_or(Exit::System)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
