//! The environment of wininetd in its tests: a daemon, its clients, and a gate that test programs
//! connect to. Tests wait for events and do not sleep. After a time limit a wait fails the test and
//! shows the log.
#![allow(clippy::disallowed_methods)] // starts wininetd itself, not its services

pub mod channel;
mod client;
mod daemon;
pub mod faults;
mod gate;
mod held;
pub mod proxy;
#[cfg(windows)]
pub mod service;
mod system;
#[cfg(unix)]
mod terminal;
#[cfg(feature = "tls")]
pub mod tls;

pub use client::Client;
pub use daemon::{Builder, Daemon, Finished, as_the_server, run, run_with_input};
pub use gate::{Gate, Visitor};
#[cfg(unix)]
pub use held::stopped_children;
pub use held::{Held, processor_time, zombies};
pub use serde_json::Value;
#[cfg(unix)]
pub use system::with_default_signals;
pub use system::{copy_program, has_all_rights, is_wine};
#[cfg(unix)]
pub use terminal::Terminal;

use std::path::PathBuf;
use std::time::Duration;

/// The time limit of every wait. It is far longer than any step takes, even under Wine on a busy
/// machine. A test that reaches it fails.
pub const LIMIT: Duration = Duration::from_secs(60);

fn built() -> PathBuf {
    let mut folder = std::env::current_exe().expect("the test's own path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder
}

pub fn wininetd() -> PathBuf {
    built().join(format!("wininetd{}", std::env::consts::EXE_SUFFIX))
}

/// A command line that runs the probe with these arguments.
pub fn probe(what: &str) -> String {
    format!("{} {what}", quoted(&probe_path()))
}

/// A line of the classic file that runs the probe as the server's own user.
pub fn probe_line(port: u16, what: &str) -> String {
    format!("{port} none {}", probe(what))
}

pub fn probe_path() -> PathBuf {
    let path = built().join("examples").join(format!("probe{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: `cargo build --examples` makes it", path.display());
    path
}

/// Bytes that depend on their position. The probe creates the same pattern.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251).to_le_bytes()[0] ^ (at / 251).to_le_bytes()[0]).collect()
}

/// A path in quotes, for a command line.
pub fn quoted(path: &std::path::Path) -> String {
    format!("\"{}\"", path.display())
}

/// A port without a listener in IPv4 and IPv6. It lies outside the range of ephemeral ports, so no
/// connection takes it meanwhile. Each call in a process returns another port.
pub fn free_port() -> u16 {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_240;
    const RANGE: u32 = 20_000;
    for _ in 0..RANGE {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(97);
        let port = u16::try_from(FIRST + (start.wrapping_add(step)) % RANGE).expect("a port");
        let free = |address: IpAddr| match bind((address, port).into()) {
            Ok(()) => true,
            // A host without IPv6 cannot have a conflict there. 97 is EAFNOSUPPORT.
            Err(error) => error.kind() == std::io::ErrorKind::Unsupported || error.raw_os_error() == Some(97),
        };
        if free(Ipv4Addr::UNSPECIFIED.into()) && free(Ipv6Addr::UNSPECIFIED.into()) {
            return port;
        }
    }
    panic!("no free port");
}

/// Tries to bind an address without listening on it. A program that another test starts meanwhile
/// holds a copy of the socket until its exec. A listening copy would occupy the port.
fn bind(address: std::net::SocketAddr) -> std::io::Result<()> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}
