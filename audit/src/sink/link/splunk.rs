//! Splunk's HTTP event collector.
//!
//! A 200 means that an event was received and may still be lost. With indexer acknowledgement a parcel is delivered when
//! Splunk says that it is indexed; the channel that this needs belongs to the ledger and the sink.
//! Splunk says the number of an event that it cannot parse, but not what became of those around it: such a parcel is sent
//! again in parts.

use std::{path::PathBuf, time::Duration};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::Digest;

use super::{
    super::{format::Shape, parcel::Parcel},
    Answer, LinkError, credential,
    http::{Client, Header, Reply, plain, secret},
};

pub(in crate::sink) struct Splunk {
    pub(super) client: Client,
    credential: Option<PathBuf>,
    channel: String,
    pub(super) acknowledge: Option<Duration>,
    index: Option<String>,
    source: String,
    shape: Shape,
    asked: Option<Instant>,
}

impl Splunk {
    pub(super) fn new(
        client: Client,
        credential: Option<PathBuf>,
        (origin, sink): (&str, &str),
        acknowledge: Option<Duration>,
        index: Option<String>,
        shape: Shape,
    ) -> Self {
        Self {
            client,
            credential,
            channel: channel(origin, sink),
            acknowledge,
            index,
            source: origin.to_owned(),
            shape,
            asked: None,
        }
    }

    fn headers(&self) -> Result<Vec<Header>, LinkError> {
        let mut headers = vec![("x-splunk-request-channel", plain(&self.channel)?)];
        if let Some(path) = &self.credential {
            let token = credential::read(path)?;
            headers.push(("authorization", secret(&format!("Splunk {}", token.expose_to_receiver()))?));
        }
        Ok(headers)
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Result<Answer, LinkError> {
        let mut body = Vec::with_capacity(parcel.octets + 256 * parcel.items.len());
        for item in &parcel.items {
            let mut event = Map::new();
            event.insert("host".to_owned(), item.node.as_str().into());
            event.insert("source".to_owned(), self.source.as_str().into());
            event.insert("sourcetype".to_owned(), format!("sallyport:{}", self.shape.as_str()).into());
            if let Some(index) = &self.index {
                event.insert("index".to_owned(), index.as_str().into());
            }
            let (seconds, millis) =
                (item.time.as_millisecond().div_euclid(1000), item.time.as_millisecond().rem_euclid(1000));
            // The event goes last and as it is: its bytes are what the leaf hash is over.
            let mut text = Value::Object(event).to_string().into_bytes();
            text.pop();
            text.extend_from_slice(format!(",\"time\":{seconds}.{millis:03},\"event\":").as_bytes());
            if self.shape.is_json() {
                text.extend_from_slice(&item.bytes);
            } else {
                text.extend_from_slice(
                    Value::from(String::from_utf8_lossy(&item.bytes)).to_string().as_bytes(),
                );
            }
            text.push(b'}');
            body.extend_from_slice(&text);
        }
        let headers = self.headers()?;
        let reply = self.client.post("/services/collector/event", "application/json", headers, body).await?;
        if !reply.is_taken()? {
            return refusal(&reply);
        }
        if self.acknowledge.is_none() {
            return Ok(Answer::Taken);
        }
        let acknowledgement = reply.json()?.get("ackId").and_then(Value::as_u64);
        let missing = || LinkError::Answer {
            what: "it has no ackId; the token has no indexer acknowledgement, so turn `acknowledge_secs` off"
                .to_owned(),
        };
        Ok(Answer::Received { acknowledgement: acknowledgement.ok_or_else(missing)? })
    }

    pub(super) async fn indexed(&mut self, ids: &[u64], every: Duration) -> Result<Vec<u64>, LinkError> {
        if self.asked.is_some_and(|asked| asked.elapsed() < every) {
            return Ok(Vec::new());
        }
        self.asked = Some(Instant::now());
        let under = format!("/services/collector/ack?channel={}", self.channel);
        let body = json!({ "acks": ids }).to_string().into_bytes();
        let headers = self.headers()?;
        let reply = self.client.post(&under, "application/json", headers, body).await?;
        if !reply.is_taken()? {
            return Err(LinkError::Status { status: reply.status.as_u16(), said: super::said(&reply.body) });
        }
        let answer = reply.json()?;
        let acks = answer.get("acks").and_then(Value::as_object);
        let acks = acks.ok_or_else(|| LinkError::Answer { what: "it has no acks".to_owned() })?;
        // Only what was asked for and is plainly true: a wrong acknowledgement must not move the cursor.
        let is_true = |id: &&u64| acks.get(&id.to_string()).and_then(Value::as_bool) == Some(true);
        Ok(ids.iter().filter(is_true).copied().collect())
    }
}

/// Who is to blame for a refusal. Pure.
fn refusal(reply: &Reply) -> Result<Answer, LinkError> {
    let status = reply.status.as_u16();
    let code = reply.json().ok().and_then(|answer| answer.get("code").and_then(Value::as_u64));
    match (status, code) {
        // Too large: whatever it says beside that, less of it may be taken.
        (413, _) | (_, Some(5 | 6 | 12 | 13 | 15) | None) => Ok(Answer::Refused { reason: reply.reason() }),
        // 400 also says that token, channel or index are wrong: no record is to blame for that.
        (_, Some(_)) => Err(LinkError::Status { status, said: super::said(&reply.body) }),
    }
}

/// A UUID (version 8, RFC 9562) that names this sink of this ledger.
fn channel(origin: &str, sink: &str) -> String {
    let digest = Digest::of(&[b"sallyport.splunk-channel\0", origin.as_bytes(), b"\0", sink.as_bytes()]);
    let mut bytes = [0; 16];
    for (byte, source) in bytes.iter_mut().zip(digest.as_bytes()) {
        *byte = *source;
    }
    let mut number = u128::from_be_bytes(bytes);
    number = (number & !(0xf << 76)) | (8 << 76);
    number = (number & !(0b11 << 62)) | (0b10 << 62);
    let hex = format!("{number:032x}");
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_uuid_and_belongs_to_one_sink_of_one_ledger() {
        let one = channel("a/ledger", "soc");
        assert_eq!(one, channel("a/ledger", "soc"));
        assert_ne!(one, channel("b/ledger", "soc"));
        assert_ne!(one, channel("a/ledger", "soc2"));
        assert_eq!((one.len(), one.as_bytes()[14]), (36, b'8'));
        assert!(matches!(one.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }

    #[test]
    fn a_refusal_blames_the_records_for_their_form_and_size_alone() {
        let of = |status: u16, code: Option<u64>| {
            let body =
                code.map_or_else(String::new, |code| json!({ "text": "no", "code": code }).to_string());
            let status = http::StatusCode::from_u16(status).unwrap();
            refusal(&Reply { status, pause: None, body: body.into() })
        };
        for code in [None, Some(5), Some(6), Some(12), Some(13), Some(15)] {
            assert!(matches!(of(400, code), Ok(Answer::Refused { .. })), "{code:?}");
        }
        for code in [None, Some(6), Some(7), Some(27)] {
            assert!(matches!(of(413, code), Ok(Answer::Refused { .. })), "{code:?}: less may be taken");
        }
        for code in [1, 2, 3, 4, 7, 8, 9, 10, 11, 14, 16] {
            assert!(matches!(of(400, Some(code)), Err(LinkError::Status { status: 400, .. })), "{code}");
        }
    }
}
