//! The program that a command means, and what is wrong with a command.

use std::path::PathBuf;

/// Why a command line can't be read. Its writer's fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFault {
    /// Where: in a line bytes from its start, in words the number of the word.
    pub position: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, if known.
    pub hint: Option<String>,
}

/// Why the program of a command line can't be found or started now. The
/// world's fault: it may heal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFault {
    /// What is wrong.
    pub message: String,
    /// What to do about it, if known.
    pub hint: Option<String>,
}

impl From<CommandFault> for ProgramFault {
    fn from(fault: CommandFault) -> ProgramFault {
        ProgramFault { message: fault.message, hint: fault.hint }
    }
}

/// The program that a command line means at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundProgram {
    /// Where it is.
    pub path: PathBuf,
    /// Said where the way it was found is worth a warning.
    pub warning: Option<String>,
}
