//! Sockets on Unix, and the meaning of bind and accept errors.

use std::io::{self, ErrorKind};

use super::super::AcceptFault;
use super::unix_socket;
use crate::model::listen::Address;

pub use super::inherited::Inherited;
pub use super::listener::Listener;
pub use super::socket::Socket;
pub use super::stream::{Counter, Stream};
pub use super::waiter::{Ready, Waiter, Watched};

pub fn accept_fault(error: &io::Error) -> AcceptFault {
    match error.raw_os_error() {
        Some(
            libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EINTR
            | libc::EPERM
            | libc::EPROTO
            | libc::ETIMEDOUT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT,
        ) => AcceptFault::Connection,
        Some(libc::EBADF | libc::EFAULT | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP) => {
            AcceptFault::Listener
        }
        // EMFILE, ENFILE, ENOBUFS, ENOMEM and unknown errors: an immediate retry could spin.
        _ => AcceptFault::Exhausted,
    }
}

/// Whether a retry may succeed soon, because a process that ends has the address.
pub fn may_be_free_soon(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrInUse
}

pub fn family_is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT))
}

pub fn bind_hint(error: &io::Error, address: &Address) -> Option<String> {
    let address = match address {
        Address::Tcp(address) => address,
        Address::Unix(path) => return unix_socket::bind_hint(error, path),
    };
    match error.raw_os_error() {
        Some(libc::EACCES) => Some(format!(
            "ports below 1024 need root, or `sysctl net.ipv4.ip_unprivileged_port_start={}`",
            address.port()
        )),
        // An outgoing connection may hold the port too, even one that has ended.
        Some(libc::EADDRINUSE) => {
            Some(format!("`ss -tanp 'sport = :{}'` shows which process has it", address.port()))
        }
        Some(libc::EADDRNOTAVAIL) => Some("no interface has this address now".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn hint_for_a_taken_port_lists_connections_and_listeners() {
        let address = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 7)));
        let hint = bind_hint(&io::Error::from_raw_os_error(libc::EADDRINUSE), &address).unwrap();
        assert_eq!(hint, "`ss -tanp 'sport = :7'` shows which process has it");
    }
}
