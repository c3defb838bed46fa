//! Listening sockets from a service manager, see sd_listen_fds(3).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use socket2::{SockRef, Type};

use crate::core::inherited::InheritedSocket;
use crate::model::listen::Address;

#[derive(Debug)]
pub struct Inherited {
    pub(super) descriptor: OwnedFd,
    pub(super) given: InheritedSocket,
}

const FIRST: RawFd = 3;
/// Limit of descriptors, because the environment gives the number.
const MOST: RawFd = 4096;

impl Inherited {
    pub fn given(&self) -> &InheritedSocket {
        &self.given
    }

    /// Returns the sockets, and a message for each unusable descriptor. Call it before anything
    /// else is opened.
    pub fn take() -> (Vec<Inherited>, Vec<String>) {
        let mut found = Vec::new();
        let mut faults = Vec::new();
        for number in FIRST..FIRST + count() {
            // SAFETY: F_GETFD only looks whether the descriptor is open.
            if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
                faults.push(format!("LISTEN_FDS names descriptor {number}, which is not open"));
                continue;
            }
            // SAFETY: LISTEN_PID gives us this descriptor, and no other code has opened one yet.
            let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
            match listening(&descriptor) {
                Ok(given) => found.push(Inherited { descriptor, given }),
                Err(why) => faults.push(format!("descriptor {number} of LISTEN_FDS is closed: {why}")),
            }
        }
        (found, faults)
    }
}

fn count() -> RawFd {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    // Below our own init, LISTEN_PID names the init.
    let for_us =
        number("LISTEN_PID").is_some_and(|pid| pid == std::process::id() || super::init::stands_for(pid));
    let count = number("LISTEN_FDS").filter(|_| for_us).unwrap_or(0);
    RawFd::try_from(count).unwrap_or(MOST).min(MOST)
}

fn listening(descriptor: &OwnedFd) -> Result<InheritedSocket, String> {
    let socket = SockRef::from(descriptor);
    let said = |error: io::Error| error.to_string();
    if socket.r#type().map_err(said)? != Type::STREAM || !is_listening(descriptor).map_err(said)? {
        return Err("it does not listen for streams".to_owned());
    }
    let bound = socket.local_addr().map_err(said)?;
    if let Some(path) = bound.as_pathname() {
        return Ok(InheritedSocket { address: Address::Unix(path.to_owned()), dual_stack: false });
    }
    let Some(address) = bound.as_socket() else {
        return Err("it has no internet address and no path in the file system".to_owned());
    };
    let dual_stack = address.is_ipv6() && !socket.only_v6().map_err(said)?;
    Ok(InheritedSocket { address: address.into(), dual_stack })
}

fn is_listening(descriptor: &OwnedFd) -> io::Result<bool> {
    let (mut value, mut length): (libc::c_int, libc::socklen_t) = (0, 4);
    // SAFETY: the value is four bytes, as the length says.
    super::check(unsafe {
        libc::getsockopt(
            descriptor.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value != 0)
}
