//! What the two processes say to each other: one request, one reply, each a frame.
//!
//! ```text
//! 4 bytes   length, big-endian, at most 256 KiB
//! rest      JSON of a Request or a Reply; bytes in it are base64
//! ```
//!
//! JSON because listings and errors already have that form; parsing it costs a few microseconds, and a crossing of the
//! socket some tens. Buffers that may hold a secret are zeroed.

use std::fmt;
use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::abilities::Ability;
use crate::config::ProviderConfig;
use crate::error::KeyError;
use crate::info::{KeyInfo, ProviderInfo};
use crate::locked::LockedMemory;
use crate::recovery::Step;
use crate::role::{Algorithm, Role, Term};

/// Four times the largest thing that is ever signed, a message of the handshake.
pub(super) const MAX_FRAME: usize = 256 * 1024;

/// Told over standard input, first and once.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Opening {
    pub(super) provider: ProviderConfig,
    /// Where to listen.
    pub(super) socket: std::path::PathBuf,
}

/// Answered over standard output when the provider is open and the socket listens.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Opened {
    pub(super) provider: ProviderInfo,
    pub(super) memory: LockedMemory,
}

/// One call of [`Store`](crate::provider::Store) or [`Provider`](crate::provider::Provider).
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    Recover(Step),
    MayLogIn { told: bool },
    List,
    Generate(Role, Term),
    Successor(Role),
    Promote { role: Role, wanted: String },
    PublicKey(Role, Term),
    Sign { role: Role, term: Term, message: Bytes },
    SignBy { role: Role, id: String, message: Bytes },
    WrappingKey,
    RewrapSeeds,
    Wrap { purpose: String, secret: Bytes },
    Unwrap { purpose: String, wrapped: Bytes },
    Abilities,
    Probe,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    Done,
    Text(String),
    Count(usize),
    Yes(bool),
    Keys(Vec<KeyInfo>),
    Key(Box<KeyInfo>),
    NoKey,
    PublicKey { algorithm: Algorithm, bytes: Bytes },
    Bytes(Bytes),
    Abilities(Vec<Ability>),
}

pub(super) type Reply = Result<Answer, KeyError>;

/// Bytes on their way; zeroed, for some are secret.
pub(super) struct Bytes(pub(super) Zeroizing<Vec<u8>>);

impl Bytes {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(BASE64.encode(&*self.0));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
                // The decoder's error may quote what it read; ours does not.
                BASE64
                    .decode(text)
                    .map(|bytes| Bytes(Zeroizing::new(bytes)))
                    .map_err(|_| E::custom("not base64"))
            }
        }
        deserializer.deserialize_str(Base64)
    }
}

/// Writes one frame.
pub(super) fn write<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    // Room for any secret and all that is about it from the start: a growing buffer would leave copies behind.
    let mut frame = Zeroizing::new(Vec::with_capacity(8 * 1024));
    frame.extend([0; 4]);
    serde_json::to_writer(&mut *frame, message)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a message of {length} bytes")));
    }
    let announced = u32::try_from(length).map_err(io::Error::other)?.to_be_bytes();
    if let Some(head) = frame.get_mut(..4) {
        head.copy_from_slice(&announced);
    }
    to.write_all(&frame)?;
    to.flush()
}

/// Reads one frame; `None` if the other side has ended instead of beginning one.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    // Refused before it is waited for.
    if length > MAX_FRAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes is announced"),
        ));
    }
    let mut frame = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut frame)?;
    serde_json::from_slice(&frame).map(Some).map_err(|error| {
        // Place and kind alone: the words of the parser may quote what it read.
        let (line, column) = (error.line(), error.column());
        io::Error::new(io::ErrorKind::InvalidData, format!("a frame is malformed at {line}:{column}"))
    })
}

/// Doors for the fuzzer and the tests.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_anything(bytes: &[u8]) {
    // Each from the beginning: a frame is either one or the other.
    let _opening = read::<Opening>(&mut &*bytes);
    let _opened = read::<Result<Opened, KeyError>>(&mut &*bytes);
    let _request = read::<Request>(&mut &*bytes);
    let _reply = read::<Reply>(&mut &*bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let mut sent = Vec::new();
        let request =
            Request::Sign { role: Role::Ledger, term: Term::Next, message: Bytes::of(b"\0\xffhead") };
        write(&mut sent, &request).unwrap();
        let arrived = read::<Request>(&mut &sent[..]).unwrap().unwrap();
        let Request::Sign { role: Role::Ledger, term: Term::Next, message } = arrived else {
            panic!("another")
        };
        assert_eq!(*message.0, b"\0\xffhead");
        assert!(read::<Request>(&mut &sent[..3]).unwrap().is_none());
        assert!(read::<Request>(&mut &sent[..sent.len() - 1]).is_err());
    }

    #[test]
    fn an_error_is_the_same_on_both_sides_of_the_socket() {
        let errors = [
            KeyError::WrongPin { label: "one".to_owned(), last_try: true },
            KeyError::KeyMissing { role: Role::Tls, place: "here".to_owned() },
            KeyError::operation("sign in the token", crate::error::Fault::new("CKR_GENERAL_ERROR")),
            KeyError::WrongUse { role: Role::Kek, wanted: "sign".into() },
            KeyError::Stuck,
            KeyError::TimedOut { after: std::time::Duration::from_millis(7) },
        ];
        for error in errors {
            let mut sent = Vec::new();
            write::<Reply>(&mut sent, &Err(error.clone())).unwrap();
            let Err(arrived) = read::<Reply>(&mut &sent[..]).unwrap().unwrap() else { panic!("no error") };
            assert_eq!(format!("{arrived:?}"), format!("{error:?}"));
            assert_eq!(arrived.hint(), error.hint());
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_waited_for() {
        let mut sent: &[u8] = &u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
        assert!(read::<Request>(&mut sent).is_err());
        let message = Bytes::of(&vec![0; MAX_FRAME]);
        assert!(
            write(&mut Vec::new(), &Request::Sign { role: Role::Tls, term: Term::Present, message }).is_err()
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_quoted() {
        let mut sent = 14_u32.to_be_bytes().to_vec();
        sent.extend(br#"{"hunter2":17}"#);
        let error = read::<Request>(&mut &sent[..]).err().unwrap();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            read_anything(&bytes);
        }
    }
}
