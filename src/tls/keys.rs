//! Loads and checks the TLS keys of a service.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};

use super::revocation::Revocation;
use super::{TlsFault, certificate, pem, words};
use crate::model::plan::Tls;

#[derive(Clone)]
pub struct Keys {
    pub(super) config: Arc<ServerConfig>,
    chain: Arc<[CertificateDer<'static>]>,
    warning: Option<Arc<TlsFault>>,
    revocation: Option<Arc<Revocation>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").field("warning", &self.warning).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the files. Blocks. Each load makes new ticket keys, so no client resumes a session
    /// that other files admitted.
    ///
    /// An expired revocation list is no error here, see [`Keys::expired_list`].
    pub fn load(files: &Tls) -> Result<Keys, TlsFault> {
        let chain = pem::certificates(&files.certificate).map_err(|fault| swapped(files).unwrap_or(fault))?;
        let provider = Arc::new(default_provider());
        let warning = chain.first().and_then(|own| warning(&files.certificate, own));
        let certified = certified(files, chain.clone(), signing_key(&files.key, &provider)?)?;
        let other = |error: Error| TlsFault::of(&files.certificate, format!("cannot be used: {error}"));
        let (verifier, revocation) = match &files.client_ca {
            Some(path) => verifier(path, files.crl.as_deref(), &provider)?,
            None => (WebPkiClientVerifier::no_client_auth(), None),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(other)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        if files.client_ca.is_none() {
            config.ticketer = Ticketer::new().map_err(other)?;
        } else {
            // A resumed session would skip the check of the client's certificate, which may have
            // expired since. In TLS 1.2 the ticketer is off by default.
            config.send_tls13_tickets = 0;
        }
        // Tickets keep sessions in the client's memory.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Keys {
            config: Arc::new(config),
            chain: chain.into(),
            warning: warning.map(Arc::new),
            revocation: revocation.map(Arc::new),
        })
    }

    /// Omits faults that depend on another broken file. Blocks.
    pub fn faults(files: &Tls) -> Vec<TlsFault> {
        let provider = Arc::new(default_provider());
        let mut found: Vec<TlsFault> = match swapped(files) {
            Some(fault) => vec![fault],
            None => match (pem::certificates(&files.certificate), signing_key(&files.key, &provider)) {
                (Ok(chain), Ok(key)) => {
                    let warning = chain.first().and_then(|own| warning(&files.certificate, own));
                    warning.into_iter().chain(certified(files, chain, key).err()).collect()
                }
                (chain, key) => chain.err().into_iter().chain(key.err()).collect(),
            },
        };
        let authorities = |crl| verifier(files.client_ca.as_deref()?, crl, &provider).err();
        match authorities(None) {
            Some(fault) => {
                found.push(fault);
                found.extend(files.crl.as_ref().and_then(|path| Revocation::load(path).err()));
            }
            None => found.extend(authorities(files.crl.as_deref())),
        }
        found
    }

    /// Reads both files. Blocks.
    pub fn are_swapped(files: &Tls) -> bool {
        swapped(files).is_some()
    }

    pub fn same_certificate(&self, other: &Keys) -> bool {
        self.chain == other.chain
    }

    /// The `notAfter` of the certificate, in UTC.
    pub fn until(&self) -> Option<String> {
        let (_, until) = certificate::validity(self.chain.first()?)?;
        Some(until.to_string())
    }

    /// An expired or future certificate. Only a warning, because the server's clock may be wrong.
    pub fn warning(&self) -> Option<&TlsFault> {
        self.warning.as_deref()
    }

    pub fn list_warnings(&self) -> Vec<TlsFault> {
        let Some(revocation) = &self.revocation else { return Vec::new() };
        revocation.expired(UnixTime::now()).into_iter().chain(revocation.missing.clone()).collect()
    }

    /// What the list revokes stays revoked, but later revocations are unknown.
    pub fn expired_list(&self) -> Option<TlsFault> {
        self.revocation.as_ref()?.expired(UnixTime::now())
    }

    /// `None` without lists, or if one has expired.
    pub fn list_expires_in(&self) -> Option<Duration> {
        self.revocation.as_ref()?.expires_in(UnixTime::now())
    }

    pub fn has_older_list(&self, other: &Keys) -> bool {
        let until = |keys: &Keys| keys.revocation.as_ref().map(|revocation| revocation.until());
        until(self) < until(other)
    }
}

fn warning(path: &Path, own: &CertificateDer<'_>) -> Option<TlsFault> {
    let now = UnixTime::now().as_secs();
    let (from, until) = certificate::validity(own)?;
    if now > until.to_unix_duration().as_secs() {
        return Some(TlsFault::of(path, format!("holds a certificate that has expired ({until})")));
    }
    (now < from.to_unix_duration().as_secs())
        .then(|| TlsFault::of(path, format!("holds a certificate that is not valid before {from}")))
}

fn swapped(files: &Tls) -> Option<TlsFault> {
    let (first, second) = (pem::held(&files.certificate)?, pem::held(&files.key)?);
    (!first.certificate && first.key && second.certificate && !second.key).then(|| {
        let other = files.key.display();
        let what =
            format!("holds a private key and {other} a certificate: certificate and key seem to be swapped");
        TlsFault::of(&files.certificate, what)
    })
}

fn signing_key(path: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, TlsFault> {
    provider.key_provider.load_private_key(pem::private_key(path)?).map_err(|_| {
        TlsFault::of(
            path,
            "holds a private key that is damaged or of a kind that cannot be used: RSA with 2048 to 4096 bits, \
             ECDSA with P-256 or P-384 and Ed25519 can",
        )
        .hint("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one; it needs a certificate of its own")
    })
}

fn certified(
    files: &Tls,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<CertifiedKey, TlsFault> {
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            let belongs =
                |other: &CertificateDer<'static>| {
                    CertifiedKey::new(vec![other.clone()], certified.key.clone()).keys_match().is_ok()
                };
            let certificate = files.certificate.display();
            let fault =
                TlsFault::of(&files.key, format!("holds a private key that does not match the certificate in {certificate}"));
            Err(match certified.cert.iter().any(belongs) {
                true => fault.hint("the server's own certificate must be the first one"),
                false => fault.hint("was only one of the two files replaced?"),
            })
        }
        Err(error) => Err(TlsFault::of(
            &files.certificate,
            format!("holds a certificate that cannot be used ({})", words::of_certificate(&error)),
        )
        .hint("a certificate of X.509 version 3 is needed: openssl req -x509 -key key.pem -subj /CN=NAME -addext subjectAltName=DNS:NAME makes one")),
    }
}

/// Each certificate in the client's chain needs a list of its issuer.
fn verifier(
    path: &Path,
    crl: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<dyn ClientCertVerifier>, Option<Revocation>), TlsFault> {
    let mut roots = RootCertStore::empty();
    for (number, authority) in (1..).zip(pem::certificates(path)?) {
        // A skipped authority would mean refused clients without a reason.
        roots.add(authority).map_err(|error| {
            let what = words::of_certificate(&error);
            TlsFault::of(path, format!("holds an authority that cannot be used (number {number}: {what})"))
        })?;
    }
    let mut revocation = crl.map(Revocation::load).transpose()?;
    if let Some(revocation) = &mut revocation {
        revocation.find_missing(path, &roots);
    }
    let roots = Arc::new(roots);
    let build = |lists: &[CertificateRevocationListDer<'static>]| {
        let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        builder.with_crls(lists.iter().cloned()).build()
    };
    let lists =
        revocation.as_mut().map(|revocation| std::mem::take(&mut revocation.lists)).unwrap_or_default();
    match (build(&lists), crl) {
        (Ok(verifier), _) => Ok((verifier, revocation)),
        (Err(VerifierBuilderError::InvalidCrl(error)), Some(crl)) => {
            let bad = lists.iter().position(|list| build(std::slice::from_ref(list)).is_err());
            let number = bad.map_or(1, |index| index + 1);
            let what = words::of_revocation_list(&error);
            Err(TlsFault::of(crl, format!("holds a revocation list that {what} (number {number})")))
        }
        (Err(error), _) => Err(TlsFault::of(path, format!("cannot be used: {error}"))),
    }
}
