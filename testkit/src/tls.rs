//! The client side of TLS: a certificate authority and a client.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rcgen::{
    CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::LIMIT;

pub use rcgen;

#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: String,
    /// The private key in PKCS#8.
    pub key: String,
}

impl Pair {
    /// Writes `cert.pem` and `key.pem`. Each replaces an existing file atomically.
    pub fn write(&self, folder: &Path) -> &Self {
        for (name, text) in [("cert.pem", &self.certificate), ("key.pem", &self.key)] {
            let new = folder.join(format!("{name}.new"));
            std::fs::write(&new, text).expect("a file in PEM");
            put(&new, &folder.join(name)).expect("a file in PEM");
        }
        self
    }

    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

/// Renames a file over another. Windows refuses that while a process reads the old file, for
/// example a server that has just started, so the call retries.
fn put(new: &Path, place: &Path) -> io::Result<()> {
    let until = Instant::now() + LIMIT;
    loop {
        match std::fs::rename(new, place) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && Instant::now() < until => {
                std::thread::yield_now();
            }
            result => return result,
        }
    }
}

#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}

impl Authority {
    /// An authority with a unique name.
    pub fn new() -> Authority {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Authority::named(&format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn named(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the authority's own certificate to `ca.pem`.
    pub fn write(&self, folder: &Path) -> &Self {
        std::fs::write(folder.join("ca.pem"), self.certificate()).expect("a file in PEM");
        self
    }

    pub fn server(&self, name: &str) -> Pair {
        self.issue(&[name], &KeyPair::generate().expect("a key"), |params| {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        })
    }

    pub fn client(&self, name: &str) -> Pair {
        self.issue(&[], &KeyPair::generate().expect("a key"), |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        })
    }

    /// A revocation list in PEM. It is a month old and expires in this many seconds; a negative
    /// number is in the past.
    pub fn revocation_list(&self, revoked: &[&Pair], expires_in: i64) -> String {
        const MONTH: i64 = 30 * 24 * 3600;
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
        let now = date_time_ymd(1970, 1, 1) + since_1970;
        let after = |seconds: i64| match u64::try_from(seconds) {
            Ok(seconds) => now + Duration::from_secs(seconds),
            Err(_) => now - Duration::from_secs(seconds.unsigned_abs()),
        };
        let revoke = |pair: &&Pair| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&serial_number(&pair.der())),
            revocation_time: after(-MONTH),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: after(-MONTH),
            next_update: after(expires_in),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(revoke).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").pem().expect("a list in PEM")
    }

    /// Issues a certificate for these names after `change` has edited its parameters.
    pub fn issue(&self, names: &[&str], key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// The serial number of a certificate in DER (RFC 5280, section 4.1).
fn serial_number(certificate: &[u8]) -> Vec<u8> {
    let (certificate, _) = der_value(certificate);
    let (to_be_signed, _) = der_value(certificate);
    let (_version, rest) = der_value(to_be_signed);
    der_value(rest).0.to_vec()
}

/// Returns the contents of the first DER value and the bytes after it.
fn der_value(der: &[u8]) -> (&[u8], &[u8]) {
    // The tag takes one byte. In the long form, the low 7 bits of the next byte count the bytes of
    // the length.
    let long = usize::from(der[1]).saturating_sub(128);
    let length = match long {
        0 => usize::from(der[1]),
        _ => der[2..2 + long].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    };
    der[2 + long..].split_at(length)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V12,
    V13,
}

/// A client that keeps sessions for resumption.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    pub fn new(trusts: &Authority, version: Version) -> Client {
        Client::made(trusts, version, None)
    }

    /// A client that presents this certificate if the server asks for one.
    pub fn with(trusts: &Authority, version: Version, certificate: &Pair) -> Client {
        Client::made(trusts, version, Some(certificate))
    }

    fn made(trusts: &Authority, version: Version, certificate: Option<&Pair>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(trusts.issuer.der().clone()).expect("an authority");
        let versions = match version {
            Version::V12 => [&TLS12],
            Version::V13 => [&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&versions)
            .expect("a version")
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![pair.der()], key).expect("a certificate and its key")
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        Client { config: Arc::new(config) }
    }

    /// A connection without a socket.
    pub fn connection(&self) -> ClientConnection {
        let name = ServerName::try_from("localhost").expect("a name");
        ClientConnection::new(self.config.clone(), name).expect("a client")
    }

    pub fn connect(&self, port: u16) -> io::Result<Stream> {
        self.connect_behind(b"", port)
    }

    /// Connects with small socket buffers, so that a slow reader soon blocks the sender.
    pub fn connect_small(&self, port: u16) -> io::Result<Stream> {
        Stream::over(crate::Client::connect_small(port).into(), self.connection(), b"")
    }

    /// The same behind a proxy, which sends its header before the handshake.
    pub fn connect_behind(&self, header: &[u8], port: u16) -> io::Result<Stream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Stream::over(TcpStream::connect_timeout(&address, LIMIT)?, self.connection(), header)
    }
}

#[derive(Debug)]
pub struct Stream {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Stream {
    fn over(mut network: TcpStream, mut connection: ClientConnection, header: &[u8]) -> io::Result<Stream> {
        network.set_read_timeout(Some(LIMIT))?;
        network.set_write_timeout(Some(LIMIT))?;
        network.write_all(header)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut network)?;
        }
        Ok(Stream { stream: StreamOwned::new(connection, network) })
    }

    /// The client's own port. The session record names it.
    pub fn port(&self) -> u16 {
        self.stream.sock.local_addr().expect("its own address").port()
    }

    /// Whether the handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn server_certificate(&self) -> CertificateDer<'static> {
        let chain = self.stream.conn.peer_certificates().expect("the server's certificate");
        chain[0].clone().into_owned()
    }

    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.stream.write_all(bytes).expect("the service takes it");
        self.stream.flush().expect("the service takes it");
        self
    }

    /// Sends `close_notify`, the half-close of TLS.
    pub fn half_close(&mut self) -> &mut Self {
        self.stream.conn.send_close_notify();
        self.stream.flush().expect("the service takes it");
        self
    }

    /// Half-closes the TCP connection without `close_notify`.
    pub fn cut_off(&mut self) -> &mut Self {
        self.stream.sock.shutdown(std::net::Shutdown::Write).expect("a half close");
        self
    }

    /// Sends everything and `close_notify`, while it reads until the service's `close_notify`.
    pub fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        let StreamOwned { conn: tls, sock: network, .. } = &mut self.stream;
        network.set_nonblocking(true).expect("a client that does not wait");
        let (mut sent, mut received, mut closed) = (0, Vec::new(), false);
        loop {
            sent += tls.writer().write(&bytes[sent..]).expect("room is a matter of time");
            if sent == bytes.len() && !std::mem::replace(&mut closed, true) {
                tls.send_close_notify();
            }
            let mut moved = false;
            while tls.wants_write() {
                match tls.write_tls(network) {
                    Ok(_) => moved = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("the service takes it: {error}"),
                }
            }
            match tls.read_tls(network) {
                Ok(_) => moved = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("the service answers: {error}"),
            }
            tls.process_new_packets().expect("what a server says");
            match tls.reader().read_to_end(&mut received) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("a proper end of the stream: {error}"),
            }
            if !moved {
                crate::system::wait_ready(network, tls.wants_write(), LIMIT);
            }
        }
        network.set_nonblocking(false).expect("a client that waits");
        received
    }

    pub fn drop_until_gone(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        while self.stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }

    pub fn send_until_gone(&mut self) {
        let block = vec![b'x'; 1 << 16];
        while self.stream.write_all(&block).is_ok() {}
    }

    /// A second handle of the TCP connection, to shut it down from elsewhere.
    pub fn network(&self) -> TcpStream {
        self.stream.sock.try_clone().expect("a second handle")
    }

    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("enough bytes");
        bytes
    }

    /// Reads until the service's `close_notify`. Any other end fails the test.
    pub fn read_all(&mut self) -> Vec<u8> {
        self.try_read_all().expect("a proper end of the stream")
    }

    pub fn read_text(&mut self) -> String {
        String::from_utf8(self.read_all()).expect("text")
    }

    /// Reads until the service's `close_notify`, or returns the error that came instead.
    pub fn try_read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Sends everything and `close_notify`. Returns the bytes that came before the connection
    /// ended.
    pub fn ask(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        let sent = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        if sent.is_ok() {
            self.stream.conn.send_close_notify();
            let _ = self.stream.flush();
        }
        let _ = self.stream.read_to_end(&mut answer);
        answer
    }

    /// Resets the connection.
    pub fn vanish(self) {
        let network = socket2::SockRef::from(&self.stream.sock);
        network.set_linger(Some(std::time::Duration::ZERO)).expect("a hard close");
    }
}
