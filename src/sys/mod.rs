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
//! | [`limits`] | why this system cannot keep a limit of a program now |
//! | [`account`] | takes an identity, or says at which step it could not |
//! | [`command::Command`] | a command line as the system reads it, or arguments, and the program that it names |
//! | [`text`] | bytes of a file as the system's text |
//! | [`stop::Stop`] | the requests that this system can send us: to stop, to read the files again |
//! | [`control`] | the channel by which a verb reaches the running server, and who is at its ends |
//! | [`trust`] | who can change or read a file or folder, and the command that mends it |
//! | [`event_log`] | the system's own log for administrators, where it has one |
//! | [`paths`] | where files are by default |
//! | [`CAPABILITIES`] | what this system can't do, for messages |

pub mod attempt;
mod capabilities;
pub mod fault;
pub mod files;
#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[path = "growth_none.rs"]
pub mod growth;
mod others;
mod program;
#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[path = "relay_copy.rs"]
pub mod relay;
mod requests;
mod start;
mod step;
mod traffic;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as imp;
#[cfg(windows)]
use windows as imp;

pub use capabilities::Capabilities;
pub use imp::{
    CAPABILITIES, account, child, command, connection, control, event_log, limits, net, paths, pipe, process,
    spawn, stop, terminal, text, trust,
};
pub use others::{Other, Others};
pub use program::{CommandFault, FoundProgram, ProgramFault};
pub use requests::{ControlFault, StopRequest, SystemRequest};
pub use start::{ErrorStream, Start, Stdio};
pub use step::{SpawnError, Step};
pub use traffic::{AcceptFault, Broken, Counts, Drained, Moved};
#[cfg(all(target_os = "linux", not(portable_unix)))]
pub use unix::{growth, relay};
#[cfg(unix)]
pub use unix::{init, notify};
#[cfg(windows)]
pub use windows::{passwords, prompt, registry, rights, scm, service, tool};
