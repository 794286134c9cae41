//! What the two ends say about a resumable stream in the headers of the POST that carries it.
//!
//! The gateway names a new stream and says how long it may be without a connection: `ID; grace=MILLISECONDS`. When it brings it to
//! another connection it says what of the other direction has come: `ID; received=OFFSET; attempt=NUMBER`. The publisher answers
//! `received=OFFSET` to both, or `finished`; without an answer the stream is a plain one.

use std::time::Duration;

use http::HeaderValue;

/// Names a stream to the two ends, and to nobody else: 128 random bits, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StreamId([u8; 16]);

impl StreamId {
    pub(crate) fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        // The one way to write it: what is accepted is also what is written.
        let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (lower && hex::decode_to_slice(text, &mut id).is_ok()).then_some(Self(id))
    }
}

/// What the gateway says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A stream begins that may be without a connection for so long.
    New { id: StreamId, grace: Duration },
    /// One goes on.
    Again {
        id: StreamId,
        /// The offset before which everything came.
        received: u64,
        /// Counts up: what is overtaken on the way is too late.
        attempt: u64,
    },
}

impl Ask {
    pub(crate) fn read(value: &HeaderValue) -> Option<Self> {
        let parts: Vec<&str> = value.to_str().ok()?.splitn(4, "; ").collect();
        match parts.as_slice() {
            [id, grace] => {
                let grace = Duration::from_millis(number(grace.strip_prefix("grace=")?)?);
                Some(Self::New { id: StreamId::parse(id)?, grace })
            }
            [id, received, attempt] => Some(Self::Again {
                id: StreamId::parse(id)?,
                received: number(received.strip_prefix("received=")?)?,
                attempt: number(attempt.strip_prefix("attempt=")?)?,
            }),
            _ => None,
        }
    }

    pub(crate) fn value(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::New { id, grace } => format!("{}; grace={}", hex::encode(id.0), grace.as_millis()),
            Self::Again { id, received, attempt } => {
                format!("{}; received={received}; attempt={attempt}", hex::encode(id.0))
            }
        };
        HeaderValue::try_from(text).ok()
    }
}

/// What the publisher answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The offset before which everything came.
    Received(u64),
    /// All of it came, and all of the other direction is known to have.
    Finished,
}

impl Answered {
    pub(crate) fn read(value: &HeaderValue) -> Option<Self> {
        match value.to_str().ok()? {
            "finished" => Some(Self::Finished),
            text => number(text.strip_prefix("received=")?).map(Self::Received),
        }
    }

    pub(crate) fn value(self) -> Option<HeaderValue> {
        match self {
            Self::Received(offset) => HeaderValue::try_from(format!("received={offset}")).ok(),
            Self::Finished => Some(HeaderValue::from_static("finished")),
        }
    }
}

/// Digits, and nothing else.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_and_nothing_else() {
        let id = StreamId::new([0xab; 16]);
        let asks = [
            Ask::New { id, grace: Duration::from_secs(30) },
            Ask::Again { id, received: u64::MAX, attempt: 3 },
        ];
        for ask in asks {
            assert!(Ask::read(&ask.value().unwrap()) == Some(ask));
        }
        let hex = "ab".repeat(16);
        assert_eq!(asks[0].value().unwrap(), format!("{hex}; grace=30000"));
        for wrong in [
            String::new(),
            hex.clone(),
            format!("{hex}; grace=-1"),
            format!("{hex}; grace=1; more=1"),
            format!("{hex}; received=1"),
            format!("{hex}; received=1; attempt=1; more=1"),
            format!("{hex}; received=18446744073709551616; attempt=1"),
            format!("{}; grace=1", "AB".repeat(16)),
            format!("{}; grace=1", "ab".repeat(17)),
        ] {
            assert!(Ask::read(&HeaderValue::try_from(&wrong).unwrap()).is_none(), "{wrong}");
        }
        for answer in [Answered::Received(7), Answered::Finished] {
            assert_eq!(Answered::read(&answer.value().unwrap()), Some(answer));
        }
        assert_eq!(Answered::read(&HeaderValue::from_static("received=")), None);
        assert_eq!(Answered::read(&HeaderValue::from_static("received=+1")), None);
    }
}
