//! How large the head of a request may be, and what whoever sends a larger one is told.
//!
//! The libraries have bounds of their own, and answer beyond them with a bare 431, or cut the connection off. Theirs are [`MARGIN`]
//! wider than ours: who is beyond by a little is told what the bound is, and who is by far costs nothing more.

use axum::http::{HeaderMap, Request, StatusCode};

use super::page::Refusal;
use crate::tunnel::TunnelName;

/// Fields of a head; what reads HTTP/1.1 takes four more.
pub(super) const MOST_FIELDS: usize = 96;

/// How much wider the libraries' bounds are, in bytes.
pub(super) const MARGIN: usize = 16 * 1024;

/// What a field takes besides its name and its value: a colon, a space and the end of the line.
const BESIDES: usize = 4;

/// Why the head of `request` is too large, if it is larger than `most` bytes or has too many fields.
pub(super) fn too_large<B>(request: &Request<B>, most: usize) -> Option<Refusal> {
    let fields = request.headers().len();
    if fields > MOST_FIELDS {
        return Some(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too-many-fields",
            format!("the request's head has {fields} fields, and {MOST_FIELDS} are taken"),
            "send fewer header fields",
        ));
    }
    let uri = request.uri();
    let host = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let bytes = host + path + bytes(request.headers());
    (bytes > most).then(|| {
        Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head-too-large",
            format!("the request's head has {bytes} bytes, and {most} are taken"),
            "send a shorter address, fewer cookies or shorter header fields; the gateway's operator sets the limit (limits.header_bytes)",
        )
    })
}

/// With what is added to it on the way: only rules of the operator's that add very much can bring it about.
pub(super) fn too_large_for_a_tunnel(name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head-too-large",
        format!("with what is added to it, the request's head is larger than the tunnel to `{name}` carries"),
        "send a shorter address, fewer cookies or shorter header fields; the gateway's operator sets what is added (request_headers of the tunnel)",
    )
}

fn bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + BESIDES).sum()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn with(fields: usize, value: &str) -> Request<()> {
        let mut request = Request::get("https://demo.localhost/").body(()).unwrap();
        for number in 0..fields {
            let name: HeaderName = format!("x-{number:03}").parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    fn code(request: &Request<()>, most: usize) -> Option<&'static str> {
        too_large(request, most).map(|refusal| refusal.code)
    }

    #[test]
    fn a_head_is_too_large_by_its_bytes_or_by_its_fields() {
        let address = "demo.localhost/".len();
        assert_eq!(code(&with(2, "abc"), address + 2 * 12), None);
        assert_eq!(code(&with(2, "abc"), address + 2 * 12 - 1), Some("head-too-large"));
        assert_eq!(code(&with(MOST_FIELDS, ""), 65_536), None);
        assert_eq!(code(&with(MOST_FIELDS + 1, ""), 65_536), Some("too-many-fields"));
    }
}
