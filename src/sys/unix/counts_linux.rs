//! What Linux counted on a connection. Asking needs nothing of the program
//! that has it.

use std::os::fd::RawFd;
use std::time::Duration;

use super::super::Counts;

/// The beginning of Linux's tcp_info, as far as it is used.
#[repr(C)]
struct TcpInfo {
    state: u8,
    states: [u8; 7],
    times_before: [u32; 11],
    last_data_recv_ms: u32,
    last_ack_recv_ms: u32,
    counters_between: [u32; 11],
    rates: [u64; 2],
    bytes_acked: u64,
    bytes_received: u64,
}

pub(super) fn of(descriptor: RawFd, broken: bool) -> Option<Counts> {
    // SAFETY: the structure is plain numbers, and the kernel writes at most the length it is told.
    let info = unsafe {
        let mut info: TcpInfo = std::mem::zeroed();
        let mut length = libc::socklen_t::try_from(size_of::<TcpInfo>()).ok()?;
        super::check(libc::getsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        ))
        .ok()?;
        if usize::try_from(length).ok()? < size_of::<TcpInfo>() {
            return None;
        }
        info
    };
    // The kernel counts an end of stream as a byte, in each direction.
    const FIN_WAIT_2: u8 = 5;
    const TIME_WAIT: u8 = 6;
    const CLOSED: u8 = 7;
    const CLOSE_WAIT: u8 = 8;
    const LAST_ACK: u8 = 9;
    const CLOSING: u8 = 11;
    let end_received = matches!(info.state, TIME_WAIT | CLOSED | CLOSE_WAIT | LAST_ACK | CLOSING);
    let end_acknowledged = matches!(info.state, FIN_WAIT_2 | TIME_WAIT | CLOSED) && !broken;
    let quiet = info.last_data_recv_ms.min(info.last_ack_recv_ms);
    Some(Counts {
        received: info.bytes_received.saturating_sub((end_received && !broken).into()),
        acknowledged: info.bytes_acked.saturating_sub(end_acknowledged.into()),
        quiet: Duration::from_millis(quiet.into()),
        end_received,
    })
}
