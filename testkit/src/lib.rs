//! The world around wininetd in its tests: a daemon, its clients, and a gate
//! where programs and tests meet. Nothing here sleeps: everything waits for an
//! event, with a limit after which the test fails and shows the log.
#![allow(clippy::disallowed_methods)] // it starts wininetd, not what wininetd serves

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

/// How long a test waits for anything. Far beyond what any step takes, even
/// under Wine on a busy machine: reaching it is a failure, never a delay.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The folder that cargo builds programs into.
fn built() -> PathBuf {
    let mut folder = std::env::current_exe().expect("the test's own path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder
}

/// The program under test.
pub fn wininetd() -> PathBuf {
    built().join(format!("wininetd{}", std::env::consts::EXE_SUFFIX))
}

/// The probe's command line: `probe` and what it is to do.
pub fn probe(what: &str) -> String {
    format!("{} {what}", quoted(&probe_path()))
}

/// A line of the classic file whose program is the probe, as the server itself.
pub fn probe_line(port: u16, what: &str) -> String {
    format!("{port} none {}", probe(what))
}

/// The probe itself.
pub fn probe_path() -> PathBuf {
    let path = built().join("examples").join(format!("probe{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: `cargo build --examples` makes it", path.display());
    path
}

/// Bytes of which each place knows its own, as the probe knows them too.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251).to_le_bytes()[0] ^ (at / 251).to_le_bytes()[0]).collect()
}

/// A path as a word of a command line.
pub fn quoted(path: &std::path::Path) -> String {
    format!("\"{}\"", path.display())
}

/// A port that nothing listens on, in neither family. Outside of the range
/// that the system gives to clients, so that no connection takes it meanwhile,
/// and never the same twice in one process.
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
            // A host without IPv6 has no such port to take.
            Err(error) => error.kind() == std::io::ErrorKind::Unsupported || error.raw_os_error() == Some(97),
        };
        if free(Ipv4Addr::UNSPECIFIED.into()) && free(Ipv6Addr::UNSPECIFIED.into()) {
            return port;
        }
    }
    panic!("no free port");
}

/// Whether an address can be bound. Nothing listens there in between: a program
/// that another test is just starting has a copy of the socket until it begins.
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
