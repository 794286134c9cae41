//! What the gateway is called, where it listens, and what it logs.

use super::{Key, key};

/// Section `[gateway]`.
pub(super) const GATEWAY: &[Key] = &[
    key(
        "gateway.domain",
        Some("\"localhost\""),
        "\"tunnels.example.com\"",
        "The name people type. A tunnel called `demo` is reached at `demo.<domain>`.",
    ),
    key(
        "gateway.organisation",
        Some("\"Sallyport\""),
        "\"Example Hospital\"",
        "Who runs this gateway; stands in its identity certificate and in its private root.",
    ),
    key(
        "gateway.listen",
        Some("\"127.0.0.1:8443\""),
        "\"0.0.0.0:443\"",
        "Address and port for HTTPS, tunnels and the admin API.",
    ),
    key(
        "gateway.drain_secs",
        Some("30"),
        "30",
        "On SIGTERM or Ctrl-C: how long open sessions may finish, in seconds (0 to 3600).",
    ),
    key(
        "gateway.health_listen",
        None,
        "\"127.0.0.1:9443\"",
        "Address and port on which `/healthz`, `/readyz` and `/readyz.json` answer without TLS: while the HSM is down no new TLS connection can be made. Only for where your monitoring alone gets to.",
    ),
    key(
        "gateway.when_ledger_or_hsm_fails",
        Some("\"refuse\""),
        "\"refuse\"",
        "What happens to new sessions while the ledger or the HSM is down. Only `refuse` (answer 503) is offered: a session that cannot be recorded must not exist.",
    ),
];

/// Section `[log]`.
pub(super) const LOG: &[Key] = &[
    key(
        "log.level",
        Some("\"info\""),
        "\"debug\"",
        "`error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,sallyport::edge=debug`.",
    ),
    key(
        "log.format",
        Some("\"text\""),
        "\"json\"",
        "`text` for people, `json` for collectors. Logs go to standard error.",
    ),
];
