//! What a witness remembers, and how it is kept.
//!
//! ```text
//! DIR/key               the secret key, for its owner alone
//! DIR/lock              held from the question to the answer, so that two requests never cross
//! DIR/cosigned/HEX      the last head cosigned of one ledger; HEX is the SHA-256 of its origin
//! ```
//!
//! A head is kept durably before its cosignature is given away: a witness that forgot could be made to
//! cosign another history. So the directory must not be restored from a backup.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sallyport_audit::note::{CosignerKey, MAX_NOTE_BYTES, NoteSignature, PublicKey, SignedNote};
use sallyport_audit::witness::{Refusal, Request, is_current};
use sallyport_audit::{Checkpoint, Digest};
use zeroize::Zeroizing;

use super::key::WitnessKey;
use crate::Failure;
use crate::output::{read_bounded, write_whole};
use crate::verify::now;

/// A witness with its directory.
pub(crate) struct Witness {
    directory: PathBuf,
    key: WitnessKey,
}

/// A head that a witness cosigned.
pub(crate) struct Cosigned {
    pub(crate) note: SignedNote,
    /// The witness's own lines in it.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "the answer over HTTP"))]
    pub(crate) lines: [NoteSignature; 2],
    pub(crate) origin: String,
    pub(crate) size: u64,
}

impl Witness {
    /// Makes a witness with new keys.
    pub(crate) fn create(directory: &Path, name: &str) -> Result<Self, Failure> {
        let mut seeds = [Zeroizing::new([0; 32]), Zeroizing::new([0; 32])];
        for seed in &mut seeds {
            getrandom::fill(seed.as_mut_slice()).map_err(|error| {
                Failure::not_evaluated(format!("the system gives no randomness: {error}"), "try again")
            })?;
        }
        let key = WitnessKey::new(name, seeds).map_err(|error| {
            Failure::usage(format!("--name: {error}"), "give a name such as witness.example.net/w1")
        })?;
        let make = || {
            DirBuilder::new().mode(0o700).create(directory)?;
            DirBuilder::new().mode(0o700).create(directory.join("cosigned"))?;
            let path = directory.join("key");
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(key.expose_to_file().as_bytes())?;
            file.sync_all()?;
            File::create_new(directory.join("lock"))?;
            File::open(directory)?.sync_all()
        };
        make().map_err(|error: io::Error| Failure::unwritable(directory, &error))?;
        Ok(Self { directory: directory.to_owned(), key })
    }

    /// Opens a witness that was made earlier.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join("key");
        let text = Zeroizing::new(
            fs::read_to_string(&path).map_err(|error| Failure::unreadable_file(&path, &error))?,
        );
        let key = WitnessKey::parse(&text).ok_or_else(|| {
            Failure::not_evaluated(
                format!("{} is not a witness's key", path.display()),
                "give a directory that `auditctl witness init` made",
            )
        })?;
        Ok(Self { directory: directory.to_owned(), key })
    }

    /// Its public keys.
    pub(crate) fn keys(&self) -> &[CosignerKey] {
        self.key.public()
    }

    /// Decides about a request; if it is good, remembers its head and then gives it back cosigned.
    pub(crate) fn cosign(
        &self,
        request: &Request,
        keys: &[PublicKey],
    ) -> Result<Result<Cosigned, Refusal>, Failure> {
        let lock = self.directory.join("lock");
        let held = OpenOptions::new().write(true).open(&lock).and_then(|file| file.lock().map(|()| file));
        let _held = held.map_err(|error| Failure::unwritable(&lock, &error))?;
        let origin = match Checkpoint::from_note(&request.note) {
            Ok((checkpoint, _)) => checkpoint.origin,
            Err(error) => return Ok(Err(Refusal::Checkpoint(error))),
        };
        let path = self.directory.join("cosigned").join(Digest::of(&[origin.as_bytes()]).to_string());
        let last = self.last(&path)?;
        let accepted = match request.decide(keys, last.as_ref()) {
            Ok(accepted) => accepted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let cosigned = self.origins()?;
        if let Err(refusal) = is_current(&origin, cosigned.iter().map(String::as_str)) {
            return Ok(Err(refusal));
        }
        let checkpoint = accepted.checkpoint();
        let time = u64::try_from(now().as_second()).unwrap_or_default();
        let lines = self.key.cosign(checkpoint, time).ok_or_else(|| {
            Failure::not_evaluated("the witness's key did not sign", "try again; nothing was remembered")
        })?;
        let (mut note, mut kept) = (accepted.note().clone(), accepted.kept().clone());
        for line in &lines {
            note.add(line.clone());
            kept.add(line.clone());
        }
        write_whole(&path, kept.to_string().as_bytes())?;
        Ok(Ok(Cosigned { note, lines, origin, size: checkpoint.size }))
    }

    /// The origins of all that was cosigned.
    fn origins(&self) -> Result<Vec<String>, Failure> {
        let folder = self.directory.join("cosigned");
        let unreadable = |error| Failure::unreadable_file(&folder, &error);
        let mut origins = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.file_name().to_str().is_some_and(Digest::is_spelled) {
                origins.extend(self.last(&entry.path())?.map(|checkpoint| checkpoint.origin));
            }
        }
        Ok(origins)
    }

    /// The last head that was cosigned. One that cannot be read is never taken for none.
    fn last(&self, path: &Path) -> Result<Option<Checkpoint>, Failure> {
        if !path.try_exists().map_err(|error| Failure::unreadable_file(path, &error))? {
            return Ok(None);
        }
        let damaged = |what: String| {
            Failure::not_evaluated(
                format!("what the witness remembers in {} cannot be used: {what}", path.display()),
                "do not delete it: without it this witness could cosign a second history; start a new witness",
            )
        };
        let text = String::from_utf8_lossy(&read_bounded(path, MAX_NOTE_BYTES as u64)?).into_owned();
        let (checkpoint, note) = Checkpoint::from_note(&text).map_err(|error| damaged(error.to_string()))?;
        for key in self.keys() {
            match key.verify(&checkpoint, &note) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(damaged("this witness did not cosign it".to_owned())),
                Err(error) => return Err(damaged(error.to_string())),
            }
        }
        Ok(Some(checkpoint))
    }
}
