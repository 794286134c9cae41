//! Records to anybody's HTTP address: newline-delimited JSON, signed as Standard Webhooks are, by a key of the gateway's, or both.
//!
//! The one signature is HMAC-SHA256 over `id.timestamp.body` under a secret that the receiver shares (a file with
//! `whsec_` and base64); for the other see [`super::signature`]. The id names ledger, sink and range. A parcel sent again has the same one
//! as long as the gateway runs; after a restart the same records may come in another parcel.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::Digest;

use super::{
    super::{delivery::wall_clock, parcel::Parcel},
    Answer, LinkError, credential,
    http::{Client, Header, plain},
    signature::{Covered, RequestSigner},
};

const MEDIA_TYPE: &str = "application/x-ndjson";

/// Fewer bytes of secret are refused (Standard Webhooks asks for 24 to 64).
const LEAST_SECRET: usize = 24;

pub(in crate::sink) struct Webhook {
    pub(super) client: Client,
    credential: Option<PathBuf>,
    signer: Option<Arc<dyn RequestSigner>>,
    stream: String,
}

impl Webhook {
    pub(super) fn new(
        client: Client,
        (credential, signer): (Option<PathBuf>, Option<Arc<dyn RequestSigner>>),
        origin: &str,
        sink: &str,
    ) -> Self {
        let mut stream = Digest::of(&[origin.as_bytes(), b"\0", sink.as_bytes()]).to_string();
        stream.truncate(16);
        Self { client, credential, signer, stream }
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Result<Answer, LinkError> {
        let mut body = Vec::with_capacity(parcel.octets + parcel.items.len());
        for item in &parcel.items {
            body.extend_from_slice(&item.bytes);
            body.push(b'\n');
        }
        let ends = (parcel.items.first(), parcel.items.last());
        let (first, last) = (ends.0.map_or(0, |item| item.seq), ends.1.map_or(0, |item| item.seq));
        let id = format!("msg_{}_{first}_{last}", self.stream);
        let mut headers: Vec<Header> = vec![("webhook-id", plain(&id)?)];
        let created = wall_clock().as_second();
        let time = created.to_string();
        headers.push(("webhook-timestamp", plain(&time)?));
        if let Some(path) = &self.credential {
            let key = secret(path)?;
            let mut signing = hmac::Context::with_key(&key);
            for part in [id.as_bytes(), b".".as_slice(), time.as_bytes(), b".".as_slice(), body.as_slice()] {
                signing.update(part);
            }
            headers.push(("webhook-signature", plain(&format!("v1,{}", STANDARD.encode(signing.sign())))?));
        }
        if let Some(signer) = &self.signer {
            let (authority, path) = self.client.target();
            let covered = Covered { authority, path, media_type: MEDIA_TYPE, id, created };
            headers.extend(covered.sign(&body, Arc::clone(signer)).await?);
        }
        let reply = self.client.post("", MEDIA_TYPE, headers, body).await?;
        Ok(if reply.is_taken()? { Answer::Taken } else { Answer::Refused { reason: reply.reason() } })
    }
}

fn secret(path: &Path) -> Result<hmac::Key, LinkError> {
    let credential = credential::read(path)?;
    let refused = |what: &str| LinkError::Credential { path: path.to_owned(), what: what.to_owned() };
    let text = credential.expose_to_receiver();
    let text = text.strip_prefix("whsec_").ok_or_else(|| refused("does not begin with whsec_"))?;
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| refused("is not base64 behind whsec_"))?);
    if bytes.len() < LEAST_SECRET {
        return Err(refused("holds a secret of less than 24 bytes"));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}
