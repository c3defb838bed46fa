//! The listening sockets of all programs, from the system's table.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    address: IpAddr,
    port: u16,
    pid: u32,
}

/// Whether a program listens at an address that overlaps this one.
pub(super) fn any_on(address: SocketAddr) -> io::Result<bool> {
    let mut rows = rows(AF_INET)?;
    rows.extend(self::rows(AF_INET6)?);
    Ok(is_taken(address, &rows, std::process::id()))
}

/// Treats a listener on `::` of another process as dual-stack, because the table does not
/// tell. Those of this process are IPv6 only.
fn is_taken(address: SocketAddr, rows: &[Row], own: u32) -> bool {
    let wanted = address.ip();
    rows.iter().filter(|row| row.port == address.port()).any(|row| {
        if row.address.is_ipv4() == wanted.is_ipv4() {
            row.address == wanted || row.address.is_unspecified() || wanted.is_unspecified()
        } else {
            row.pid != own && row.address == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        }
    })
}

fn rows(family: u16) -> io::Result<Vec<Row>> {
    let table = table(family)?;
    // SAFETY: the table begins with its row count. The rows follow after four bytes, aligned to
    // four. A table of this family has rows of this type, and the buffer holds all of them.
    unsafe {
        let count = table.first().map_or(0, |&count| count as usize);
        let first = table.as_ptr().add(1);
        Ok(if family == AF_INET {
            std::slice::from_raw_parts(first.cast::<MIB_TCPROW_OWNER_PID>(), count).iter().map(row).collect()
        } else {
            std::slice::from_raw_parts(first.cast::<MIB_TCP6ROW_OWNER_PID>(), count)
                .iter()
                .map(row6)
                .collect()
        })
    }
}

fn row(row: &MIB_TCPROW_OWNER_PID) -> Row {
    let address = IpAddr::V4(Ipv4Addr::from(row.dwLocalAddr.to_ne_bytes()));
    Row { address, port: port(row.dwLocalPort), pid: row.dwOwningPid }
}

fn row6(row: &MIB_TCP6ROW_OWNER_PID) -> Row {
    let address = IpAddr::V6(Ipv6Addr::from(row.ucLocalAddr));
    Row { address, port: port(row.dwLocalPort), pid: row.dwOwningPid }
}

/// The low half in network byte order. The high half is undefined.
fn port(field: u32) -> u16 {
    let [high, low, _, _] = field.to_le_bytes();
    u16::from_be_bytes([high, low])
}

fn table(family: u16) -> io::Result<Vec<u32>> {
    let mut buffer: Vec<u32> = vec![0; 1024];
    loop {
        let mut bytes = u32::try_from(buffer.len() * 4).map_err(io::Error::other)?;
        // SAFETY: the buffer has the length passed, in bytes.
        let code = unsafe {
            GetExtendedTcpTable(
                buffer.as_mut_ptr().cast(),
                &raw mut bytes,
                0,
                family.into(),
                TCP_TABLE_OWNER_PID_LISTENER,
                0,
            )
        };
        match code {
            NO_ERROR => return Ok(buffer),
            // With a margin, because the table may grow before the next call.
            ERROR_INSUFFICIENT_BUFFER => buffer.resize(bytes as usize / 4 + 1024, 0),
            code => return Err(io::Error::from_raw_os_error(code.cast_signed())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_until_it_is_closed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (connection, _) = listener.accept().unwrap();
        assert!(any_on(address).unwrap());
        drop(listener);
        assert!(!any_on(address).unwrap());
        drop((client, connection));
    }

    #[test]
    fn a_listener_is_in_the_way_where_addresses_overlap() {
        let row = |address: &str, pid| {
            let address: SocketAddr = address.parse().unwrap();
            Row { address: address.ip(), port: address.port(), pid }
        };
        let taken = |wanted: &str, row: Row| is_taken(wanted.parse().unwrap(), &[row], 1);
        assert!(taken("127.0.0.1:7", row("127.0.0.1:7", 2)));
        assert!(taken("127.0.0.1:7", row("0.0.0.0:7", 2)));
        assert!(taken("0.0.0.0:7", row("127.0.0.1:7", 2)));
        assert!(!taken("127.0.0.1:7", row("127.0.0.2:7", 2)));
        assert!(!taken("127.0.0.1:7", row("127.0.0.1:8", 2)));
        assert!(taken("127.0.0.1:7", row("[::]:7", 2)));
        assert!(!taken("127.0.0.1:7", row("[::]:7", 1)));
        assert!(!taken("127.0.0.1:7", row("[::1]:7", 2)));
        assert!(!taken("[::]:7", row("0.0.0.0:7", 2)));
    }

    #[test]
    fn a_port_is_read_in_network_order() {
        assert_eq!(port(u32::from_le_bytes([0x1f, 0x90, 0xff, 0xff])), 8080);
    }
}
