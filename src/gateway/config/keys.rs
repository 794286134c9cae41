//! Every setting there is: its key, its default, and what it means to an operator.
//!
//! One table serves three readers, so that they cannot drift apart: the parser (a key that is not here is refused), the
//! commented `sallyport.toml` that `sallyportd init` writes, and `docs/configuration.md`, which a test compares with it.

/// One setting. The default is TOML text; `None` means that the setting has no default and may stay absent.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Section and name, as in `gateway.listen`.
    pub path: &'static str,
    /// TOML text of the value in force when nothing sets it.
    pub default: Option<&'static str>,
    /// One or two sentences: what it does, its unit and its bounds.
    pub about: &'static str,
    /// TOML text of a value that somebody might really use.
    pub example: &'static str,
}

const fn key(
    path: &'static str,
    default: Option<&'static str>,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { path, default, about, example }
}

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

/// All settings outside `[[sinks]]`, in the order in which they are documented.
pub const KEYS: &[Key] = &[
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
    key(
        "ledger.directory",
        Some("\"ledger\""),
        "\"/var/lib/sallyport/ledger\"",
        "Where the ledger lives. One gateway only may hold it.",
    ),
    key(
        "ledger.segment_mebibytes",
        Some("64"),
        "8",
        "A file of the journal is closed at this size, in MiB (1 to 512). Records leave the ledger by whole files, so a smaller one lets them leave earlier.",
    ),
    key(
        "ledger.heartbeat_secs",
        Some("60"),
        "60",
        "A `gateway.heartbeat` record is written this often, so that silence is signed too, in seconds (1 to 3600).",
    ),
    key(
        "ledger.cosign_secs",
        Some("3600"),
        "600",
        "Every so often the ledger's last head is cosigned with the post-quantum key (ML-DSA-44), and once more at the end, in seconds (1 to 86400).",
    ),
    key(
        "ledger.delegate",
        Some("\"off\""),
        "\"on\"",
        "For a slow token: `on` lets a short-lived key in this process's memory, certified by the ledger's key, sign heads in between. Whoever reads that memory can sign until the bounds below; every verdict says how much was lent.",
    ),
    key(
        "ledger.delegate_secs",
        Some("3600"),
        "900",
        "How long one delegated key is used, in seconds (60 to 86400).",
    ),
    key(
        "ledger.delegate_heads",
        Some("1000000"),
        "100000",
        "How many heads one delegated key may sign (10 to 1000000000).",
    ),
    key(
        "ledger.delegate_own_secs",
        Some("10"),
        "60",
        "How often, with `ledger.delegate`, the ledger's own key signs a head itself, in seconds (1 to 3600).",
    ),
    key(
        "ledger.on_stall",
        Some("\"refuse\""),
        "\"queue\"",
        "What a new session does while nothing can be recorded (the HSM does not sign, or the disk cannot be written): `refuse` (503 at once) or `queue` (it waits until it can be recorded, and gets 503 after ledger.stall_wait_secs). No byte passes before it is recorded, either way.",
    ),
    key(
        "ledger.stall_wait_secs",
        Some("20"),
        "60",
        "How long it waits at most, in seconds (1 to 300); at most 1024 wait at a time.",
    ),
    key(
        "ledger.scrub_hours",
        Some("24"),
        "168",
        "Every so often journal and query store are read again from end to end and compared, in hours (1 to 8760); `sallyport ledger scrub` does it now.",
    ),
    key(
        "ledger.scrub_mib_per_sec",
        Some("8"),
        "32",
        "How much of the journal is read in a second while it is scrubbed, in MiB (1 to 10000).",
    ),
    key(
        "ledger.witness_quorum",
        None,
        "2",
        "How many of the witnesses (`[[witnesses]]`) must cosign the same head; all of them if it is not set.",
    ),
    key(
        "ledger.witness_secs",
        Some("300"),
        "60",
        "How often the witnesses are asked to cosign the ledger's last head, and once more at the end, in seconds (1 to 86400).",
    ),
    key(
        "ledger.witness_timeout_secs",
        Some("10"),
        "5",
        "How long one answer of a witness may take, in seconds (1 to 60).",
    ),
    key(
        "ledger.witness_max_age_secs",
        Some("3600"),
        "900",
        "How old the last head that enough witnesses cosigned may be before the ledger counts as not witnessed, in seconds (1 to 2592000).",
    ),
    key(
        "ledger.witness_policy",
        Some("\"fail-open\""),
        "\"fail-closed\"",
        "What follows when it is older: `fail-open` (sessions are served, status and log say since when nobody has watched) or `fail-closed` (new sessions get 503 until enough witnesses answer). Recorded at the start.",
    ),
    key(
        "retention.frameworks",
        Some("\"soc2,iso27001,hipaa,pci\""),
        "\"soc2,pci\"",
        "Which minimum ages apply, divided by commas: `soc2` 366 days, `iso27001` 1096, `hipaa` 2192, `pci` 366. The longest counts.",
    ),
    key(
        "retention.minimum_days",
        Some("0"),
        "1825",
        "The organisation's own minimum age of all records, in days (0 to 36525). Counts if it is the longest.",
    ),
    key(
        "retention.kind_days",
        Some("\"\""),
        "\"session.opened=3650,session.closed=3650\"",
        "Longer minimum ages for single kinds of records: KIND=DAYS, divided by commas.",
    ),
    key(
        "retention.archive",
        None,
        "\"s3://sallyport-archive/gateway-1\"",
        "Directory, or `s3://BUCKET/PREFIX` of an S3-compatible service, to which segments are copied before records leave the ledger. Without it nothing is pruned.",
    ),
    key(
        "retention.s3_region",
        Some("\"us-east-1\""),
        "\"eu-central-1\"",
        "Region of the bucket. This and the settings below are for an archive on S3.",
    ),
    key(
        "retention.s3_endpoint",
        None,
        "\"https://objects.example.com\"",
        "Address of the service, which must be `https` unless it is on this host; Amazon's in the region if it is not set. No redirect is followed.",
    ),
    key(
        "retention.s3_credentials_file",
        None,
        "\"/run/credentials/s3.toml\"",
        "TOML file with `access_key_id`, `secret_access_key` and, if need be, `session_token`, mode 0600, read anew for each request. Without it they are taken from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.",
    ),
    key(
        "retention.s3_root_file",
        None,
        "\"objects-root.pem\"",
        "Root certificates (PEM) that the service's certificate must lead to; those of the system if it is not set.",
    ),
    key(
        "retention.s3_timeout_secs",
        Some("30"),
        "60",
        "How long the service may be silent, in seconds (1 to 600). A transfer may take as long again as its bytes take at 64 KiB/s.",
    ),
    key(
        "retention.s3_lock",
        Some("\"none\""),
        "\"compliance\"",
        "Object lock on what is written: `none`, `governance` (whoever has a special permission may lift it) or `compliance` (nobody may). The bucket must have object locks; that it locked is checked when it is read back.",
    ),
    key("retention.s3_lock_days", Some("2192"), "3653", "For how long it locks, in days (1 to 36525)."),
    key(
        "reports.directory",
        Some("\"reports\""),
        "\"/srv/reports\"",
        "Where evidence packs are kept that the gateway makes. Relative to the state directory.",
    ),
    key(
        "reports.monthly",
        Some("\"\""),
        "\"soc2,iso27001\"",
        "Frameworks (`soc2`, `iso27001`, `hipaa`, `pci`, `nist`, divided by commas) of which an evidence pack is made when a month is over; none if it is empty.",
    ),
    key(
        "reports.timezone",
        Some("\"UTC\""),
        "\"Europe/Berlin\"",
        "The time zone in which those months begin.",
    ),
    key(
        "access.policy_directory",
        Some("\"policies\""),
        "\"/etc/sallyport/policies\"",
        "Folder with `model.conf`, `approvals.toml`, one or more `*.csv` and, if rules name conditions, `conditions.toml`.",
    ),
    key(
        "access.policy_change",
        Some("\"reload\""),
        "\"second-person\"",
        "How a changed policy comes into force: `reload` (one admin reloads it, a start takes what the folder holds) or `second-person` (one admin proposes it, another approves exactly those bytes; reloads and starts with others are refused).",
    ),
    key("access.tenant", Some("\"main\""), "\"main\"", "The tenant to which tunnels of this gateway belong."),
    key(
        "access.token_hours",
        Some("720"),
        "24",
        "How long a token that the gateway issues is valid by default, in hours (1 to 8760).",
    ),
    key(
        "access.canary_secs",
        Some("86400"),
        "3600",
        "Every so often the gateway tries what must be refused (self-approval, an expired grant, a revoked token, an altered record) and records the answer as `canary.tried`, in seconds (0 to 2592000; 0 is never, which a report shows as not evaluated).",
    ),
    key(
        "identity.session_minutes",
        Some("60"),
        "480",
        "How long a browser stays signed in, in minutes (1 to 1440); less if what it signed in with ends before.",
    ),
    key(
        "identity.controller",
        None,
        "\"https://controller.example.net/whois\"",
        "A service of yours that says whom a credential speaks for: POST of `{\"token\": …}`, answered with `subject`, `tenant`, `groups` (roles) and `expires`. Asked about what no issuer signed. `http` is for this host alone.",
    ),
    key(
        "identity.controller_root_file",
        None,
        "\"controller-root.pem\"",
        "Root certificates (PEM) that the controller's certificate must lead to; those of the system if it is not set.",
    ),
    key(
        "identity.controller_token_file",
        None,
        "\"secrets/controller.token\"",
        "File with the bearer token by which the controller knows the gateway.",
    ),
    key(
        "identity.controller_timeout_ms",
        Some("2000"),
        "2000",
        "How long the controller may take to answer, in milliseconds (100 to 30000); later, nobody is let in by it.",
    ),
    key(
        "identity.controller_cache_secs",
        Some("10"),
        "10",
        "How long an answer of the controller's counts, yes or no, in seconds (0 to 300).",
    ),
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

/// Settings of one entry of `[[witnesses]]`.
pub const WITNESS_KEYS: &[Key] = &[
    key(
        "name",
        None,
        "\"auditor\"",
        "Name of the witness in status, log and records: lower-case letters, digits and dashes.",
    ),
    key(
        "url",
        None,
        "\"https://witness.example.net\"",
        "Its address; `/add-checkpoint` is added (c2sp.org/tlog-witness). `http` is for this host alone.",
    ),
    key(
        "key",
        None,
        "\"witness.example.net/w1+bb9da8f4+BDasG/akCtMGGksZBnymBJciZ3tYOFVP2YhgjzwguhSj\"",
        "Its public key (name+hash+base64; Ed25519 or ML-DSA-44), as `auditctl witness keys` prints it. Learn it from its operator, not from the address.",
    ),
    key(
        "root_file",
        None,
        "\"witness-root.pem\"",
        "Root certificates (PEM) that its certificate must lead to; those of the system if it is not set.",
    ),
];

/// The settings of one `[[identity.issuer]]` block.
pub const ISSUER_KEYS: &[Key] = &[
    key(
        "name",
        None,
        "\"corp\"",
        "What you call it, in records and before the names of its people: lower-case letters, digits and dashes.",
    ),
    key("issuer", None, "\"https://id.example.com\"", "Exactly what `iss` says in its tokens."),
    key("audience", None, "\"sallyport\"", "What `aud` must hold: the gateway, as the issuer knows it."),
    key(
        "keys_url",
        None,
        "\"https://id.example.com/jwks\"",
        "Where it publishes its keys (a JWK set). Without it, keys_file and secret_file: wherever its discovery document says. `http` is for this host alone.",
    ),
    key("keys_file", None, "\"corp.jwks\"", "A file with its keys (a JWK set), read at the start."),
    key(
        "secret_file",
        None,
        "\"secrets/corp.secret\"",
        "A file with the secret that it shares with the gateway, at least 32 bytes: only for HS256, where whoever can check a token can make one.",
    ),
    key(
        "root_file",
        None,
        "\"corp-root.pem\"",
        "Root certificates (PEM) that its certificate must lead to; those of the system if it is not set.",
    ),
    key(
        "algorithms",
        Some("\"RS256 ES256 EdDSA\""),
        "\"ES256\"",
        "How it may sign: RS256, ES256, EdDSA; or HS256 alone, with secret_file.",
    ),
    key("leeway_secs", Some("30"), "30", "How far its clock may differ, in seconds (0 to 300)."),
    key("refresh_secs", Some("300"), "300", "How often its keys are fetched, in seconds (10 to 86400)."),
    key(
        "keep_hours",
        Some("24"),
        "24",
        "How long the keys that it published last count while it can't be reached, in hours (0 to 168).",
    ),
    key(
        "name_claim",
        Some("\"sub\""),
        "\"email\"",
        "The claim that names a person. `email` counts only if `email_verified` is true.",
    ),
    key(
        "names",
        Some("\"prefixed\""),
        "\"own\"",
        "`prefixed`: `alice` is `user:NAME+alice`, NAME being the issuer's. `own`: `alice` is `user:alice`, the same as the gateway's own; only if you let this issuer speak for all of them.",
    ),
    key(
        "people",
        Some("[]"),
        "[\"alice@example.com=user:alice\"]",
        "Single people under a name of your choice, as `CLAIM=user:NAME`.",
    ),
    key(
        "groups_claim",
        Some("\"groups\""),
        "\"realm_access.roles\"",
        "The claim that lists groups; dots lead into objects.",
    ),
    key(
        "roles",
        Some("[]"),
        "[\"engineering=role:visitor\"]",
        "Which group is which role of policy, as `GROUP=role:NAME`. They count for use, not for approving: approvers are those whom policy itself names.",
    ),
    key(
        "group_prefix",
        None,
        "\"corp-\"",
        "If set, a group that `roles` doesn't name is the role of this beginning: `ops` is `role:corp-ops`.",
    ),
    key(
        "client_id",
        None,
        "\"sallyport\"",
        "Offers signing in with a browser (OpenID Connect): what the issuer calls the gateway. The address to be allowed there is `https://DOMAIN/oidc/callback`.",
    ),
    key(
        "client_secret_file",
        None,
        "\"secrets/corp-client.secret\"",
        "File with the secret by which the issuer knows the gateway; a public client has none.",
    ),
    key(
        "scopes",
        Some("\"profile email\""),
        "\"profile email groups\"",
        "What is asked for beside `openid`.",
    ),
];

/// The commented configuration file that `sallyportd init` writes; `set` gives values that differ from the defaults.
pub fn commented_file(set: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# Sallyport's configuration. Every setting is listed; a line that is commented out shows its default.\n\
         # Environment variables win over this file (SALLYPORT_GATEWAY__LISTEN for gateway.listen), flags over both.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (head, name) = key.path.split_once('.').unwrap_or(("", key.path));
        if head != section {
            text.push_str(&format!("\n[{head}]\n"));
            section = head;
        }
        text.push_str(&format!("# {}\n", key.about));
        let value = set.iter().find(|(path, _)| *path == key.path).map(|(_, value)| value.as_str());
        match (value, key.default) {
            (Some(value), _) => text.push_str(&format!("{name} = {value}\n")),
            (None, Some(default)) => text.push_str(&format!("#{name} = {default}\n")),
            (None, None) => text.push_str(&format!("#{name} = {}\n", key.example)),
        }
    }
    text.push_str("\n# Certificates for names of their own. One block for each.\n#[[tls.certificate]]\n");
    for key in CERTIFICATE_KEYS {
        text.push_str(&format!("# {}\n#{} = {}\n", key.about, key.path, key.default.unwrap_or(key.example)));
    }
    text.push_str(
        "\n# Where records are streamed to, besides the ledger. One block for each receiver.\n#[[sinks]]\n",
    );
    for key in SINK_KEYS {
        text.push_str(&format!("# {}\n#{} = {}\n", key.about, key.path, key.default.unwrap_or(key.example)));
    }
    text.push_str(
        "\n# Who else sees that the ledger only grows, and says so under a key of their own. One block for each.\n#[[witnesses]]\n",
    );
    for key in WITNESS_KEYS {
        text.push_str(&format!("# {}\n#{} = {}\n", key.about, key.path, key.default.unwrap_or(key.example)));
    }
    text.push_str(
        "\n# Who else may sign tokens for people. One block for each issuer.\n#[[identity.issuer]]\n",
    );
    for key in ISSUER_KEYS {
        text.push_str(&format!("# {}\n#{} = {}\n", key.about, key.path, key.default.unwrap_or(key.example)));
    }
    text
}
