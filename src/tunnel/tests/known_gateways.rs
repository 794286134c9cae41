//! The file of known gateways.

use std::os::unix::fs::PermissionsExt;

use super::bed::Organisation;
use crate::tunnel::client::{KnownGateways, KnownGatewaysError, Trust};

fn file() -> (tempfile::TempDir, std::path::PathBuf, KnownGateways) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new directory/known_gateways");
    let known = KnownGateways::new(&path);
    (directory, path, known)
}

#[test]
fn the_first_meeting_is_written_down_and_the_second_compared() {
    let (_directory, path, known) = file();
    let certificate = Organisation::new().gateway(1).certificate;
    assert_eq!(known.check("gate:443", &certificate).unwrap(), Trust::FirstUse);
    assert_eq!(known.check("gate:443", &certificate).unwrap(), Trust::Pinned);
    assert_eq!(known.check("other:443", &certificate).unwrap(), Trust::FirstUse, "addresses are apart");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(
        text.contains(&format!("gate:443 {} Example_Ltd/localhost", certificate.fingerprint())),
        "{text}"
    );
}

#[test]
fn a_renewed_certificate_for_the_same_keys_is_no_change() {
    let (_directory, _, known) = file();
    let (before, after) = (Organisation::new().gateway(1), Organisation::new().gateway(1));
    assert_ne!(before.certificate, after.certificate);
    known.check("gate:443", &before.certificate).unwrap();
    assert_eq!(known.check("gate:443", &after.certificate).unwrap(), Trust::Pinned);
}

#[test]
fn changed_keys_are_refused_with_both_fingerprints_and_what_to_do() {
    let (_directory, path, known) = file();
    let organisation = Organisation::new();
    let (old, new) = (organisation.gateway(1).certificate, organisation.gateway(2).certificate);
    known.check("gate:443", &old).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = known.check("gate:443", &new).unwrap_err();
    let text = format!("{error} {}", error.hint());
    for part in
        ["CHANGED", "gate:443", &old.fingerprint().to_string(), &new.fingerprint().to_string(), "imitating"]
    {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before, "the file must not follow the impostor");
    assert!(known.forget("gate:443").unwrap());
    assert!(!known.forget("gate:443").unwrap());
    assert_eq!(known.check("gate:443", &new).unwrap(), Trust::FirstUse);
}

#[test]
fn the_file_is_for_its_owner_alone() {
    let (_directory, path, known) = file();
    known.check("gate:443", &Organisation::new().gateway(1).certificate).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_line_that_cannot_be_read_stops_everything_and_is_named() {
    let (_directory, path, known) = file();
    let certificate = Organisation::new().gateway(1).certificate;
    known.check("gate:443", &certificate).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in ["gate:443", "gate:443 SHA256:short name", "gate:443 MD5:x name", "a b c d"] {
        let text = format!("{good}\n{bad}\n");
        std::fs::write(&path, &text).unwrap();
        assert!(matches!(
            known.check("new:443", &certificate),
            Err(KnownGatewaysError::BadLine { line: 4, .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "nothing of it may be lost");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let occupied = directory.path().join("occupied");
    std::fs::write(&occupied, "a file where a directory should be").unwrap();
    let known = KnownGateways::new(occupied.join("known_gateways"));
    let error = known.check("gate:443", &Organisation::new().gateway(1).certificate).unwrap_err();
    assert!(matches!(error, KnownGatewaysError::Io { .. }));
    assert!(error.to_string().contains("known_gateways"));
}

#[test]
fn clients_that_meet_gateways_at_the_same_time_lose_no_line() {
    let (_directory, path, known) = file();
    let certificate = Organisation::new().gateway(1).certificate;
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (known, certificate) = (&known, &certificate);
            scope.spawn(move || known.check(&format!("gate-{number}:443"), certificate).unwrap());
        }
    });
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 16);
}
