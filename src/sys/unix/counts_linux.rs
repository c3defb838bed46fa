//! Linux's counters of a connection.

use std::os::fd::RawFd;
use std::time::Duration;

use super::super::Counts;

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
    segments: [u32; 6],
    rate_and_times: [u64; 4],
    delivered: [u32; 2],
    bytes_sent: u64,
    bytes_retransmitted: u64,
}

/// Bytes that Linux fills since 4.2; the rest came with 4.19.
const SINCE_4_2: usize = std::mem::offset_of!(TcpInfo, segments);

pub(super) fn of(descriptor: RawFd, broken: bool) -> Option<Counts> {
    // SAFETY: the structure is plain numbers, and the kernel writes at most the length it is told.
    let (info, filled) = unsafe {
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
        (info, usize::try_from(length).ok()?)
    };
    if filled < SINCE_4_2 {
        return None;
    }
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
    // Acknowledgements are often late, and none comes with a reset.
    let sent = info.bytes_sent.saturating_sub(info.bytes_retransmitted);
    Some(Counts {
        received: info.bytes_received.saturating_sub((end_received && !broken).into()),
        acknowledged: info.bytes_acked.saturating_sub(end_acknowledged.into()),
        sent: (filled >= size_of::<TcpInfo>()).then_some(sent),
        quiet: Duration::from_millis(quiet.into()),
        end_received,
    })
}

/// Includes the end of stream. Does not lock the connection.
pub(super) fn is_acknowledged(descriptor: RawFd) -> Option<bool> {
    let mut unacknowledged: libc::c_int = 0;
    // SAFETY: the pointer is valid for the call, which writes one number.
    let asked = unsafe { libc::ioctl(descriptor, libc::TIOCOUTQ, &raw mut unacknowledged) };
    super::check(asked).ok()?;
    Some(unacknowledged == 0)
}
