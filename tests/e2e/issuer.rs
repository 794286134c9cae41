//! An identity provider of a test's own: publishes its keys, and signs what the test wants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::app::App;

/// See the module. Ends with this value.
pub(crate) struct IssuerApp {
    app: App,
    keys: Arc<Mutex<BTreeMap<String, Arc<EcdsaKeyPair>>>>,
    asked: Arc<Mutex<usize>>,
}

impl IssuerApp {
    /// With one key, `k1`.
    pub(crate) fn start() -> Self {
        let keys: Arc<Mutex<BTreeMap<String, Arc<EcdsaKeyPair>>>> = Arc::default();
        let asked: Arc<Mutex<usize>> = Arc::default();
        let published = (Arc::clone(&keys), Arc::clone(&asked));
        let set = move || {
            let (keys, asked) = published.clone();
            async move {
                *asked.lock().unwrap() += 1;
                let keys: Vec<Value> =
                    keys.lock().unwrap().iter().map(|(kid, pair)| jwk(kid, pair)).collect();
                axum::Json(json!({ "keys": keys }))
            }
        };
        let issuer = Self { app: App::web(Router::new().route("/jwks", get(set))), keys, asked };
        issuer.add_key("k1");
        issuer
    }

    pub(crate) fn add_key(&self, kid: &str) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        self.keys.lock().unwrap().insert(kid.to_owned(), Arc::new(pair));
    }

    pub(crate) fn withdraw_key(&self, kid: &str) {
        self.keys.lock().unwrap().remove(kid);
    }

    /// How often its keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }

    /// What `iss` says.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.app.address())
    }

    /// The block for the gateway's configuration, and more settings in it.
    pub(crate) fn configuration(&self, more: &str) -> String {
        let url = self.url();
        format!(
            "[[identity.issuer]]\nname = \"corp\"\nissuer = \"{url}\"\naudience = \"sallyport\"\n\
             keys_url = \"{url}/jwks\"\nleeway_secs = 0\nroles = [\"eng=role:visitor\"]\n{more}\n"
        )
    }

    /// A token of somebody in these groups, for so many seconds, with claims laid over.
    #[expect(clippy::disallowed_methods, reason = "a test's own issuer signs for the present")]
    pub(crate) fn token(&self, kid: &str, who: &str, seconds: i64, more: &Value) -> String {
        let now = Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.url(), "aud": "sallyport", "sub": who, "groups": ["eng"],
            "iat": now - 1, "exp": now + seconds, "jti": format!("{who}-{now}-{seconds}"),
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(&json!({ "alg": "ES256", "kid": kid })), encode(&claims));
        let pair = Arc::clone(&self.keys.lock().unwrap()[kid]);
        let signature = pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn jwk(kid: &str, pair: &EcdsaKeyPair) -> Value {
    let point = pair.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": part(&point[1..33]), "y": part(&point[33..]) })
}
