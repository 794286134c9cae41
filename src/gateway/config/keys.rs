//! Every setting there is: its key, its default, and what it means to an operator.
//!
//! One table serves three readers, so that they cannot drift apart: the parser (a key that is not here is refused), the
//! commented `sallyport.toml` that `sallyportd init` writes, and `docs/configuration.md`, which a test compares with it.

mod gateway;
mod ledger;
mod notify;
mod people;
mod provider;
mod sinks;
mod tls;
mod traffic;

use std::sync::LazyLock;

pub use ledger::WITNESS_KEYS;
pub use notify::{CHAT_KEYS, MAIL_KEYS, WEBHOOK_KEYS};
pub use people::ISSUER_KEYS;
pub use sinks::SINK_KEYS;
pub use tls::CERTIFICATE_KEYS;

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

/// All settings that stand once, section by section, in the order in which they are documented.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    [
        gateway::GATEWAY,
        tls::TLS,
        provider::PROVIDER,
        ledger::LEDGER,
        ledger::RETENTION,
        ledger::REPORTS,
        people::ACCESS,
        people::IDENTITY,
        notify::NOTIFY,
        traffic::TUNNELS,
        traffic::LIMITS,
        gateway::LOG,
    ]
    .concat()
});

/// The commented configuration file that `sallyportd init` writes; `set` gives values that differ from the defaults.
pub fn commented_file(set: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# Sallyport's configuration. Every setting is listed; a line that is commented out shows its default.\n\
         # Environment variables win over this file (SALLYPORT_GATEWAY__LISTEN for gateway.listen), flags over both.\n",
    );
    let mut section = "";
    for key in KEYS.iter() {
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
    for (about, block, keys) in [
        (
            "Programs that are told of requests, breakings of the glass and more. One block for each.",
            "webhook",
            WEBHOOK_KEYS,
        ),
        ("Chats that are told. One block for each channel.", "chat", CHAT_KEYS),
        ("Mail servers through which people are told. One block for each.", "mail", MAIL_KEYS),
    ] {
        text.push_str(&format!("\n# {about}\n#[[notify.{block}]]\n"));
        for key in keys {
            text.push_str(&format!(
                "# {}\n#{} = {}\n",
                key.about,
                key.path,
                key.default.unwrap_or(key.example)
            ));
        }
    }
    text.push_str(
        "\n# Who else may sign tokens for people. One block for each issuer.\n#[[identity.issuer]]\n",
    );
    for key in ISSUER_KEYS {
        text.push_str(&format!("# {}\n#{} = {}\n", key.about, key.path, key.default.unwrap_or(key.example)));
    }
    text
}
