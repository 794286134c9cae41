//! What must be backed up, from what is really there: the keys in the provider and the files beside them.
//!
//! A key that cannot leave its token is not copied by us: only the token's own means can keep it twice. So the plan
//! names for each what to do and what is lost for good without it.

use std::path::Path;

use sallyport_hsm::{Home, KeyInfo, Role};
use serde::Serialize;

use super::config::{Config, Provider};

/// One thing to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The key or file.
    pub what: String,
    /// How.
    pub back_up: String,
    /// What its loss means.
    pub lost_without: &'static str,
}

/// The plan for these keys and the files that are there.
pub fn plan(config: &Config, keys: &[KeyInfo]) -> Vec<Item> {
    let keys = keys.iter().map(|key| Item {
        what: format!("{} ({})", key.role, key.algorithm),
        back_up: how(&key.home),
        lost_without: loss(key.role),
    });
    let secret = match &config.keys.provider {
        Provider::Pkcs11 { pin_file, .. } => (
            pin_file.as_path(),
            "keep the PIN apart from the token and its backup, such as sealed in a safe",
            "the token cannot be used, and so no key in it",
        ),
        Provider::Software { passphrase_file } => (
            passphrase_file.as_path(),
            "keep the passphrase apart from the sealed file",
            "the sealed file cannot be opened, and all keys are lost",
        ),
    };
    let files: [(&Path, &'static str, &'static str); 4] = [
        secret,
        (
            &config.ledger.directory,
            "copy the folder while the gateway is stopped, with the wrapped data keys in it; `auditctl verify` the copy",
            "the evidence itself, and with the wrapped data keys every personal value",
        ),
        (
            &config.tls.root_file,
            "copy the file; it is public",
            "clients cannot be given the root; the key of role certificate-authority can make no second like it",
        ),
        (
            &config.tls.certificate_file,
            "copy the file, or have a new one issued: `sallyportd init`",
            "nothing for good",
        ),
    ];
    let files = files.into_iter().filter(|(path, ..)| path.exists()).map(|(path, back_up, lost_without)| {
        Item { what: path.display().to_string(), back_up: back_up.to_owned(), lost_without }
    });
    keys.chain(files).collect()
}

fn how(home: &Home) -> String {
    match home {
        Home::Token { label, .. } => format!(
            "the token {label} itself, by its maker's means (a second token, its wrapped backup; SoftHSM: its token \
             folder while the gateway is stopped): this key cannot leave it"
        ),
        Home::WrappedByToken { file, wrapping_key } => {
            format!("copy {}; it opens only with the key {wrapping_key} (kek) of the token", file.display())
        }
        Home::Software { file } => format!("copy {}; it opens only with its passphrase", file.display()),
    }
}

fn loss(role: Role) -> &'static str {
    match role {
        Role::Kek => {
            "all wrapped seeds and data keys are lost: post-quantum keys, and every personal value in the ledger"
        }
        Role::Tls | Role::TlsPq => "nothing for good: `sallyportd keys rotate tls` makes another",
        Role::CertificateAuthority => "all who pin the root must be given another one, by a safe way",
        Role::Identity | Role::IdentityPq => {
            "nothing for good: the root certifies another, and clients pin the root"
        }
        Role::Ledger => "the ledger cannot be continued; what is in it stays verifiable with the public key",
        Role::LedgerPq => "no more cosignatures by this key; those that were made stay good",
        Role::TokenSigning => "every issued token ends; people need new ones",
    }
}
