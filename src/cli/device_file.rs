//! The file in which a device keeps its keys: one line, `sallyport-device/1 ` and 64 bytes in base64, both seeds.
//!
//! Whoever reads it is the device, so it has mode 0600 and one that others can read is not used. It is never overwritten.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use super::failure::{ExitCode, Failure};
use crate::tunnel::DeviceKey;

const FIRST_WORD: &str = "sallyport-device/1 ";
/// The line is 106 bytes long; what is much longer is no such file.
const LONGEST: u64 = 256;

/// Writes fresh keys to a file that must not exist yet.
pub(super) fn create(path: &Path, key: &DeviceKey) -> Result<(), Failure> {
    let mut line = Zeroizing::new(String::with_capacity(128));
    line.push_str(FIRST_WORD);
    STANDARD_NO_PAD.encode_string(key.expose_to_file(), &mut line);
    line.push('\n');
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_all()
        });
    written.map_err(|error| {
        Failure::new(
            ExitCode::Failed,
            format!("cannot make {}: {error}", path.display()),
            "name a file that does not exist yet, in a folder that is yours to write",
        )
    })
}

/// Reads a device's keys.
pub(super) fn read(path: &Path) -> Result<DeviceKey, Failure> {
    let shown = path.display();
    let wrong = |what: String, hint: &str| Failure::new(ExitCode::Usage, what, hint);
    let unreadable = |error: std::io::Error| {
        wrong(
            format!("cannot read the device file {shown}: {error}"),
            "check the path; `sallyport device enroll` makes such a file",
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    if mode & 0o077 != 0 {
        return Err(wrong(
            format!("others can read the device file {shown} (mode {:04o})", mode & 0o7777),
            "have the device revoked if anybody may have; else: chmod 600",
        ));
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST).unwrap_or(256)));
    file.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
    let mut seed = Zeroizing::new([0; 64]);
    let encoded = text.strip_prefix(FIRST_WORD).map(str::trim_end).unwrap_or_default();
    match STANDARD_NO_PAD.decode_slice(encoded, seed.as_mut_slice()) {
        Ok(64) => {}
        _ => {
            return Err(wrong(
                format!("{shown} is not a device file"),
                "name the file that `sallyport device enroll` made",
            ));
        }
    }
    DeviceKey::from_seed(seed).map_err(|error| Failure::caused(ExitCode::Failed, &error, error.hint()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_device_file_is_read_back_is_private_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("laptop.device");
        let key = DeviceKey::generate().unwrap();
        create(&path, &key).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().public(), key.public());
        assert!(create(&path, &key).is_err());
    }

    #[test]
    fn a_device_file_that_others_can_read_or_that_is_none_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("laptop.device");
        create(&path, &DeviceKey::generate().unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).is_err());
        let other = directory.path().join("other");
        for text in ["", "sallyport-device/1 AAAA", "sallyport-device/2 x", &"x".repeat(1000)] {
            std::fs::write(&other, text).unwrap();
            std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(read(&other).is_err(), "{text}");
        }
    }
}
