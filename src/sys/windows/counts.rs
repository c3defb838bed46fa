//! What Windows tells of a connection.

use std::os::windows::io::AsRawSocket;

use windows_sys::Win32::Networking::WinSock::{
    SIO_TCP_INFO, TCP_INFO_v0, TCPSTATE_CLOSED, TCPSTATE_FIN_WAIT_2, TCPSTATE_TIME_WAIT, WSAIoctl,
};

use super::super::Counts;
use super::handle::raw_socket;

/// Whether the client has acknowledged all that was sent, and the end of the stream
/// after it. Windows 10 of 2017 and later tell.
pub(super) fn is_acknowledged(socket: &impl AsRawSocket) -> Option<bool> {
    let version = 0u32;
    let mut filled = 0;
    // SAFETY: the structure is plain numbers, the pointers and their lengths are those of
    // the two values, and without an OVERLAPPED the call is over when it returns.
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

/// Asks what moved on a connection, where the kernel counts.
#[derive(Debug, Clone)]
pub struct Counter(pub(super) ());

impl Counter {
    /// What the kernel counted: asking would wait for the program here.
    pub fn counts(&self) -> Option<Counts> {
        None
    }
}
