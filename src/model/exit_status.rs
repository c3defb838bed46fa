//! How a program ended.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// An exit code, or on Windows an exception such as `0xC0000005`.
    Code(u32),
    Signal(i32),
}

impl ExitStatus {
    /// Whether the end looks like a fault: a signal, an exception, or a program that did not load.
    pub fn is_abnormal(self) -> bool {
        const FIRST_EXCEPTION: u32 = 0xC000_0000;
        // The exit code of Unix loaders, and of shells that find no program.
        const NOT_LOADED: u32 = 127;
        match self {
            ExitStatus::Signal(_) => true,
            ExitStatus::Code(code) => code >= FIRST_EXCEPTION || code == NOT_LOADED,
        }
    }

    /// Whether the Windows loader ended the program before its first instruction. A library or an
    /// entry point is missing, has the wrong format, or failed to initialize.
    pub fn is_not_loaded(self) -> bool {
        matches!(self, ExitStatus::Code(0xC000_0135 | 0xC000_0139 | 0xC000_007B)) || self.may_have_run_out()
    }

    /// Whether the loader may have failed because the system ran out of resources. A library cannot
    /// initialize without memory on the desktop heap. All programs in the service manager's session
    /// share that heap.
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
