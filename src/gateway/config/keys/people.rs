//! Who may do what, and who vouches for people.

use super::{Key, key};

/// Section `[access]`.
pub(super) const ACCESS: &[Key] = &[
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
    key(
        "access.tunnel_owner",
        Some("\"policy\""),
        "\"first-publisher\"",
        "Who owns a tunnel: `policy` (whom its rows say) or `first-publisher` (also whoever publishes a name that nobody has had a share of: they get the share `owner` on it, which is recorded like any other).",
    ),
    key("access.tenant", Some("\"main\""), "\"main\"", "The tenant to which tunnels of this gateway belong."),
    key(
        "access.token_hours",
        Some("720"),
        "24",
        "How long a token that the gateway issues is valid by default, in hours (1 to 8760).",
    ),
    key(
        "access.usual_hours",
        Some("\"mon-fri 06:00-20:00 UTC\""),
        "\"mon-thu,sat 08:00-18:00 Europe/Berlin\"",
        "When people usually ask for leave: days, hours and a time zone. An approver is told of a request from outside of them; nothing is decided by it.",
    ),
    key(
        "access.canary_secs",
        Some("86400"),
        "3600",
        "Every so often the gateway tries what must be refused (self-approval, an expired grant, a revoked token, an altered record) and records the answer as `canary.tried`, in seconds (0 to 2592000; 0 is never, which a report shows as not evaluated, or as silence to be explained if there were tries before).",
    ),
];

/// Section `[identity]`.
pub(super) const IDENTITY: &[Key] = &[
    key(
        "identity.session_minutes",
        Some("60"),
        "480",
        "How long a browser stays signed in, in minutes (1 to 1440); less if what it signed in with ends before.",
    ),
    key(
        "identity.console_at_home",
        Some("false"),
        "true",
        "Whether a session at the console is good in the network alone in which it began (/24 of IPv4, /48 of IPv6): a cookie that is taken elsewhere opens nothing, and who moves signs in again. Off, because a browser that has IPv4 and IPv6 may change between the two at any time.",
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
