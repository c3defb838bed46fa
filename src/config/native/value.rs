//! What is written inside of strings: times, sizes, rates, networks, addresses.
//! Each is read whole or not at all; nothing is guessed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::config::plan::{Address, Rate};

/// What is wrong, and what to write instead.
pub(super) type Fault = (String, Option<String>);

/// Ten years: more is a slip of the finger, and sums of times must not overflow.
const LONGEST: Duration = Duration::from_hours(10 * 366 * 24);

/// Digits and the unit behind them.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()))
}

pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let fault = || {
        let hint = "write a number and a unit: \"500ms\", \"10s\", \"5m\", \"10h\", \"1d\"".to_owned();
        (format!("`{text}` is no time"), Some(hint))
    };
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| fault())?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(fault()),
    };
    let time = number.checked_mul(milliseconds).map(Duration::from_millis);
    time.filter(|time| *time <= LONGEST).ok_or_else(|| (format!("`{text}` is longer than ten years"), None))
}

pub(super) fn size(text: &str) -> Result<u64, Fault> {
    let fault = || {
        let hint = "write a number and a unit: \"64KiB\", \"256MiB\", \"1GiB\"".to_owned();
        (format!("`{text}` is no size"), Some(hint))
    };
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| fault())?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(fault()),
    };
    number.checked_mul(factor).filter(|&size| size > 0 && size <= 1 << 60).ok_or_else(fault)
}

pub(super) fn rate(text: &str) -> Result<Rate, Fault> {
    let fault = || {
        let hint = "write how many in a second, minute or hour: \"50/s\", \"10/m\", \"100/h\"".to_owned();
        (format!("`{text}` is no rate"), Some(hint))
    };
    let (number, unit) = split(text);
    let count: u32 = number.parse().map_err(|_| fault())?;
    let per = match unit {
        "/s" => Duration::from_secs(1),
        "/m" => Duration::from_mins(1),
        "/h" => Duration::from_hours(1),
        _ => return Err(fault()),
    };
    if count == 0 {
        return Err((format!("`{text}` would let nobody in"), Some("enabled = false does that".to_owned())));
    }
    Ok(Rate { count, per })
}

pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    let hint =
        "write an address or a network: \"192.168.0.0/16\", \"2001:db8::/32\", \"192.0.2.7\"".to_owned();
    let parsed = match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().map_err(|_| (format!("`{text}` is no network"), Some(hint))),
    };
    let network = parsed?;
    if network.trunc() != network {
        let hint = format!("write {}, or {}", network.trunc(), network.addr());
        return Err((format!("`{text}` is an address within a network, not the network"), Some(hint)));
    }
    if let IpNet::V6(mapped) = network
        && let Some(ip) = mapped.addr().to_ipv4_mapped()
        && mapped.prefix_len() >= 96
    {
        let hint = format!("write {ip}/{}", mapped.prefix_len() - 96);
        return Err((format!("`{text}` never matches: IPv4 clients have IPv4 addresses here"), Some(hint)));
    }
    Ok(network)
}

/// A port's addresses are those of `bind`.
pub(super) fn port(number: i64, bind: &[IpAddr]) -> Result<Vec<Address>, Fault> {
    let port = u16::try_from(number).ok().filter(|&port| port > 0);
    let port = port.ok_or_else(|| (format!("{number} is not a port: ports are 1 to 65535"), None))?;
    Ok(bind.iter().map(|&ip| SocketAddr::new(ip, port).into()).collect())
}

pub(super) fn listen(text: &str, bind: &[IpAddr]) -> Result<Vec<Address>, Fault> {
    let form = || {
        Some(
            "write a port, \"127.0.0.1:80\", \"[::1]:80\" or \"unix:/path\"; names are not looked up"
                .to_owned(),
        )
    };
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(|address| vec![address]);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return port(text.parse().unwrap_or(i64::MAX), bind);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(("0 is not a port: ports are 1 to 65535".to_owned(), None)),
        Ok(SocketAddr::V6(address)) if address.ip().to_ipv4_mapped().is_some() => {
            Err((format!("`{text}` is an IPv4 address in the form of IPv6"), form()))
        }
        Ok(address) => Ok(vec![address.into()]),
        Err(_) => Err((format!("`{text}` is no address to listen on"), form())),
    }
}

fn unix(path: &str) -> Result<Address, Fault> {
    /// What the address of such a socket has room for, with its closing zero.
    const ROOM: usize = 107;
    if !path.starts_with('/') || path.ends_with('/') {
        return Err((
            format!("`unix:{path}` is no whole path of a socket"),
            Some("write unix:/path".to_owned()),
        ));
    }
    if path.len() > ROOM {
        return Err((
            format!("the path of a socket has {ROOM} bytes at most, this one {}", path.len()),
            None,
        ));
    }
    Ok(Address::Unix(path.into()))
}

pub(super) fn mode(text: &str) -> Result<u32, Fault> {
    let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) && (3..=4).contains(&text.len());
    let mode = if octal { u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777) } else { None };
    let hint = "write three or four octal digits: \"0660\"".to_owned();
    mode.ok_or_else(|| (format!("`{text}` is no mode of a socket"), Some(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_an_end() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10h"), Ok(Duration::from_hours(10)));
        for text in ["", "10", "s", "-1s", "1.5s", "10 s", "10sec", "99999999999999999999s", "4000d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_rates_have_a_unit_and_are_not_nothing() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(rate("10/m"), Ok(Rate { count: 10, per: Duration::from_mins(1) }));
        for text in ["256", "256MB", "0MiB", "99999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["10", "0/s", "/s", "1/d", "10/ m", "99999999999/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_has_no_host_in_it() {
        assert_eq!(network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(network("192.0.2.7/24").unwrap_err().1.unwrap(), "write 192.0.2.0/24, or 192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.0/120").unwrap_err().1.unwrap(), "write 192.0.2.0/24");
        for text in ["", "192.0.2.0/33", "example.org", "192.0.2"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_an_error_and_never_all_addresses() {
        let bind: [IpAddr; 2] = [[0, 0, 0, 0].into(), [0u16; 8].into()];
        assert_eq!(listen("80", &bind).unwrap().len(), 2);
        assert_eq!(listen("[::1]:80", &bind).unwrap()[0].to_string(), "[::1]:80");
        assert_eq!(listen("unix:/run/x", &bind).unwrap()[0].to_string(), "unix:/run/x");
        for text in [
            "",
            "apples",
            "localhost:80",
            "*:80",
            ":80",
            "127.0.0.1",
            "127.0.0.1:0",
            "0",
            "70000",
            "unix:x",
            "unix:/",
            "::1:80",
        ] {
            assert!(listen(text, &bind).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!(mode("0660"), Ok(0o660));
        for text in ["660x", "0o660", "1777", "8", "", "0999"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }
}
