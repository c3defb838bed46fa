//! Sockets on Windows.
//!
//! Only a socket without OVERLAPPED can be a standard stream, and an accepted socket inherits
//! this from its listener. So services with the socket binding have synchronous listeners,
//! those with pipes asynchronous ones.
//!
//! Windows serialises the calls on a synchronous socket: while a program reads, even a
//! shutdown by the server waits. So the server sets all options before the program has the
//! connection, and touches it again only once the whole tree is gone.

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

/// Sorts a failed accept by its cause: the connection, the listener or exhaustion.
pub fn accept_fault(error: &io::Error) -> AcceptFault {
    match error.raw_os_error() {
        Some(
            WSAECONNRESET | WSAECONNABORTED | WSAENOTCONN | WSAEINTR | WSAETIMEDOUT | WSAENETDOWN
            | WSAENETUNREACH | WSAEHOSTUNREACH,
        ) => AcceptFault::Connection,
        Some(WSAEBADF | WSAEFAULT | WSAEINVAL | WSAENOTSOCK | WSAEOPNOTSUPP) => AcceptFault::Listener,
        // WSAEMFILE, WSAENOBUFS and unknown codes: an immediate retry could spin.
        _ => AcceptFault::Exhausted,
    }
}

/// Whether a retry may succeed, because an ending process still has the address.
pub fn may_be_free_soon(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEADDRINUSE | WSAEACCES))
}

pub fn family_is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(WSAEAFNOSUPPORT)
}

pub fn bind_hint(error: &io::Error, address: &Address) -> Option<String> {
    let Address::Tcp(address) = address else { return None };
    match error.raw_os_error() {
        Some(WSAEADDRINUSE) => {
            Some(format!("`netstat -ano | findstr :{}` shows which process has it", address.port()))
        }
        Some(WSAEACCES) => Some(
            "another program has it for itself, or it lies in a reserved range: \
             `netsh interface ipv4 show excludedportrange protocol=tcp`"
                .to_owned(),
        ),
        Some(WSAEADDRNOTAVAIL) => Some("no interface has this address now".to_owned()),
        _ => None,
    }
}
