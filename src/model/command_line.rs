//! The command of a service as it was typed. `sys::command` reads it by the rules
//! of the system.

use std::ffi::OsString;

/// A program with its arguments, and the name that the program receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program and its arguments.
    pub text: CommandText,
    /// The program receives this in the place of its own name.
    pub own_name: Option<String>,
}

/// How a command was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandText {
    /// One line, which the system splits by its own rules.
    Line(OsString),
    /// The program's name and its arguments, which are taken as they are.
    Words(Vec<String>),
}

impl CommandLine {
    /// A command that is one line.
    pub fn line(line: impl Into<OsString>) -> CommandLine {
        CommandLine { text: CommandText::Line(line.into()), own_name: None }
    }

    /// A command that is an array of words.
    pub fn words(words: impl IntoIterator<Item = impl Into<String>>) -> CommandLine {
        CommandLine { text: CommandText::Words(words.into_iter().map(Into::into).collect()), own_name: None }
    }
}
