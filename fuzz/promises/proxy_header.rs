//! A header is read to its last byte and not one further, the same however its
//! bytes come, and is what it says.

use std::net::SocketAddr;

use wininetd::core::proxy_header::{LONGEST, Malformed, Named, Progress, line, read};

/// What a reader finds that reads as much as it is told to, and what it read.
fn reading(mut stream: &[u8], at_once: usize) -> (Result<Option<Named>, Malformed>, usize) {
    let mut bytes = Vec::new();
    loop {
        match read(&bytes) {
            Err(malformed) => return (Err(malformed), bytes.len()),
            Ok(Progress::Done(named)) => return (Ok(Some(named)), bytes.len()),
            Ok(Progress::More(more)) => {
                assert!(more >= 1 && bytes.len() + more <= LONGEST);
                if stream.is_empty() {
                    return (Ok(None), bytes.len());
                }
                let (now, later) = stream.split_at(more.min(at_once).min(stream.len()));
                bytes.extend_from_slice(now);
                stream = later;
            }
        }
    }
}

/// Panics where the promise is broken.
pub fn check(stream: &[u8]) {
    let (found, length) = reading(stream, usize::MAX);
    for at_once in [1, 2, 5, 16] {
        let (cut, cut_length) = reading(stream, at_once);
        match found {
            // One by one it fails soonest; for what reason, and after how many
            // bytes, may differ where more are seen at once.
            Err(_) => assert!(cut.is_err() && (at_once > 1 || cut_length <= length)),
            Ok(_) => assert_eq!((found, length), (cut, cut_length)),
        }
    }
    let Ok(Some(named)) = found else { return };
    let header = &stream[..length];

    // Exact: no beginning of it asks for a byte behind it, whatever that is.
    for already in 0..length {
        let Ok(Progress::More(more)) = read(&header[..already]) else { panic!("at {already}") };
        assert!(already + more <= length, "{more} at {already}");
    }
    for garbage in [&b"\r\n"[..], b"PROXY UNKNOWN\r\n", &[0; 20], b" 1 2 3 4 5\r\n"] {
        let stream = [header, garbage].concat();
        assert_eq!(reading(&stream, usize::MAX), (Ok(Some(named)), length));
    }

    let Named::Client { client, local } = named else { return };
    let again = line(Some(client), Some(local));
    let same_family = client.is_ipv4() == local.is_ipv4();
    let expected = if same_family { named } else { Named::Peer };
    assert_eq!(reading(again.as_bytes(), usize::MAX), (Ok(Some(expected)), again.len()));

    // IPv4 has one way to be written, in both versions.
    if header.starts_with(b"PROXY TCP4") {
        assert_eq!(header, again.as_bytes());
    } else if header.starts_with(b"PROXY TCP6") {
        let text = std::str::from_utf8(header).unwrap();
        let words: Vec<&str> = text.strip_suffix("\r\n").unwrap().split(' ').collect();
        assert_eq!(words.len(), 6);
        assert_eq!(words[4..], [client.port().to_string(), local.port().to_string()]);
    } else if header[13] == 0x11 {
        let (SocketAddr::V4(client), SocketAddr::V4(local)) = (client, local) else { panic!("{named:?}") };
        let (from, to) = (client.port().to_be_bytes(), local.port().to_be_bytes());
        let block = [&client.ip().octets()[..], &local.ip().octets(), &from, &to].concat();
        assert_eq!(header[16..28], block);
    }
}
