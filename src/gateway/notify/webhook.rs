//! A webhook: a POST of JSON, signed as Standard Webhooks says (HMAC-SHA256 over id, time and body; symmetric `v1`).
//!
//! The time is that of the attempt and stands under the signature, so a receiver can refuse what is old; the id is the same in
//! each repetition, so it can pass over what it has. Two secrets sign side by side while one takes the other's place.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use super::{MOST, NotifyError, PATIENCE, secret};
use crate::access::Subject;
use crate::clock;
use crate::gateway::config::WebhookSettings;
use crate::gateway::exchange::{Question, Unanswered, ask};
use crate::gateway::server::Server;
use crate::notify::{Message, Unsent, Way};

/// Secrets of these lengths, in bytes, are taken.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// See the module.
pub(super) struct Webhook {
    name: String,
    server: Server,
    keys: Vec<hmac::Key>,
}

impl Webhook {
    pub(super) fn open(name: &str, settings: &WebhookSettings) -> Result<Self, NotifyError> {
        let server = Server::new(settings.url.clone(), settings.root_file.as_deref())
            .map_err(|source| NotifyError::Dial { way: name.to_owned(), source: Box::new(source) })?;
        let text = secret::read(name, &settings.secret_file)?;
        let fault = |why: &str| NotifyError::Secret {
            way: name.to_owned(),
            path: settings.secret_file.clone(),
            why: why.to_owned(),
        };
        let keys: Vec<hmac::Key> = text
            .lines()
            .map(|line| {
                key(line.trim())
                    .ok_or_else(|| fault("doesn't hold `whsec_` and base64 of 24 to 64 bytes in each line"))
            })
            .collect::<Result<_, _>>()?;
        if keys.len() > 2 {
            return Err(fault("holds more than two secrets"));
        }
        Ok(Self { name: name.to_owned(), server, keys })
    }

    async fn post(&self, message: &Message) -> Result<(), Unsent> {
        let body = body(message);
        let headers = headers(&self.keys, &message.id, clock::now(), &body).ok_or_else(unsendable)?;
        post(&self.server, headers, body).await
    }
}

fn unsendable() -> Unsent {
    Unsent::Refused("it can't be put into a request".to_owned())
}

/// A secret as Standard Webhooks writes it.
fn key(text: &str) -> Option<hmac::Key> {
    let bytes = Zeroizing::new(STANDARD.decode(text.strip_prefix("whsec_")?).ok()?);
    LENGTHS.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn body(message: &Message) -> Bytes {
    let to: Vec<&str> = message.to.iter().map(Subject::as_str).collect();
    let value = json!({
        "type": format!("sallyport.{}", message.event),
        "timestamp": message.time.to_string(),
        "data": {
            "to": to,
            "title": message.title,
            "text": message.body,
            "link": message.link,
            "facts": message.facts,
        },
    });
    Bytes::from(value.to_string())
}

fn headers(
    keys: &[hmac::Key],
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let time = now.as_second().to_string();
    let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    let sign = |key: &hmac::Key| format!("v1,{}", STANDARD.encode(hmac::sign(key, &signed)));
    let signatures: Vec<String> = keys.iter().map(sign).collect();
    Some(vec![
        (HeaderName::from_static("webhook-id"), HeaderValue::from_str(id).ok()?),
        (HeaderName::from_static("webhook-timestamp"), HeaderValue::from_str(&time).ok()?),
        (HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signatures.join(" ")).ok()?),
    ])
}

/// Posts JSON once.
pub(super) async fn post(
    server: &Server,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
) -> Result<(), Unsent> {
    let path = server.url().path.clone();
    let question =
        Question { method: Method::POST, path: &path, headers, body: Some(("application/json", body)) };
    match ask(server, &question, MOST, PATIENCE).await {
        Ok((status, _)) => judge(status),
        Err(Unanswered::Unsendable) => Err(unsendable()),
        // An answer that is too long is one of these: which status it had is lost.
        Err(error) => Err(Unsent::Away(error.to_string())),
    }
}

/// What a receiver's status means.
fn judge(status: StatusCode) -> Result<(), Unsent> {
    let said = |what: &str| format!("the receiver answered {}{what}", status.as_u16());
    match status {
        _ if status.is_success() => Ok(()),
        _ if status.is_redirection() => Err(Unsent::Refused(said(", and no redirect is followed"))),
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::CONFLICT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => Err(Unsent::Away(said(""))),
        _ if status.is_client_error() => Err(Unsent::Refused(said(""))),
        _ => Err(Unsent::Away(said(""))),
    }
}

impl Way for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn is_personal(&self) -> bool {
        false
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        _to: Option<&'a Subject>,
    ) -> BoxFuture<'a, Result<(), Unsent>> {
        self.post(message).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_example_in_the_standard() {
        // standard-webhooks, README of the specification and its reference libraries.
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, time) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", Timestamp::from_second(1_614_265_330).unwrap());
        let headers = headers(&[key], id, time, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_short_or_not_base64_is_none() {
        assert!(key("whsec_c2hvcnQ=").is_none());
        assert!(key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_none());
        assert!(key("whsec_not base64 at all, but long enough").is_none());
    }

    #[test]
    fn only_2xx_is_taken_and_a_redirect_is_a_refusal() {
        let judged = |code: u16| judge(StatusCode::from_u16(code).unwrap());
        assert_eq!((judged(200), judged(204)), (Ok(()), Ok(())));
        for code in [301, 302, 307, 308, 400, 401, 404, 410, 422] {
            assert!(matches!(judged(code), Err(Unsent::Refused(_))), "{code}");
        }
        for code in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(code), Err(Unsent::Away(_))), "{code}");
        }
    }
}
