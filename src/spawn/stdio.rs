//! Makes the pipes between the server and a program.

use std::io;

use crate::model::plan::{Program, Stderr, Stdio};
use crate::sys::pipe::{self, End, Reader, Writer};

#[derive(Debug)]
pub struct ServerEnds {
    /// `None` if the program has the connection itself.
    pub pipes: Option<Pipes>,
    pub errors: Option<Reader>,
}

#[derive(Debug)]
pub struct Pipes {
    pub input: Writer,
    pub output: Reader,
}

#[derive(Debug)]
pub struct ChildEnds {
    pub pipes: Option<(End, End)>,
    pub errors: Option<End>,
}

/// Must be called within a runtime.
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
