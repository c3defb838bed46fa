//! What each exit code means: the numbers of sysexits, and honest.

use std::process::ExitCode;

/// How a run of the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Ok,
    /// The command line can't be understood.
    Usage,
    /// What was named is not there: a file, a session, a service.
    NoInput,
    /// Nothing could be bound (in a console only), or no server answered.
    Unavailable,
    /// The system refused something that we need.
    System,
    /// We lack a permission.
    NoPermission,
    /// The configuration is wrong.
    Config,
    /// As another process ended: the server below us, which we are only the init
    /// of, or the program that was run on our console.
    Child(u8),
}

impl Exit {
    /// The number, also used as a Windows service's own exit code.
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
    /// What a server's refusal counts as. It is a failure, whatever the number.
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
