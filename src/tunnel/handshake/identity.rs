//! Who a gateway is: two public keys, certified by its organisation.
//!
//! The certificate is a small fixed structure, not X.509: it carries an Ed25519 and an ML-DSA-65 key side by side, for
//! which X.509 has no settled form. Its issuer is the organisation's root, an ECDSA P-256 key in the token.
//!
//! Trusted: the [`RootKey`], or else the pin that the client keeps ([`super::super::client`]). A certificate that
//! neither of them covers proves nothing, since anybody can make one.

use std::fmt;
use std::pin::Pin;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ML_DSA_65, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::schedule::{DEVICE_ED25519_LABEL, DEVICE_ML_DSA_LABEL, ED25519_LABEL, ML_DSA_LABEL};
use super::{HandshakeError, SignatureAlgorithm};
use crate::tunnel::wire::{DecodeError, Reader, Writer};

/// Bytes of an Ed25519 public key.
pub const ED25519_PUBLIC: usize = 32;
/// Bytes of an Ed25519 signature.
pub const ED25519_SIGNATURE: usize = 64;
/// Bytes of an ML-DSA-65 public key (FIPS 204, table 2).
pub const ML_DSA_PUBLIC: usize = 1952;
/// Bytes of an ML-DSA-65 signature.
pub const ML_DSA_SIGNATURE: usize = 3309;
/// Longest organisation or gateway name in bytes.
const MAX_TEXT: usize = 253;
/// Largest certificate in bytes.
pub(crate) const MAX_CERTIFICATE: usize = 4096;
/// Version of the certificate's encoding.
const CERTIFICATE_VERSION: u8 = 1;
/// What the issuer signs begins with this, so that its signature means nothing elsewhere.
const CERTIFICATE_LABEL: &[u8] = b"sallyport/1 identity certificate\0";
/// What an identity's keys sign about those that follow them begins with these.
const SUCCESSION_ED25519_LABEL: &[u8] = b"sallyport/1 succession ed25519\0";
const SUCCESSION_ML_DSA_LABEL: &[u8] = b"sallyport/1 succession ml-dsa-65\0";

/// Why a certificate is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Another root signed it, or it was altered.
    #[error("it is not signed by the organisation's root")]
    WrongIssuer,
    /// Its time has not begun.
    #[error("it is not valid yet: it begins at {not_before} (Unix seconds), now is {now}")]
    NotYetValid {
        /// Unix seconds.
        not_before: u64,
        /// Unix seconds.
        now: u64,
    },
    /// Its time is over.
    #[error("it has expired: it ended at {not_after} (Unix seconds), now is {now}")]
    Expired {
        /// Unix seconds.
        not_after: u64,
        /// Unix seconds.
        now: u64,
    },
    /// A text or key in it has a form that is not allowed.
    #[error("it cannot be encoded: {0}")]
    Malformed(#[from] DecodeError),
}

impl CertificateError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::WrongIssuer => {
                "check that the root key given to this client is that of the gateway's organisation"
            }
            Self::NotYetValid { .. } => "check this machine's clock",
            Self::Expired { .. } => {
                "check this machine's clock; else the gateway's operator must renew its identity certificate"
            }
            Self::Malformed(_) => "correct the organisation's or the gateway's name",
        }
    }
}

/// A short name for a pair of identity keys, as people compare it: `SHA256:…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text.strip_prefix("SHA256:")?).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an organisation says about a gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateBody {
    /// The organisation, at most 253 bytes.
    pub organisation: String,
    /// The gateway's own name, at most 253 bytes; usually its host name.
    pub gateway: String,
    /// The Ed25519 public key.
    pub ed25519: [u8; ED25519_PUBLIC],
    /// The ML-DSA-65 public key.
    pub ml_dsa: Box<[u8; ML_DSA_PUBLIC]>,
    /// First second of validity, Unix time.
    pub not_before: u64,
    /// Last second of validity, Unix time.
    pub not_after: u64,
}

impl CertificateBody {
    /// The bytes that the organisation's root signs (ECDSA P-256 over SHA-256).
    pub fn to_be_signed(&self) -> Result<Vec<u8>, CertificateError> {
        let mut signed = CERTIFICATE_LABEL.to_vec();
        signed.extend_from_slice(&self.encode()?);
        Ok(signed)
    }

    fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut writer = Writer::with_capacity(2100);
        writer.u8(CERTIFICATE_VERSION);
        writer.bytes("organisation", self.organisation.as_bytes(), MAX_TEXT)?;
        writer.bytes("gateway", self.gateway.as_bytes(), MAX_TEXT)?;
        writer.array(&self.ed25519).array(self.ml_dsa.as_slice());
        writer.u64(self.not_before).u64(self.not_after);
        Ok(writer.finish())
    }
}

/// A gateway's identity as it travels in the `GatewayHello`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityCertificate {
    body: CertificateBody,
    signature: [u8; 64],
}

impl IdentityCertificate {
    /// A certificate out of its body and the issuer's signature (`r‖s`, 64 bytes, over [`CertificateBody::to_be_signed`]).
    pub fn new(body: CertificateBody, signature: [u8; 64]) -> Result<Self, CertificateError> {
        let certificate = Self { body, signature };
        // One that cannot be read back must not be sent: decoding is stricter than encoding.
        Self::decode(&certificate.encode()?)?;
        Ok(certificate)
    }

    /// What it says.
    pub fn body(&self) -> &CertificateBody {
        &self.body
    }

    /// The bytes on the wire and on disk.
    pub fn encode(&self) -> Result<Vec<u8>, CertificateError> {
        let mut bytes = self.body.encode()?;
        bytes.extend_from_slice(&self.signature);
        Ok(bytes)
    }

    /// Reads what [`Self::encode`] wrote; proves nothing about who wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("certificate version")? != CERTIFICATE_VERSION {
            return Err(DecodeError::BadValue { field: "certificate version" });
        }
        let organisation = reader.text("organisation", MAX_TEXT)?.to_owned();
        let gateway = reader.text("gateway", MAX_TEXT)?.to_owned();
        let body = CertificateBody {
            organisation,
            gateway,
            ed25519: reader.array("ed25519 key")?,
            ml_dsa: Box::new(reader.array("ml-dsa key")?),
            not_before: reader.u64("not before")?,
            not_after: reader.u64("not after")?,
        };
        let signature = reader.array("issuer signature")?;
        reader.finish()?;
        Ok(Self { body, signature })
    }

    /// Whether `root` issued it and `now` (Unix seconds) lies in its validity.
    pub fn verify(&self, root: &RootKey, now: u64) -> Result<(), CertificateError> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &root.0)
            .verify(&self.body.to_be_signed()?, &self.signature)
            .map_err(|_| CertificateError::WrongIssuer)?;
        self.check_validity(now)
    }

    /// Whether `now` (Unix seconds) lies in its validity.
    pub fn check_validity(&self, now: u64) -> Result<(), CertificateError> {
        let CertificateBody { not_before, not_after, .. } = self.body;
        if now < not_before {
            return Err(CertificateError::NotYetValid { not_before, now });
        }
        if now > not_after {
            return Err(CertificateError::Expired { not_after, now });
        }
        Ok(())
    }

    /// SHA-256 over both public keys: what a client pins. Names and dates are not in it, so a renewed certificate
    /// for the same keys keeps its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.body.ed25519, self.body.ml_dsa.as_slice())
    }

    /// Checks both signatures of a handshake against this identity's keys.
    pub(crate) fn check(
        &self,
        to_sign: &ToSign,
        signatures: &IdentitySignatures,
    ) -> Result<(), HandshakeError> {
        check_both(&self.body.ed25519, self.body.ml_dsa.as_slice(), to_sign, signatures)
            .map_err(HandshakeError::WrongSignature)
    }
}

/// SHA-256 over both public keys of an identity.
pub(super) fn fingerprint(ed25519: &[u8], ml_dsa: &[u8]) -> Fingerprint {
    let mut hash = Context::new(&SHA256);
    hash.update(b"sallyport/1 identity fingerprint\0");
    hash.update(ed25519);
    hash.update(ml_dsa);
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Fingerprint(bytes)
}

/// Whether both signatures are those of the keys; if not, which of them is the first that is not.
pub(super) fn check_both(
    ed25519: &[u8],
    ml_dsa: &[u8],
    to_sign: &ToSign,
    signatures: &IdentitySignatures,
) -> Result<(), SignatureAlgorithm> {
    UnparsedPublicKey::new(&ED25519, ed25519)
        .verify(&to_sign.ed25519(), &signatures.ed25519)
        .map_err(|_| SignatureAlgorithm::Ed25519)?;
    UnparsedPublicKey::new(&ML_DSA_65, ml_dsa)
        .verify(&to_sign.ml_dsa(), signatures.ml_dsa.as_slice())
        .map_err(|_| SignatureAlgorithm::MlDsa65)
}

/// The public key of an organisation's root: an uncompressed P-256 point (SEC 1 §2.3.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootKey([u8; 65]);

impl RootKey {
    /// The key with this uncompressed point (0x04 ‖ x ‖ y).
    pub fn from_point(point: [u8; 65]) -> Self {
        Self(point)
    }
}

/// Whose signatures they are: each has labels of its own, so that nothing one end signs is ever the other's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Signer {
    Gateway,
    Device,
    /// A gateway, about the keys that follow its own.
    Predecessor,
}

/// What an end's two keys sign in one handshake. The algorithm's own label is inside the signed bytes, because
/// neither PKCS#11 tokens nor aws-lc-rs offer contexts reliably.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToSign {
    signer: Signer,
    hash: [u8; 32],
}

impl ToSign {
    pub(crate) fn new(hash: [u8; 32]) -> Self {
        Self { signer: Signer::Gateway, hash }
    }

    pub(crate) fn by_device(hash: [u8; 32]) -> Self {
        Self { signer: Signer::Device, hash }
    }

    pub(crate) fn succession(hash: [u8; 32]) -> Self {
        Self { signer: Signer::Predecessor, hash }
    }

    /// The message for the Ed25519 key.
    pub fn ed25519(&self) -> Vec<u8> {
        let label = match self.signer {
            Signer::Gateway => ED25519_LABEL,
            Signer::Device => DEVICE_ED25519_LABEL,
            Signer::Predecessor => SUCCESSION_ED25519_LABEL,
        };
        [label, &self.hash].concat()
    }

    /// The message for the ML-DSA-65 key (pure, with the empty context).
    pub fn ml_dsa(&self) -> Vec<u8> {
        let label = match self.signer {
            Signer::Gateway => ML_DSA_LABEL,
            Signer::Device => DEVICE_ML_DSA_LABEL,
            Signer::Predecessor => SUCCESSION_ML_DSA_LABEL,
        };
        [label, &self.hash].concat()
    }
}

/// Both signatures over one transcript.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentitySignatures {
    /// By the Ed25519 key, over [`ToSign::ed25519`].
    pub ed25519: [u8; ED25519_SIGNATURE],
    /// By the ML-DSA-65 key, over [`ToSign::ml_dsa`].
    pub ml_dsa: Box<[u8; ML_DSA_SIGNATURE]>,
}

/// The keys could not sign; the reason goes to the gateway's log, never to the peer.
#[derive(Debug, thiserror::Error)]
#[error("the gateway's identity keys cannot sign: {0}")]
pub struct SigningFailed(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A signing in progress.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<IdentitySignatures, SigningFailed>> + Send + 'a>>;

/// The gateway's identity keys, wherever they live.
pub trait GatewayIdentity: Send + Sync {
    /// The certificate for the keys that [`Self::sign`] uses.
    fn certificate(&self) -> IdentityCertificate;

    /// Signs with both keys. May take milliseconds; must not block the caller's thread.
    fn sign(&self, to_sign: ToSign) -> Signing<'_>;
}
