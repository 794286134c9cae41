//! Lets ledger, access and tunnel use the key provider, each through the small trait that it asks for.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sallyport_audit::{Cosigner, HeadSigner, KeyId, OpenError, Owner, SignError, Vault, VaultError, note};
use sallyport_hsm::{DataKeyId, KeyError, KeyHandle, Keyring, Keys, PublicKey, Role, authority, keyring};

use crate::access::{self, Subject, TokenKeys};
use crate::console::DataKeys;
use crate::tunnel::{
    CertificateBody, CertificateError, GatewayIdentity, IdentityCertificate, IdentityKeys,
    IdentitySignatures, Signing, SigningFailed, ToSign,
};

/// Signs ledger heads with one key of role `ledger`.
pub(super) struct LedgerSigner {
    key: KeyHandle,
    name: String,
    public: [u8; 32],
}

impl LedgerSigner {
    pub(super) fn new(keys: &Keys, name: String) -> Result<Self, KeyError> {
        Self::with(keys.present(Role::Ledger)?, name)
    }

    /// With the key that waits to follow the ledger's.
    pub(super) fn successor(keys: &Keys, name: String) -> Result<Self, KeyError> {
        Self::with(keys.waiting(Role::Ledger)?, name)
    }

    fn with(key: KeyHandle, name: String) -> Result<Self, KeyError> {
        let public = ed25519(&key)?;
        Ok(Self { key, name, public })
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
        fixed(self.key.sign_blocking(message))
    }
}

fn fixed(signed: Result<Vec<u8>, KeyError>) -> Result<[u8; 64], SignError> {
    let signature = signed.map_err(|error| SignError::new(error.to_string()))?;
    signature.try_into().map_err(|_| SignError::new("the provider's signature is not 64 bytes long"))
}

/// Cosigns ledger heads with one post-quantum key of role `ledger-pq`.
pub(super) struct LedgerCosigner {
    key: KeyHandle,
    name: String,
}

impl LedgerCosigner {
    pub(super) fn new(keys: &Keys, name: String) -> Result<Self, KeyError> {
        Self::with(keys.present(Role::LedgerPq)?, name)
    }

    /// With the key that waits to follow.
    pub(super) fn successor(keys: &Keys, name: String) -> Result<Self, KeyError> {
        Self::with(keys.waiting(Role::LedgerPq)?, name)
    }

    fn with(key: KeyHandle, name: String) -> Result<Self, KeyError> {
        match key.public() {
            PublicKey::MlDsa44(_) => Ok(Self { key, name }),
            _ => Err(unexpected(Role::LedgerPq)),
        }
    }

    /// The public half as auditors need it.
    pub(super) fn verifier_key(&self) -> String {
        let key = note::CosignerKey::ml_dsa_44(&self.name, self.key.public().as_bytes());
        key.map(|key| key.to_string()).unwrap_or_default()
    }
}

impl Cosigner for LedgerCosigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> &[u8] {
        self.key.public().as_bytes()
    }

    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.key.sign_blocking(message).map_err(|error| SignError::new(error.to_string()))
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

    /// Has every data key sealed under the provider's present sealing key, and says how many another had sealed. Blocks.
    pub(super) fn rewrap(&self) -> Result<usize, KeyError> {
        self.0.rewrap()
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

/// Signs tokens with one key of role `token-signing`.
pub(super) struct ProviderTokenKeys(KeyHandle);

impl ProviderTokenKeys {
    pub(super) fn new(keys: &Keys) -> Result<Self, KeyError> {
        Self::with(keys.present(Role::TokenSigning)?)
    }

    pub(super) fn with(key: KeyHandle) -> Result<Self, KeyError> {
        match key.public() {
            PublicKey::P256(_) => Ok(Self(key)),
            _ => Err(unexpected(Role::TokenSigning)),
        }
    }
}

impl TokenKeys for ProviderTokenKeys {
    fn sign_es256(&self, signing_input: Vec<u8>) -> BoxFuture<'_, Result<[u8; 64], access::SignError>> {
        Box::pin(async move {
            let signature = self.0.sign(signing_input).await;
            let signature = signature.map_err(|error| access::SignError(error.to_string()))?;
            signature
                .try_into()
                .map_err(|_| access::SignError("the signature is not 64 bytes long".to_owned()))
        })
    }

    fn public_key_p256(&self) -> Vec<u8> {
        self.0.public().as_bytes().to_vec()
    }
}

/// What the gateway proves itself with to publishers: an Ed25519 and an ML-DSA-65 key of the provider, certified by the
/// organisation's root.
pub(super) struct ProviderIdentity {
    ed25519: KeyHandle,
    ml_dsa: KeyHandle,
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
    /// Certifies the provider's identity keys with the organisation's root, as of `now` (Unix seconds). Blocks.
    pub(super) fn new(
        keys: &Keys,
        organisation: &str,
        gateway: &str,
        now: u64,
    ) -> Result<Self, IdentityError> {
        let pair = (keys.present(Role::Identity)?, keys.present(Role::IdentityPq)?);
        Self::with(keys, pair, organisation, gateway, now)
    }

    /// The same, of these keys.
    pub(super) fn with(
        keys: &Keys,
        (ed25519_key, ml_dsa_key): (KeyHandle, KeyHandle),
        organisation: &str,
        gateway: &str,
        now: u64,
    ) -> Result<Self, IdentityError> {
        let PublicKey::MlDsa65(ml_dsa) = ml_dsa_key.public() else {
            return Err(unexpected(Role::IdentityPq).into());
        };
        let body = CertificateBody {
            organisation: organisation.to_owned(),
            gateway: gateway.to_owned(),
            ed25519: ed25519(&ed25519_key)?,
            ml_dsa: ml_dsa.clone().try_into().map_err(|_| unexpected(Role::IdentityPq))?,
            not_before: now.saturating_sub(3600),
            not_after: now + IDENTITY_DAYS * 24 * 3600,
        };
        let signature = authority::sign_with_authority(keys, &body.to_be_signed()?)?;
        let signature = signature.try_into().map_err(|_| unexpected(Role::CertificateAuthority))?;
        let certificate = IdentityCertificate::new(body, signature)?;
        Ok(Self { ed25519: ed25519_key, ml_dsa: ml_dsa_key, certificate })
    }
}

impl ProviderIdentity {
    /// Its public keys.
    pub(super) fn keys(&self) -> IdentityKeys {
        let CertificateBody { ed25519, ml_dsa, .. } = self.certificate.body();
        IdentityKeys { ed25519: *ed25519, ml_dsa: ml_dsa.clone() }
    }
}

impl GatewayIdentity for ProviderIdentity {
    fn certificate(&self) -> IdentityCertificate {
        self.certificate.clone()
    }

    fn sign(&self, to_sign: ToSign) -> Signing<'_> {
        Box::pin(async move {
            let failed = |error: KeyError| SigningFailed(Box::new(error));
            let (ed25519, ml_dsa) =
                tokio::try_join!(self.ed25519.sign(to_sign.ed25519()), self.ml_dsa.sign(to_sign.ml_dsa()))
                    .map_err(failed)?;
            let wrong = |_| SigningFailed("the provider's signature has a wrong length".into());
            Ok(IdentitySignatures {
                ed25519: ed25519.try_into().map_err(wrong)?,
                ml_dsa: ml_dsa.into_boxed_slice().try_into().map_err(|_| wrong(Vec::new()))?,
            })
        })
    }
}

fn ed25519(key: &KeyHandle) -> Result<[u8; 32], KeyError> {
    match key.public() {
        PublicKey::Ed25519(public) => Ok(*public),
        _ => Err(unexpected(key.info().role)),
    }
}

fn unexpected(role: Role) -> KeyError {
    KeyError::KeyMissing { role, place: "the provider, in the expected form".to_owned() }
}
