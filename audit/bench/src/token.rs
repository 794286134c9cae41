//! The gateway's own way to the token: heads are signed there, and data keys wrapped by it.

use std::path::Path;

use sallyport_audit::keys::{OpenError, Owner, VaultError};
use sallyport_audit::{HeadSigner, KeyId, SignError, Vault};
use sallyport_hsm::{DataKeyId, Keyring, Keys, ProviderConfig, PublicKey, Role, keyring};

/// Opens the token that the environment names.
pub fn open(directory: &Path) -> Keys {
    let from = |name: &str| std::env::var_os(name).expect("it is set by the process that started this one");
    let config = ProviderConfig::Pkcs11 {
        module: sallyport_hsm::find_softhsm().expect("SoftHSM"),
        token: from("BENCH_TOKEN").into_string().expect("a label"),
        pin_file: from("BENCH_PIN_FILE").into(),
        directory: directory.join("keys"),
    };
    let keys = Keys::open(&config).expect("the token opens");
    keys.generate_missing().expect("the keys are made");
    keys
}

/// Signs heads in the token.
pub struct TokenSigner {
    keys: Keys,
    name: &'static str,
    public: [u8; 32],
}

impl TokenSigner {
    pub fn new(keys: Keys, name: &'static str) -> Self {
        let PublicKey::Ed25519(public) = keys.public_key(Role::Ledger).expect("a key") else {
            panic!("not Ed25519")
        };
        Self { keys, name, public }
    }
}

impl HeadSigner for TokenSigner {
    fn origin_key_name(&self) -> &str {
        self.name
    }

    fn public_key(&self) -> [u8; 32] {
        self.public
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let signature = self
            .keys
            .sign_blocking(Role::Ledger, message)
            .map_err(|error| SignError::new(error.to_string()))?;
        signature.try_into().map_err(|_| SignError::new("not 64 bytes"))
    }
}

/// Seals personal values as a gateway does.
pub struct TokenVault(Keyring);

impl TokenVault {
    pub fn open(keys: &Keys, directory: &Path) -> Self {
        Self(Keyring::open(keys, &directory.join("personal")).expect("the ring opens"))
    }
}

fn text(owner: &Owner) -> String {
    match owner {
        Owner::Person(name) => format!("person {name}"),
        Owner::Day(day) => format!("day {day}"),
    }
}

fn failed(error: &sallyport_hsm::KeyError) -> VaultError {
    VaultError::new(error.to_string())
}

impl Vault for TokenVault {
    fn is_ready(&self, owner: &Owner) -> bool {
        self.0.is_ready(&text(owner))
    }

    fn prepare(&self, owner: &Owner) -> Result<(), VaultError> {
        self.0.prepare(&text(owner)).map_err(|error| failed(&error))
    }

    fn seal(&self, owner: &Owner, aad: &[u8], plaintext: &[u8]) -> Result<(KeyId, Vec<u8>), VaultError> {
        let (id, sealed) = self.0.seal(&text(owner), aad, plaintext).map_err(|error| failed(&error))?;
        Ok((KeyId::from_bytes(id.0), sealed))
    }

    fn open(&self, key: KeyId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        self.0.unseal(DataKeyId(*key.as_bytes()), aad, sealed).map_err(|error| match error {
            keyring::OpenError::Erased => OpenError::Erased,
            keyring::OpenError::Key(error) => OpenError::Unreadable(failed(&error)),
        })
    }

    fn key_of(&self, person: &str) -> Option<KeyId> {
        self.0.id_of(&text(&Owner::Person(person.to_owned()))).map(|id| KeyId::from_bytes(id.0))
    }
}
