//! From the shared secret and the transcript to keys.
//!
//! Every key depends on every byte that was exchanged before it, through the salt or the info of HKDF-SHA256
//! (RFC 5869), and has one direction and one purpose. Labels begin with the protocol's name and version and end with a
//! zero byte, so that none is the beginning of another.

use std::fmt;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

use super::identity::IdentitySignatures;
use super::kem::SharedSecret;
use super::{Exporter, HandshakeError, Suite};
use crate::tunnel::frame::FrameKeys;

pub(crate) const ED25519_LABEL: &[u8] = b"sallyport/1 gateway signature ed25519\0";
pub(crate) const ML_DSA_LABEL: &[u8] = b"sallyport/1 gateway signature ml-dsa-65\0";
pub(crate) const DEVICE_ED25519_LABEL: &[u8] = b"sallyport/1 device signature ed25519\0";
pub(crate) const DEVICE_ML_DSA_LABEL: &[u8] = b"sallyport/1 device signature ml-dsa-65\0";
const CLIENT_LABEL: &[u8] = b"sallyport/1 transcript client\0";
const BINDING_LABEL: &[u8] = b"sallyport/1 channel binding\0";
const HELLO_LABEL: &[u8] = b"sallyport/1 transcript hello\0";
const SIGNED_LABEL: &[u8] = b"sallyport/1 transcript signed\0";
const FINISHED_LABEL: &[u8] = b"sallyport/1 transcript finished\0";
const CREDENTIAL_LABEL: &[u8] = b"sallyport/1 key client credential\0";
const ANSWER_LABEL: &[u8] = b"sallyport/1 key gateway answer\0";
const CLIENT_FRAMES_LABEL: &[u8] = b"sallyport/1 key client frames\0";
const GATEWAY_FRAMES_LABEL: &[u8] = b"sallyport/1 key gateway frames\0";
const RESUMED_LABEL: &[u8] = b"sallyport/1 transcript resumed\0";
const RESUME_LABEL: &[u8] = b"sallyport/1 resume secret\0";
const SESSION_LABEL: &[u8] = b"sallyport/1 session id\0";

/// A key that is zeroed when dropped.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// Names a session in both ends' logs; not secret, and says nothing about the keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 16]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link-{}", hex::encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// RFC 9266: the exporter that names one TLS connection.
pub(crate) const CHANNEL_BINDING: &[u8] = b"EXPORTER-Channel-Binding";

/// The RFC 9266 exporter of a finished TLS 1.3 connection, for [`crate::tunnel::accept`] or a client.
///
/// `None` when the connection is not TLS 1.3 or not finished: then frames are sealed, never left bare.
pub fn channel_binding<Data>(connection: &rustls::ConnectionCommon<Data>) -> Option<Exporter> {
    // RFC 9266 §4.2 has extra conditions for TLS 1.2; sealing is simpler than meeting them.
    if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return None;
    }
    connection.export_keying_material([0; 32], CHANNEL_BINDING, None).ok()
}

/// What the client shows of its exporter: enough to compare, nothing to compute it from.
pub(crate) fn binding_tag(exporter: &Exporter) -> [u8; 32] {
    sha256(&[BINDING_LABEL, exporter])
}

/// Whether the peer's tag is that of our own exporter.
pub(crate) fn is_bound(tag: &[u8; 32], exporter: &Exporter) -> bool {
    verify_slices_are_equal(tag, &binding_tag(exporter)).is_ok()
}

/// The hash that both signatures cover: message 1, message 2 up to the signatures, and the exporter if bound.
pub(crate) fn hello_hash(client_hello: &[u8], gateway_core: &[u8], exporter: Option<&Exporter>) -> [u8; 32] {
    hellos(HELLO_LABEL, client_hello, gateway_core, exporter)
}

/// The transcript of a handshake that rests on an earlier one: nobody signs it.
pub(crate) fn resumed_transcript(
    client_hello: &[u8],
    gateway_core: &[u8],
    exporter: Option<&Exporter>,
) -> [u8; 32] {
    hellos(RESUMED_LABEL, client_hello, gateway_core, exporter)
}

fn hellos(label: &[u8], client_hello: &[u8], gateway_core: &[u8], exporter: Option<&Exporter>) -> [u8; 32] {
    let (bound, exporter): (&[u8], &[u8]) = exporter.map_or((&[0], &[]), |value| (&[1], value.as_slice()));
    sha256(&[
        label,
        &length(client_hello),
        client_hello,
        &length(gateway_core),
        gateway_core,
        bound,
        exporter,
    ])
}

/// Secrets after messages 1 and 2.
pub(crate) struct Schedule {
    suite: Suite,
    prk: Prk,
    transcript: [u8; 32],
}

impl Schedule {
    pub(crate) fn new(
        suite: Suite,
        secret: &SharedSecret,
        hello_hash: &[u8; 32],
        signatures: &IdentitySignatures,
    ) -> Self {
        let transcript =
            sha256(&[SIGNED_LABEL, hello_hash, &signatures.ed25519, signatures.ml_dsa.as_slice()]);
        let prk = Salt::new(HKDF_SHA256, &transcript).extract(secret.expose_to_schedule());
        Self { suite, prk, transcript }
    }

    /// Keys that only whoever knows both the earlier handshake's secret and this one's can derive.
    pub(crate) fn resumed(suite: Suite, secret: &SharedSecret, earlier: &Key, transcript: [u8; 32]) -> Self {
        let mut both = Zeroizing::new([0; 64]);
        let parts = secret.expose_to_schedule().iter().chain(earlier.iter());
        both.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        let prk = Salt::new(HKDF_SHA256, &transcript).extract(both.as_slice());
        Self { suite, prk, transcript }
    }

    /// The hash that a device's signatures cover: everything so far, the gateway's own signatures included, and the
    /// core of the message that carries them.
    pub(crate) fn client_hash(&self, core: &[u8]) -> [u8; 32] {
        sha256(&[CLIENT_LABEL, &self.transcript, &length(core), core])
    }

    fn expand<const N: usize>(
        &self,
        label: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<[u8; N]>, HandshakeError> {
        expand(&self.prk, &[label, context])
    }

    /// Seals the one message of the client (3) or of the gateway (4): `header` stays readable and authenticated.
    pub(crate) fn seal(
        &self,
        side: Side,
        header: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, HandshakeError> {
        let mut sealed = plaintext.to_vec();
        self.message_key(side)?
            .seal_in_place_append_tag(first_nonce(), self.associated(header), &mut sealed)
            .map_err(|_| HandshakeError::Library("sealing a message"))?;
        Ok(sealed)
    }

    /// Opens what the other side's [`Self::seal`] made; `None` if it does not open.
    pub(crate) fn open(
        &self,
        side: Side,
        header: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, HandshakeError> {
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let opened = self
            .message_key(side)?
            .open_in_place(first_nonce(), self.associated(header), &mut bytes)
            .map(|text| text.len());
        Ok(opened.ok().map(|length| {
            bytes.truncate(length);
            bytes
        }))
    }

    fn associated(&self, header: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([header, &self.transcript].concat())
    }

    fn message_key(&self, side: Side) -> Result<LessSafeKey, HandshakeError> {
        aead_key(self.suite, &*self.message_secret(side)?)
    }

    fn message_secret(&self, side: Side) -> Result<Key, HandshakeError> {
        let label = match side {
            Side::Client => CREDENTIAL_LABEL,
            Side::Gateway => ANSWER_LABEL,
        };
        self.expand::<32>(label, &[])
    }

    /// For the test vectors: what is derived so far.
    #[cfg(test)]
    pub(crate) fn reveal(&self) -> ([u8; 32], [u8; 32], [u8; 32]) {
        let secret = |side| *self.message_secret(side).unwrap();
        (self.transcript, secret(Side::Client), secret(Side::Gateway))
    }

    /// Ends the schedule: the session's id, and a key for the frames of each direction.
    pub(crate) fn finish(
        self,
        side: Side,
        credential: &[u8],
        answer: &[u8],
    ) -> Result<Finished, HandshakeError> {
        let finished = sha256(&[
            FINISHED_LABEL,
            &self.transcript,
            &length(credential),
            credential,
            &length(answer),
            answer,
        ]);
        let id = self.expand::<16>(SESSION_LABEL, &finished)?;
        let client = self.expand::<32>(CLIENT_FRAMES_LABEL, &finished)?;
        let gateway = self.expand::<32>(GATEWAY_FRAMES_LABEL, &finished)?;
        let keys = match side {
            Side::Client => FrameKeys { suite: self.suite, send: client, receive: gateway },
            Side::Gateway => FrameKeys { suite: self.suite, send: gateway, receive: client },
        };
        let resume = self.expand::<32>(RESUME_LABEL, &finished)?;
        Ok(Finished { id: SessionId(*id), frames: keys, resume })
    }
}

/// What the schedule ends with.
pub(crate) struct Finished {
    pub(crate) id: SessionId,
    pub(crate) frames: FrameKeys,
    pub(crate) resume: Key,
}

/// Whose message or which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Gateway,
}

/// A key ready for the suite's AEAD; both have 32 bytes.
pub(crate) fn aead_key(suite: Suite, key: &[u8; 32]) -> Result<LessSafeKey, HandshakeError> {
    UnboundKey::new(suite.aead(), key)
        .map(LessSafeKey::new)
        .map_err(|_| HandshakeError::Library("preparing a key"))
}

/// Messages 3 and 4 have a key each, used once, so their nonce is always zero.
fn first_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// HKDF-Expand of `prk` with the concatenated info.
pub(crate) fn expand<const N: usize>(
    prk: &Prk,
    info: &[&[u8]],
) -> Result<Zeroizing<[u8; N]>, HandshakeError> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut out = Zeroizing::new([0; N]);
    prk.expand(info, Length(N))
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .map_err(|_| HandshakeError::Library("deriving a key"))?;
    Ok(out)
}

/// SHA-256 of all parts, of which all but the last have a fixed length or end with a zero byte.
pub(crate) fn hash_of(parts: &[&[u8]]) -> [u8; 32] {
    sha256(parts)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(part);
    }
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

/// A length as four bytes, so that parts of a hash cannot shift into each other.
fn length(bytes: &[u8]) -> [u8; 4] {
    // Messages are at most MAX_MESSAGE long; saturating keeps the function total.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}
