//! OTLP logs over HTTP, in its JSON form (`OpenTelemetry` protocol 1.x, `/v1/logs`).
//!
//! A receiver may take a part and say only how many it refused, not which. Such a parcel counts as refused: it is sent again
//! in halves until the record stands alone, and whatever was taken before is there twice, under the same number.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{
    super::parcel::{Item, Parcel},
    Answer, LinkError, credential,
    http::{Client, secret},
    said,
};

pub(in crate::sink) struct Otlp {
    pub(super) client: Client,
    credential: Option<PathBuf>,
    origin: String,
    sink: String,
}

impl Otlp {
    pub(super) fn new(client: Client, credential: Option<PathBuf>, origin: &str, sink: &str) -> Self {
        Self { client, credential, origin: origin.to_owned(), sink: sink.to_owned() }
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Result<Answer, LinkError> {
        let body = body(&self.origin, &self.sink, &parcel.items).to_string().into_bytes();
        let mut headers = Vec::new();
        if let Some(path) = &self.credential {
            let token = credential::read(path)?;
            headers.push(("authorization", secret(&format!("Bearer {}", token.expose_to_receiver()))?));
        }
        let reply = self.client.post("", "application/json", headers, body).await?;
        if !reply.is_taken()? {
            return Ok(Answer::Refused { reason: reply.reason() });
        }
        let answer = if reply.body.is_empty() { Value::Null } else { reply.json()? };
        let partial = answer.get("partialSuccess");
        let refused = partial.and_then(|partial| partial.get("rejectedLogRecords"));
        // A 64-bit number is text in the JSON form of protocol buffers; some write it as a number all the same.
        let refused = match refused {
            None | Some(Value::Null) => 0,
            Some(Value::String(text)) => text.parse().unwrap_or(u64::MAX),
            Some(other) => other.as_u64().unwrap_or(u64::MAX),
        };
        if refused == 0 {
            return Ok(Answer::Taken);
        }
        let words = partial.and_then(|partial| partial.get("errorMessage")).and_then(Value::as_str);
        Ok(Answer::Refused { reason: said(words.unwrap_or_default().as_bytes()) })
    }
}

fn body(origin: &str, sink: &str, items: &[Item]) -> Value {
    let attribute = |key: &str, value: Value| json!({ "key": key, "value": value });
    let text = |value: &str| json!({ "stringValue": value });
    let number = |value: u64| json!({ "intValue": value.to_string() });
    let records: Vec<Value> = items
        .iter()
        .map(|item| {
            let (severity, word) = severity(item.severity);
            json!({
                "timeUnixNano": item.time.as_nanosecond().to_string(),
                "observedTimeUnixNano": item.time.as_nanosecond().to_string(),
                "severityNumber": severity,
                "severityText": word,
                "eventName": item.kind.as_str(),
                "body": text(&String::from_utf8_lossy(&item.bytes)),
                "attributes": [
                    attribute("sallyport.seq", number(item.seq)),
                    attribute("sallyport.sinkseq", number(item.after.sequence - 1)),
                    attribute("sallyport.kind", text(item.kind.as_str())),
                ],
            })
        })
        .collect();
    let node = items.first().map(|item| item.node.as_str()).unwrap_or_default();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [
            attribute("service.name", text("sallyport")),
            attribute("host.name", text(node)),
            attribute("sallyport.origin", text(origin)),
            attribute("sallyport.sink", text(sink)),
        ] },
        "scopeLogs": [{
            "scope": { "name": "sallyport", "version": env!("CARGO_PKG_VERSION") },
            "logRecords": records,
        }],
    }] })
}

/// `OpenTelemetry`'s number and word for a syslog severity (its logs data model, appendix B).
fn severity(syslog: u8) -> (u8, &'static str) {
    match syslog {
        0..=2 => (21, "FATAL"),
        3 => (17, "ERROR"),
        4 => (13, "WARN"),
        5 => (10, "INFO2"),
        6 => (9, "INFO"),
        _ => (5, "DEBUG"),
    }
}
