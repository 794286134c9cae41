//! The private certificate authority: a root whose key is in the provider, and the gateway's TLS leaf.
//!
//! For organisations without a PKI of their own: `make run` works with a root that exists for this gateway
//! alone. The root may certify leaves and nothing below them (path length 0). It also signs the gateway's
//! tunnel identity; a client that knows the root checks that with [`RootCertificate`].
//!
//! A wildcard needs two labels after it: clients (rustls, NSS, OpenSSL, curl) do not match `*.localhost`.
//! Name `demo.localhost` itself, or use a domain such as `*.sallyport.localhost`.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::error::KeyError;
use crate::handle::KeyHandle;
use crate::keys::Keys;
use crate::public::PublicKey;
use crate::role::Role;
use crate::tls::ecdsa_der;
use crate::wrapped;

/// Clocks differ: a certificate is valid from a little before it was made.
const BACKDATED: Duration = Duration::from_hours(1);

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// When it is made; it is valid from an hour before.
    pub now: Timestamp,
    /// For how long from then.
    pub lasts: Duration,
}

impl Validity {
    /// Ten years: the root's default.
    pub const fn root(now: Timestamp) -> Self {
        Self { now, lasts: Duration::from_hours(3652 * 24) }
    }

    /// Ninety days: the leaf's default.
    pub const fn leaf(now: Timestamp) -> Self {
        Self { now, lasts: Duration::from_hours(90 * 24) }
    }

    fn apply(self, params: &mut CertificateParams) -> Result<(), KeyError> {
        let now = u64::try_from(self.now.as_second()).map_err(|_| refused("the clock is before 1970"))?;
        let end = now.saturating_add(self.lasts.as_secs());
        // RFC 5280 §4.1.2.5 ends at the year 9999; the library's time type would panic past it.
        if end > 253_402_300_799 {
            return Err(refused("it would be valid past the year 9999"));
        }
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATED.as_secs()));
        params.not_after = epoch + Duration::from_secs(end);
        Ok(())
    }
}

/// What a root says about itself.
#[derive(Clone, Debug)]
pub struct RootOptions {
    /// The organisation, shown to people who look at the certificate.
    pub organisation: String,
    /// When it is valid; see [`Validity::root`].
    pub validity: Validity,
}

/// Makes the root certificate, self-signed with [`Role::CertificateAuthority`]. Returns PEM. Blocks.
pub fn create_root(keys: &Keys, options: &RootOptions) -> Result<String, KeyError> {
    create_root_of(&keys.present(Role::CertificateAuthority)?, options)
}

/// As [`create_root`], of one key: the root that is to follow is made of the key that waits.
pub fn create_root_of(authority: &KeyHandle, options: &RootOptions) -> Result<String, KeyError> {
    let key = RemoteKey::new(authority);
    let mut params = params(&options.organisation, "Sallyport private root", options.validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key);
    certificate.map(|certificate| certificate.pem()).map_err(|error| key.explain(&error))
}

/// Issues the gateway's TLS certificate for DNS names and IP addresses, over the key of [`Role::Tls`].
/// Returns PEM of the leaf alone: clients have the root. Blocks.
pub fn issue_server_leaf(
    keys: &Keys,
    root_pem: &str,
    names: &[String],
    validity: Validity,
) -> Result<String, KeyError> {
    issue_server_leaf_for(keys, root_pem, names, validity, &keys.public_key(Role::Tls)?)
}

/// As [`issue_server_leaf`], over another key: that which is to follow.
pub fn issue_server_leaf_for(
    keys: &Keys,
    root_pem: &str,
    names: &[String],
    validity: Validity,
    leaf_key: &PublicKey,
) -> Result<String, KeyError> {
    if names.is_empty() {
        return Err(refused("a server certificate needs a name"));
    }
    // Clients look at the alternative names alone (RFC 9525 §6.3); a common name holds 64 bytes, a host name 253.
    let mut params = params("", "Sallyport gateway", validity)?;
    params.subject_alt_names = names.iter().map(|name| subject_name(name)).collect::<Result<_, _>>()?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    issue(keys, root_pem, params, leaf_key)
}

/// A person's certificate, and the key that it is for.
pub struct ClientLeaf {
    /// PEM of the certificate.
    pub certificate: String,
    /// PEM of the private key (PKCS#8): it leaves with the person, and nobody keeps a copy.
    pub key: Zeroizing<String>,
}

/// Issues a certificate with which a TLS client proves to be `person`: a URI among its alternative names, such as
/// `sallyport:user:alice`. Its key (ECDSA P-256) is made here, in memory. Blocks.
pub fn issue_client_leaf(
    keys: &Keys,
    root_pem: &str,
    person: &str,
    validity: Validity,
) -> Result<ClientLeaf, KeyError> {
    let key = KeyPair::generate().map_err(|error| refused(&error.to_string()))?;
    let uri = person.try_into().map_err(|_| refused(&format!("{person:?} is not ASCII")))?;
    let mut params = params("", "Sallyport client", validity)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = issue(keys, root_pem, params, &key)?;
    Ok(ClientLeaf { certificate, key: Zeroizing::new(key.serialize_pem()) })
}

/// A leaf of the root: certifies nothing, and signs handshakes alone.
fn issue(
    keys: &Keys,
    root_pem: &str,
    mut params: CertificateParams,
    key: &impl PublicKeyData,
) -> Result<String, KeyError> {
    let root = RootCertificate::from_pem(root_pem)?;
    let handle = keys.present(Role::CertificateAuthority)?;
    let authority = RemoteKey::new(&handle);
    if root.public_key() != handle.public() {
        return Err(refused("this root was made with another key than the provider's"));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let issuer =
        Issuer::from_ca_cert_der(&root.der, &authority).map_err(|error| authority.explain(&error))?;
    let certificate = params.signed_by(key, &issuer);
    certificate.map(|certificate| certificate.pem()).map_err(|error| authority.explain(&error))
}

/// SHA-256 over the certificate's DER, as `SHA256:` and hexadecimal: what people compare.
pub fn fingerprint(certificate_pem: &str) -> Result<String, KeyError> {
    let der = parse_pem(certificate_pem)?;
    Ok(format!("SHA256:{}", hex::encode(digest::digest(&digest::SHA256, &der))))
}

/// Until when a certificate is valid.
pub fn valid_until(certificate_pem: &str) -> Result<Timestamp, KeyError> {
    let der = parse_pem(certificate_pem)?;
    let (_, parsed) =
        X509Certificate::from_der(&der).map_err(|error| refused(&format!("it cannot be read: {error}")))?;
    let end = parsed.validity().not_after.timestamp();
    Timestamp::from_second(end).map_err(|_| refused("its end is out of range"))
}

/// The host names and addresses of a server's certificate, as [`issue_server_leaf`] takes them.
pub fn names_of(certificate_pem: &str) -> Result<Vec<String>, KeyError> {
    let der = parse_pem(certificate_pem)?;
    let (_, parsed) =
        X509Certificate::from_der(&der).map_err(|error| refused(&format!("it cannot be read: {error}")))?;
    let alternatives =
        parsed.subject_alternative_name().map_err(|_| refused("its alternative names cannot be read"))?;
    let alternatives = alternatives.iter().flat_map(|extension| extension.value.general_names.iter());
    Ok(alternatives
        .filter_map(|name| match name {
            GeneralName::DNSName(host) => Some((*host).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            _ => None,
        })
        .collect())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Whether a certificate is for this key.
pub fn is_for(certificate_pem: &str, key: &PublicKey) -> Result<bool, KeyError> {
    let der = parse_pem(certificate_pem)?;
    let (_, parsed) =
        X509Certificate::from_der(&der).map_err(|error| refused(&format!("it cannot be read: {error}")))?;
    Ok(parsed.public_key().raw == key.spki_der())
}

/// Signs with the root's key, for what the root certifies besides certificates: 64 bytes, r‖s. The caller
/// puts a label for the purpose in front of the message. Blocks.
pub fn sign_with_authority(keys: &Keys, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    keys.sign_blocking(Role::CertificateAuthority, message)
}

/// A root certificate, checked; what a client pins.
#[derive(Clone, Debug)]
pub struct RootCertificate {
    der: CertificateDer<'static>,
    public: PublicKey,
    valid: std::ops::RangeInclusive<i64>,
}

impl RootCertificate {
    /// Reads the first certificate of a PEM file: a P-256 authority whose own signature verifies.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = parse_pem(pem)?;
        let (rest, parsed) = X509Certificate::from_der(&der)
            .map_err(|error| refused(&format!("it cannot be read: {error}")))?;
        if !rest.is_empty() {
            return Err(refused("bytes follow the certificate"));
        }
        if !parsed.is_ca() {
            return Err(refused("it is not a certificate authority's"));
        }
        parsed.verify_signature(None).map_err(|_| refused("its own signature does not verify"))?;
        let point = parsed.public_key().subject_public_key.as_ref();
        let point = point.try_into().map_err(|_| refused("its key is not a P-256 point"))?;
        let public = PublicKey::P256(point);
        // The algorithm too, and not only a point of that length.
        if public.spki_der() != parsed.public_key().raw {
            return Err(refused("its key is not a P-256 key"));
        }
        let validity = parsed.validity();
        let valid = validity.not_before.timestamp()..=validity.not_after.timestamp();
        drop(parsed);
        Ok(Self { der: der.clone(), public, valid })
    }

    /// The root's key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The certificate, for a TLS client's trust store.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Whether the certificate is valid at this time.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.valid.contains(&now.as_second())
    }

    /// Whether this root signed the first certificate of a PEM file. Says nothing of names and times.
    pub fn issued(&self, certificate_pem: &str) -> Result<bool, KeyError> {
        let der = parse_pem(certificate_pem)?;
        let unreadable = |error| refused(&format!("it cannot be read: {error}"));
        let (_, leaf) = X509Certificate::from_der(&der).map_err(unreadable)?;
        let (_, root) = X509Certificate::from_der(&self.der).map_err(unreadable)?;
        Ok(leaf.verify_signature(Some(root.public_key())).is_ok())
    }

    /// Checks a signature of [`sign_with_authority`].
    ///
    /// # Errors
    ///
    /// [`KeyError::BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        self.public.verify(message, signature)
    }
}

fn params(organisation: &str, name: &str, validity: Validity) -> Result<CertificateParams, KeyError> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    if !organisation.is_empty() {
        subject.push(DnType::OrganizationName, organisation);
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params.serial_number = Some(serial()?);
    validity.apply(&mut params)?;
    Ok(params)
}

/// A positive serial number of 127 random bits (RFC 5280 §4.1.2.2 allows 20 bytes).
fn serial() -> Result<SerialNumber, KeyError> {
    let mut bytes = [0; 16];
    wrapped::random(&mut bytes)?;
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn subject_name(name: &str) -> Result<SanType, KeyError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let host = name.strip_prefix("*.").unwrap_or(name);
    if rustls_pki_types::DnsName::try_from(host).is_err() {
        return Err(refused(&format!("{name:?} is not a host name or IP address")));
    }
    let name = name.try_into().map_err(|_| refused(&format!("{name:?} is not ASCII")))?;
    Ok(SanType::DnsName(name))
}

fn parse_pem(pem: &str) -> Result<CertificateDer<'static>, KeyError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| refused(&format!("it is not PEM: {error}")))
}

fn refused(reason: &str) -> KeyError {
    KeyError::Certificate { reason: reason.to_owned() }
}

/// A provider's P-256 key, as rcgen sees it.
struct RemoteKey<'a> {
    key: &'a KeyHandle,
    /// rcgen's error has no room for the provider's, which is kept here.
    failure: Mutex<Option<KeyError>>,
}

impl<'a> RemoteKey<'a> {
    fn new(key: &'a KeyHandle) -> Self {
        Self { key, failure: Mutex::new(None) }
    }

    fn explain(&self, error: &rcgen::Error) -> KeyError {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.unwrap_or_else(|| refused(&error.to_string()))
    }
}

impl PublicKeyData for RemoteKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.public().as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(self.key.public())
    }
}

impl rcgen::SigningKey for RemoteKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign_blocking(message).and_then(|raw| ecdsa_der(&raw)).map_err(|error| {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            rcgen::Error::RemoteKeyError
        })
    }
}
