//! A visitor's request as the app is to get it: in the HTTP that it speaks, and without what gateway and publisher say to each other.

use http::{HeaderMap, HeaderValue, Request, Uri, header};
use hyper::body::{Body as _, Incoming};

use super::target::Target;
use crate::tunnel::protocol::{strip_hop_by_hop, strip_internal};

/// The gateway's request as the app should get it: in the HTTP that it speaks, with the visitor's host.
pub(super) fn to_app(request: Request<Incoming>, target: &Target) -> Result<Request<Incoming>, http::Error> {
    let (mut parts, body) = request.into_parts();
    strip_internal(&mut parts.headers);
    strip_hop_by_hop(&mut parts.headers);
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let visited = parts.uri.authority().unwrap_or(&target.authority);
    if target.protocol.is_http2() {
        let scheme = if target.protocol.is_tls() { "https" } else { "http" };
        parts.uri = Uri::builder().scheme(scheme).authority(visited.clone()).path_and_query(path).build()?;
        parts.version = http::Version::HTTP_2;
        return Ok(Request::from_parts(parts, body));
    }
    parts.headers.insert(header::HOST, HeaderValue::from_str(visited.as_str())?);
    join_cookies(&mut parts.headers)?;
    // Unless it is told so, HTTP's library takes it for granted that a request which only asks has no body, and leaves out what it has.
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    parts.uri = Uri::builder().path_and_query(path).build()?;
    parts.version = http::Version::HTTP_11;
    Ok(Request::from_parts(parts, body))
}

/// HTTP/2 may split cookies over several headers, HTTP/1.1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), http::Error> {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        let joined = HeaderValue::from_bytes(&cookies.join(b"; ".as_slice()))?;
        headers.insert(header::COOKIE, joined);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_that_http_2_split_are_one_header_for_the_app() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
        headers.append(header::COOKIE, HeaderValue::from_static("b=2"));
        join_cookies(&mut headers).unwrap();
        let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }
}
