//! Where keys live, and when each is to be replaced.

use super::{Key, key};

/// Section `[keys]`.
pub(super) const PROVIDER: &[Key] = &[
    key(
        "keys.provider",
        Some("\"pkcs11\""),
        "\"pkcs11\"",
        "`pkcs11` (a token) or `software` (a sealed file: no protection against whoever can read this host's memory).",
    ),
    key(
        "keys.module",
        Some("\"/usr/lib/softhsm/libsofthsm2.so\""),
        "\"/usr/lib/x86_64-linux-gnu/vendor.so\"",
        "PKCS#11 module of the token's maker (provider `pkcs11`).",
    ),
    key("keys.token", Some("\"sallyport\""), "\"prod-ledger-1\"", "Label of the token (provider `pkcs11`)."),
    key(
        "keys.pin_file",
        Some("\"secrets/user.pin\""),
        "\"/run/credentials/hsm-pin\"",
        "File that holds the token's user PIN, mode 0600. Never the PIN itself.",
    ),
    key(
        "keys.directory",
        Some("\"keys\""),
        "\"keys\"",
        "Where post-quantum seeds are kept, wrapped under a key of the provider.",
    ),
    key(
        "keys.passphrase_file",
        Some("\"secrets/passphrase\""),
        "\"/run/credentials/passphrase\"",
        "File that holds the passphrase of the sealed keystore (provider `software`), mode 0600.",
    ),
    key(
        "keys.timeout_ms",
        Some("5000"),
        "5000",
        "Longest wait for one operation of the token, in milliseconds (100 to 60000).",
    ),
    key(
        "keys.on_down",
        Some("\"keep\""),
        "\"end\"",
        "What becomes of open sessions when the HSM goes down: `keep` (they go on, and what they do is recorded when it can be signed) or `end`. New ones get 503 either way.",
    ),
    key(
        "keys.worker",
        Some("false"),
        "true",
        "Whether the provider runs in a process of its own (`sallyportd hsm-worker`, which the gateway starts and starts again): a crash in the token's module is an outage then, and not the end of the gateway. What it costs: `make bench-crypto`.",
    ),
    key(
        "keys.core_dumps",
        Some("false"),
        "true",
        "Whether a crash of the gateway may leave its memory in a core dump, and other processes of its user may read it. With `false` debuggers need root.",
    ),
    key(
        "keys.tls_max_age_days",
        Some("365"),
        "90",
        "Age at which the `tls` key is due to be replaced (`sallyport keys rotate tls`); warned of from 30 days before, in days (0 to 3650; 0: never due).",
    ),
    key(
        "keys.identity_max_age_days",
        Some("365"),
        "365",
        "The same for the gateway's identity (`identity` and `identity-pq`), in days (0 to 3650; 0: never due).",
    ),
    key(
        "keys.ledger_max_age_days",
        Some("730"),
        "365",
        "The same for the keys that sign the ledger (`ledger` and `ledger-pq`), in days (0 to 3650; 0: never due).",
    ),
    key(
        "keys.token_signing_max_age_days",
        Some("730"),
        "365",
        "The same for the key that signs tokens (`token-signing`), in days (0 to 3650; 0: never due).",
    ),
    key(
        "keys.root_max_age_days",
        Some("2922"),
        "1826",
        "The same for the private root (`certificate-authority`), whose certificate is for ten years, in days (0 to 3650; 0: never due).",
    ),
    key(
        "keys.identity_overlap_days",
        Some("180"),
        "90",
        "For how long, after the identity was replaced, the one before it vouches for the new one towards publishers that know only that (1 to 3650). Publishers with the organisation's root need it not.",
    ),
    key(
        "keys.rotate_automatically",
        Some("false"),
        "true",
        "Whether the gateway replaces the `tls` and `token-signing` keys by itself when they are due: nobody has to be told of these. All others are only warned of.",
    ),
];
