//! Where records are streamed to.

use super::{Key, key};

/// Settings of one entry of `[[sinks]]`.
pub const SINK_KEYS: &[Key] = &[
    key(
        "name",
        None,
        "\"soc\"",
        "Name of the sink: lower-case letters, digits and dashes. Its cursor is kept under this name.",
    ),
    key(
        "transport",
        Some("\"tls\""),
        "\"tls\"",
        "Syslog over `tls` (RFC 5425), `tcp` (RFC 6587 octet counting; readable on the way) or `udp` (RFC 5426; what is lost is lost unseen); `file`; or HTTP: `splunk-hec`, `elastic-bulk`, `otlp-http`, `webhook`.",
    ),
    key("address", None, "\"siem.example.com:6514\"", "Host and port of a syslog receiver."),
    key(
        "url",
        None,
        "\"https://splunk.example.com:8088\"",
        "Address of an HTTP receiver. For Splunk and Elastic what stands before `/services/collector` and `/_bulk`; for OTLP and webhooks the whole (`https://otel.example.com:4318/v1/logs`). `http` is for this host alone; no redirect is followed.",
    ),
    key(
        "path",
        None,
        "\"siem/audit.jsonl\"",
        "The file of transport `file`. Relative to the state directory.",
    ),
    key(
        "format",
        None,
        "\"ocsf\"",
        "What a record looks like: `rfc5424` (its own bytes; the default of syslog), `json` (the default of the others), `cef`, `leef`, `ecs` (the default of Elastic), `ocsf`.",
    ),
    key(
        "filter",
        Some("\"\""),
        "\"!http.request,!gateway.heartbeat\"",
        "Which records go: kinds or families, those to leave out with `!` before them, and `severity<=4` for warnings and worse. Empty: all. What is left out makes no gap in `sinkseq`.",
    ),
    key(
        "credential_file",
        None,
        "\"secrets/splunk.token\"",
        "File (mode 0600) with what an HTTP receiver knows us by: Splunk's token; Elastic's API key or `user:password`; OTLP's bearer token; a webhook's secret (`whsec_` and base64, to sign with). Read at each request.",
    ),
    key(
        "signed_by_ledger_key",
        Some("false"),
        "true",
        "Transport `webhook`: each request is signed by the ledger's key in the key provider (RFC 9421, Ed25519), with or without a secret in `credential_file` beside it. Receivers check it with `ledger.vkey`.",
    ),
    key(
        "index",
        None,
        "\"sallyport\"",
        "Index, alias or data stream (transport `elastic-bulk`, needed there); Splunk's index, if not the token's default.",
    ),
    key(
        "acknowledge_secs",
        Some("0"),
        "120",
        "Splunk: the token has indexer acknowledgement on, and an event that is not indexed after so many seconds is sent again (0 to 3600). 0: what was received counts as delivered.",
    ),
    key("batch_records", Some("500"), "1000", "Most records of one HTTP request (1 to 10000)."),
    key(
        "batch_kibibytes",
        Some("1024"),
        "512",
        "Most KiB of one HTTP request (16 to 65536); a single larger record goes alone.",
    ),
    key(
        "max_file_mebibytes",
        Some("100"),
        "500",
        "A file is put aside before it would grow larger than this (1 to 1048576).",
    ),
    key("keep_files", Some("9"), "30", "How many files that were put aside are kept (0 to 9999)."),
    key(
        "root_file",
        None,
        "\"siem-root.pem\"",
        "Root certificates (PEM) that the receiver's certificate must lead to (transport `tls` and every `https`).",
    ),
    key(
        "server_name",
        None,
        "\"siem.example.com\"",
        "Name in the receiver's certificate, if it is not the host of the address.",
    ),
    key(
        "client_certificate_file",
        None,
        "\"siem-client.pem\"",
        "Client certificate chain (PEM), if the receiver asks for one.",
    ),
    key(
        "client_key_file",
        None,
        "\"siem-client.key\"",
        "Private key (PEM, mode 0600) of the client certificate.",
    ),
    key("facility", Some("13"), "13", "Syslog facility (0 to 23); 13 is \"log audit\"."),
    key(
        "enterprise",
        Some("32473"),
        "32473",
        "Your private enterprise number, for the names of structured data; the default is the one set aside for examples.",
    ),
    key(
        "settle_secs",
        Some("5"),
        "20",
        "How long a connection must stay healthy after the receiver's host has acknowledged what was written, before that counts as received, in seconds (1 to 3600): as long as the receiver may hold a record in memory alone. What is later is sent again when the connection is lost.",
    ),
    key(
        "max_message_bytes",
        Some("262144"),
        "65536",
        "Largest message, in bytes (2048 to 16777216). A larger one is replaced by a pointer to its record, and that is recorded.",
    ),
    key(
        "personal",
        Some("\"values\""),
        "\"commitments\"",
        "`values`: the SIEM gets who, whence and why in clear. `commitments`: it gets only their salted hashes.",
    ),
    key(
        "receipt_secs",
        Some("300"),
        "60",
        "How often the ledger records how far the sink has delivered, if there was anything new, in seconds (1 to 86400).",
    ),
    key(
        "late_secs",
        Some("3600"),
        "43200",
        "A record that waits for longer until it counts as delivered raises an alarm (`sink.late`), in seconds (10 to 604800; for syslog over TCP and TLS more than `settle_secs`). Set it well below the age at which the receiver refuses records (Datadog 18 h, Dynatrace 24 h).",
    ),
    key(
        "when_dead",
        Some("\"go-on\""),
        "\"stop-sessions\"",
        "When nothing could be delivered for `dead_secs`: `go-on`; `degrade`, so that the gateway says it is not ready and still serves; or `stop-sessions`, so that no session begins until something is delivered.",
    ),
    key(
        "dead_secs",
        Some("900"),
        "300",
        "After how many seconds without any delivery a sink counts as dead (10 to 604800).",
    ),
];
