//! The `[[tunnel]]` blocks: what the operator lays down for single tunnels.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};

use super::keys::TUNNEL_KEYS;
use super::read::{parse_domain, parse_networks, required};
use super::reader::{Problems, Reader};
use crate::edge::{ForeignHeader, HeaderRules, Priority, Sources, TunnelRules};
use crate::session::Recording;
use crate::tunnel::TunnelName;

/// What `audit` may say.
pub(super) const RECORDING: &[(&str, Recording)] =
    &[("strict", Recording::Strict), ("buffered", Recording::Buffered)];

/// What `proxy_headers` may say.
pub(super) const PROXY_HEADERS: &[(&str, ForeignHeader)] =
    &[("refuse", ForeignHeader::Refuse), ("pass", ForeignHeader::Pass)];

/// What `priority` may say.
const PRIORITIES: &[(&str, Priority)] = &[
    ("interactive", Priority::Interactive),
    ("batch", Priority::Batch),
    ("background", Priority::Background),
];

/// Headers that no rule may touch: they frame the message, belong to one connection, or are the gateway's own word.
const NOT_TO_TOUCH: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One block.
#[derive(Debug, Clone)]
pub struct TunnelBlock {
    /// The tunnel.
    pub name: TunnelName,
    /// What is laid down, as far as the block says.
    pub rules: TunnelRules,
    /// What it says of `audit`.
    pub recording: Option<Recording>,
    /// What it says of `proxy_headers`.
    pub foreign_header: Option<ForeignHeader>,
}

/// Reads the blocks.
pub(super) fn read_tunnel_blocks(value: Option<toml::Value>, problems: &mut Problems) -> Vec<TunnelBlock> {
    let entries = match value {
        None => return Vec::new(),
        Some(toml::Value::Array(entries)) if entries.len() <= 1000 => entries,
        Some(_) => {
            problems.add("tunnel", "write each tunnel as a block [[tunnel]], at most 1000 of them");
            return Vec::new();
        }
    };
    let mut blocks: Vec<TunnelBlock> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let prefix = format!("tunnel[{index}].");
        let toml::Value::Table(table) = entry else {
            problems.add(&prefix, "write each tunnel as a block [[tunnel]]");
            continue;
        };
        let mut reader = Reader::new(table, TUNNEL_KEYS, &prefix, problems);
        let Some(block) = read_block(&mut reader) else { continue };
        if blocks.iter().any(|other| other.name == block.name) {
            reader.fault("name", format!("two blocks are for `{}`", block.name));
        }
        let others = || blocks.iter().flat_map(|other| &other.rules.domains);
        if let Some(twice) = block.rules.domains.iter().find(|domain| others().any(|other| other == *domain))
        {
            reader.fault("domains", format!("`{twice}` is another tunnel's already"));
        }
        blocks.push(block);
    }
    blocks
}

fn read_block(reader: &mut Reader<'_>) -> Option<TunnelBlock> {
    let name = required(reader, "name", |text| TunnelName::parse(&text).map_err(|error| error.to_string()));
    let recording = reader.word("audit", RECORDING);
    let allow = reader.parse("allow_from", |text: String| parse_networks(&text));
    let deny = reader.parse("deny_from", |text: String| parse_networks(&text));
    let at_once = reader.number("at_once", 0, 1_000_000).and_then(|number| usize::try_from(number).ok());
    let priority = reader.word("priority", PRIORITIES);
    let patience = reader.number("request_secs", 1, 86_400).map(Duration::from_secs);
    let body_bytes = reader.number("body_bytes", 0, i64::MAX.unsigned_abs());
    let foreign_header = reader.word("proxy_headers", PROXY_HEADERS);
    let host = reader.parse("host", |text: String| {
        let authority =
            text.parse::<axum::http::uri::Authority>().map_err(|_| format!("`{text}` is not a host"))?;
        HeaderValue::from_str(authority.as_str()).map_err(|_| format!("`{text}` is not a host"))
    });
    let domains = reader.parse("domains", |text: String| {
        list(&text, ',').map(|domain| parse_domain(domain.to_owned())).collect::<Result<Vec<_>, _>>()
    });
    let paths =
        reader.parse("paths", |text: String| list(&text, ',').map(parse_path).collect::<Result<Vec<_>, _>>());
    let upgrades = reader
        .parse("upgrades", |text: String| list(&text, ',').map(parse_upgrade).collect::<Result<Vec<_>, _>>());
    let request = reader.parse("request_headers", |text: String| parse_headers(&text));
    let answer = reader.parse("answer_headers", |text: String| parse_headers(&text));
    let rules = TunnelRules {
        recording: recording.unwrap_or_default(),
        sources: Sources { allow: allow.unwrap_or_default(), deny: deny.unwrap_or_default() },
        host,
        at_once,
        priority: priority.unwrap_or_default(),
        patience,
        body_bytes,
        foreign_header: foreign_header.unwrap_or_default(),
        domains: domains.unwrap_or_default(),
        paths: paths.unwrap_or_default(),
        upgrades: upgrades.unwrap_or_default(),
        request: request.unwrap_or_default(),
        answer: answer.unwrap_or_default(),
    };
    Some(TunnelBlock { name: name?, rules, recording, foreign_header })
}

fn list(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).map(str::trim).filter(|word| !word.is_empty())
}

fn parse_path(text: &str) -> Result<(String, TunnelName), String> {
    let (path, name) = text.split_once('=').ok_or_else(|| format!("`{text}` is not /PATH = TUNNEL"))?;
    let path = path.trim();
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'%');
    if !path.starts_with('/') || path.len() < 2 || path.ends_with('/') || !path.bytes().all(plain) {
        return Err(format!("`{path}` must begin with `/`, not end with it, and hold no `?`, `#` or `%`"));
    }
    let name = TunnelName::parse(name.trim()).map_err(|error| error.to_string())?;
    Ok((path.to_owned(), name))
}

/// A protocol and its version (RFC 9110 section 7.8), but none in which requests could come that nobody decides about or records.
fn parse_upgrade(text: &str) -> Result<HeaderValue, String> {
    let (name, version) = text.split_once('/').unwrap_or((text, "1"));
    let is_token = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    if !is_token(name) || !is_token(version) {
        return Err(format!("`{text}` is not PROTOCOL or PROTOCOL/VERSION"));
    }
    if ["h2", "h2c", "h3", "http", "https", "tls"].iter().any(|other| name.eq_ignore_ascii_case(other)) {
        return Err(format!("`{text}` would carry requests that nobody decides about and nobody records"));
    }
    HeaderValue::from_str(text).map_err(|_| format!("`{text}` is not PROTOCOL or PROTOCOL/VERSION"))
}

fn parse_headers(text: &str) -> Result<HeaderRules, String> {
    let mut rules = HeaderRules::default();
    for rule in list(text, ';') {
        if let Some(name) = rule.strip_prefix('-') {
            rules.remove.push(parse_header_name(name)?);
            continue;
        }
        let (added, plain) = rule.strip_prefix('+').map_or((false, rule), |rest| (true, rest));
        let (name, value) = plain
            .split_once(':')
            .ok_or_else(|| format!("`{rule}` is neither `Name: value`, `+Name: value` nor `-Name`"))?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| format!("`{rule}` has no good value"))?;
        let name = parse_header_name(name)?;
        if added { rules.add.push((name, value)) } else { rules.set.push((name, value)) }
    }
    Ok(rules)
}

fn parse_header_name(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName =
        text.trim().parse().map_err(|_| format!("`{text}` is not the name of a header"))?;
    if NOT_TO_TOUCH.contains(&name.as_str()) || name.as_str().starts_with("sallyport-") {
        return Err(format!("`{name}` is not for rules to change"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_for_headers_set_add_and_remove() {
        let rules = parse_headers("X-Frame-Options: DENY; -Server ; + Set-Cookie: a=1").unwrap();
        assert_eq!(rules.add, [(HeaderName::from_static("set-cookie"), HeaderValue::from_static("a=1"))]);
        assert_eq!(rules.remove, ["server"]);
        assert_eq!(
            rules.set,
            [(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"))]
        );
    }

    #[test]
    fn no_rule_touches_what_frames_a_message_or_is_the_gateways_word() {
        for bad in [
            "Content-Length: 0",
            "-Transfer-Encoding",
            "Host: x",
            "-Sallyport-Reference",
            "+Content-Length: 1",
            "+Connection: close",
            "+X",
            "X",
            "A b: c",
            "X: a\nb",
        ] {
            assert!(parse_headers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_may_upgrade_is_a_protocol_and_none_that_carries_requests() {
        for good in ["echo/1", "IRC/6.9", "guacamole"] {
            assert_eq!(parse_upgrade(good).unwrap(), good);
        }
        for bad in ["h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.3", "a b", "/1", "a/", "a/b/c", ""] {
            assert!(parse_upgrade(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_leads_to_a_tunnel() {
        let (path, name) = parse_path("/api = shop-api").unwrap();
        assert_eq!((path.as_str(), name.to_string().as_str()), ("/api", "shop-api"));
        for bad in ["api=x", "/=x", "/a/=x", "/a%2f=x", "/a", "/a=X y"] {
            assert!(parse_path(bad).is_err(), "{bad}");
        }
    }
}
