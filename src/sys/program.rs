//! The program of a command, and faults of a command.

use std::path::PathBuf;

/// A syntax error in a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFault {
    /// In a line the byte offset, in an array the index of the word.
    pub position: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// Why a program cannot be found or started now. This may heal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFault {
    pub message: String,
    pub hint: Option<String>,
}

impl From<CommandFault> for ProgramFault {
    fn from(fault: CommandFault) -> ProgramFault {
        ProgramFault { message: fault.message, hint: fault.hint }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundProgram {
    pub path: PathBuf,
    /// A warning about how the program was found.
    pub warning: Option<String>,
}
