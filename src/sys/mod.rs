//! The systems, behind one set of names: the only `unsafe` and, with `host`,
//! the only place that asks which system this is.
//!
//! Both sides export the same contract:
//!
//! | name | contract |
//! | --- | --- |
//! | [`process::prepare`] | once, before any thread: nothing of ours can be inherited, descriptor limit raised, no crash dialogs |
//! | [`process::borrowed_rights`] | rights that the program file gives and the starter does not have |
//! | [`net::Listener`] | a bound, non-inheritable socket in the loop's poll set; `accept` never blocks |
//! | [`net::Socket`] | one connection, never in the poll set while a program has it. Once a program has had it any call on it may wait, the last close too |
//! | [`net::Waiter`] | tells the loop when such a connection is readable, without a call on it |
//! | [`net::Stream`] | the same connection while no program has it: the server itself reads and writes, and waits in the loop |
//! | [`net::Counter`] | asks what moved on a connection, from any thread, where the kernel counts |
//! | [`pipe`] | pipes to and from a program: our end waits in the loop, the program's is a plain blocking one |
//! | [`relay`] | moves bytes between such a connection and pipes, by the kernel where it can |
//! | [`growth`] | makes a pipe larger while bulk flows through it, where that can be |
//! | [`files`] | opens files and nothing that only lies in their place |
//! | [`fault`] | where a build for tests lets a call fail |
//! | [`net::accept_fault`] | whose fault an accept error is |
//! | [`attempt::Attempt`] | a start under way: how far it has come, and how another thread cancels it |
//! | [`spawn::spawn`] | starts a program on a connection; blocks, so it is called on spawn threads only |
//! | [`child::Child`] | waits for a program, asks it to end, ends its whole tree, knows how it ended |
//! | [`connection`] | options of a connection, and by what processes that have it are known |
//! | [`child::leftovers_have`] | whether a process that a program left behind has a connection, where the system shows it |
//! | [`limits`] | why this system can't keep a limit now |
//! | [`account`] | takes an identity, or says at which step it could not |
//! | [`command::Command`] | a command line as the system reads it, or arguments, and the program that it names |
//! | [`limits`] | which limits of a program this system can't keep |
//! | [`text`] | bytes of a file as the system's text |
//! | [`stop::Stop`] | the requests that this system can send us: to stop, to read the files again |
//! | [`control`] | the channel by which a verb reaches the running server, and who is at its ends |
//! | [`trust`] | who can change or read a file or folder, and the command that mends it |
//! | [`event_log`] | the system's own log for administrators, where it has one |
//! | [`paths`] | where files are by default |
//! | [`CAPABILITIES`] | what this system can't do, for messages |

pub mod attempt;
pub mod fault;
pub mod files;
#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[path = "growth_none.rs"]
pub mod growth;
#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[path = "relay_copy.rs"]
pub mod relay;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

use crate::model::command_line::CommandLine;
use crate::model::limits::Limits;

/// Who, beside administrators and ourselves, can change something, or read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// Those who may be anybody: what they can change is not trusted.
    pub anyone: Vec<Other>,
    /// Single accounts and groups, which somebody may have meant.
    pub some: Vec<Other>,
}

/// An account or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its name, for people.
    pub name: String,
    /// As the system's own tools take it.
    pub id: String,
}

impl Others {
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.anyone.is_empty() && self.some.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Other> {
        self.anyone.iter().chain(&self.some)
    }

    /// Their names, for a sentence.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.iter().map(|other| &*other.name).collect();
        names.join(", ")
    }
}

/// What differs between systems in what users may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// The kernel counts the bytes of a connection, so that an idle one can be
    /// found while a program has the socket.
    pub byte_counts: bool,
    /// How a connection becomes a program's streams, where a native file does
    /// not say it.
    pub native_stdio: crate::model::plan::Stdio,
    /// Input and output of one socket wait for one another, and some runtimes cannot use
    /// a socket as their standard streams.
    pub serial_sockets: bool,
    /// Who refuses a file that strangers can change, in words.
    pub refuses: &'static str,
    /// The account that has all rights.
    pub all_rights: &'static str,
    /// An account needs its password to be taken.
    pub passwords: bool,
    /// Bytes of a file that are not UTF-8 are text in the system's code page;
    /// elsewhere they are taken as they are.
    pub code_page: bool,
    /// The table of a native file that is for this system.
    pub table: &'static str,
    /// Clients may come in by sockets in the file system.
    pub unix_sockets: bool,
    /// A program may have another group than its account's own.
    pub groups: bool,
    /// Accounts have profiles that are loaded.
    pub profiles: bool,
    /// The descriptors of a program can be limited.
    pub open_files: bool,
    /// Sessions can go on when the server ends.
    pub sessions_outlive_us: bool,
    /// Processes that a program leaves behind can go on.
    pub leftovers_go_on: bool,
}

/// What the system wants of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To stop.
    Stop(StopRequest),
    /// To read the files again.
    Reload {
        /// What it was, for the log.
        why: &'static str,
    },
}

/// A request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopRequest {
    /// What it was, for the log.
    pub why: &'static str,
    /// The system ends us by force after this.
    pub at_most: Option<std::time::Duration>,
}

/// Why a running server can't be asked.
#[derive(Debug)]
pub enum ControlFault {
    /// No server is there.
    Absent,
    /// The system keeps us from it.
    NotPermitted(std::io::Error),
    /// A server is there that we do not trust.
    Stranger {
        /// Who runs it.
        owner: String,
    },
    /// No channel can have this name; in words.
    Name(String),
    /// Something else.
    Other(std::io::Error),
}

/// Whose fault a failed accept is, and so what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFault {
    /// The client's: it went away, or the network refused it. Go on at once; a
    /// pause here would let one client slow all others.
    Connection,
    /// The process or the system is out of descriptors or memory: wait.
    Exhausted,
    /// The listener's own: close it and bind again.
    Listener,
}

/// How far dropping what a client still sends has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// The client has ended its stream.
    End,
    /// Nothing is there for now.
    Empty,
    /// There is more, but others get their turn first.
    More,
}

/// What the kernel counted on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Bytes from the client that arrived in order.
    pub received: u64,
    /// Bytes to the client that it acknowledged.
    pub acknowledged: u64,
    /// Bytes to the client that were sent at all; `None` where nothing tells.
    pub sent: Option<u64>,
    /// Time since data last arrived, or an acknowledgement did.
    pub quiet: std::time::Duration,
    /// The client has ended its stream, by an end or by a reset.
    pub end_received: bool,
}

/// What one step of a direction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes.
    Bytes(usize),
    /// Its source has ended.
    End,
}

/// Why a direction can't go on.
#[derive(Debug)]
pub enum Broken {
    /// Where bytes came from.
    Source(std::io::Error),
    /// Where they went.
    Sink(std::io::Error),
}

/// Why a command line can't be read. Its writer's fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFault {
    /// Where: in a line bytes from its start, in words the number of the word.
    pub position: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, if known.
    pub hint: Option<String>,
}

/// Why the program of a command line can't be found or started now. The
/// world's fault: it may heal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFault {
    /// What is wrong.
    pub message: String,
    /// What to do about it, if known.
    pub hint: Option<String>,
}

impl From<CommandFault> for ProgramFault {
    fn from(fault: CommandFault) -> ProgramFault {
        ProgramFault { message: fault.message, hint: fault.hint }
    }
}

/// The program that a command line means at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where it is.
    pub path: std::path::PathBuf,
    /// Said where the way it was found is worth a warning.
    pub warning: Option<String>,
}

/// What to start, and on what.
pub struct Start<'a> {
    /// The command line of the service.
    pub command: &'a CommandLine,
    /// The directory to start in.
    pub directory: &'a std::path::Path,
    /// The whole environment.
    pub environment: &'a [(std::ffi::OsString, std::ffi::OsString)],
    /// The identity to take; without one the program runs as we do.
    pub account: Option<&'a account::Account>,
    /// What becomes the three streams.
    pub stdio: Stdio<'a>,
    /// Where what it writes to the third of them goes.
    pub errors: Errors<'a>,
    /// What the program may use.
    pub limits: &'a Limits,
    /// How far the start has come, for the thread that waits for it.
    pub attempt: &'a attempt::Attempt,
}

/// What becomes a program's three streams.
#[derive(Debug, Clone, Copy)]
pub enum Stdio<'a> {
    /// A connection. The program and all that it starts are on their own.
    Connection(&'a net::Socket),
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
pub enum Errors<'a> {
    /// Where its output goes.
    Output,
    /// Nowhere.
    Nowhere,
    /// Into a pipe of their own.
    Pipe(&'a pipe::End),
}

/// The step at which a program could not be started. Its name is the `step`
/// of the connection's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The account is not known here.
    Account,
    /// The account refused the logon (Windows).
    Logon,
    /// The account's profile or environment could not be loaded (Windows).
    Profile,
    /// The program is not where the command line says.
    Program,
    /// The three streams could not be made.
    Stdio,
    /// The job that holds the program's tree could not be made (Windows).
    Job,
    /// The process could not be made.
    Spawn,
    /// A session of its own (Unix).
    Session,
    /// What the process may use (Unix).
    Limits,
    /// A session keyring of its own (Linux).
    Keyring,
    /// Supplementary groups (Unix).
    Groups,
    /// The group (Unix).
    Group,
    /// The user (Unix).
    User,
    /// Privileges were still there after the change of identity (Unix).
    Privileges,
    /// The directory to start in.
    Directory,
    /// The program itself.
    Exec,
}

impl Step {
    /// Every step, in the order of a start.
    pub const ALL: [Step; 16] = [
        Step::Account,
        Step::Logon,
        Step::Profile,
        Step::Program,
        Step::Stdio,
        Step::Job,
        Step::Spawn,
        Step::Session,
        Step::Limits,
        Step::Keyring,
        Step::Groups,
        Step::Group,
        Step::User,
        Step::Privileges,
        Step::Directory,
        Step::Exec,
    ];

    /// The step's name in records.
    pub fn name(self) -> &'static str {
        match self {
            Step::Account => "account",
            Step::Logon => "logon",
            Step::Profile => "profile",
            Step::Program => "program",
            Step::Stdio => "stdio",
            Step::Job => "job",
            Step::Spawn => "spawn",
            Step::Session => "session",
            Step::Limits => "limits",
            Step::Keyring => "keyring",
            Step::Groups => "groups",
            Step::Group => "group",
            Step::User => "user",
            Step::Privileges => "privileges",
            Step::Directory => "directory",
            Step::Exec => "exec",
        }
    }
}

/// A program that was not started, and at which step.
#[derive(Debug)]
pub struct SpawnError {
    /// The step that failed.
    pub step: Step,
    /// What the system said, and what to do about it where that is known.
    pub cause: String,
    /// The system's number for it, where somebody decides by it.
    pub code: Option<i32>,
}

impl From<ProgramFault> for SpawnError {
    fn from(fault: ProgramFault) -> SpawnError {
        SpawnError::new(Step::Program, fault.message)
    }
}

impl SpawnError {
    /// An error of the system's at `step`, with its number: the system may have run
    /// out of something, which says nothing of the program.
    pub fn of_system(step: Step, error: &std::io::Error) -> Self {
        SpawnError { step, cause: error.to_string(), code: error.raw_os_error() }
    }

    /// An error of `step` in the system's words.
    pub fn new(step: Step, cause: impl std::fmt::Display) -> Self {
        SpawnError { step, cause: cause.to_string(), code: None }
    }
}
