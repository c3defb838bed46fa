//! How a connection becomes a program's streams: which pipes are made, and who
//! has which end.

use std::io;

use crate::model::plan::{Program, Stderr, Stdio};
use crate::sys::pipe::{self, End, Reader, Writer};

/// Our ends of a program's pipes.
#[derive(Debug)]
pub struct ServerEnds {
    /// Of its input and output, unless it has the connection itself.
    pub pipes: Option<Pipes>,
    /// Of its standard error, if that is for the log.
    pub errors: Option<Reader>,
}

/// Our ends of its input and output.
#[derive(Debug)]
pub struct Pipes {
    /// What it reads.
    pub input: Writer,
    /// What it writes.
    pub output: Reader,
}

/// The program's ends.
#[derive(Debug)]
pub struct ChildEnds {
    /// Of its input and output, unless it has the connection itself.
    pub pipes: Option<(End, End)>,
    /// Of its standard error, if that is for the log.
    pub errors: Option<End>,
}

/// Makes the pipes that a program needs. Must be called within a loop.
pub fn make(program: &Program) -> io::Result<(ServerEnds, ChildEnds)> {
    let (pipes, their_pipes) = match program.stdio {
        Stdio::Socket => (None, None),
        Stdio::Pipe => {
            let ((input, their_input), (output, their_output)) = (pipe::to_program()?, pipe::from_program()?);
            (Some(Pipes { input, output }), Some((their_input, their_output)))
        }
    };
    let (errors, their_errors) = match program.stderr {
        Stderr::Client | Stderr::Discard => (None, None),
        Stderr::Log => pipe::from_program().map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
    };
    Ok((ServerEnds { pipes, errors }, ChildEnds { pipes: their_pipes, errors: their_errors }))
}
