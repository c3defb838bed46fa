//! PROXY headers, written from the specification and not from the server's parser.

use std::net::{IpAddr, SocketAddr};

pub const LOCAL: u8 = 0x20;
pub const PROXY: u8 = 0x21;

pub fn v1(client: &str, local: &str) -> Vec<u8> {
    let (client, local) = addresses(client, local);
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), local.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port()).into_bytes()
}

pub fn v2(client: &str, local: &str) -> Vec<u8> {
    let (client, local) = addresses(client, local);
    let mut block = Vec::new();
    for address in [client, local] {
        match address.ip() {
            IpAddr::V4(ip) => block.extend(ip.octets()),
            IpAddr::V6(ip) => block.extend(ip.octets()),
        }
    }
    block.extend(client.port().to_be_bytes());
    block.extend(local.port().to_be_bytes());
    v2_of(PROXY, if client.is_ipv4() { 0x11 } else { 0x21 }, &block)
}

pub fn v2_of(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a length");
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend(length.to_be_bytes());
    header.extend(block);
    header
}

fn addresses(client: &str, local: &str) -> (SocketAddr, SocketAddr) {
    (client.parse().expect("an address"), local.parse().expect("an address"))
}
