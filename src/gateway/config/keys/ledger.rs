//! Where the ledger lies, who signs it, who witnesses it, and how long records stay.

use super::{Key, key};

/// Section `[ledger]`.
pub(super) const LEDGER: &[Key] = &[
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
];

/// Section `[retention]`.
pub(super) const RETENTION: &[Key] = &[
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
];

/// Section `[reports]`.
pub(super) const REPORTS: &[Key] = &[
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
        "reports.most",
        Some("100"),
        "20",
        "How many packs are kept that somebody asked for (1 to 10000); then one has to be deleted before another is made. Those of months don't count.",
    ),
    key(
        "reports.most_mb",
        Some("4096"),
        "500",
        "How much they may take up before no other is begun, in MiB (1 to 1048576).",
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
