//! No input panics the server, and no invalid input passes the handshake.

use proptest::prelude::*;

use super::*;

fn feed(server: &mut Connection, mut bytes: &[u8], pieces: &[usize]) {
    let mut pieces = pieces.iter().cycle();
    while !bytes.is_empty() {
        let piece = pieces.next().map_or(bytes.len(), |&piece| piece.clamp(1, bytes.len()));
        let mut part = &bytes[..piece];
        while !part.is_empty() {
            if server.read_from(&mut part).is_err() {
                break;
            }
            let _ = server.read_plain(&mut [0; 1000]);
            let _ = server.write_plain(b"answer");
            let _ = server.write_to(&mut io::sink());
        }
        bytes = &bytes[piece..];
    }
    let _ = server.read_from(&mut &b""[..]);
    let _ = server.read_plain(&mut [0; 1000]);
    let _ = server.variables();
    server.close();
    while server.wants_write() {
        server.write_to(&mut io::sink()).unwrap();
    }
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1..600_usize, 1..20)
}

/// Positions are in parts of 65536 of the whole.
fn changes() -> impl Strategy<Value = Vec<(u16, u8)>> {
    proptest::collection::vec(any::<(u16, u8)>(), 1..8)
}

fn change(bytes: &mut [u8], changes: &[(u16, u8)]) {
    let length = bytes.len();
    for &(place, byte) in changes {
        if let Some(there) = bytes.get_mut(usize::from(place) * length / 65_536) {
            *there = byte;
        }
    }
}

thread_local! {
    static WORLD: (Authority, Keys) = {
        let authority = Authority::new();
        let keys = keys(&authority, true);
        (authority, keys)
    };
}

proptest! {
    #[test]
    fn random_bytes_never_complete_a_handshake(bytes in proptest::collection::vec(any::<u8>(), 0..4000), pieces in pieces()) {
        let mut server = WORLD.with(|(_, keys)| Connection::new(keys).unwrap());
        feed(&mut server, &bytes, &pieces);
        prop_assert!(server.is_handshaking());
    }

    #[test]
    fn random_records_never_complete_a_handshake(
        kind in 20..25_u8,
        bytes in proptest::collection::vec(any::<u8>(), 0..4000),
        pieces in pieces(),
    ) {
        let mut server = WORLD.with(|(_, keys)| Connection::new(keys).unwrap());
        let mut record = vec![kind, 3, 3];
        record.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        record.extend(bytes);
        feed(&mut server, &record, &pieces);
        prop_assert!(server.is_handshaking());
    }

    #[test]
    fn changed_client_hello_never_completes_a_handshake(
        changes in changes(), pieces in pieces(), old in any::<bool>(), times in 1..3_usize,
    ) {
        let version = if old { Version::V12 } else { Version::V13 };
        let (mut server, mut client) = WORLD.with(|(authority, keys)| {
            (Connection::new(keys).unwrap(), Client::new(authority, version).connection())
        });
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        change(&mut hello, &changes);
        feed(&mut server, &hello.repeat(times), &pieces);
        prop_assert!(server.is_handshaking());
    }

    #[test]
    fn changes_after_the_client_hello_never_panic(
        changes in changes(), pieces in pieces(), old in any::<bool>(),
    ) {
        let version = if old { Version::V12 } else { Version::V13 };
        let mut both = WORLD.with(|(authority, keys)| {
            Both::new(keys, &Client::with(authority, version, &authority.client("alice")))
        });
        both.client.write_tls(&mut both.up).unwrap();
        both.server.read_from(&mut both.up).unwrap();
        both.server.write_to(&mut both.down).unwrap();
        both.client.read_tls(&mut both.down).unwrap();
        both.client.process_new_packets().unwrap();
        let mut flight = Vec::new();
        while both.client.wants_write() {
            both.client.write_tls(&mut flight).unwrap();
        }
        change(&mut flight, &changes);
        feed(&mut both.server, &flight, &pieces);
    }
}
