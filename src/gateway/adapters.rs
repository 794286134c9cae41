//! Lets ledger, access and tunnel use the key provider, each through the small trait that it asks for.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sallyport_audit::{Cosigner, HeadSigner, KeyId, OpenError, Owner, SignError, Vault, VaultError, note};
use sallyport_hsm::{DataKeyId, KeyError, Keyring, Keys, PublicKey, Role, authority, keyring};

use crate::access::{self, Subject, TokenKeys};
use crate::console::DataKeys;
use crate::tunnel::{
    CertificateBody, CertificateError, GatewayIdentity, IdentityCertificate, IdentitySignatures, Signing,
    SigningFailed, ToSign,
};

/// Signs ledger heads with the key of role `ledger`.
pub(super) struct LedgerSigner {
    keys: Keys,
    name: String,
    public: [u8; 32],
    /// It waits to take its place; when it has, the provider knows it as the role's own.
    waits: bool,
}

impl LedgerSigner {
    pub(super) fn new(keys: &Keys, name: String) -> Result<Self, KeyError> {
        let public = ed25519(keys, Role::Ledger)?;
        Ok(Self { keys: keys.clone(), name, public, waits: false })
    }

    /// With the key that waits to follow the ledger's.
    pub(super) fn successor(keys: &Keys, name: String) -> Result<Self, KeyError> {
        match keys.successor_public_key(Role::Ledger)? {
            PublicKey::Ed25519(public) => Ok(Self { keys: keys.clone(), name, public, waits: true }),
            _ => Err(KeyError::NoSuccessor { role: Role::Ledger }),
        }
    }

    /// The public half as auditors need it. Empty for a key under which signatures prove nothing: such a key signs no ledger.
    pub(super) fn verifier_key(&self) -> String {
        note::PublicKey::new(&self.name, &self.public).map(|key| key.to_string()).unwrap_or_default()
    }
}

impl HeadSigner for LedgerSigner {
    fn origin_key_name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> [u8; 32] {
        self.public
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], SignError> {
        if self.waits {
            match self.keys.sign_as_successor(Role::Ledger, message) {
                Err(KeyError::KeyMissing { .. }) => self.waits = false,
                signed => return fixed(signed),
            }
        }
        fixed(self.keys.sign_blocking(Role::Ledger, message))
    }
}

fn fixed(signed: Result<Vec<u8>, KeyError>) -> Result<[u8; 64], SignError> {
    let signature = signed.map_err(|error| SignError::new(error.to_string()))?;
    signature.try_into().map_err(|_| SignError::new("the provider's signature is not 64 bytes long"))
}

/// Cosigns ledger heads with the post-quantum key of role `ledger-pq`.
pub(super) struct LedgerCosigner {
    keys: Keys,
    name: String,
    public: Vec<u8>,
}

impl LedgerCosigner {
    pub(super) fn new(keys: &Keys, name: String) -> Result<Self, KeyError> {
        match keys.public_key(Role::LedgerPq)? {
            PublicKey::MlDsa44(public) => Ok(Self { keys: keys.clone(), name, public }),
            _ => Err(KeyError::KeyMissing {
                role: Role::LedgerPq,
                place: "the provider, as an ML-DSA-44 key".to_owned(),
            }),
        }
    }

    /// The public half as auditors need it.
    pub(super) fn verifier_key(&self) -> String {
        note::CosignerKey::ml_dsa_44(&self.name, &self.public).map(|key| key.to_string()).unwrap_or_default()
    }
}

impl Cosigner for LedgerCosigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.keys.sign_blocking(Role::LedgerPq, message).map_err(|error| SignError::new(error.to_string()))
    }
}

/// Seals personal values, each person's under a data key of their own.
pub(super) struct LedgerVault(Keyring);

/// Where the wrapped data keys of personal values are kept, in the ledger's directory.
const DATA_KEYS: &str = "personal";

impl LedgerVault {
    /// Opens the data keys beside the ledger in `directory`. Blocks.
    pub(super) fn open(keys: &Keys, directory: &Path) -> Result<Arc<Self>, KeyError> {
        Ok(Arc::new(Self(Keyring::open(keys, &directory.join(DATA_KEYS))?)))
    }
}

impl DataKeys for LedgerVault {
    fn erase(&self, person: &Subject) -> Result<Option<KeyId>, String> {
        let erased = self.0.erase(&owner_text(&Owner::Person(person.to_string())));
        Ok(erased.map_err(|error| error.to_string())?.map(|id| KeyId::from_bytes(id.0)))
    }

    fn has(&self, person: &str) -> bool {
        self.key_of(person).is_some()
    }
}

impl LedgerVault {
    /// Destroys these keys if they are there, as after a backup was put back. Tells whether any was not known as erased. Blocks.
    pub(super) fn erase_again(&self, keys: &BTreeSet<KeyId>) -> Result<bool, KeyError> {
        let mut changed = false;
        for key in keys {
            changed |= self.0.erase_key(DataKeyId(*key.as_bytes()))?;
        }
        Ok(changed)
    }

    /// Every key that was erased.
    pub(super) fn erased(&self) -> BTreeSet<KeyId> {
        self.0.erased().into_iter().map(|id| KeyId::from_bytes(id.0)).collect()
    }
}

/// How the ring knows an owner. A person's name begins with `user:` or is what somebody typed; a day has no such name.
fn owner_text(owner: &Owner) -> String {
    match owner {
        Owner::Person(name) => format!("person {name}"),
        Owner::Day(day) => format!("day {day}"),
    }
}

fn vault_error(error: &KeyError) -> VaultError {
    VaultError::new(error.to_string())
}

impl Vault for LedgerVault {
    fn is_ready(&self, owner: &Owner) -> bool {
        self.0.is_ready(&owner_text(owner))
    }

    fn prepare(&self, owner: &Owner) -> Result<(), VaultError> {
        self.0.prepare(&owner_text(owner)).map_err(|error| vault_error(&error))
    }

    fn seal(&self, owner: &Owner, aad: &[u8], plaintext: &[u8]) -> Result<(KeyId, Vec<u8>), VaultError> {
        let (id, sealed) =
            self.0.seal(&owner_text(owner), aad, plaintext).map_err(|error| vault_error(&error))?;
        Ok((KeyId::from_bytes(id.0), sealed))
    }

    fn open(&self, key: KeyId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        self.0.unseal(DataKeyId(*key.as_bytes()), aad, sealed).map_err(|error| match error {
            keyring::OpenError::Erased => OpenError::Erased,
            keyring::OpenError::Key(error) => OpenError::Unreadable(vault_error(&error)),
        })
    }

    fn key_of(&self, person: &str) -> Option<KeyId> {
        let owner = owner_text(&Owner::Person(person.to_owned()));
        self.0.id_of(&owner).map(|id| KeyId::from_bytes(id.0))
    }
}

/// Signs tokens with the key of role `token-signing`.
pub(super) struct ProviderTokenKeys {
    keys: Keys,
    point: Vec<u8>,
}

impl ProviderTokenKeys {
    pub(super) fn new(keys: &Keys) -> Result<Self, KeyError> {
        Ok(Self { keys: keys.clone(), point: p256(keys, Role::TokenSigning)?.to_vec() })
    }
}

impl TokenKeys for ProviderTokenKeys {
    fn sign_es256(&self, signing_input: Vec<u8>) -> BoxFuture<'_, Result<[u8; 64], access::SignError>> {
        Box::pin(async move {
            let signature = self.keys.sign(Role::TokenSigning, signing_input).await;
            let signature = signature.map_err(|error| access::SignError(error.to_string()))?;
            signature
                .try_into()
                .map_err(|_| access::SignError("the signature is not 64 bytes long".to_owned()))
        })
    }

    fn public_key_p256(&self) -> Vec<u8> {
        self.point.clone()
    }

    /// First half of the key's SHA-256: names the key without leading to anything else.
    fn key_id(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.point);
        hex::encode(digest.as_ref().get(..16).unwrap_or_default())
    }
}

/// What the gateway proves itself with to publishers: an Ed25519 and an ML-DSA-65 key of the provider, certified by the
/// organisation's root.
pub(super) struct ProviderIdentity {
    keys: Keys,
    certificate: IdentityCertificate,
}

/// Why the gateway has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The provider.
    #[error("the identity keys cannot be used")]
    Key(#[from] KeyError),
    /// The certificate.
    #[error("the identity cannot be certified")]
    Certificate(#[from] CertificateError),
}

/// How long the root certifies an identity: longer than a gateway runs between two starts, which renew it.
const IDENTITY_DAYS: u64 = 397;

impl ProviderIdentity {
    /// Certifies the provider's identity keys with the organisation's root, as of `now` (Unix seconds).
    pub(super) fn new(
        keys: &Keys,
        organisation: &str,
        gateway: &str,
        now: u64,
    ) -> Result<Self, IdentityError> {
        let missing =
            |role| KeyError::KeyMissing { role, place: "the provider, in the expected form".to_owned() };
        let PublicKey::MlDsa65(ml_dsa) = keys.public_key(Role::IdentityPq)? else {
            return Err(missing(Role::IdentityPq).into());
        };
        let body = CertificateBody {
            organisation: organisation.to_owned(),
            gateway: gateway.to_owned(),
            ed25519: ed25519(keys, Role::Identity)?,
            ml_dsa: ml_dsa.try_into().map_err(|_| missing(Role::IdentityPq))?,
            not_before: now.saturating_sub(3600),
            not_after: now + IDENTITY_DAYS * 24 * 3600,
        };
        let signature = authority::sign_with_authority(keys, &body.to_be_signed()?)?;
        let signature = signature.try_into().map_err(|_| missing(Role::CertificateAuthority))?;
        Ok(Self { keys: keys.clone(), certificate: IdentityCertificate::new(body, signature)? })
    }
}

impl GatewayIdentity for ProviderIdentity {
    fn certificate(&self) -> IdentityCertificate {
        self.certificate.clone()
    }

    fn sign(&self, to_sign: ToSign) -> Signing<'_> {
        Box::pin(async move {
            let failed = |error: KeyError| SigningFailed(Box::new(error));
            let (ed25519, ml_dsa) = tokio::try_join!(
                self.keys.sign(Role::Identity, to_sign.ed25519()),
                self.keys.sign(Role::IdentityPq, to_sign.ml_dsa()),
            )
            .map_err(failed)?;
            let wrong = |_| SigningFailed("the provider's signature has a wrong length".into());
            Ok(IdentitySignatures {
                ed25519: ed25519.try_into().map_err(wrong)?,
                ml_dsa: ml_dsa.into_boxed_slice().try_into().map_err(|_| wrong(Vec::new()))?,
            })
        })
    }
}

fn p256(keys: &Keys, role: Role) -> Result<[u8; 65], KeyError> {
    match keys.public_key(role)? {
        PublicKey::P256(point) => Ok(point),
        _ => Err(KeyError::KeyMissing { role, place: "the provider, as a P-256 key".to_owned() }),
    }
}

fn ed25519(keys: &Keys, role: Role) -> Result<[u8; 32], KeyError> {
    match keys.public_key(role)? {
        PublicKey::Ed25519(key) => Ok(key),
        _ => Err(KeyError::KeyMissing { role, place: "the provider, as an Ed25519 key".to_owned() }),
    }
}
