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
        "`tls` (RFC 5425) or `tcp` (RFC 6587 octet counting; readable on the way).",
    ),
    key("address", None, "\"siem.example.com:6514\"", "Host and port of the syslog receiver."),
    key(
        "root_file",
        None,
        "\"siem-root.pem\"",
        "Root certificates (PEM) that the receiver's certificate must lead to (transport `tls`).",
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
        Some("20"),
        "20",
        "How long a connection must stay healthy after a write before that write counts as received, in seconds (1 to 3600).",
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
];
