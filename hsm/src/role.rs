//! What a key is for. One key, one purpose: a signature made for one can never be passed off as another's.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The purpose of a key. It fixes the algorithm and the label under which the token holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Wraps what the token cannot hold, and the data keys of envelopes (AES-256).
    Kek,
    /// The gateway's TLS certificate (ECDSA P-256).
    Tls,
    /// The private root that certifies the TLS leaf and the gateway's identity (ECDSA P-256).
    CertificateAuthority,
    /// The gateway's identity in the tunnel handshake (Ed25519).
    Identity,
    /// The post-quantum half of the gateway's identity (ML-DSA-65).
    IdentityPq,
    /// Heads of the audit ledger (Ed25519).
    Ledger,
    /// Post-quantum cosignatures on heads of the audit ledger (ML-DSA-44).
    LedgerPq,
    /// Tokens that the gateway issues (ES256: ECDSA P-256).
    TokenSigning,
    /// A second TLS certificate, for clients that know ML-DSA (ML-DSA-65). Made only where one is wanted.
    TlsPq,
}

/// Which of a role's keys is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Term {
    /// The one in use.
    Present,
    /// The one that was made to follow it, and waits.
    Next,
}

/// What a key computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256 (FIPS 186-5); signatures are r‖s, 64 bytes.
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
    /// Pure Ed25519 (RFC 8032); signatures are 64 bytes.
    #[serde(rename = "Ed25519")]
    Ed25519,
    /// ML-DSA-44 (FIPS 204) with the empty context; signatures are 2,420 bytes.
    #[serde(rename = "ML-DSA-44")]
    MlDsa44,
    /// ML-DSA-65 (FIPS 204) with the empty context; signatures are 3,309 bytes.
    #[serde(rename = "ML-DSA-65")]
    MlDsa65,
    /// AES-256, used in Galois/Counter Mode (NIST SP 800-38D).
    #[serde(rename = "AES-256")]
    Aes256,
}

impl Role {
    /// Every role, in the order in which keys are made: the wrapping key before what it wraps.
    pub const ALL: [Self; 9] = [
        Self::Kek,
        Self::Tls,
        Self::CertificateAuthority,
        Self::Identity,
        Self::IdentityPq,
        Self::Ledger,
        Self::LedgerPq,
        Self::TokenSigning,
        Self::TlsPq,
    ];

    /// Whether a gateway may do without it.
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::TlsPq)
    }

    /// The name in listings, files and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kek => "kek",
            Self::Tls => "tls",
            Self::CertificateAuthority => "certificate-authority",
            Self::Identity => "identity",
            Self::IdentityPq => "identity-pq",
            Self::Ledger => "ledger",
            Self::LedgerPq => "ledger-pq",
            Self::TokenSigning => "token-signing",
            Self::TlsPq => "tls-pq",
        }
    }

    /// The algorithm of this role's key.
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Kek => Algorithm::Aes256,
            Self::Tls | Self::CertificateAuthority | Self::TokenSigning => Algorithm::EcdsaP256,
            Self::Identity | Self::Ledger => Algorithm::Ed25519,
            Self::IdentityPq | Self::TlsPq => Algorithm::MlDsa65,
            Self::LedgerPq => Algorithm::MlDsa44,
        }
    }

    /// The name of one of this role's keys in files and, with `sallyport-` before it, in a token's labels.
    pub(crate) fn name_in(self, term: Term) -> String {
        match term {
            Term::Present => self.name().to_owned(),
            Term::Next => format!("{}.next", self.name()),
        }
    }

    /// `CKA_LABEL` of one of this role's keys in a token.
    pub(crate) fn label(self, term: Term) -> String {
        format!("sallyport-{}", self.name_in(term))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Algorithm {
    /// The field's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ECDSA-P256",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::Aes256 => "AES-256",
        }
    }

    /// Length of its signatures, in bytes; 0 for what signs nothing.
    pub(crate) const fn signature_len(self) -> usize {
        match self {
            Self::EcdsaP256 | Self::Ed25519 => 64,
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::Aes256 => 0,
        }
    }

    /// Whether tokens commonly cannot hold it, so that its seed is wrapped by such a token instead.
    pub(crate) const fn is_post_quantum(self) -> bool {
        matches!(self, Self::MlDsa44 | Self::MlDsa65)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
