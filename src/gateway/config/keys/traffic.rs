//! What publishers and visitors may take of the gateway.

use super::{Key, key};

/// Section `[tunnels]`.
pub(super) const TUNNELS: &[Key] = &[
    key(
        "tunnels.max_per_user",
        Some("3"),
        "10",
        "Tunnels that one user may publish at the same time (1 to 10000).",
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
        "tunnels.reconnect_grace_secs",
        Some("30"),
        "30",
        "How long the name of a lost publisher is kept for it, in seconds (0 to 3600).",
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
        "Ports that TCP tunnels may have, both ends included.",
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
        "Open sessions of one user, over all tunnels (1 to 1000000); one more gets 429. Visitors without a token are not counted: `limits.connections_per_address` bounds them.",
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
    key("limits.tls_handshake_secs", Some("10"), "10", "Time for a TLS handshake, in seconds (1 to 120)."),
    key(
        "limits.header_secs",
        Some("10"),
        "10",
        "Time in which a visitor must send its request head, in seconds (1 to 120).",
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
];
