//! Who is told what, and by which way.

use super::{Key, key};

/// Section `[notify]`.
pub(super) const NOTIFY: &[Key] = &[
    key(
        "notify.base_url",
        None,
        "\"https://tunnels.example.com/console\"",
        "What the links in notifications begin with; this gateway's console if it is not set. A page of the console follows, such as `requests#ID`.",
    ),
    key(
        "notify.templates",
        None,
        "\"notify-templates\"",
        "Folder with texts of your own, each named after its event (`request.txt`); the others stay as they are. Tried out at the start.",
    ),
    key(
        "notify.retry_secs",
        Some("3600"),
        "600",
        "Until which age a notification that can't be sent is tried again, in seconds (0 to 604800). Each is tried once at least.",
    ),
    key(
        "notify.remind_hours",
        Some("24"),
        "72",
        "How long before the end of an access review its reviewers are reminded of what is left, in hours (0 to 720). 0 is never.",
    ),
    key(
        "notify.remind_grant_secs",
        Some("900"),
        "1800",
        "How long before the end of a grant its holder is reminded, in seconds (0 to 2592000). 0 is never; a grant that is shorter gets no reminder.",
    ),
];

const NOTIFY_NAME: Key = key(
    "name",
    None,
    "\"on-call\"",
    "Name of the way in records and log: lower-case letters, digits and dashes, at most 32.",
);

const NOTIFY_EVENTS: Key = key(
    "events",
    Some("[]"),
    "[\"request\", \"escalation\", \"glass\"]",
    "What goes this way: `request`, `escalation`, `granted`, `rejected`, `expired`, `revoked`, `glass`, `glass-reviewed`, `review`, `review-due`, `grant-due`, `key-due`, `detection`, `report`. All of them if it is empty.",
);

const NOTIFY_DETECTIONS: Key = key(
    "detections_from",
    Some("\"medium\""),
    "\"high\"",
    "Of `detection`, only what is at least as grave as this goes: `low`, `medium`, `high`, `critical`.",
);

const NOTIFY_ROOTS: Key = key(
    "root_file",
    None,
    "\"internal-root.pem\"",
    "Root certificates (PEM) that its certificate must lead to; those of the system if it is not set.",
);

/// The settings of one `[[notify.webhook]]` block.
pub const WEBHOOK_KEYS: &[Key] = &[
    NOTIFY_NAME,
    key(
        "url",
        None,
        "\"https://hooks.example.com/sallyport\"",
        "Where the JSON is posted. `http` is for this host alone; no redirect is followed.",
    ),
    key(
        "secret_file",
        None,
        "\"secrets/on-call.whsec\"",
        "File with the secret that signs: `whsec_` and base64 of 24 to 64 bytes; two lines while one takes the other's place. Mode 0600.",
    ),
    NOTIFY_ROOTS,
    NOTIFY_EVENTS,
    NOTIFY_DETECTIONS,
];

/// The settings of one `[[notify.chat]]` block.
pub const CHAT_KEYS: &[Key] = &[
    NOTIFY_NAME,
    key(
        "url_file",
        None,
        "\"secrets/approvals-channel.url\"",
        "File with the address of the chat's incoming webhook, which is a secret. Mode 0600.",
    ),
    NOTIFY_ROOTS,
    NOTIFY_EVENTS,
    NOTIFY_DETECTIONS,
];

/// The settings of one `[[notify.mail]]` block.
pub const MAIL_KEYS: &[Key] = &[
    NOTIFY_NAME,
    key("host", None, "\"mail.example.com\"", "The mail server, as its certificate names it."),
    key(
        "port",
        None,
        "2465",
        "Its port; 465 with `tls`, 587 with `starttls` and 25 with `none` if it is not set.",
    ),
    key(
        "protection",
        Some("\"tls\""),
        "\"starttls\"",
        "`tls` from the first byte, `starttls` (nothing is sent without it), or `none`, for a server on this host alone.",
    ),
    NOTIFY_ROOTS,
    key("user", None, "\"sallyport\"", "Under which name the gateway logs in to the server."),
    key("password_file", None, "\"secrets/mail.password\"", "File with the password. Mode 0600."),
    key("from", None, "\"Sallyport <sallyport@example.com>\"", "Whose letters they are."),
    key(
        "addresses",
        Some("[]"),
        "[\"user:alice=alice@example.com\"]",
        "Where people read mail: `user:NAME=ADDRESS`.",
    ),
    key(
        "domains",
        Some("[]"),
        "[\"example.com\"]",
        "Domains in which a person's name is their address, as names that come from an identity provider's `email` claim are (`user:alice@example.com`).",
    ),
    NOTIFY_EVENTS,
    NOTIFY_DETECTIONS,
];
