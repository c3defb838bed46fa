//! Parameters of a program start.

use std::ffi::OsString;
use std::path::Path;

use super::account::Account;
use super::attempt::Attempt;
use super::net::Socket;
use super::pipe;
use crate::model::command_line::CommandLine;
use crate::model::limits::Limits;

pub struct Start<'a> {
    pub command: &'a CommandLine,
    pub directory: &'a Path,
    pub environment: &'a [(OsString, OsString)],
    /// `None` runs the program as the server's account.
    pub account: Option<&'a Account>,
    pub stdio: Stdio<'a>,
    pub errors: ErrorStream<'a>,
    pub limits: &'a Limits,
    /// Reports progress to the thread that waits for the start.
    pub attempt: &'a Attempt,
}

#[derive(Debug, Clone, Copy)]
pub enum Stdio<'a> {
    /// The connection, in a new session or console process group.
    Connection(&'a Socket),
    /// Pipe ends, in a new session or console process group. The server has the other ends.
    Pipes {
        /// Standard input.
        input: &'a pipe::End,
        /// Standard output, and standard error with [`ErrorStream::Output`].
        output: &'a pipe::End,
    },
    /// The server's own streams. The program stays in this session and receives the terminal's key
    /// signals, such as SIGINT.
    Console,
}

#[derive(Debug, Clone, Copy)]
pub enum ErrorStream<'a> {
    /// With standard output.
    Output,
    Nowhere,
    Pipe(&'a pipe::End),
}
