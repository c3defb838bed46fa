//! A child's progress after fork: it writes each step and its failure into a pipe.

use std::ffi::c_int;
use std::io::PipeWriter;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;

use super::super::Step;

pub(super) struct ChildReport<'a> {
    writer: c_int,
    pipe: PhantomData<&'a PipeWriter>,
}

/// Instead of errno: the child has reached the step.
pub(super) const REACHED: c_int = 0;

impl<'a> ChildReport<'a> {
    pub(super) fn to(writer: &'a PipeWriter) -> ChildReport<'a> {
        ChildReport { writer: writer.as_raw_fd(), pipe: PhantomData }
    }

    pub(super) fn reaches(&self, step: Step) {
        self.write(step, REACHED);
    }

    pub(super) fn kept(&self) -> Option<c_int> {
        Some(self.writer)
    }

    pub(super) fn fails(&self, step: Step, code: c_int) {
        self.write(step, if code == REACHED { libc::EIO } else { code });
    }

    fn write(&self, step: Step, code: c_int) {
        let place = Step::ALL.iter().position(|&other| other == step).unwrap_or(0);
        let message = [c_int::try_from(place).unwrap_or(0), code];
        // SAFETY: the pointer and the length are those of the message.
        unsafe { libc::write(self.writer, message.as_ptr().cast(), size_of_val(&message)) };
    }
}
