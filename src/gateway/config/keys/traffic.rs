//! What publishers and visitors may take of the gateway.

use super::{Key, key};

/// Section `[tunnels]`.
pub(super) const TUNNELS: &[Key] = &[
    key(
        "tunnels.max_per_user",
        Some("3"),
        "10",
        "Tunnels that one user may publish at the same time (1 to 10000). Few, because each name is a door that somebody has to watch; an account that publishes for many may need more.",
    ),
    key(
        "tunnels.heartbeat_secs",
        Some("10"),
        "30",
        "How often the gateway asks a publisher whether it is there, in seconds (1 to 300).",
    ),
    key(
        "tunnels.heartbeat_timeout_secs",
        Some("10"),
        "15",
        "How long the answer may take before the publisher counts as lost, in seconds (1 to 300).",
    ),
    key(
        "tunnels.suites",
        Some("\"any\""),
        "\"any\"",
        "Cipher suites that publishers may use: `any`, `aes256gcm` or `chacha20poly1305`. All of them are hybrid post-quantum.",
    ),
    key(
        "tunnels.audit",
        Some("\"buffered\""),
        "\"strict\"",
        "When the record of a request must be durable: `strict` is before the first byte of its answer, `buffered` is behind it, with a bounded number that waits. A `[[tunnel]]` block may say otherwise for one tunnel.",
    ),
    key(
        "tunnels.reconnect_grace_secs",
        Some("30"),
        "30",
        "How long the name of a lost publisher is kept for it, in seconds (0 to 3600).",
    ),
    key(
        "tunnels.queue_secs",
        Some("10"),
        "10",
        "How long visitors wait for a publisher that was lost to come back, in seconds (0 to 300), at most 100 of them at a time for one tunnel and 1,000 for all; then they get 502.",
    ),
    key(
        "tunnels.breaker_failures",
        Some("5"),
        "5",
        "After so many failures in a row (the app cannot be reached, breaks off or does not begin to answer) an app is left alone for a while, and visitors get 503 at once (0 to 1000; 0 is never).",
    ),
    key(
        "tunnels.breaker_secs",
        Some("10"),
        "10",
        "How long it is left alone at first, in seconds (1 to 60); then one request tries, and each that fails doubles the time, up to a minute.",
    ),
    key(
        "tunnels.at_once",
        Some("0"),
        "256",
        "HTTP requests that one tunnel's app gets at once (0 to 1000000; 0 is any number); more wait in a line, by priority and in turns among people, for `tunnels.queue_secs`. A WebSocket has its place as long as it lives. A `[[tunnel]]` block may say otherwise.",
    ),
    key(
        "tunnels.line",
        Some("100"),
        "100",
        "Requests that may wait in that line (0 to 100000); one more gets 503. From four fifths on answers carry `Sallyport-Backpressure`.",
    ),
    key(
        "tunnels.tcp_address",
        Some("\"127.0.0.1\""),
        "\"0.0.0.0\"",
        "Address on which the ports of TCP tunnels are opened.",
    ),
    key(
        "tunnels.tcp_ports",
        Some("\"20000-20099\""),
        "\"30000-30999\"",
        "Ports that TCP tunnels may have, and UDP tunnels of UDP, both ends included. A TCP tunnel that asks for none is given one that its name leads to, so that it has the same again.",
    ),
    key(
        "tunnels.pass_through",
        Some("\"refuse\""),
        "\"allow\"",
        "`allow`: publishers may offer TLS tunnels, whose visitors' TLS the gateway does not end, so that it can neither tell who they are nor record what they ask for. `refuse`: there are none.",
    ),
    key(
        "tunnels.proxy_headers",
        Some("\"refuse\""),
        "\"pass\"",
        "What becomes of a PROXY header with which somebody who is not named in `gateway.proxy_protocol_from` begins a TCP tunnel's bytes, by which an app could take them for somebody else: `refuse` ends the connection before the app has the whole beginning of one, and its closing record says so; `pass` hands it to the app. A `[[tunnel]]` block may say otherwise.",
    ),
    key(
        "tunnels.udp_idle_secs",
        Some("60"),
        "60",
        "A flow of a UDP tunnel on which nothing moved for so long is over, in seconds (1 to 3600).",
    ),
];

/// Section `[limits]`.
pub(super) const LIMITS: &[Key] = &[
    key(
        "limits.connections",
        Some("10000"),
        "10000",
        "Open connections of all visitors and publishers together (1 to 1000000).",
    ),
    key(
        "limits.connections_per_address",
        Some("256"),
        "64",
        "Open connections of one address (1 to 1000000).",
    ),
    key(
        "limits.sessions_per_user",
        Some("256"),
        "20",
        "Open sessions of one user, over all tunnels (1 to 1000000); one more gets 429. Many more than tunnels: a session is one connection to one tunnel, of which a browser opens six for a page, and this bounds what a stolen token or a program gone wild can hold, not what somebody works with. Visitors without a token are not counted: `limits.connections_per_address` bounds them.",
    ),
    key(
        "limits.lockout_secs",
        Some("60"),
        "900",
        "How long an address is locked out that has failed to prove somebody too often, in seconds (1 to 86400): 30 failures at once, and one more every two seconds, are let pass. It gets 429 and `Retry-After`, whatever it shows; the record of the failure that began it says `address_barred`.",
    ),
    key(
        "limits.api_per_user",
        Some("100"),
        "100",
        "Calls of the admin API that one user may make in a minute (0 to 1000000); one more gets 429. 0 is any number.",
    ),
    key(
        "limits.api_per_address",
        Some("300"),
        "300",
        "Calls of the admin API that may come from one address in a minute (0 to 1000000), whoever makes them. 0 is any number.",
    ),
    key(
        "limits.requests_per_user",
        Some("0"),
        "6000",
        "HTTP requests and connections through tunnels that one user may make in a minute (0 to 1000000); one more gets 429. 0 is any number.",
    ),
    key(
        "limits.requests_per_address",
        Some("0"),
        "12000",
        "HTTP requests and connections through tunnels that may come from one address in a minute (0 to 1000000), whoever makes them. 0 is any number.",
    ),
    key("limits.tls_handshake_secs", Some("10"), "10", "Time for a TLS handshake, in seconds (1 to 120)."),
    key(
        "limits.header_secs",
        Some("10"),
        "10",
        "Time in which a visitor must send its request head, in seconds (1 to 120), from its first byte on.",
    ),
    key(
        "limits.keep_alive_secs",
        Some("75"),
        "75",
        "How long a visitor's connection may idle between two requests of HTTP/1.1, in seconds (1 to 3600), but not for less than `limits.header_secs`; then it is closed.",
    ),
    key("limits.header_bytes", Some("65536"), "65536", "Largest request head, in bytes (8192 to 1048576)."),
    key(
        "limits.request_secs",
        Some("30"),
        "30",
        "Time in which a publisher must begin its answer, in seconds (1 to 3600); then the visitor gets 504.",
    ),
    key(
        "limits.idle_secs",
        Some("300"),
        "300",
        "A session on which no byte moved for so long is closed, in seconds (1 to 86400).",
    ),
    key(
        "limits.resume_secs",
        Some("0"),
        "30",
        "How long a byte stream whose publisher's connection is lost (of a TCP tunnel, a WebSocket, another upgrade) waits for another one of the same publisher, in seconds (0 to 300), and for no longer than `tunnels.reconnect_grace_secs`; it goes on without a byte lost, or breaks. 0: it breaks at once, and its visitor, whom another publisher of the name may serve, hears of it at once. What such a stream has under way stands in memory beyond the credit of its connection, at each end: up to 4.5 MiB each way, and of all that began on one registration 64 MiB beyond 256 KiB each.",
    ),
];

/// Settings of one entry of `[[tunnel]]`.
pub const TUNNEL_KEYS: &[Key] = &[
    key("name", None, "\"shop\"", "Name of the tunnel for which the block is."),
    key(
        "audit",
        None,
        "\"strict\"",
        "When the record of a request must be durable, if not as `tunnels.audit` says: `strict` or `buffered`.",
    ),
    key(
        "allow_from",
        None,
        "\"10.0.0.0/8, 2001:db8::/32\"",
        "Networks from which the tunnel may be visited, separated by commas; from everywhere, if there are none. Refusals are recorded.",
    ),
    key("deny_from", None, "\"10.99.0.0/16\"", "Networks from which it may not, whatever `allow_from` says."),
    key("at_once", None, "16", "Requests that its app gets at once, if not as `tunnels.at_once` says."),
    key(
        "priority",
        None,
        "\"batch\"",
        "How urgent its requests are while they wait: `interactive` (so is what says nothing), `batch` or `background`. A visitor's `Priority` header (RFC 9218) can make its own request less urgent, never more.",
    ),
    key(
        "request_secs",
        None,
        "120",
        "Time in which the app must begin its answer, in seconds (1 to 86400), if not as `limits.request_secs` says.",
    ),
    key(
        "body_bytes",
        None,
        "10485760",
        "Largest body of a request, in bytes; a larger one gets 413. Any, if it is not set.",
    ),
    key(
        "proxy_headers",
        None,
        "\"pass\"",
        "What becomes of PROXY headers of visitors, if not as `tunnels.proxy_headers` says: `refuse` or `pass`.",
    ),
    key(
        "upgrades",
        None,
        "\"guacamole, echo/1\"",
        "Protocols that may upgrade out of HTTP/1.1 besides WebSockets, as visitors name them in `Upgrade`, separated by commas; none, if it is not set. Never `h2c` or another in which requests would come that nobody decides about or records.",
    ),
    key("host", None, "\"shop.internal\"", "The `Host` that the app gets in place of the visitor's."),
    key(
        "domains",
        None,
        "\"shop.example.com, www.shop.example.com\"",
        "Other hosts under which the tunnel is reached, in lower case, separated by commas. A certificate for one is given by `[[tls.certificate]]`; else the private root issues it.",
    ),
    key(
        "paths",
        None,
        "\"/api = shop-api, /static = files\"",
        "Paths of the tunnel's hosts that lead, with all below them, to other tunnels. Whoever takes them needs leave for those.",
    ),
    key(
        "request_headers",
        None,
        "\"X-Stage: live; -X-Debug\"",
        "Changes to the headers of requests, separated by semicolons: `Name: value` sets one in place of what was there, `+Name: value` adds one beside it, `-Name` takes it away.",
    ),
    key(
        "answer_headers",
        None,
        "\"X-Frame-Options: DENY; +Set-Cookie: seen=1; -Server\"",
        "Changes to the headers of answers, written in the same way.",
    ),
];
