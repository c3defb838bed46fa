//! Binding a port: exclusively if possible, otherwise at least against other accounts.

use std::io;
use std::net::SocketAddr;
use std::os::windows::io::FromRawSocket;

use socket2::SockAddr;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, INVALID_SOCKET, IPPROTO_TCP, SO_EXCLUSIVEADDRUSE, SO_PROTOCOL_INFOW, SOCK_STREAM,
    SOL_SOCKET, WSA_FLAG_NO_HANDLE_INHERIT, WSA_FLAG_OVERLAPPED, WSAEACCES, WSAEADDRINUSE, WSAPROTOCOL_INFOW,
    WSASocketW, XP1_IFS_HANDLES, getsockopt, setsockopt,
};

use crate::model::plan::Stdio;

use super::super::fault::{self, Says};
use super::handle::raw_socket;
use super::listeners;

/// A bound socket that does not listen yet, and whether the bind is exclusive.
pub(super) fn bound_at(address: SocketAddr, stdio: Stdio) -> io::Result<(socket2::Socket, bool)> {
    match bound(address, stdio, Binding::Exclusive) {
        Ok(socket) => Ok((socket, true)),
        Err(error) if only_connections_are_in_the_way(&error, address) => {
            // Keep the first error, which names the cause: a reserved port refuses both binds.
            bound(address, stdio, Binding::Default).map(|socket| (socket, false)).map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

/// A new socket. Only a synchronous socket, without OVERLAPPED, can be a program's standard
/// stream. The server itself uses asynchronous ones: a non-blocking write on a synchronous
/// socket may block.
fn new_socket(address: SocketAddr, stdio: Stdio) -> io::Result<socket2::Socket> {
    fault::point("socket", Says::Sockets)?;
    let overlapped = if stdio == Stdio::Pipe { WSA_FLAG_OVERLAPPED } else { 0 };
    let family = if address.is_ipv6() { AF_INET6 } else { AF_INET };
    // SAFETY: no pointers; a returned socket is new.
    unsafe {
        let socket = WSASocketW(
            family.into(),
            SOCK_STREAM,
            IPPROTO_TCP,
            std::ptr::null(),
            0,
            WSA_FLAG_NO_HANDLE_INHERIT | overlapped,
        );
        if socket == INVALID_SOCKET {
            return Err(io::Error::last_os_error());
        }
        Ok(socket2::Socket::from_raw_socket(socket as _))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binding {
    /// No other program can bind the port. Fails while an earlier connection is open.
    Exclusive,
    Default,
}

fn bound(address: SocketAddr, stdio: Stdio, binding: Binding) -> io::Result<socket2::Socket> {
    let socket = new_socket(address, stdio)?;
    if address.is_ipv6() {
        // IPv4 gets a socket of its own, so that records show plain IPv4 addresses.
        socket.set_only_v6(true)?;
    }
    if binding == Binding::Exclusive {
        // Otherwise a program of the same account can bind the port and take its clients.
        exclusive(&socket)?;
        fault::point("bind:exclusive", Says::InUse)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Whether an exclusive bind failed because of connections alone. A connection of the former
/// listener keeps the port as long as its client likes. If the table cannot be read, false.
fn only_connections_are_in_the_way(error: &io::Error, address: SocketAddr) -> bool {
    let refused = matches!(error.raw_os_error(), Some(WSAEADDRINUSE | WSAEACCES));
    refused && matches!(listeners::any_on(address), Ok(false))
}

fn exclusive(socket: &socket2::Socket) -> io::Result<()> {
    fault::point("socket-option", Says::Memory)?;
    let on = 1i32;
    // SAFETY: the pointer is to four valid bytes, and the length is four.
    let result =
        unsafe { setsockopt(raw_socket(socket), SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (&raw const on).cast(), 4) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Old layered providers make sockets that are no file handles.
pub fn stdio_fault() -> Option<String> {
    let socket = new_socket(SocketAddr::from(([127, 0, 0, 1], 0)), Stdio::Socket).ok()?;
    // SAFETY: zeroes are valid and overwritten; the length is the structure's.
    let flags = unsafe {
        let mut info: WSAPROTOCOL_INFOW = std::mem::zeroed();
        let mut length = i32::try_from(size_of::<WSAPROTOCOL_INFOW>()).ok()?;
        let result = getsockopt(
            raw_socket(&socket),
            SOL_SOCKET,
            SO_PROTOCOL_INFOW,
            (&raw mut info).cast(),
            &raw mut length,
        );
        (result == 0).then_some(info.dwServiceFlags1)?
    };
    (flags & XP1_IFS_HANDLES == 0).then(|| {
        "a layered network provider on this host makes sockets that programs cannot use as standard streams; \
         `netsh winsock show catalog` lists it"
            .to_owned()
    })
}
