//! The interface to the operating systems, with the same names on each. Only this module has
//! `unsafe`, and only it and `host` ask which system this is.
//!
//! Each system exports the same contract:
//!
//! | name | contract |
//! | --- | --- |
//! | [`process::prepare`] | before any thread: no inherited handles, higher limits, no dialogs |
//! | [`process::borrowed_rights`] | rights that the starter lacks and the program file gives |
//! | [`net::Listener`] | a bound, non-inheritable socket in the poll set; `accept` never blocks |
//! | [`net::Socket`] | a connection outside the poll set; after a program had it, calls may block |
//! | [`net::Waiter`] | tells the loop when such a connection is readable, without a call on it |
//! | [`net::Stream`] | a connection that no program has; the server reads and writes in the loop |
//! | [`net::Counter`] | a connection's byte counts, from any thread, where the kernel counts |
//! | [`pipe`] | pipes to and from a program; only the program's end blocks |
//! | [`relay`] | moves bytes between a connection and pipes, in the kernel where possible |
//! | [`growth`] | enlarges a pipe during bulk transfer, where possible |
//! | [`files`] | opens regular files and refuses anything else at their path |
//! | [`fault`] | injected failures of system calls, in debug builds |
//! | [`net::accept_fault`] | the cause of an accept error |
//! | [`attempt::Attempt`] | a start in progress, which another thread can cancel |
//! | [`spawn::spawn`] | starts a program; blocks, so only spawn threads call it |
//! | [`child::Child`] | waits for a program, asks it to end, terminates its tree |
//! | [`connection`] | socket options, and the identity of a connection across processes |
//! | [`child::stuck`] | how many killed processes and trees have not gone |
//! | [`child::leftovers_have`] | whether a leftover process has a connection (Linux) |
//! | [`limits`] | why this system cannot enforce a limit now |
//! | [`account`] | assumes an identity, or reports the step that failed |
//! | [`command::Command`] | a command parsed by the system's rules, and its program |
//! | [`text`] | bytes of a file as the system's text |
//! | [`stop::Stop`] | the system's requests to stop or reload |
//! | [`control`] | the channel between a verb and the running server, with both identities |
//! | [`trust`] | accounts that can change or read a file, and the command that fixes it |
//! | [`event_log`] | the system's own log for administrators, if it has one |
//! | [`paths`] | default paths |
//! | [`CAPABILITIES`] | what this system can do, for messages and defaults |

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
