//! Assigns the sockets from a service manager to the addresses of services.
//!
//! A socket serves the address that it is bound to. It also serves a bare port on that address.
//! The port's other addresses then stay closed, because the manager chose one. A dual-stack
//! socket serves both families. A Unix socket serves only its own path.

use std::net::{IpAddr, Ipv6Addr};

use crate::model::ids::ServiceId;
use crate::model::listen::Address;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InheritedSocket {
    pub address: Address,
    /// An IPv6 socket that also accepts IPv4 clients.
    pub dual_stack: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Service, address, and the index of the inherited socket if there is one.
    pub listeners: Vec<(ServiceId, Address, Option<usize>)>,
    /// Indexes of inherited sockets that no service wants.
    pub unwanted: Vec<usize>,
}

pub fn assign(wanted: &[(ServiceId, Address)], given: &[InheritedSocket]) -> Assignment {
    let mut taken: Vec<Option<usize>> = vec![None; given.len()];
    for (place, socket) in given.iter().enumerate() {
        // Exact matches first, so that a bare port does not take the socket.
        let exact = wanted.iter().position(|(_, address)| *address == socket.address);
        taken[place] = exact.or_else(|| wanted.iter().position(|(_, address)| socket.stands_for(address)));
    }
    let mut listeners = Vec::new();
    for (want, (service, address)) in wanted.iter().enumerate() {
        for place in (0..given.len()).filter(|&place| taken[place] == Some(want)) {
            listeners.push((*service, given[place].address.clone(), Some(place)));
        }
        // A bare port is open only where the manager opened it.
        let opened = |(place, socket): (usize, &InheritedSocket)| {
            let same = taken[place].is_some_and(|want| wanted[want].0 == *service);
            let bare = match (address, &socket.address) {
                (Address::Tcp(wanted), Address::Tcp(given)) => {
                    wanted.ip().is_unspecified() && given.port() == wanted.port()
                }
                _ => false,
            };
            same && (socket.address == *address || bare)
        };
        if !given.iter().enumerate().any(opened) {
            listeners.push((*service, address.clone(), None));
        }
    }
    let unwanted = (0..given.len()).filter(|&place| taken[place].is_none()).collect();
    Assignment { listeners, unwanted }
}

impl InheritedSocket {
    /// Whether the socket covers all that a bare port means, in both families.
    pub fn is_bare_port(&self) -> bool {
        self.dual_stack && self.address.is_all()
    }

    fn stands_for(&self, wanted: &Address) -> bool {
        let (Address::Tcp(wanted), Address::Tcp(own)) = (wanted, &self.address) else { return false };
        let same_family = own.is_ipv4() == wanted.is_ipv4();
        own.port() == wanted.port()
            && wanted.ip().is_unspecified()
            && (same_family || self.dual_stack && own.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const A: ServiceId = ServiceId(0);
    const B: ServiceId = ServiceId(1);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn given(text: &str) -> InheritedSocket {
        InheritedSocket { address: address(text).into(), dual_stack: false }
    }

    /// The listeners as text, with `=` for an inherited socket.
    fn listeners(wanted: &[(ServiceId, &str)], sockets: &[InheritedSocket]) -> (Vec<String>, Vec<usize>) {
        let wanted: Vec<_> = wanted.iter().map(|(service, text)| (*service, address(text).into())).collect();
        let Assignment { listeners, unwanted } = assign(&wanted, sockets);
        let shown = listeners.iter().map(|(service, address, place)| {
            format!("{}{}{address}", service.0, if place.is_some() { '=' } else { ' ' })
        });
        (shown.collect(), unwanted)
    }

    const BARE: [(ServiceId, &str); 4] =
        [(A, "0.0.0.0:80"), (A, "[::]:80"), (B, "0.0.0.0:81"), (B, "[::]:81")];

    #[test]
    fn a_dual_stack_socket_stands_for_both_of_a_port() {
        let both = InheritedSocket { address: address("[::]:80").into(), dual_stack: true };
        let (found, unwanted) = listeners(&BARE, &[both]);
        assert_eq!(found, ["0=[::]:80", "1 0.0.0.0:81", "1 [::]:81"]);
        assert!(unwanted.is_empty());
    }

    #[test]
    fn bare_port_uses_only_the_inherited_addresses() {
        let (found, unwanted) = listeners(&BARE, &[given("127.0.0.1:80"), given("10.0.0.1:80")]);
        assert_eq!(found, ["0=127.0.0.1:80", "0=10.0.0.1:80", "1 0.0.0.0:81", "1 [::]:81"]);
        assert!(unwanted.is_empty());
    }

    #[test]
    fn an_address_that_was_named_is_served_by_its_own_socket_only() {
        let wanted = [(A, "192.0.2.1:80"), (A, "192.0.2.2:80")];
        let (found, unwanted) = listeners(&wanted, &[given("192.0.2.2:80"), given("0.0.0.0:80")]);
        assert_eq!(found, ["0 192.0.2.1:80", "0=192.0.2.2:80"]);
        assert_eq!(unwanted, [1]);
    }

    #[test]
    fn a_socket_in_the_file_system_stands_for_its_own_path() {
        let unix = |path: &str| Address::Unix(path.into());
        let wanted = [(A, unix("/run/a")), (B, unix("/run/b"))];
        let given =
            ["/run/b", "/run/c"].map(|path| InheritedSocket { address: unix(path), dual_stack: false });
        let Assignment { listeners, unwanted } = assign(&wanted, &given);
        assert_eq!(listeners, [(A, unix("/run/a"), None), (B, unix("/run/b"), Some(0))]);
        assert_eq!(unwanted, [1]);
    }

    #[test]
    fn unwanted_inherited_sockets_are_reported() {
        let (found, unwanted) = listeners(&BARE[..2], &[given("0.0.0.0:99")]);
        assert_eq!(found, ["0 0.0.0.0:80", "0 [::]:80"]);
        assert_eq!(unwanted, [0]);
    }
}
