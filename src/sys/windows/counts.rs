//! What Windows reports about a connection.

use std::os::windows::io::AsRawSocket;

use windows_sys::Win32::Networking::WinSock::{
    SIO_TCP_INFO, TCP_INFO_v0, TCPSTATE_CLOSED, TCPSTATE_FIN_WAIT_2, TCPSTATE_TIME_WAIT, WSAIoctl,
};

use super::super::Counts;
use super::handle::raw_socket;

/// Whether the client has acknowledged all data and the end of the stream. `None` before
/// Windows 10 version 1703.
pub(super) fn is_acknowledged(socket: &impl AsRawSocket) -> Option<bool> {
    let version = 0u32;
    let mut filled = 0;
    // SAFETY: the structure is plain numbers, and pointers and lengths are those of the two
    // values. Without an OVERLAPPED the call completes before it returns.
    let info = unsafe {
        let mut info: TCP_INFO_v0 = std::mem::zeroed();
        let result = WSAIoctl(
            raw_socket(socket),
            SIO_TCP_INFO,
            (&raw const version).cast(),
            u32::try_from(size_of::<u32>()).ok()?,
            (&raw mut info).cast(),
            u32::try_from(size_of::<TCP_INFO_v0>()).ok()?,
            &raw mut filled,
            std::ptr::null_mut(),
            None,
        );
        (result == 0).then_some(info)?
    };
    Some(matches!(info.State, TCPSTATE_FIN_WAIT_2 | TCPSTATE_TIME_WAIT | TCPSTATE_CLOSED))
}

#[derive(Debug, Clone)]
pub struct Counter(pub(super) ());

impl Counter {
    /// Always `None`: the query would wait for the program's read.
    pub fn counts(&self) -> Option<Counts> {
        None
    }
}
