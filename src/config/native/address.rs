//! Parses addresses to listen on and networks of rules. An address that does not parse is an error,
//! never "all addresses".

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::units::{Fault, quote};
use crate::config::zeros::without_leading_zeros;
use crate::model::listen::Address;

/// In bytes: `sun_path` of Linux minus its terminating zero.
const LONGEST_PATH: usize = 107;

const HINT: &str = "write a port, \"ADDRESS:PORT\", \"[ADDRESS]:PORT\" for IPv6, or \"unix:/PATH\"";

/// A port on each address of `bind`.
pub(super) fn port(number: Option<u64>, bind: &[IpAddr]) -> Result<Vec<Address>, Fault> {
    let port = number.and_then(|number| u16::try_from(number).ok()).filter(|&port| port != 0);
    let port = port.ok_or_else(no_port)?;
    Ok(bind.iter().map(|&address| SocketAddr::new(address, port).into()).collect())
}

fn no_port() -> Fault {
    Fault::plain("this is not a port: ports are 1 to 65535")
}

pub(super) fn listen(text: &str, bind: &[IpAddr]) -> Result<Vec<Address>, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(|address| vec![address]);
    }
    if let Some(plain) = without_leading_zeros(text)
        && listen(&plain, bind).is_ok()
    {
        return Err(leading_zero(text, &plain));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return port(text.parse().ok(), bind);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.port() == 0 {
            return Err(no_port());
        }
        if let IpAddr::V6(ip) = address.ip()
            && let Some(mapped) = ip.to_ipv4_mapped()
        {
            let hint = format!("write \"{mapped}:{}\"", address.port());
            return Err(Fault::new("no socket for IPv6 takes clients of this address", &hint));
        }
        return Ok(vec![address.into()]);
    }
    Err(misread(text))
}

fn leading_zero(text: &str, plain: &str) -> Fault {
    let message =
        format!("{} has a number with a leading zero, which some programs read as octal", quote(text));
    Fault::new(message, &format!("write \"{plain}\""))
}

/// The hint names the most likely correction.
fn misread(text: &str) -> Fault {
    let message = format!("{} is not an address to listen on", quote(text));
    if let Ok(ip) = text.parse::<IpAddr>() {
        let hint = match ip {
            IpAddr::V4(ip) => format!("write the port behind it: \"{ip}:PORT\""),
            IpAddr::V6(_) => {
                "write an IPv6 address in brackets, and its port behind them: \"[ADDRESS]:PORT\"".to_owned()
            }
        };
        return Fault::new(message, &hint);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_port = port.parse::<u16>().is_ok();
    if matches!(host, "" | "*" | "[*]") && is_port {
        return Fault::new(message, &format!("write {port} alone for all addresses"));
    }
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()) {
        return Fault::new(message, "ports are 1 to 65535");
    }
    let name = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    if is_port && host.chars().all(name) && host.contains(|letter: char| letter.is_ascii_alphabetic()) {
        return Fault::new(message, "host names are not looked up: write the address");
    }
    Fault::new(message, HINT)
}

fn unix(path: &str) -> Result<Address, Fault> {
    if !path.starts_with('/') {
        return Err(Fault::new(
            "the path of a socket must be absolute",
            "begin it with /, as \"unix:/run/name.sock\"",
        ));
    }
    if path.ends_with('/') || path.chars().any(char::is_control) {
        return Err(Fault::plain("this path is not a file's"));
    }
    if path.len() > LONGEST_PATH {
        let message = format!("this path has {} bytes: a socket's has at most {LONGEST_PATH}", path.len());
        return Err(Fault::plain(message));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    if let Some(plain) = without_leading_zeros(text)
        && network(&plain).is_ok()
    {
        return Err(leading_zero(text, &plain));
    }
    let hint = "write an address or a network, as \"192.0.2.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"";
    let parsed = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| IpNet::from(ip)));
    let network: IpNet = parsed.map_err(|_| Fault::new(format!("{} is not a network", quote(text)), hint))?;
    if let IpNet::V6(mapped) = network
        && let (Some(ip), 96..) = (mapped.addr().to_ipv4_mapped(), mapped.prefix_len())
    {
        let hint = format!("write \"{ip}/{}\"", mapped.prefix_len() - 96);
        return Err(Fault::new("IPv4 clients never have this address: the rule cannot match", &hint));
    }
    let meant = network.trunc();
    if meant != network {
        let message = format!("{} has bits behind its prefix", quote(text));
        return Err(Fault::new(message, &format!("write \"{meant}\" for the network")));
    }
    Ok(network)
}

/// Whether two sockets cannot be bound to these addresses at the same time.
pub fn collide(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Unix(a), Address::Unix(b)) => a == b,
        (Address::Tcp(a), Address::Tcp(b)) => {
            let all = a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (all || same_place(a, b))
        }
        _ => false,
    }
}

fn same_place(a: &SocketAddr, b: &SocketAddr) -> bool {
    match (a, b) {
        (SocketAddr::V6(a), SocketAddr::V6(b)) => a.ip() == b.ip() && a.scope_id() == b.scope_id(),
        _ => a.ip() == b.ip(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Vec<String>, String> {
        let bind = ["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
        let found = listen(text, &bind).map_err(|fault| fault.hint.unwrap_or(fault.message))?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_form_of_an_address_is_understood() {
        assert_eq!(said("80").unwrap(), ["0.0.0.0:80", "[::]:80"]);
        assert_eq!(said("127.0.0.1:80").unwrap(), ["127.0.0.1:80"]);
        assert_eq!(said("[::1]:80").unwrap(), ["[::1]:80"]);
        assert_eq!(said("[fe80::1%2]:80").unwrap(), ["[fe80::1%2]:80"]);
        assert_eq!(said("unix:/run/x.sock").unwrap(), ["unix:/run/x.sock"]);
    }

    #[test]
    fn invalid_address_gets_an_error_and_a_hint() {
        for (text, hint) in [
            ("", "write a port"),
            ("0", "1 to 65535"),
            ("65536", "1 to 65535"),
            ("127.0.0.1", "127.0.0.1:PORT"),
            ("127.0.0.1:0", "1 to 65535"),
            ("127.0.0.1:99999", "1 to 65535"),
            ("::1", "brackets"),
            ("::1:80", "brackets"),
            ("*:80", "write 80 alone"),
            (":80", "write 80 alone"),
            ("localhost:80", "host names"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
            ("unix:run/x", "begin it with /"),
            ("unix:/run/", "not a file's"),
            ("/run/x.sock", "unix:/PATH"),
            ("apples", "write a port"),
            (" 80", "write a port"),
            ("080", "write \"80\""),
            ("127.0.0.1:080", "write \"127.0.0.1:80\""),
            ("127.0.0.01:80", "write \"127.0.0.1:80\""),
            ("[::1]:0080", "write \"[::1]:80\""),
        ] {
            let fault = said(text).unwrap_err();
            assert!(fault.contains(hint), "{text}: {fault}");
        }
        assert!(said(&format!("unix:/{}", "x".repeat(107))).is_err());
        assert!(said(&format!("unix:/{}", "x".repeat(106))).is_ok());
    }

    #[test]
    fn networks_are_shown_and_corrected_in_canonical_form() {
        assert_eq!(network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(network("2001:db8::7").unwrap().to_string(), "2001:db8::7/128");
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert!(network("10.1.2.3/8").unwrap_err().hint.unwrap().contains("\"10.0.0.0/8\""));
        assert!(network("::ffff:10.0.0.0/104").unwrap_err().hint.unwrap().contains("\"10.0.0.0/8\""));
        for (text, plain) in [
            ("010.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.010", "10.0.0.10"),
            ("10.0.0.0/08", "10.0.0.0/8"),
            ("2001:db8::/032", "2001:db8::/32"),
        ] {
            assert_eq!(network(text).unwrap_err().hint.unwrap(), format!("write \"{plain}\""));
        }
        assert!(network("2001:0db8::/32").is_ok());
        for text in ["", "all", "10.0.0.0/33", "10.0.0", "10.0.0.0/", "example.org"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_addresses_of_a_family_collide_with_each_of_it() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        assert!(collide(&tcp("0.0.0.0:80"), &tcp("127.0.0.1:80")));
        assert!(collide(&tcp("[::1]:80"), &tcp("[::]:80")));
        assert!(collide(&tcp("[::1]:80"), &tcp("[::1]:80")));
        assert!(!collide(&tcp("0.0.0.0:80"), &tcp("[::]:80")));
        assert!(!collide(&tcp("0.0.0.0:80"), &tcp("0.0.0.0:81")));
        assert!(!collide(&tcp("127.0.0.1:80"), &tcp("127.0.0.2:80")));
        assert!(!collide(&tcp("[fe80::1%1]:80"), &tcp("[fe80::1%2]:80")));
    }
}
