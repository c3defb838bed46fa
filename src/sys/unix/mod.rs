//! Unix: clone and pidfds on Linux, fork and SIGCHLD on the others.
//!
//! `--cfg portable_unix` builds the code of the others on Linux too, for tests.

pub mod account;
mod become_program;
#[cfg(all(target_os = "linux", not(portable_unix)))]
#[path = "cgroup_linux.rs"]
mod cgroup;
#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[path = "cgroup_none.rs"]
mod cgroup;
#[cfg(all(target_os = "linux", not(portable_unix)))]
mod cgroup_folder;
#[cfg(all(target_os = "linux", not(portable_unix)))]
mod cgroup_home;
#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[path = "child_sigchld.rs"]
pub mod child;
#[cfg(all(target_os = "linux", not(portable_unix)))]
#[path = "child_pidfd.rs"]
pub mod child;
#[cfg(all(target_os = "linux", not(portable_unix)))]
mod clone3;
mod close;
pub mod command;
pub mod connection;
pub mod control;
#[cfg(target_os = "linux")]
#[path = "counts_linux.rs"]
mod counts;
#[cfg(not(target_os = "linux"))]
#[path = "counts_none.rs"]
mod counts;
pub mod event_log;
mod groups;
#[cfg(all(target_os = "linux", not(portable_unix)))]
#[path = "growth_linux.rs"]
pub mod growth;
#[cfg(all(target_os = "linux", not(portable_unix)))]
#[path = "identity_clone.rs"]
mod identity;
#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[path = "identity_fork.rs"]
mod identity;
mod inherited;
pub mod init;
mod injected_failure;
#[cfg(all(target_os = "linux", not(portable_unix)))]
mod leftovers;
pub mod limits;
mod listener;
pub mod net;
pub mod notify;
#[cfg(all(target_os = "linux", not(portable_unix)))]
mod orphans;
pub mod paths;
#[cfg(all(target_os = "linux", not(portable_unix)))]
mod pidfd;
pub mod pipe;
mod poll;
pub mod process;
#[cfg(all(target_os = "linux", not(portable_unix)))]
mod reap;
#[cfg(all(target_os = "linux", not(portable_unix)))]
#[path = "relay_splice.rs"]
pub mod relay;
#[cfg(all(target_os = "linux", not(portable_unix)))]
mod remains;
#[cfg(all(target_os = "linux", not(portable_unix)))]
#[path = "report_clone.rs"]
mod report;
#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[path = "report_fork.rs"]
mod report;
mod socket;
pub mod spawn;
#[cfg(all(target_os = "linux", not(portable_unix)))]
#[path = "start_clone.rs"]
mod start_child;
#[cfg(not(all(target_os = "linux", not(portable_unix))))]
#[path = "start_fork.rs"]
mod start_child;
pub mod stop;
mod stream;
pub mod terminal;
mod terminal_relay;
mod terminal_signals;
#[cfg(test)]
mod tests;
pub mod text;
pub mod trust;
mod unix_socket;
mod waiter;

use super::Capabilities;
use crate::model::plan::Stdio;

pub const CAPABILITIES: Capabilities = Capabilities {
    byte_counts: cfg!(target_os = "linux"),
    native_stdio: Stdio::Socket,
    serial_sockets: false,
    refuses: "a service of root",
    all_rights: "root",
    passwords: false,
    code_page: false,
    table: "unix",
    unix_sockets: true,
    groups: true,
    profiles: false,
    open_files: true,
    sessions_outlive_us: true,
    leftovers_go_on: true,
};

/// The step at which a child failed, and errno.
type Failure = (super::Step, libc::c_int);

fn errno() -> libc::c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Does not allocate, so a new child may call it.
fn checked(result: impl Into<libc::c_long>) -> Result<(), libc::c_int> {
    if result.into() == -1 { Err(errno()) } else { Ok(()) }
}

fn check(result: libc::c_int) -> std::io::Result<libc::c_int> {
    if result == -1 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}
