//! Keys and ledgers for tests: software stand-ins for the parts of the key provider.
//!
//! Nothing here protects anything. The module exists only in test builds and with the feature `testing`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::{Signer as _, SigningKey};

use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::journal::{Frame, FrameKind, Group, GroupWriter, SegmentHeader};
use crate::keys::{Cosigner, HeadSigner, KeyId, OpenError, Owner, SignError, Vault, VaultError};
use crate::note::{CosignerKey, NoteSignature, PublicKey, SignedNote};
use crate::record::{Draft, FORMAT_VERSION, Prepared, Record, RecordError, time_text};
use crate::signers::Rotation;

/// An Ed25519 key in memory, which can be told to fail.
#[derive(Clone)]
pub struct SoftwareSigner {
    name: String,
    key: SigningKey,
    down: Arc<AtomicBool>,
}

impl SoftwareSigner {
    /// The key of this seed, under this name.
    pub fn new(name: &str, seed: [u8; 32]) -> Self {
        Self { name: name.to_owned(), key: SigningKey::from_bytes(&seed), down: Arc::default() }
    }

    /// A switch: while it is true, signing fails as if the token were gone.
    pub fn down(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.down)
    }

    /// The public key in the form that verifiers take.
    ///
    /// # Panics
    /// If the name cannot be a key's name.
    #[expect(clippy::expect_used, reason = "a test's own key is good, and its name a mistake in the test")]
    pub fn verifier(&self) -> PublicKey {
        PublicKey::new(&self.name, &self.key.verifying_key().to_bytes()).expect("a good key")
    }

    /// A signed note over `checkpoint`.
    pub fn sign_checkpoint(&self, checkpoint: &Checkpoint) -> SignedNote {
        let text = checkpoint.text();
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        SignedNote::new(text, &self.verifier(), &signature)
    }
}

impl HeadSigner for SoftwareSigner {
    fn origin_key_name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], SignError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(SignError::new("the token was removed"));
        }
        Ok(self.key.sign(message).to_bytes())
    }
}

/// An ML-DSA-44 key in memory.
#[derive(Clone)]
pub struct SoftwareCosigner {
    name: String,
    key: ml_dsa::ExpandedSigningKey<ml_dsa::MlDsa44>,
    public: Vec<u8>,
}

impl SoftwareCosigner {
    /// The key of this seed, under this name.
    pub fn new(name: &str, seed: [u8; 32]) -> Self {
        let key = ml_dsa::ExpandedSigningKey::from_seed(&seed.into());
        let public = key.verifying_key().encode().to_vec();
        Self { name: name.to_owned(), key, public }
    }

    /// The public key in the form that verifiers take.
    ///
    /// # Panics
    /// If the name cannot be a key's name.
    #[expect(clippy::expect_used, reason = "a test's own key is good, and its name a mistake in the test")]
    pub fn verifier(&self) -> CosignerKey {
        CosignerKey::ml_dsa_44(&self.name, &self.public).expect("a good key")
    }
}

impl Cosigner for SoftwareCosigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.key.sign_deterministic(message, &[]);
        Ok(signature.map_err(|error| SignError::new(error.to_string()))?.encode().to_vec())
    }
}

/// A witness's Ed25519 key in memory.
#[derive(Clone)]
pub struct SoftwareWitness {
    name: String,
    key: SigningKey,
}

impl SoftwareWitness {
    /// The key of this seed, under this name.
    pub fn new(name: &str, seed: [u8; 32]) -> Self {
        Self { name: name.to_owned(), key: SigningKey::from_bytes(&seed) }
    }

    /// The public key in the form that verifiers take.
    ///
    /// # Panics
    /// If the name cannot be a key's name.
    #[expect(clippy::expect_used, reason = "a test's own key is good, and its name a mistake in the test")]
    pub fn verifier(&self) -> CosignerKey {
        CosignerKey::ed25519(&self.name, &self.key.verifying_key().to_bytes()).expect("a good key")
    }

    /// The line which says that `checkpoint` was seen at `time`, a POSIX time in seconds.
    pub fn cosign(&self, checkpoint: &Checkpoint, time: u64) -> NoteSignature {
        let key = self.verifier();
        key.line(time, &self.key.sign(&key.message(checkpoint, time)).to_bytes())
    }
}

/// A vault without secrecy: it only checks that value and record still belong together.
#[derive(Clone, Default)]
pub struct PlainVault;

impl Vault for PlainVault {
    fn is_ready(&self, _: &Owner) -> bool {
        true
    }

    fn prepare(&self, _: &Owner) -> Result<(), VaultError> {
        Ok(())
    }

    fn seal(&self, owner: &Owner, aad: &[u8], plaintext: &[u8]) -> Result<(KeyId, Vec<u8>), VaultError> {
        let digest = Digest::of(&[format!("{owner:?}").as_bytes()]);
        let id = KeyId::from_bytes(digest.as_bytes().first_chunk().copied().unwrap_or_default());
        Ok((id, [Digest::of(&[id.as_bytes(), aad, plaintext]).as_bytes(), plaintext].concat()))
    }

    fn open(&self, key: KeyId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (tag, plaintext) =
            sealed.split_first_chunk::<32>().ok_or_else(|| VaultError::new("it is too short"))?;
        if Digest::of(&[key.as_bytes(), aad, plaintext]).as_bytes() != tag {
            return Err(VaultError::new("it was changed, or belongs to another record").into());
        }
        Ok(plaintext.to_vec())
    }

    fn key_of(&self, person: &str) -> Option<KeyId> {
        self.seal(&Owner::Person(person.to_owned()), &[], &[]).ok().map(|(id, _)| id)
    }
}

/// A vault without secrecy in which keys can be erased, or hidden as if the token were gone.
#[derive(Clone, Default)]
pub struct ErasingVault {
    erased: Arc<Mutex<BTreeSet<KeyId>>>,
    /// While it is true nothing opens.
    pub away: Arc<AtomicBool>,
}

impl ErasingVault {
    /// Erases an owner's key, and tells which that was. Unlike a real one it comes back under the same id.
    pub fn erase(&self, owner: &Owner) -> KeyId {
        let id = PlainVault.seal(owner, &[], &[]).map_or(KeyId::from_bytes([0; 16]), |(id, _)| id);
        self.erased.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        id
    }
}

impl Vault for ErasingVault {
    fn is_ready(&self, _: &Owner) -> bool {
        true
    }

    fn prepare(&self, _: &Owner) -> Result<(), VaultError> {
        Ok(())
    }

    fn seal(&self, owner: &Owner, aad: &[u8], plaintext: &[u8]) -> Result<(KeyId, Vec<u8>), VaultError> {
        PlainVault.seal(owner, aad, plaintext)
    }

    fn open(&self, key: KeyId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(VaultError::new("the token was removed").into());
        }
        let plaintext = PlainVault.open(key, aad, sealed)?;
        let erased = self.erased.lock().unwrap_or_else(PoisonError::into_inner).contains(&key);
        if erased { Err(OpenError::Erased) } else { Ok(plaintext) }
    }

    fn key_of(&self, person: &str) -> Option<KeyId> {
        let id = PlainVault.key_of(person)?;
        let erased = self.erased.lock().unwrap_or_else(PoisonError::into_inner);
        (!erased.contains(&id)).then_some(id)
    }
}

/// Builds a journal in memory, group by group, as the ledger would write it.
#[derive(Clone)]
pub struct JournalBuilder {
    /// Who signs the heads.
    pub signer: SoftwareSigner,
    /// The ledger's name.
    pub origin: String,
    /// Where the ledger stands.
    pub chain: Chain,
    /// The last signed head, empty before the first.
    pub note: String,
    /// The time of the next record, moved on by a millisecond for each.
    pub time: jiff::Timestamp,
    /// The segments so far: name and bytes.
    pub segments: Vec<(String, Vec<u8>)>,
}

impl JournalBuilder {
    /// An empty journal for `origin`, signed by `signer`.
    pub fn new(origin: &str, signer: SoftwareSigner) -> Self {
        let time = jiff::Timestamp::from_second(1_767_225_600).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let chain = Chain::genesis();
        let mut builder = Self {
            signer,
            origin: origin.to_owned(),
            chain,
            note: String::new(),
            time,
            segments: Vec::new(),
        };
        builder.rotate();
        builder
    }

    /// Begins a new segment.
    pub fn rotate(&mut self) {
        let header = SegmentHeader::new(&self.origin, &self.chain, &self.note);
        let name = format!("{:020}.seg", self.chain.size());
        self.segments.push((name, header.to_frame().unwrap_or_default()));
    }

    /// Begins a new segment under another origin, as at the beginning of an epoch.
    pub fn resume(&mut self, origin: &str) {
        origin.clone_into(&mut self.origin);
        self.rotate();
    }

    /// The last signed head.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Adds one group with these drafts.
    ///
    /// # Panics
    /// If a draft cannot become a record.
    pub fn group(&mut self, drafts: impl IntoIterator<Item = Draft>) -> &mut Self {
        self.group_by(drafts, &[&self.signer.clone()])
    }

    /// Adds a group that hands the ledger over to another key, under a head of both.
    ///
    /// # Panics
    /// If the record cannot be made.
    pub fn hand_over(&mut self, to: SoftwareSigner) -> &mut Self {
        let rotation = Rotation { old: self.signer.verifier(), new: to.verifier() };
        self.group_by([rotation.draft()], &[&self.signer.clone(), &to]);
        self.signer = to;
        self
    }

    /// Adds one group with these drafts, under a head that all of `signers` have signed.
    ///
    /// # Panics
    /// If a draft cannot become a record.
    #[expect(clippy::expect_used, reason = "a draft that is too large is a mistake in the test")]
    pub fn group_by(
        &mut self,
        drafts: impl IntoIterator<Item = Draft>,
        signers: &[&SoftwareSigner],
    ) -> &mut Self {
        let mut group = GroupWriter::new(self.chain.next(), 0);
        for draft in drafts {
            let seed = *Digest::of(&[&self.chain.size().to_be_bytes()]).as_bytes();
            let prepared = Prepared::new(draft, "gw-1", seed).expect("a draft of a sensible size");
            let (seq, prev, time) = (self.chain.next(), self.chain.prev(), time_text(self.time));
            let bytes = group.record(|out| prepared.write(seq, &time, prev, out)).expect("a short record");
            let leaf = Digest::leaf(bytes);
            if let Some(sidecar) = prepared.sidecar() {
                let sealed = sidecar.seal(&PlainVault, leaf, self.time).unwrap_or_default();
                group.seal(&sealed);
            }
            self.chain.extend(leaf);
            self.time = self.time.saturating_add(jiff::SignedDuration::from_millis(1)).unwrap_or(self.time);
        }
        let head = self.chain.checkpoint(&self.origin);
        let mut notes = signers.iter().map(|signer| signer.sign_checkpoint(&head));
        let mut note = notes.next().expect("somebody signs");
        for other in notes {
            other.signatures().iter().for_each(|line| note.add(line.clone()));
        }
        self.note = note.to_string();
        let group = group.finish(&self.note).expect("a group with records");
        if let Some((_, bytes)) = self.segments.last_mut() {
            bytes.extend_from_slice(group.frame());
        }
        self
    }

    /// The bytes of every record so far.
    ///
    /// # Panics
    /// If the segments cannot be read back.
    #[expect(clippy::expect_used, reason = "what was just built can be read, or the test must fail")]
    pub fn records(&self) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        for (_, bytes) in &self.segments {
            let mut offset = 0;
            while let Some(frame) = Frame::read(bytes, offset).expect("a frame") {
                if frame.kind == FrameKind::Group {
                    let group = Group::parse(frame.bytes).expect("a group");
                    records.extend(group.records().map(|(_, record, _)| record.to_vec()));
                }
                offset += frame.bytes.len();
            }
        }
        records
    }

    /// The bytes of a head file that holds the last head.
    pub fn head_file(&self) -> Vec<u8> {
        let mut file = crate::journal::head::slot(&self.note).unwrap_or_default();
        file.resize(crate::journal::head::FILE_BYTES, 0);
        file
    }
}

/// Reads a record the slow way: everything into maps, and then canonical form from two writers, of which one
/// is another's. What [`Record::parse`] is held against.
pub fn read_slowly(bytes: &[u8]) -> Result<Record, RecordError> {
    let malformed = |error: serde_json::Error| RecordError::Malformed { reason: error.to_string() };
    let record: Record = serde_json::from_slice(bytes).map_err(malformed)?;
    if record.v != FORMAT_VERSION {
        return Err(RecordError::Version { found: record.v });
    }
    let ours = record.to_bytes()?;
    let theirs = serde_json_canonicalizer::to_vec(&record).map_err(malformed)?;
    if ours == bytes && theirs == bytes { Ok(record) } else { Err(RecordError::NotCanonical) }
}
