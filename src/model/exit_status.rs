//! How a program ended, in the numbers of the systems.

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this code (on Windows also an exception's, such as `0xC0000005`).
    Code(u32),
    /// By this signal (Unix).
    Signal(i32),
}

impl ExitStatus {
    /// Whether it ended as no program ends that was written to: by a signal, by
    /// an exception, or because what it is linked to could not be loaded.
    pub fn is_abnormal(self) -> bool {
        const FIRST_EXCEPTION: u32 = 0xC000_0000;
        // What loaders of Unix, and shells that found no program, end with.
        const NOT_LOADED: u32 = 127;
        match self {
            ExitStatus::Signal(_) => true,
            ExitStatus::Code(code) => code >= FIRST_EXCEPTION || code == NOT_LOADED,
        }
    }

    /// Whether Windows' loader ended it, before its first instruction: a library
    /// or an entry of one is missing, is of another kind, or did not begin.
    pub fn is_not_loaded(self) -> bool {
        matches!(self, ExitStatus::Code(0xC000_0135 | 0xC000_0139 | 0xC000_007B)) || self.may_have_run_out()
    }

    /// Whether the loader may have ended it because the system had run out of
    /// something. A library of Windows does not begin without memory on the desktop
    /// heap, which all programs of a service manager's session share.
    pub fn may_have_run_out(self) -> bool {
        self == ExitStatus::Code(0xC000_0142)
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExitStatus::Signal(signal) => write!(formatter, "signal {signal}"),
            ExitStatus::Code(code) if *code > 255 => write!(formatter, "exit {code:#x}"),
            ExitStatus::Code(code) => write!(formatter, "exit {code}"),
        }
    }
}
