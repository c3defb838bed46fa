//! Sockets on Windows.
//!
//! Only a socket without the OVERLAPPED attribute can be a program's standard
//! stream, and an accepted socket has the attributes of its listener. So the
//! listeners of services with the socket binding are made without it, and those
//! of services with pipes with it. The loop polls both: it asks the driver
//! through a handle of its own.
//!
//! All input and output on a socket without it is serialised: while a
//! program sits in a read, even our shutdown would wait. So everything about a
//! connection is asked and set before the program has it, and it is touched
//! again only when the program's whole tree is gone.

use std::io;

use windows_sys::Win32::Networking::WinSock::{
    WSAEACCES, WSAEADDRINUSE, WSAEADDRNOTAVAIL, WSAEAFNOSUPPORT, WSAEBADF, WSAECONNABORTED, WSAECONNRESET,
    WSAEFAULT, WSAEHOSTUNREACH, WSAEINTR, WSAEINVAL, WSAENETDOWN, WSAENETUNREACH, WSAENOTCONN, WSAENOTSOCK,
    WSAEOPNOTSUPP, WSAETIMEDOUT,
};

use super::super::AcceptFault;
use crate::model::listen::Address;

pub use super::counts::Counter;
pub use super::listener::{Inherited, Listener};
pub use super::socket::Socket;
pub use super::stream::Stream;
pub use super::waiter::{Ready, Waiter, Watched};

/// Whose fault a failed accept is.
pub fn accept_fault(error: &io::Error) -> AcceptFault {
    match error.raw_os_error() {
        Some(
            WSAECONNRESET | WSAECONNABORTED | WSAENOTCONN | WSAEINTR | WSAETIMEDOUT | WSAENETDOWN
            | WSAENETUNREACH | WSAEHOSTUNREACH,
        ) => AcceptFault::Connection,
        Some(WSAEBADF | WSAEFAULT | WSAEINVAL | WSAENOTSOCK | WSAEOPNOTSUPP) => AcceptFault::Listener,
        // WSAEMFILE, WSAENOBUFS, and what nobody has thought of: going on at
        // once could spin.
        _ => AcceptFault::Exhausted,
    }
}

/// Whether a failed bind may succeed in a moment, because a process that ends has
/// the address. The system says either code for that.
pub fn may_be_free_soon(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEADDRINUSE | WSAEACCES))
}

/// Whether a failed bind means that the host lacks the address family.
pub fn family_is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(WSAEAFNOSUPPORT)
}

/// What to do about a failed bind, where that is known.
pub fn bind_hint(error: &io::Error, address: &Address) -> Option<String> {
    let Address::Tcp(address) = address else { return None };
    match error.raw_os_error() {
        Some(WSAEADDRINUSE) => Some(format!("`netstat -ano | findstr :{}` shows who has it", address.port())),
        Some(WSAEACCES) => Some(
            "another program has it for itself, or it lies in a reserved range: \
             `netsh interface ipv4 show excludedportrange protocol=tcp`"
                .to_owned(),
        ),
        Some(WSAEADDRNOTAVAIL) => Some("no interface has this address now".to_owned()),
        _ => None,
    }
}
