//! Styles, scripts and pictures: in the program, from no other host, and never changed under one address, so that browsers
//! keep them. Those of others are listed with their digests in `assets/VENDORED.md`, and a test compares.

use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    /// The beginning of its digest, which stands in its address.
    version: String,
}

macro_rules! assets {
    ($($name:literal: $kind:literal),* $(,)?) => {
        static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| vec![$(Asset {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("assets/", $name)),
            version: version(include_bytes!(concat!("assets/", $name))),
        }),*]);
    };
}

assets! {
    "charts.js": "text/javascript; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "idiomorph.min.js": "text/javascript; charset=utf-8",
    "licenses.txt": "text/plain; charset=utf-8",
    "passkeys.js": "text/javascript; charset=utf-8",
    "uplot.min.css": "text/css; charset=utf-8",
    "uplot.min.js": "text/javascript; charset=utf-8",
    "verifier.wasm": "application/wasm",
    "verify.js": "text/javascript; charset=utf-8",
}

fn version(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes).get(..6).unwrap_or_default())
}

/// The address of an asset.
pub(super) fn url(name: &str) -> String {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => format!("/console/assets/{name}?v={}", asset.version),
        None => String::new(),
    }
}

/// `GET /console/assets/NAME`.
pub(super) async fn serve(Path(name): Path<String>, RawQuery(query): RawQuery) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Another version than the one asked for is shown, and not kept.
    let known = query.as_deref().and_then(|query| query.strip_prefix("v=")) == Some(&asset.version);
    let kept = if known { "public, max-age=31536000, immutable" } else { "no-cache" };
    let nosniff = (HeaderName::from_static("x-content-type-options"), "nosniff");
    ([(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, kept), nosniff], asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_what_was_looked_at() {
        let list = include_str!("assets/VENDORED.md");
        for asset in ASSETS.iter() {
            let digest = hex::encode(Sha256::digest(asset.bytes));
            let ours = ["charts.", "console.", "icon.", "licenses.", "passkeys.", "verify."]
                .iter()
                .any(|own| asset.name.starts_with(own));
            assert!(ours || list.contains(&digest), "{}: {digest}", asset.name);
        }
    }

    #[test]
    fn the_first_page_costs_less_than_100_kib_even_uncompressed() {
        let first = ["console.css", "console.js", "icon.svg", "idiomorph.min.js"];
        let bytes: usize =
            ASSETS.iter().filter(|asset| first.contains(&asset.name)).map(|asset| asset.bytes.len()).sum();
        assert!(bytes < 60 * 1024, "{bytes} bytes leave too little for the page itself");
    }
}
