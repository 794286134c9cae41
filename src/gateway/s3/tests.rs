//! The archive against a real service, with everything that goes wrong on the way.

use std::error::Error as _;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sallyport_audit::archive::store;
use tokio_rustls::TlsAcceptor;

use super::service::{Fault, TestService};
use super::*;
use crate::gateway::config::LockMode;

/// An archive that loses no time between tries.
fn archive(place: S3Place) -> S3Archive {
    let mut archive = S3Archive::new(place).unwrap();
    archive.pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(1)).with_max_times(3);
    archive
}

fn code(error: &ArchiveError) -> &'static str {
    let fault = error.source().and_then(|source| source.downcast_ref::<S3Fault>());
    fault.unwrap_or_else(|| panic!("{error:?} is no fault of the service")).code()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_read_back_and_is_never_replaced_by_something_else() {
    let service = TestService::start().await;
    let archive = archive(service.place());
    assert_eq!(archive.location(), "s3://archive/gateway/one");
    assert_eq!(archive.get("a.seg").unwrap(), None);
    let bytes = vec![7; 3 << 20];
    store(&archive, "a.seg", &bytes).unwrap();
    store(&archive, "a.seg", &bytes).unwrap();
    archive.put("a.seg", &bytes).unwrap();
    assert_eq!(std::fs::read(service.object("a.seg")).unwrap(), bytes);
    for error in [store(&archive, "a.seg", b"two").unwrap_err(), archive.put("a.seg", b"two").unwrap_err()] {
        assert!(matches!(error, ArchiveError::Exists { .. }), "{error}");
    }
    assert_eq!(archive.get("a.seg").unwrap().unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_itself_is_asked_to_replace_nothing_and_to_check_what_arrives() {
    let service = TestService::start().await;
    archive(service.place()).put("a.seg", b"one").unwrap();
    let headers = service.last(&Method::PUT);
    assert_eq!(headers["if-none-match"], "*");
    assert_eq!(headers[CHECKSUM], "dpLDrTVAu4A8Ags67mbNiIcSMjTqDG5xQ8Ct1z/0Me0=");
    assert!(!headers.contains_key(LOCK_MODE));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_a_missing_bucket_are_told_apart_and_no_secret_is_told() {
    let service = TestService::start().await;
    // Absent as the bucket is, or as the object is: that must not look alike, for the latter is an answer.
    service.next([Fault::Answer(404, "NoSuchBucket")]);
    let error = archive(service.place()).get("a.seg").unwrap_err();
    assert_eq!(code(&error), "archive-no-bucket");
    service.next([Fault::Answer(404, "NoSuchKey")]);
    assert_eq!(archive(service.place()).get("a.seg").unwrap(), None);

    for text in [
        "access_key_id = \"AKTEST\"\nsecret_access_key = \"hunter2\"",
        "access_key_id = \"AKOTHER\"\nsecret_access_key = \"hunter2\"",
    ] {
        std::fs::write(service.credentials_file(), text).unwrap();
        let error = archive(service.place()).put("a.seg", b"one").unwrap_err();
        let told = format!("{error:?} {error} {}", error.hint());
        assert_eq!(code(&error), "archive-bad-credentials", "{told}");
        assert!(error.hint().contains("nothing was pruned"));
        assert!(!told.contains("hunter2") && !told.contains("X-Amz") && !told.contains("AKTEST"), "{told}");
    }
    std::fs::remove_file(service.credentials_file()).unwrap();
    let error = archive(service.place()).get("a.seg").unwrap_err();
    assert_eq!(code(&error), "archive-credentials-file");
    assert!(!service.object("a.seg").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_changed_behind_the_upload_is_found_out() {
    let service = TestService::start().await;
    service.next([Fault::Pass, Fault::Tampering]);
    let error = store(&archive(service.place()), "a.seg", b"one").unwrap_err();
    assert!(matches!(error, ArchiveError::Different { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_and_an_answer_that_was_lost_does_no_harm() {
    let service = TestService::start().await;
    let archive = archive(service.place());
    service.next([Fault::Answer(503, "SlowDown"), Fault::Down, Fault::Answer(500, "InternalError")]);
    assert_eq!(archive.get("a.seg").unwrap(), None);
    service.next([Fault::LostAnswer]);
    archive.put("a.seg", b"one").unwrap();
    assert_eq!(archive.get("a.seg").unwrap().unwrap(), b"one");
    service.next([Fault::Answer(409, "ConditionalRequestConflict"), Fault::Answer(400, "BadDigest")]);
    archive.put("b.seg", b"two").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_end_and_what_another_try_would_not_change_is_asked_once() {
    let service = TestService::start().await;
    let archive = archive(service.place());
    service.always(Some(Fault::Answer(503, "SlowDown")));
    assert_eq!(code(&archive.put("a.seg", b"one").unwrap_err()), "archive-busy");
    assert_eq!(service.requests(), 4);
    let cases = [
        (403, "AccessDenied", "archive-denied"),
        (403, "RequestTimeTooSkewed", "archive-clock"),
        (400, "ExpiredToken", "archive-bad-credentials"),
        (400, "AuthorizationHeaderMalformed", "archive-elsewhere"),
        (501, "NotImplemented", "archive-unable"),
        (405, "MethodNotAllowed", "archive-refused"),
        (404, "NoSuchBucket", "archive-no-bucket"),
    ];
    for (status, word, expected) in cases {
        let before = service.requests();
        service.always(Some(Fault::Answer(status, word)));
        let error = archive.put("a.seg", b"one").unwrap_err();
        assert_eq!((code(&error), service.requests() - before), (expected, 1), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_silent_or_away_is_not_waited_for_without_end() {
    let service = TestService::start().await;
    let mut place = service.place();
    place.timeout = Duration::from_millis(50);
    service.always(Some(Fault::Silence));
    assert_eq!(code(&archive(place).put("a.seg", b"one").unwrap_err()), "archive-silent");
    service.always(Some(Fault::Down));
    assert_eq!(code(&archive(service.place()).get("a.seg").unwrap_err()), "archive-broke-off");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut place = service.place();
    place.url.port = free.port();
    assert_eq!(code(&archive(place).get("a.seg").unwrap_err()), "archive-unreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed_and_no_endless_answer_is_read() {
    let (service, other) = (TestService::start().await, TestService::start().await);
    service.next([Fault::Redirect(other.endpoint().to_owned())]);
    let archive = archive(service.place());
    assert_eq!(code(&archive.put("a.seg", b"one").unwrap_err()), "archive-elsewhere");
    assert_eq!(other.requests(), 0);
    service.next([Fault::Endless]);
    assert_eq!(code(&archive.get("a.seg").unwrap_err()), "archive-too-long");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_asked_for_and_an_object_without_one_does_not_count() {
    let service = TestService::start().await;
    let mut place = service.place();
    place.lock = Some(Lock { mode: LockMode::Compliance, days: 10 });
    let archive = archive(place.clone());
    // This service takes the headers and locks nothing.
    let error = store(&archive, "a.seg", b"one").unwrap_err();
    assert_eq!(code(&error), "archive-not-locked");
    let headers = service.last(&Method::PUT);
    assert_eq!(headers[LOCK_MODE], "COMPLIANCE");
    let until: Timestamp = headers[LOCK_UNTIL].to_str().unwrap().parse().unwrap();
    assert!(until > clock::now() + SignedDuration::from_hours(239));
    // Nor does one that is there already.
    assert_eq!(code(&store(&archive, "a.seg", b"one").unwrap_err()), "archive-not-locked");

    let locked = |mode: &str, until: &str| vec![(LOCK_MODE, mode.to_owned()), (LOCK_UNTIL, until.to_owned())];
    service.answer_with(locked("COMPLIANCE", "2999-01-01T00:00:00.000Z"));
    store(&archive, "a.seg", b"one").unwrap();
    for (mode, until) in
        [("GOVERNANCE", "2999-01-01T00:00:00Z"), ("COMPLIANCE", "2001-01-01T00:00:00Z"), ("COMPLIANCE", "x")]
    {
        service.answer_with(locked(mode, until));
        assert_eq!(code(&archive.get("a.seg").unwrap_err()), "archive-not-locked", "{mode} {until}");
    }
    // Years later a lock has ended, and the copy can be fetched all the same.
    let reading = S3Archive::for_reading(place).unwrap();
    assert_eq!(reading.get("a.seg").unwrap().unwrap(), b"one");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_certificate_must_lead_to_the_configured_root() {
    let folder = tempfile::tempdir().unwrap();
    let (acceptor, root) = acceptor();
    let service = TestService::start_with(Some(acceptor)).await;
    let root_file = folder.path().join("root.pem");
    let mut place = service.place();
    place.root_file = Some(root_file.clone());
    std::fs::write(&root_file, root).unwrap();
    store(&archive(place.clone()), "a.seg", b"one").unwrap();
    let (_, another) = self::acceptor();
    std::fs::write(&root_file, another).unwrap();
    assert_eq!(code(&archive(place).get("a.seg").unwrap_err()), "archive-unreachable");
}

/// A server for `localhost`, and the root that its certificate leads to.
fn acceptor() -> (TlsAcceptor, String) {
    let root_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&root_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &Issuer::from_ca_cert_der(root.der(), &root_key).unwrap()).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), root.pem())
}
