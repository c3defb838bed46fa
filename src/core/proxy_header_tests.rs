//! Tests the parser against the specification, and that it consumes no byte after the header.

use proptest::prelude::*;

use super::*;

/// Reads as much as the parser asks. Also returns the number of bytes read.
fn reading(mut stream: &[u8], at_once: usize) -> (Result<Option<Named>, Malformed>, usize) {
    let mut bytes = Vec::new();
    loop {
        match read(&bytes) {
            Err(malformed) => return (Err(malformed), bytes.len()),
            Ok(Progress::Done(named)) => return (Ok(Some(named)), bytes.len()),
            Ok(Progress::More(more)) => {
                assert!(more >= 1 && bytes.len() + more <= LONGEST, "{more} after {}", bytes.len());
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

/// Also returns the bytes that are left for the program.
fn found(stream: &[u8]) -> (Named, &[u8]) {
    let (named, length) = reading(stream, usize::MAX);
    for at_once in [1, 2, 3, 7] {
        assert_eq!(reading(stream, at_once), (named, length), "{at_once}");
    }
    // No prefix of the header asks for a byte behind it.
    for already in 0..length {
        let progress = read(&stream[..already]).unwrap();
        assert!(
            matches!(progress, Progress::More(more) if already + more <= length),
            "{already} {progress:?}"
        );
    }
    (named.unwrap().unwrap(), &stream[length..])
}

fn refused(stream: &[u8]) -> bool {
    let results = [1, 2, 3, 7, usize::MAX].map(|at_once| reading(stream, at_once).0.is_err());
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    results[0]
}

fn refused_after(stream: &[u8]) -> usize {
    let (result, length) = reading(stream, 1);
    result.unwrap_err();
    length
}

fn client(client: &str, local: &str) -> Named {
    Named::Client { client: client.parse().unwrap(), local: local.parse().unwrap() }
}

fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&SIGNATURE, &[command, family][..], &length, block].concat()
}

const INET: [u8; 12] = [192, 0, 2, 7, 192, 0, 2, 1, 0xdd, 0xd5, 0x01, 0xbb];

fn inet6(from: &str, to: &str) -> Vec<u8> {
    let octets = |ip: &str| ip.parse::<Ipv6Addr>().unwrap().octets();
    [&octets(from)[..], &octets(to)[..], &[0xdd, 0xd5, 0x01, 0xbb]].concat()
}

#[test]
fn a_line_names_a_client_and_what_follows_is_left() {
    let (named, left) = found(b"PROXY TCP4 192.0.2.7 192.0.2.1 56789 443\r\nGET / HTTP/1.1\r\n");
    assert_eq!((named, left), (client("192.0.2.7:56789", "192.0.2.1:443"), &b"GET / HTTP/1.1\r\n"[..]));
    let (named, left) = found(b"PROXY TCP6 2001:db8::7 ::1 56789 0\r\n\r\n");
    assert_eq!((named, left), (client("[2001:db8::7]:56789", "[::1]:0"), &b"\r\n"[..]));
}

#[test]
fn the_shortest_lines_are_read_exactly() {
    for line in
        [&b"PROXY UNKNOWN\r\n"[..], b"PROXY TCP6 :: :: 0 0\r\n", b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"]
    {
        let stream = [line, b"x"].concat();
        assert_eq!(found(&stream).1, b"x");
    }
}

#[test]
fn the_longest_lines_are_read() {
    let ip = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    found(format!("PROXY TCP6 {ip} {ip} 65535 65535\r\n").as_bytes());
    found(format!("PROXY UNKNOWN {ip} {ip} 65535 65535\r\n").as_bytes());
    assert!(refused(format!("PROXY UNKNOWN {ip} {ip} 65535 65535 \r\n").as_bytes()));
}

#[test]
fn proxy_unknown_means_the_peer_and_ignores_the_rest() {
    let lines =
        [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN \r\n", b"PROXY UNKNOWN TCP4 \xff 1.2.3.4 70000 x y\r\n"];
    for line in lines {
        assert_eq!(found(line), (Named::Peer, &[][..]));
    }
}

#[test]
fn v1_header_is_parsed_strictly() {
    let ends = [
        "TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
        "TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "TCP4 1.2.3.4 1.2.3.4 1 \r\n",
        "TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "TCP4 1.2.3.4\t1.2.3.4 1 2\r\n",
        "TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
        "TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
        "TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "TCP4 ::1 ::1 1 2\r\n",
        "TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "TCP4 1.2.3.4 1.2.3.4 00 2\r\n",
        "TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "TCP6 ::1 1.2.3.4 1 2\r\n",
        "TCP6 fe80::1%1 ::1 1 2\r\n",
        "TCP6 [::1] ::1 1 2\r\n",
        "TCP6 ::1::2 ::1 1 2\r\n",
        "TCP6 00001:: ::1 1 2\r\n",
        "TCP4\r\n",
        "TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "UNKNOWN\n",
        "UNKNOWNS\r\n",
        "UNKNOWN a\nb\r\n",
        "UNKNOWN a\rb\r\n",
        "\r\n",
    ];
    for end in ends {
        assert!(refused(format!("PROXY {end}").as_bytes()), "{end:?}");
    }
    assert!(
        refused(b"PROXY  UNKNOWN\r\n") && refused(b"proxy UNKNOWN\r\n") && refused(b" PROXY UNKNOWN\r\n")
    );
}

#[test]
fn invalid_header_is_refused_at_the_first_wrong_byte() {
    assert_eq!(refused_after(b"GET / HTTP/1.1\r\n"), 1);
    assert_eq!(refused_after(b"POST / HTTP/1.1\r\n"), 2);
    assert_eq!(refused_after(b"\r\n\r\n\r"), 5);
    assert_eq!(refused_after(b"PROXY TCP4 1.2.3.4x"), 19);
    assert_eq!(refused_after(b"PROXY TCP4 1.2.3.400 1.2.3.4 1 1\r\n"), 21);
    assert_eq!(refused_after(b"PROXY TCP4 1.2.3.4 1.2.3.4 655360000"), 32);
    assert_eq!(refused_after(b"PROXY UNKNOWN \n"), 15);
    assert_eq!(refused_after(&[&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat()), 106);
    assert_eq!(refused_after(&header(0x31, 0x11, &INET)), 13);
    assert_eq!(refused_after(&header(0x21, 0x12, &INET)), 14);
    assert_eq!(refused_after(&header(0x21, 0x11, &INET[1..])), 16);
}

#[test]
fn a_reason_tells_a_wrong_protocol_from_no_header() {
    let reason = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert_eq!(reason(b"PROXIES"), "it is no PROXY header");
    assert_eq!(reason(b"PROXY\r\n"), "its protocol is not TCP4, TCP6 or UNKNOWN");
    assert_eq!(reason(b"PROXY UDP4 "), "its protocol is not TCP4, TCP6 or UNKNOWN");
}

#[test]
fn addresses_of_version_2_are_read_and_what_follows_is_left() {
    let stream = [header(0x21, 0x11, &INET), b"SSH-2.0".to_vec()].concat();
    assert_eq!(found(&stream), (client("192.0.2.7:56789", "192.0.2.1:443"), &b"SSH-2.0"[..]));
    let stream = header(0x21, 0x21, &inet6("2001:db8::7", "::1"));
    assert_eq!(found(&stream).0, client("[2001:db8::7]:56789", "[::1]:443"));
}

#[test]
fn ipv4_mapped_client_is_shown_as_ipv4() {
    let stream = header(0x21, 0x21, &inet6("::ffff:192.0.2.7", "::ffff:192.0.2.1"));
    assert_eq!(found(&stream).0, client("192.0.2.7:56789", "192.0.2.1:443"));
    let (named, _) = found(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c000:201 1 2\r\n");
    assert_eq!(named, client("192.0.2.7:1", "192.0.2.1:2"));
}

#[test]
fn local_and_unspecified_headers_name_the_peer() {
    let local = [&[0xaa; 99][..], b"rest"].concat();
    for (command, family, block) in [
        (0x20, 0x00, &[][..]),
        (0x20, 0x00, &local),
        (0x20, 0xff, &local),
        (0x21, 0x00, &[]),
        (0x21, 0x00, &local),
        (0x21, 0x01, &local),
        (0x21, 0x10, &[]),
        (0x21, 0x20, &local),
        (0x21, 0x31, &[7; 216]),
    ] {
        let stream = [header(command, family, block), b"x".to_vec()].concat();
        assert_eq!(found(&stream), (Named::Peer, &b"x"[..]), "{command:x} {family:x}");
    }
}

#[test]
fn v2_header_is_parsed_strictly() {
    for (command, family, length) in [
        (0x11, 0x11, 12),
        (0x01, 0x11, 12),
        (0x22, 0x11, 12),
        (0x2f, 0x11, 12),
        (0x21, 0x12, 12),
        (0x21, 0x22, 36),
        (0x21, 0x32, 216),
        (0x21, 0x02, 0),
        (0x21, 0x13, 12),
        (0x21, 0x41, 12),
        (0x21, 0xff, 12),
        (0x21, 0x11, 11),
        (0x21, 0x21, 35),
        (0x21, 0x31, 215),
        (0x21, 0x11, 13),
        (0x21, 0x11, 14),
        (0x20, 0x00, LONGEST - FIXED + 1),
    ] {
        assert!(refused(&header(command, family, &vec![0; length])), "{command:x} {family:x} {length}");
    }
    found(&header(0x20, 0x00, &vec![0; LONGEST - FIXED]));
}

fn extended(extensions: &[&[u8]]) -> Vec<u8> {
    header(0x21, 0x11, &[&INET[..], &extensions.concat()].concat())
}

#[test]
fn extensions_are_skipped_but_never_beyond_the_end() {
    let named = client("192.0.2.7:56789", "192.0.2.1:443");
    assert_eq!(found(&extended(&[&[4, 0, 0], &[0xea, 0, 2, 1, 2], &[1, 0, 1, b'h']])).0, named);
    assert!(refused(&extended(&[&[4, 0, 0], &[0xea, 0, 3, 1, 2]])));
    assert!(refused(&extended(&[&[4, 0, 0], &[0xea, 0]])));
    assert!(refused(&extended(&[&[4, 0xff, 0xff]])));
}

/// A header of an AWS Network Load Balancer, from its documentation.
const BALANCER: &str = "0d0a0d0a000d0a515549540a21110054ac1f0771ac1f0a1fc8f20050\
    030004e8d6892dea001701767063652d30386432626631356661633530303163390400240000000000000000\
    00000000000000000000000000000000000000000000000000000000";

#[test]
fn a_checksum_is_looked_at_wherever_it_stands() {
    assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    let digits = BALANCER.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let header: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    assert_eq!(found(&header).0, client("172.31.7.113:51442", "172.31.10.31:80"));
    // Other types of extension are no checksum.
    for at in (FIXED..header.len()).filter(|at| !header[*at..].starts_with(&[3, 0, 4])) {
        let mut wrong = header.clone();
        wrong[at] ^= 0x10;
        assert!(refused(&wrong), "{at}");
    }
}

/// A header with a checksum `length` bytes before its end.
fn summed(extensions: &[&[u8]], length: usize) -> Vec<u8> {
    let mut header = extended(extensions);
    let at = header.len() - length;
    let sum = !crc32c(!0, &header);
    header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    header
}

#[test]
fn there_is_one_checksum_and_it_has_four_bytes() {
    let sum: &[u8] = &[3, 0, 4, 0, 0, 0, 0];
    found(&summed(&[&[4, 0, 0], sum], 4));
    assert!(refused(&extended(&[sum])), "of another header");
    assert!(refused(&extended(&[&[3, 0, 0]])) && refused(&extended(&[&[3, 0, 3, 0, 0, 0]])));
    assert!(refused(&summed(&[&[3, 0, 5, 0, 0, 0, 0, 0]], 5)));
    assert!(refused(&summed(&[sum, sum], 4)), "two");
}

#[test]
fn bytes_after_the_header_are_a_reader_error() {
    read(b"PROXY UNKNOWN\r\nx").unwrap_err();
    read(&[header(0x20, 0, &[]), vec![0]].concat()).unwrap_err();
}

#[test]
fn no_line_is_made_of_addresses_that_are_no_pair() {
    let (v4, v6) = ("192.0.2.7:1".parse().unwrap(), "[2001:db8::7]:1".parse().unwrap());
    for (client, local) in
        [(None, None), (Some(v4), None), (None, Some(v4)), (Some(v4), Some(v6)), (Some(v6), Some(v4))]
    {
        assert_eq!(line(client, local), "PROXY UNKNOWN\r\n");
    }
    let mapped = "[::ffff:192.0.2.1]:443".parse().unwrap();
    assert_eq!(line(Some(v4), Some(mapped)), "PROXY TCP4 192.0.2.7 192.0.2.1 1 443\r\n");
    // A scope ID is valid on one host only.
    let scoped = "[fe80::1%3]:2".parse().unwrap();
    assert_eq!(line(Some(scoped), Some(v6)), "PROXY TCP6 fe80::1 2001:db8::7 2 1\r\n");
}

fn near() -> impl Strategy<Value = Vec<u8>> {
    let line = "PROXY (UNKNOWN|TCP4|TCP6) ?[0-9a-f:. \r\n]{0,60}(\r\n)?".prop_map(String::into_bytes);
    let block = proptest::collection::vec(any::<u8>(), 0..300);
    let binary =
        (0x1f..0x23u8, 0..0x34u8, block).prop_map(|(command, family, block)| header(command, family, &block));
    prop_oneof![line, binary, proptest::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #[test]
    fn every_pair_of_addresses_reads_back(from: (IpAddr, u16), to: (IpAddr, u16), rest: Vec<u8>) {
        let (from, to) = (SocketAddr::from(from), SocketAddr::from(to));
        let line = line(Some(from), Some(to));
        let stream = [line.as_bytes(), &rest].concat();
        let (named, left) = found(&stream);
        prop_assert_eq!(left, &rest[..]);
        let (from, to) = (SocketAddr::new(from.ip().to_canonical(), from.port()), SocketAddr::new(to.ip().to_canonical(), to.port()));
        let expected = if from.is_ipv4() == to.is_ipv4() { Named::Client { client: from, local: to } } else { Named::Peer };
        prop_assert_eq!(named, expected);
    }

    #[test]
    fn how_the_bytes_are_cut_and_what_follows_make_no_difference(bytes in near(), at_once in 1usize..40, rest: Vec<u8>) {
        let (named, length) = reading(&bytes, usize::MAX);
        let (cut, cut_length) = reading(&bytes, at_once);
        prop_assert_eq!(named.is_err(), cut.is_err());
        if let Ok(named) = named {
            prop_assert_eq!((Ok(named), length), (cut, cut_length));
        }
        if let Ok(Some(named)) = named {
            let stream = [&bytes[..length], &rest].concat();
            prop_assert_eq!(found(&stream), (named, &rest[..]));
        }
    }
}
