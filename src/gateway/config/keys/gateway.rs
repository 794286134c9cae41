//! What the gateway is called, where it listens, what it looks for in records, and what it logs.

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
        "gateway.proxy_protocol_from",
        Some("\"\""),
        "\"10.0.0.0/24, 2001:db8::5\"",
        "Load balancers in front, as addresses or networks separated by commas. Each TCP connection of theirs must begin with a PROXY header (version 1 or 2), which says where the visitor comes from; whoever else sends one is refused. Empty: nobody is believed.",
    ),
    key(
        "gateway.quic",
        Some("\"off\""),
        "\"on\"",
        "`on`: publishers may also come by QUIC, on the UDP port of the same address and number as `gateway.listen`. Only with X25519MLKEM768 and AES-256.",
    ),
    key(
        "gateway.http3",
        Some("\"off\""),
        "\"on\"",
        "`on`: visitors may also come by HTTP/3, on the UDP port of the same address and number as `gateway.listen`; answers on TCP say so (`Alt-Svc`). Only with X25519MLKEM768 and AES-256.",
    ),
    key(
        "gateway.public_port",
        None,
        "443",
        "The port that people type, where something in front of the gateway passes it on; else that of `gateway.listen`. Links, redirects of an identity provider and passkeys hang on it.",
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
        "gateway.metrics_listen",
        None,
        "\"127.0.0.1:9464\"",
        "Address and port on which `/metrics` answers without TLS and without a token. Only for where your monitoring alone gets to. On the gateway's own host `/metrics` needs the token of somebody who may read its state.",
    ),
    key(
        "gateway.sink_hosts",
        Some("\"\""),
        "\"siem.example.com,*.logs.example.com\"",
        "Hosts that sinks may send to, separated by commas; `*.` stands for any name under a domain. Empty: any host that `[[sinks]]` names.",
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
        "detections.mode",
        Some("\"on\""),
        "\"off\"",
        "`on`: rules look at every record, and what they find is recorded (`detection.raised`). `off`: nothing is looked for.",
    ),
    key(
        "detections.rules_file",
        None,
        "\"policies/detections.toml\"",
        "The rules; those that are built in, if it is not set. Relative to the state directory.",
    ),
    key(
        "log.level",
        Some("\"info\""),
        "\"debug\"",
        "`error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,sallyport::edge=debug`.",
    ),
    key(
        "log.traces_to",
        None,
        "\"http://127.0.0.1:4318/v1/traces\"",
        "Receiver of traces (OTLP over HTTP): a span for each request through a tunnel, under the number of its correlation id. Nobody, if it is not set.",
    ),
    key(
        "log.format",
        Some("\"text\""),
        "\"json\"",
        "`text` for people, `json` for collectors. Logs go to standard error.",
    ),
];
