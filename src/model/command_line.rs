//! The command of a service as typed. `sys::command` parses it by the system's rules.

use std::ffi::OsString;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    pub text: CommandText,
    /// The name that the program receives instead of its own (`argv[0]`).
    pub own_name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandText {
    /// One line, which `sys::command` splits.
    Line(OsString),
    /// The program's name and its arguments, unchanged.
    Words(Vec<String>),
}

impl CommandLine {
    pub fn line(line: impl Into<OsString>) -> CommandLine {
        CommandLine { text: CommandText::Line(line.into()), own_name: None }
    }

    pub fn words(words: impl IntoIterator<Item = impl Into<String>>) -> CommandLine {
        CommandLine { text: CommandText::Words(words.into_iter().map(Into::into).collect()), own_name: None }
    }
}
