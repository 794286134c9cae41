//! The secret by which a gateway that was killed can tell QUIC clients of its life before that they are alone.
//!
//! A client whose gateway has died hears nothing on QUIC: no end of a connection as TCP's, only silence, until its heartbeat runs
//! out. A gateway that is back can answer the first packet of such a client with a stateless reset (RFC 9000 section 10.3), if it
//! knows the secret that the reset tokens of its life before were made with. So it is kept: beside the keys, sealed under a data key
//! that the provider wraps.
//!
//! Whoever has it can break the QUIC connections whose packets they see; it opens nothing and proves nothing. It is made anew whenever
//! it can't be read, as after a rotation of the KEK: then clients of the life before wait for their heartbeat.

use std::io;
use std::path::Path;

use sallyport_hsm::{KeyError, Keys};
use tracing::warn;
use zeroize::Zeroizing;

use crate::secret_file;
use crate::tunnel::{QUIC_SECRET_LEN, QuicSecret};

/// In the folder of the keys.
const FILE: &str = "quic-reset";
const PURPOSE: &str = "quic stateless resets";
const CONTEXT: &[u8] = b"sallyport quic reset 1";
/// Far more than such a file holds.
const MAX_FILE: u64 = 64 * 1024;

/// Why what is kept is of no use.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("{0}")]
    Sealed(#[from] KeyError),
    #[error("it does not have the form")]
    Form,
}

/// The secret that is kept in `directory`, or a new one. Blocks.
///
/// That it can't be kept is no reason not to serve, and is only said.
pub(super) fn open(keys: &Keys, directory: &Path) -> Result<QuicSecret, io::Error> {
    let path = directory.join(FILE);
    match read(keys, &path) {
        Ok(Some(secret)) => return Ok(secret),
        Ok(None) => {}
        Err(why) => warn!(
            %why, path = %path.display(),
            "the secret of QUIC's resets is made anew: clients that were here before notice the restart by their heartbeat only"
        ),
    }
    let mut secret = QuicSecret::new([0; QUIC_SECRET_LEN]);
    getrandom::fill(secret.as_mut()).map_err(io::Error::other)?;
    if let Err(why) = keep(keys, &path, &secret) {
        warn!(
            %why, path = %path.display(),
            "the secret of QUIC's resets can't be kept: clients will notice a restart by their heartbeat only"
        );
    }
    Ok(secret)
}

/// The length of the wrapped data key in two bytes, that key, and what it seals.
fn keep(keys: &Keys, path: &Path, secret: &QuicSecret) -> Result<(), Unusable> {
    let (envelope, wrapped) = keys.envelope(PURPOSE, None)?;
    let length = u16::try_from(wrapped.len()).map_err(|_| Unusable::Form)?;
    let sealed = envelope.seal(CONTEXT, secret.as_slice())?;
    secret_file::write(path, &[&length.to_be_bytes()[..], &wrapped, &sealed].concat())?;
    Ok(())
}

fn read(keys: &Keys, path: &Path) -> Result<Option<QuicSecret>, Unusable> {
    let mut kept = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE), &mut kept)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (length, rest) = kept.split_first_chunk().ok_or(Unusable::Form)?;
    let (wrapped, sealed) =
        rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(Unusable::Form)?;
    let (envelope, _) = keys.envelope(PURPOSE, Some(wrapped))?;
    let secret = Zeroizing::new(envelope.open(CONTEXT, sealed)?);
    Ok(Some(QuicSecret::new(secret.as_slice().try_into().map_err(|_| Unusable::Form)?)))
}

#[cfg(test)]
mod tests {
    use sallyport_hsm::ProviderConfig;

    use super::*;

    fn software_keys(folder: &Path) -> Keys {
        let passphrase_file = folder.join("passphrase");
        secret_file::write(&passphrase_file, b"a long enough passphrase of a test").unwrap();
        let keys =
            Keys::open(&ProviderConfig::Software { directory: folder.to_owned(), passphrase_file }).unwrap();
        keys.generate_missing().unwrap();
        keys
    }

    #[test]
    fn the_secret_is_the_same_after_a_restart_and_lies_sealed_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let keys = software_keys(folder.path());
        let first = open(&keys, folder.path()).unwrap();
        assert_eq!(*open(&keys, folder.path()).unwrap(), *first);
        let path = folder.path().join(FILE);
        let kept = std::fs::read(&path).unwrap();
        assert!(!kept.windows(16).any(|part| first.windows(16).any(|secret| secret == part)));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_was_altered_or_cut_is_not_taken_and_another_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let keys = software_keys(folder.path());
        let path = folder.path().join(FILE);
        let mut before = open(&keys, folder.path()).unwrap();
        for damage in
            [|bytes: &mut Vec<u8>| bytes[40] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(1), Vec::clear]
        {
            let mut bytes = std::fs::read(&path).unwrap();
            damage(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            let next = open(&keys, folder.path()).unwrap();
            assert_ne!(*next, *before);
            assert_eq!(*open(&keys, folder.path()).unwrap(), *next);
            before = next;
        }
    }
}
