//! The steps of a start, and the error of a failed one.

use super::program::ProgramFault;

/// The step at which a start failed, the `step` of the connection's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Account,
    Logon,
    Profile,
    Program,
    Stdio,
    /// The job object for the program's tree (Windows).
    Job,
    Spawn,
    /// A new session or process group.
    Session,
    /// Resource limits or the cgroup.
    Limits,
    /// A new session keyring (Linux).
    Keyring,
    Groups,
    Group,
    User,
    /// The process kept privileges after the change of identity.
    Privileges,
    Directory,
    Exec,
}

impl Step {
    pub const ALL: [Step; 16] = [
        Step::Account,
        Step::Logon,
        Step::Profile,
        Step::Program,
        Step::Stdio,
        Step::Job,
        Step::Spawn,
        Step::Session,
        Step::Limits,
        Step::Keyring,
        Step::Groups,
        Step::Group,
        Step::User,
        Step::Privileges,
        Step::Directory,
        Step::Exec,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Step::Account => "account",
            Step::Logon => "logon",
            Step::Profile => "profile",
            Step::Program => "program",
            Step::Stdio => "stdio",
            Step::Job => "job",
            Step::Spawn => "spawn",
            Step::Session => "session",
            Step::Limits => "limits",
            Step::Keyring => "keyring",
            Step::Groups => "groups",
            Step::Group => "group",
            Step::User => "user",
            Step::Privileges => "privileges",
            Step::Directory => "directory",
            Step::Exec => "exec",
        }
    }
}

#[derive(Debug)]
pub struct SpawnError {
    pub step: Step,
    /// A message, with a hint if there is one.
    pub cause: String,
    /// The system's error number, if a caller needs it.
    pub code: Option<i32>,
}

impl From<ProgramFault> for SpawnError {
    fn from(fault: ProgramFault) -> SpawnError {
        SpawnError::new(Step::Program, fault.message)
    }
}

impl SpawnError {
    /// A system error with its number: the system may have run out of resources, which says nothing
    /// about the program.
    pub fn of_system(step: Step, error: &std::io::Error) -> Self {
        SpawnError { step, cause: error.to_string(), code: error.raw_os_error() }
    }

    pub fn new(step: Step, cause: impl std::fmt::Display) -> Self {
        SpawnError { step, cause: cause.to_string(), code: None }
    }
}
