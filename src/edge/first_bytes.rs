//! What a peer speaks, told from the first bytes that it sends; a pure function of them.
//!
//! One port is for everybody: what is TLS goes on, and what is not gets an answer in its own words, which says what to do.
//! Whether the bytes after these are any good is for whoever reads that protocol.

/// The beginning of a PROXY header of version 2 (section 2.2 of its specification).
pub(super) const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// That of version 1 (section 2.1).
pub(super) const PROXY_V1: &[u8] = b"PROXY ";
/// RFC 4253 section 4.2.
const SSH: &[u8] = b"SSH-";
/// Content type of a TLS record that holds a handshake (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// Longer than any method of HTTP that is registered.
const METHOD: usize = 32;

/// What a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// TLS.
    Tls,
    /// HTTP, in clear.
    Http,
    /// SSH.
    Ssh,
    /// A PROXY header: somebody in front tells for whom it speaks.
    Proxy,
    /// None of these.
    Unknown,
}

/// What `head`, the beginning of what the peer sends, is the beginning of. `None`: more of it is needed.
pub(super) fn told(head: &[u8]) -> Option<Speaks> {
    let first = *head.first()?;
    if first == TLS_HANDSHAKE {
        return Some(Speaks::Tls);
    }
    for (beginning, speaks) in [(PROXY_V2, Speaks::Proxy), (PROXY_V1, Speaks::Proxy), (SSH, Speaks::Ssh)] {
        if head.starts_with(beginning) {
            return Some(speaks);
        }
        if beginning.starts_with(head) {
            return None;
        }
    }
    // RFC 9112 section 3: a method, which is a token, and a space.
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let method = head.iter().take_while(|byte| token(byte)).count();
    match head.get(method) {
        Some(b' ') if (1..=METHOD).contains(&method) => Some(Speaks::Http),
        None if method < METHOD => None,
        _ => Some(Speaks::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_protocol_is_told_from_the_others() {
        for (bytes, speaks) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], Speaks::Tls),
            (b"GET / HTTP/1.1\r\n", Speaks::Http),
            (b"PRI * HTTP/2.0\r\n", Speaks::Http),
            (b"PROPFIND / HTTP/1.1\r\n", Speaks::Http),
            (b"PROXYING / HTTP/1.1\r\n", Speaks::Http),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", Speaks::Ssh),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n", Speaks::Proxy),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Speaks::Proxy),
            (b"\r\n\r\nGET / HTTP/1.1\r\n", Speaks::Unknown),
            (b"\x80\x2e\x01\x00\x02", Speaks::Unknown),
            (b" GET", Speaks::Unknown),
            (b"EHLO\r\n", Speaks::Unknown),
        ] {
            assert_eq!(told(bytes), Some(speaks), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_beginning_that_could_be_two_things_is_waited_for() {
        for beginning in [&b""[..], b"P", b"PR", b"PROXY", b"S", b"SSH", b"\r\n\r", b"GET", b"SEARCH"] {
            assert_eq!(told(beginning), None, "{}", beginning.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn what_was_told_once_stays_so_whatever_follows(
            head in prop::collection::vec(any::<u8>(), 0..64),
            more in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Some(speaks) = told(&head) {
                prop_assert_eq!(told(&[head, more].concat()), Some(speaks));
            } else {
                // Nobody can have it wait for ever by sending.
                prop_assert!(head.len() < METHOD);
            }
        }
    }
}
