//! The steps of a start, and a start that failed at one of them.

use super::program::ProgramFault;

/// The step at which a program could not be started. Its name is the `step`
/// of the connection's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The account is not known here.
    Account,
    /// The account refused the logon (Windows).
    Logon,
    /// The account's profile or environment could not be loaded (Windows).
    Profile,
    /// The program is not where the command line says.
    Program,
    /// The three streams could not be made.
    Stdio,
    /// The job that holds the program's tree could not be made (Windows).
    Job,
    /// The process could not be made.
    Spawn,
    /// A session of its own (Unix).
    Session,
    /// What the process may use (Unix).
    Limits,
    /// A session keyring of its own (Linux).
    Keyring,
    /// Supplementary groups (Unix).
    Groups,
    /// The group (Unix).
    Group,
    /// The user (Unix).
    User,
    /// Privileges were still there after the change of identity (Unix).
    Privileges,
    /// The directory to start in.
    Directory,
    /// The program itself.
    Exec,
}

impl Step {
    /// Every step, in the order of a start.
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

    /// The step's name in records.
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

/// A program that was not started, and at which step.
#[derive(Debug)]
pub struct SpawnError {
    /// The step that failed.
    pub step: Step,
    /// What the system said, and what to do about it where that is known.
    pub cause: String,
    /// The system's number for it, where somebody decides by it.
    pub code: Option<i32>,
}

impl From<ProgramFault> for SpawnError {
    fn from(fault: ProgramFault) -> SpawnError {
        SpawnError::new(Step::Program, fault.message)
    }
}

impl SpawnError {
    /// An error of the system's at `step`, with its number: the system may have run
    /// out of something, which says nothing of the program.
    pub fn of_system(step: Step, error: &std::io::Error) -> Self {
        SpawnError { step, cause: error.to_string(), code: error.raw_os_error() }
    }

    /// An error of `step` in the system's words.
    pub fn new(step: Step, cause: impl std::fmt::Display) -> Self {
        SpawnError { step, cause: cause.to_string(), code: None }
    }
}
