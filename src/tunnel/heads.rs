//! How large a head, or the trailers behind a body, may be on the HTTP/2 between gateway and publisher.
//!
//! HTTP/2's library answers a request whose head is too large with a bare 431, as if the app had said it, and one that is so by far
//! costs everybody the connection. So each end takes more than the other one can have to send: the publisher, which does not know
//! what the gateway's operator set, the largest that can be set and what the gateway adds to it; and the gateway, the largest that the
//! publisher reads of an app. What would still not fit is not sent.

use http::{HeaderMap, Request};

/// The largest that the heads of visitors' requests may be set to be, in bytes (`limits.header_bytes`).
pub const MOST_OF_A_VISITOR: u32 = 1 << 20;

/// The largest head of an app's answer that a publisher reads, in bytes: of this every connection to an app may keep as much.
pub(super) const MOST_OF_AN_APP: u32 = 128 << 10;

/// For what is added on the way, and for the 32 bytes that HTTP/2 counts for a field besides its name and value (RFC 9113 section
/// 6.5.2): a visitor's hundred fields are 3 KiB, and the rest is for what an operator's rules put in.
const ROOM: u32 = 64 << 10;

/// What a publisher takes as the head of a request, as HTTP/2 counts.
pub(super) const REQUEST: u32 = MOST_OF_A_VISITOR + ROOM;

/// What a gateway takes as the head of an answer, as HTTP/2 counts.
pub(super) const ANSWER: u32 = MOST_OF_AN_APP + ROOM;

/// What HTTP/2 counts for a field besides its name and its value.
const BESIDES: usize = 32;
/// Method, scheme and path by name, and the tunnel's: what a request has besides its headers and its path.
const OF_ITS_OWN: usize = 512;

/// Whether the head of `request` goes through a tunnel, its rules applied and the host among its headers.
pub(crate) fn fits<B>(request: &Request<B>) -> bool {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    path + bytes(request.headers()) + OF_ITS_OWN <= REQUEST as usize
}

fn bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + BESIDES).sum()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_head_of_the_largest_setting_fits_with_what_the_gateway_adds_and_one_with_far_more_does_not() {
        let of = |length: usize| {
            let value = HeaderValue::from_bytes(&vec![b'x'; length]).unwrap();
            Request::get("/").header("x-long", value).header("host", "demo.localhost").body(()).unwrap()
        };
        assert!(fits(&of(MOST_OF_A_VISITOR as usize)));
        assert!(!fits(&of(REQUEST as usize)));
    }
}
