//! What a start of a program needs.

use std::ffi::OsString;
use std::path::Path;

use super::account::Account;
use super::attempt::Attempt;
use super::net::Socket;
use super::pipe;
use crate::model::command_line::CommandLine;
use crate::model::limits::Limits;

/// What to start, and on what.
pub struct Start<'a> {
    /// The command line of the service.
    pub command: &'a CommandLine,
    /// The directory to start in.
    pub directory: &'a Path,
    /// The whole environment.
    pub environment: &'a [(OsString, OsString)],
    /// The identity to take; without one the program runs as we do.
    pub account: Option<&'a Account>,
    /// What becomes the three streams.
    pub stdio: Stdio<'a>,
    /// Where what it writes to the third of them goes.
    pub errors: ErrorStream<'a>,
    /// What the program may use.
    pub limits: &'a Limits,
    /// How far the start has come, for the thread that waits for it.
    pub attempt: &'a Attempt,
}

/// What becomes a program's three streams.
#[derive(Debug, Clone, Copy)]
pub enum Stdio<'a> {
    /// A connection. The program and all that it starts are on their own.
    Connection(&'a Socket),
    /// Pipes, whose other ends the server has. As above.
    Pipes {
        /// What it reads.
        input: &'a pipe::End,
        /// What it writes.
        output: &'a pipe::End,
    },
    /// Our own streams. The program stays in our session, and has the keys of its terminal.
    Console,
}

/// Where what a program writes to its standard error goes.
#[derive(Debug, Clone, Copy)]
pub enum ErrorStream<'a> {
    /// Where its output goes.
    Output,
    /// Nowhere.
    Nowhere,
    /// Into a pipe of their own.
    Pipe(&'a pipe::End),
}
