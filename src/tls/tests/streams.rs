//! Byte streams: how they pass, how they end, and how much is buffered.

use super::*;

impl Both {
    fn received(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 64 << 10];
        let count = self.server.read_plain(&mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn received_by_client(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 256 << 10];
        let count = self.client.reader().read(&mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }
}

#[test]
fn a_connection_can_move_to_another_thread() {
    const fn is_send<T: Send>() {}
    const { is_send::<Connection>() };
    const { is_send::<Keys>() };
}

#[test]
fn bytes_go_both_ways() {
    for version in VERSIONS {
        let mut both = shaken(version);
        assert_eq!(both.received().unwrap_err().kind(), ErrorKind::WouldBlock);
        both.client.writer().write_all(b"question").unwrap();
        both.settle().unwrap();
        assert_eq!(both.received().unwrap(), b"question");
        assert_eq!(both.server.write_plain(b"answer"), 6);
        both.settle().unwrap();
        assert_eq!(both.received_by_client().unwrap(), b"answer");
    }
}

#[test]
fn the_clients_close_notify_ends_its_direction_alone() {
    for version in VERSIONS {
        let mut both = shaken(version);
        both.client.writer().write_all(b"last").unwrap();
        both.client.send_close_notify();
        both.settle().unwrap();
        assert_eq!(both.received().unwrap(), b"last");
        assert_eq!(both.received().unwrap(), b"");
        assert!(!both.server.wants_read());
        assert_eq!(both.server.read_from(&mut both.up).unwrap(), 0);
        assert_eq!(both.server.write_plain(b"answer"), 6);
        both.settle().unwrap();
        assert_eq!(both.received_by_client().unwrap(), b"answer");
    }
}

#[test]
fn our_close_notify_ends_our_direction_alone() {
    for version in VERSIONS {
        let mut both = shaken(version);
        assert_eq!(both.server.write_plain(b"last"), 4);
        both.server.close();
        assert_eq!(both.server.write_plain(b"more"), 0);
        both.settle().unwrap();
        assert_eq!(both.received_by_client().unwrap(), b"last");
        assert_eq!(both.received_by_client().unwrap(), b"");
        both.client.writer().write_all(b"still here").unwrap();
        both.settle().unwrap();
        assert_eq!(both.received().unwrap(), b"still here");
    }
}

#[test]
fn truncated_tls_stream_is_an_unexpected_eof() {
    for version in VERSIONS {
        let mut both = shaken(version);
        both.client.writer().write_all(b"half of").unwrap();
        both.up.ended = true;
        both.settle().unwrap();
        assert_eq!(both.received().unwrap(), b"half of");
        assert!(both.server.wants_read());
        both.settle().unwrap();
        assert_eq!(both.received().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(!both.server.wants_read(), "the end would be read for ever");
        assert_eq!(both.server.read_from(&mut both.up).unwrap(), 0);
    }
}

#[test]
fn a_handshake_that_is_cut_off_is_never_over() {
    let mut server = Connection::new(&keys(&Authority::new(), false)).unwrap();
    assert_eq!(server.read_from(&mut &b""[..]).unwrap(), 0);
    assert!(server.is_handshaking() && !server.wants_read());
    assert_eq!(server.read_plain(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn tampered_record_ends_the_stream_after_valid_data() {
    for version in VERSIONS {
        let mut both = shaken(version);
        for text in [&b"whole"[..], b"changed"] {
            both.client.writer().write_all(text).unwrap();
        }
        while both.client.wants_write() {
            both.client.write_tls(&mut both.up).unwrap();
        }
        *both.up.bytes.back_mut().unwrap() ^= 1;
        let words = both.settle().unwrap_err();
        assert_eq!(words, "what the client sent was changed on its way");
        assert_eq!(both.received().unwrap(), b"whole");
        assert_eq!(both.received().unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(both.server.write_plain(b"answer"), 0);
    }
}

#[test]
fn the_network_is_not_read_while_plaintext_waits() {
    let mut both = shaken(Version::V13);
    both.client.set_buffer_limit(None);
    both.client.writer().write_all(&vec![7; 1 << 20]).unwrap();
    both.settle().unwrap();
    assert!(!both.server.wants_read());
    let refused = both.server.read_from(&mut both.up);
    assert!(matches!(refused, Err(ReadError::Network(error)) if error.kind() == ErrorKind::WouldBlock));
    let waiting = both.up.bytes.len();
    assert!(waiting > (1 << 20) - (40 << 10), "{waiting} of a mebibyte still wait in the network");
    let mut taken = 0;
    while taken < 1 << 20 {
        taken += both.received().unwrap().len();
        both.settle().unwrap();
    }
}

#[test]
fn unread_tls_output_is_bounded_at_64_kib() {
    for version in VERSIONS {
        let mut both = shaken(version);
        let mut taken = 0;
        loop {
            let count = both.server.write_plain(&[7; 10_000]);
            taken += count;
            if count == 0 {
                break;
            }
        }
        assert!(taken > 60 << 10 && taken <= 64 << 10, "{taken}");
        let mut network = Vec::new();
        while both.server.wants_write() {
            both.server.write_to(&mut network).unwrap();
        }
        assert!(network.len() <= 66 << 10, "{}", network.len());
        assert!(both.server.write_plain(b"more") > 0);
    }
}

#[test]
fn nothing_is_taken_before_the_handshake_is_over() {
    let authority = Authority::new();
    let mut both = Both::new(&keys(&authority, false), &Client::new(&authority, Version::V13));
    assert_eq!(both.server.write_plain(b"secret"), 0);
    assert!(!both.server.wants_write());
}
