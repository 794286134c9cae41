//! The TLS key for rustls: each handshake's signature is made by the provider.
//!
//! rustls signs synchronously (its `Signer` has no async form), in the middle of a handshake on an async
//! worker. So the worker is first told that it will block, and the wait is bounded by
//! [`Tuning::sign_timeout`](crate::Tuning::sign_timeout).

use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::error::{Fault, KeyError};
use crate::handle::KeyHandle;
use crate::public::PublicKey;

/// A key as rustls sees it.
#[derive(Clone, Debug)]
pub(crate) struct TlsKey {
    key: KeyHandle,
    public: SubjectPublicKeyInfoDer<'static>,
    scheme: SignatureScheme,
}

impl TlsKey {
    pub(crate) fn new(key: KeyHandle) -> Self {
        let public = key.public().spki_der().into();
        // The only one that each kind of key can do; the signature is of the whole message.
        let scheme = match key.public() {
            PublicKey::P256(_) => SignatureScheme::ECDSA_NISTP256_SHA256,
            PublicKey::Ed25519(_) => SignatureScheme::ED25519,
            PublicKey::MlDsa44(_) => SignatureScheme::ML_DSA_44,
            PublicKey::MlDsa65(_) => SignatureScheme::ML_DSA_65,
        };
        Self { key, public, scheme }
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.public.as_ref()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => SignatureAlgorithm::ECDSA,
            SignatureScheme::ED25519 => SignatureAlgorithm::ED25519,
            // TLS 1.3 alone, which does not ask: there is no such algorithm in TLS 1.2.
            _ => SignatureAlgorithm::Unknown(0xff),
        }
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let sign = || self.key.sign_blocking(message);
        let on_worker =
            Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
        let signature = if on_worker { tokio::task::block_in_place(sign) } else { sign() };
        // Only our own log sees this; the peer sees a dropped connection.
        signature
            .and_then(|raw| match self.scheme {
                SignatureScheme::ECDSA_NISTP256_SHA256 => ecdsa_der(&raw),
                _ => Ok(raw),
            })
            .map_err(|error| Error::General(format!("the TLS key cannot sign: {error}")))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// r‖s as the DER of `Ecdsa-Sig-Value` (RFC 3279 §2.2.3), which TLS and X.509 want.
pub(crate) fn ecdsa_der(raw: &[u8]) -> Result<Vec<u8>, KeyError> {
    let malformed = || KeyError::operation("encode a signature", Fault::new("it is not r‖s of 64 bytes"));
    let (r, s) = raw.split_at_checked(32).filter(|(_, s)| s.len() == 32).ok_or_else(malformed)?;
    Ok(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_bigint_bytes(r, true);
            writer.next().write_bigint_bytes(s, true);
        });
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_encoded_with_the_fewest_bytes() {
        let mut raw = [0; 64];
        raw[31] = 0x7f; // r = 127
        raw[63] = 0x80; // s = 128: needs a leading zero, or it would be negative
        assert_eq!(ecdsa_der(&raw).unwrap(), [0x30, 0x07, 0x02, 0x01, 0x7f, 0x02, 0x02, 0x00, 0x80]);
    }

    #[test]
    fn signatures_of_another_length_are_refused() {
        for length in [0, 32, 63, 65] {
            assert!(ecdsa_der(&vec![1; length]).is_err(), "{length}");
        }
    }
}
