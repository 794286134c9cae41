//! HTTP message signatures (RFC 9421, Ed25519) over a webhook's requests, by a key of the gateway's that whoever receives cannot use.
//!
//! Covered: method, host, path, media type, the digest of the body (RFC 9530), the request's id; and, as parameters, when it was made,
//! by which key, and a tag. What is signed is short however long the body is, and begins as nothing else does that the same key signs:
//! with a quotation mark, where a ledger's head or a pack's list has the ledger's name.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::SignError;

use super::{
    LinkError,
    http::{Header, plain},
};

/// The signature's name in its two headers, which the standard leaves to whoever signs.
const LABEL: &str = "sallyport";
/// Says for what it was made: no other request of ours that may be signed one day is taken for this one.
const TAG: &str = "sallyport-webhook";

/// Signs with the key in office, whichever that is at the time.
pub trait RequestSigner: fmt::Debug + Send + Sync + 'static {
    /// Signs what `text` makes of the key as receivers know it, in one line of printable ASCII without quotation marks and backslashes; and
    /// gives that name, too. Blocks.
    ///
    /// # Errors
    ///
    /// The key provider gives no signature.
    fn sign(&self, text: &dyn Fn(&str) -> String) -> Result<(String, [u8; 64]), SignError>;
}

/// What is signed of a request.
pub(super) struct Covered {
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) media_type: &'static str,
    pub(super) id: String,
    /// POSIX seconds.
    pub(super) created: i64,
}

impl Covered {
    fn parameters(&self, key: &str) -> String {
        let created = self.created;
        format!(
            "(\"@method\" \"@authority\" \"@path\" \"content-type\" \"content-digest\" \"webhook-id\");created={created};\
             keyid=\"{key}\";alg=\"ed25519\";tag=\"{TAG}\""
        )
    }

    /// The signature base (section 2.5).
    fn base(&self, content_digest: &str, key: &str) -> String {
        let Self { authority, path, media_type, id, .. } = self;
        format!(
            "\"@method\": POST\n\"@authority\": {authority}\n\"@path\": {path}\n\"content-type\": {media_type}\n\
             \"content-digest\": {content_digest}\n\"webhook-id\": {id}\n\"@signature-params\": {}",
            self.parameters(key)
        )
    }

    /// The headers that say all this of this body.
    pub(super) async fn sign(
        self,
        body: &[u8],
        signer: Arc<dyn RequestSigner>,
    ) -> Result<[Header; 3], LinkError> {
        let digest = STANDARD.encode(digest::digest(&digest::SHA256, body));
        let content_digest = format!("sha-256=:{digest}:");
        let digest = plain(&content_digest)?;
        // A token may take its time.
        let signing = tokio::task::spawn_blocking(move || {
            let (key, signature) = signer.sign(&|key| self.base(&content_digest, key))?;
            Ok::<_, SignError>((format!("{LABEL}={}", self.parameters(&key)), signature))
        });
        let (input, signature) = signing
            .await
            .unwrap_or_else(|error| Err(SignError::new(error.to_string())))
            .map_err(|source| LinkError::Unsigned { source })?;
        let signature = format!("{LABEL}=:{}:", STANDARD.encode(signature));
        Ok([
            ("content-digest", digest),
            ("signature-input", plain(&input)?),
            ("signature", plain(&signature)?),
        ])
    }
}
