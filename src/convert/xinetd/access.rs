//! Addresses in xinetd's syntax, as networks.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::config::zeros::without_leading_zeros;

/// `None` for a word that is ambiguous or needs a name server.
pub(super) fn networks(word: &str) -> Option<Vec<IpNet>> {
    // xinetd may read a number with a leading zero as octal.
    without_leading_zeros(word).is_none().then(|| understood(word))?
}

fn understood(word: &str) -> Option<Vec<IpNet>> {
    if word == "localhost" {
        return Some(vec![
            IpAddr::from([127, 0, 0, 1]).into(),
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]).into(),
        ]);
    }
    if let Ok(network) = word.parse::<IpNet>() {
        return Some(vec![canonical(network.trunc())]);
    }
    match word.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => Some(vec![wildcard(address).into()]),
        Ok(address) => Some(vec![address.into()]),
        Err(_) => factorised(word),
    }
}

/// IPv4-mapped networks become IPv4, because the server sees IPv4 addresses.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let (address, prefix) = (mapped.addr().to_ipv4_mapped(), mapped.prefix_len().checked_sub(96));
    let (Some(address), Some(prefix)) = (address, prefix) else { return network };
    Ipv4Net::new(address, prefix).map_or(network, IpNet::V4)
}

/// Trailing zeros are wildcards: `10.1.0.0` is `10.1.0.0/16`.
fn wildcard(address: Ipv4Addr) -> Ipv4Net {
    let zeros = address.octets().iter().rev().take_while(|&&octet| octet == 0).count();
    let prefix = [32, 24, 16, 8, 0][zeros];
    Ipv4Net::new(address, prefix).unwrap_or_else(|_| Ipv4Net::from(address))
}

/// `10.0.{1,2}` is `10.0.1.0/24` and `10.0.2.0/24`.
fn factorised(word: &str) -> Option<Vec<IpNet>> {
    let (head, tail) = word.split_once('{')?;
    let choices = tail.strip_suffix('}')?;
    let head: Vec<u8> = match head.strip_suffix('.') {
        Some(head) => head.split('.').map(|octet| octet.parse().ok()).collect::<Option<_>>()?,
        None if head.is_empty() => Vec::new(),
        None => return None,
    };
    let prefix = [8u8, 16, 24, 32].get(head.len()).copied()?;
    let network = |choice: &str| {
        let mut octets = [0; 4];
        octets[..head.len()].copy_from_slice(&head);
        // The meaning of a zero here is not documented.
        octets[head.len()] = choice.trim().parse().ok().filter(|&octet: &u8| octet != 0)?;
        Some(Ipv4Net::new(octets.into(), prefix).ok()?.into())
    };
    choices.split(',').map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(word: &str) -> Option<Vec<String>> {
        Some(networks(word)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn zeros_at_the_right_stand_for_anything() {
        assert_eq!(shown("10.1.0.0").unwrap(), ["10.1.0.0/16"]);
        assert_eq!(shown("10.0.0.1").unwrap(), ["10.0.0.1/32"]);
        assert_eq!(shown("0.0.0.0").unwrap(), ["0.0.0.0/0"]);
        assert_eq!(shown("fe80::").unwrap(), ["fe80::/128"]);
        assert_eq!(shown("::ffff:10.0.0.1").unwrap(), ["10.0.0.1/32"]);
        assert_eq!(shown("::ffff:10.0.0.0/104").unwrap(), ["10.0.0.0/8"]);
    }

    #[test]
    fn a_factor_stands_at_the_end() {
        assert_eq!(shown("10.0.{1,2}").unwrap(), ["10.0.1.0/24", "10.0.2.0/24"]);
        assert_eq!(shown("10.0.0.{1}").unwrap(), ["10.0.0.1/32"]);
        for wrong in
            ["10.{1,2}.3.4", "10.0.0.0.{1}", "10.0.{1,x}", "10.0.{", "10.0.{}", "10.0.{0}", "10{1}", "{"]
        {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_number_with_a_leading_zero_is_not_read() {
        for word in ["010.0.0.0/8", "10.0.0.010", "10.0.{01}", "10.0.0.0/08"] {
            assert_eq!(shown(word), None, "{word}");
        }
    }

    #[test]
    fn host_names_are_not_networks() {
        for word in ["host.example", ".example", "net-1", "10.0.0.1/33", ""] {
            assert_eq!(shown(word), None, "{word}");
        }
    }
}
