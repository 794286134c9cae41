//! How connections are protected, and which certificates are shown.

use super::{Key, key};

/// Section `[tls]`.
pub(super) const TLS: &[Key] = &[
    key(
        "tls.certificate_file",
        Some("\"tls/server.pem\""),
        "\"/etc/sallyport/server.pem\"",
        "Certificate chain (PEM, leaf first) for the key with role `tls` in the key provider. Relative to the state directory.",
    ),
    key(
        "tls.root_file",
        Some("\"tls/root.pem\""),
        "\"/etc/sallyport/root.pem\"",
        "Certificate of the organisation's root, handed to publishers and visitors. Relative to the state directory.",
    ),
    key(
        "tls.minimum",
        Some("\"1.3\""),
        "\"1.2\"",
        "Oldest TLS that is spoken: `1.3`, or `1.2` for clients that know nothing newer (forward-secret AEAD suites alone; warned of and recorded at each start).",
    ),
    key(
        "tls.post_quantum",
        Some("\"preferred\""),
        "\"required\"",
        "`preferred`: X25519MLKEM768 with whoever knows it. `required`: with nothing else; who doesn't know it is refused, and that is recorded.",
    ),
    key(
        "tls.certificate_algorithm",
        Some("\"ecdsa-p256\""),
        "\"ml-dsa-65\"",
        "Which keys server certificates have: `ecdsa-p256`; `ml-dsa-65`: clients that know ML-DSA are shown a second certificate with such a key (`tls-pq`), issued by the private root, all others the first. Run `sallyportd init` once to make the key.",
    ),
    key(
        "tls.leaf_days",
        Some("90"),
        "7",
        "For how long a server certificate of the private root is issued, in days (1 to 397). The gateway replaces it by itself, without a restart, when a third of its time is left.",
    ),
    key(
        "tls.clients",
        Some("\"none\""),
        "\"accept\"",
        "Client certificates: `none` is asked for; `accept`: one that is shown must be good, and names a person; `require`: no connection without one.",
    ),
    key(
        "tls.clients_file",
        None,
        "\"tls/clients.pem\"",
        "Authorities (PEM) whose certificates clients may show: each of them may name anybody here. Without it, the private root (`sallyportd ca issue-client`). Relative to the state directory.",
    ),
    key(
        "tls.clients_crl_file",
        None,
        "\"tls/clients.crl\"",
        "Revocation lists (PEM) of those authorities, one of each; read again within seconds when the file changes. A certificate whose authority has no current list here is refused.",
    ),
    key(
        "tls.clients_named_by",
        Some("\"uri\""),
        "\"email\"",
        "Where a client certificate names the person: `uri` (the alternative name `sallyport:user:NAME`), `email` (the only mail address among the alternative names) or `common-name` (the only common name).",
    ),
];

/// The settings of one `[[tls.certificate]]` block.
pub const CERTIFICATE_KEYS: &[Key] = &[
    key(
        "certificate_file",
        None,
        "\"tls/shop.pem\"",
        "Certificate chain (PEM, leaf first). Relative to the state directory.",
    ),
    key(
        "key_file",
        None,
        "\"secrets/shop.key\"",
        "Its private key (PEM, mode 0600). Such a key lives in this process's memory and not in the provider, which is warned of and recorded at each start. Without it, the chain is for the provider's `tls` key.",
    ),
    key(
        "names",
        Some("\"\""),
        "\"shop.example.com,*.shop.example.com\"",
        "For which host names it is shown, separated by commas; without them, those in the certificate. Any other name gets the certificate of `tls.certificate_file`.",
    ),
];
