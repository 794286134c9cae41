//! Client certificates: who they speak for, where they count, and how they end.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The time of this host, which the gateway reads as well.
#[expect(clippy::disallowed_methods, reason = "certificates of a test are valid around the time of the test")]
fn today() -> SystemTime {
    SystemTime::now()
}

use super::patience::eventually;
use super::process::Process;
use super::world::{Certified, World, finish, next};

/// Somebody else's authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn root(&self, world: &World) -> PathBuf {
        let path = world.path(&format!("authority-{}.pem", next()));
        std::fs::write(&path, &self.pem).unwrap();
        path
    }

    /// A certificate with this mail address, valid for so long from now.
    fn certify(&self, world: &World, mail: &str, serial: u64, lasts: Duration) -> Certified {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::Rfc822Name(mail.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = (today() - Duration::from_hours(1)).into();
        params.not_after = (today() + lasts).into();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |kind: &str| world.path(&format!("{serial}.{kind}")).to_string_lossy().into_owned();
        let certified = Certified {
            id: format!(
                "crt-{}",
                hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der()))
            ),
            certificate: path("pem"),
            key: path("key"),
        };
        std::fs::write(&certified.certificate, certificate.pem()).unwrap();
        std::fs::write(&certified.key, key.serialize_pem()).unwrap();
        certified
    }

    /// Its list of revoked certificates.
    fn list(&self, world: &World, number: u64, serials: &[u64]) -> PathBuf {
        let now = today();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: (now - Duration::from_hours(1)).into(),
            next_update: (now + Duration::from_hours(24)).into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let (path, beside) = (world.path("clients.crl"), world.path("clients.crl.new"));
        std::fs::write(&beside, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        std::fs::rename(beside, &path).unwrap();
        path
    }
}

const HOURS: Duration = Duration::from_hours(2);

#[test]
fn a_client_certificate_says_who_visits_publishes_and_administers() {
    let world = World::with().set("tls.clients=accept").start();
    let (visitor, admin, publisher) =
        (world.certify("visitor"), world.certify("admin"), world.certify("publisher"));

    let mut command = world.client_by_certificate(&publisher);
    command.args(["publish", "demo", "--name", "open-demo", "--give-up-after", "0", "--json"]);
    let mut publishing = Process::start("publisher", world.directory(), &mut command);
    publishing.line("that its tunnel is open", |line| line.contains("\"registered\"").then_some(()));
    let accepted = world.record("handshake.accepted", |_| true);
    assert_eq!(accepted["details"]["credential"], publisher.id.as_str());
    assert_eq!(accepted["values"]["subject"], "user:publisher");

    assert_eq!(world.visit("open-demo", "/").shows(&visitor).run().status, 200);
    let opened = world.record("session.opened", |_| true);
    assert_eq!(opened["values"]["subject"], "user:visitor");
    assert_eq!(opened["details"]["credential"], visitor.id.as_str());

    let me = finish(world.client_by_certificate(&admin).args(["whoami", "--json"]));
    assert!(me.out.contains("user:admin") && me.out.contains(&admin.id), "{}{}", me.out, me.err);
    // Nothing is lost for those who show none.
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    assert_eq!(world.visit("open-demo", "/").run().status, 401);
}

#[test]
fn a_certificate_in_a_header_proves_nobody() {
    let world = World::with().set("tls.clients=accept").start();
    let _publisher = world.publish_demo("open-demo");
    let pem = std::fs::read_to_string(world.certify("visitor").certificate).unwrap().replace('\n', "%0A");
    for name in [
        "X-Client-Cert",
        "X-SSL-Client-Cert",
        "Client-Cert",
        "X-Forwarded-Client-Cert",
        "Sallyport-Certificate",
    ] {
        let header = format!("{name}: {pem}");
        assert_eq!(world.visit("open-demo", "/").header(&header).run().status, 401, "{name}");
        assert_eq!(world.curl("/api/v1/whoami").header(&header).run().status, 401, "{name}");
    }
}

#[test]
fn a_token_and_a_certificate_of_two_people_open_nothing_together() {
    let world = World::with().set("tls.clients=accept").start();
    let _publisher = world.publish_demo("open-demo");
    let admin = world.certify("admin");
    let mixed = world.visit("open-demo", "/").shows(&admin).by(&world, "visitor").run();
    assert_eq!(mixed.status, 401, "{}", mixed.text());
    let record = world.record("auth.failed", |_| true);
    assert_eq!(record["details"]["reason"], "two-people");
    let mut publisher = world.client_by_certificate(&admin);
    publisher.env("SALLYPORT_TOKEN_FILE", world.token_file("publisher"));
    let refused = finish(publisher.args(["publish", "demo", "--name", "open-mixed", "--give-up-after", "1"]));
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("different people"), "{}", refused.err);
}

#[test]
fn a_page_of_another_site_cannot_use_a_browsers_certificate_on_the_admin_api() {
    let world = World::with().set("tls.clients=accept").start();
    let admin = world.certify("admin");
    let reload = |header: &str| {
        let call = world.curl("/api/v1/policy/reload").shows(&admin).args(&["--request", "POST"]);
        call.header(header).run().status
    };
    assert_eq!(reload("Origin: https://evil.example"), 401);
    assert_eq!(reload("Sec-Fetch-Site: cross-site"), 401);
    assert_eq!(reload("Sec-Fetch-Site: same-site"), 401, "an app behind a tunnel is another site");
    assert_eq!(reload("Sec-Fetch-Site: same-origin"), 200);
    assert_eq!(reload(&format!("Origin: https://localhost:{}", world.port())), 200);
}

#[test]
fn a_revoked_certificate_ends_what_stands_on_it_and_opens_nothing_more() {
    let world = World::with().set("tls.clients=accept").start();
    let _publisher = world.publish_demo("open-demo");
    let visitor = world.certify("visitor");
    let mut download = world.visit("open-demo", "/stream").shows(&visitor).start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    world.ask("admin", &["certificates", "revoke", &visitor.id, "--reason", "the laptop is lost"]);
    assert!(!download.wait().success());
    assert_eq!(world.record("session.closed", |_| true)["details"]["cause"], "certificate-revoked");
    let revoked = world.record("certificate.revoked", |_| true);
    assert_eq!(revoked["details"]["certificate"], visitor.id.as_str());
    assert_eq!(world.visit("open-demo", "/").shows(&visitor).run().status, 401);
    assert_eq!(world.record("auth.failed", |_| true)["details"]["reason"], "certificate-revoked");
    assert_eq!(world.ask("admin", &["certificates", "list"])[0]["id"], visitor.id.as_str());
}

#[test]
fn a_new_revocation_list_ends_what_stands_on_a_certificate_that_it_names() {
    let mut world = World::with().prepare();
    let authority = Authority::new();
    let (lost, kept) =
        (authority.certify(&world, "Visitor", 7, HOURS), authority.certify(&world, "visitor", 8, HOURS));
    let revocations = authority.list(&world, 1, &[]);
    world.set("tls.clients=accept");
    world.set(&format!("tls.clients_file={}", authority.root(&world).display()));
    world.set(&format!("tls.clients_crl_file={}", revocations.display()));
    world.set("tls.clients_named_by=email");
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let mut download = world.visit("open-demo", "/stream").shows(&lost).start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));

    authority.list(&world, 2, &[7]);
    assert!(!download.wait().success());
    assert_eq!(world.record("session.closed", |_| true)["details"]["cause"], "certificate-revoked");
    let revoked = world.record("certificate.revoked", |_| true);
    assert_eq!(
        (&revoked["details"]["by"], &revoked["details"]["certificate"]),
        (&"operator".into(), &lost.id.as_str().into())
    );
    assert_eq!(world.visit("open-demo", "/").shows(&lost).run().status, 0, "TLS refuses it");
    world.record("connection.refused", |record| record["details"]["reason"] == "client-certificate-revoked");
    assert_eq!(world.visit("open-demo", "/").shows(&kept).run().status, 200);

    // What cannot be read leaves the list before it in force.
    std::fs::write(&revocations, "no list").unwrap();
    eventually("the fault is told", || world.gateway_log().contains("cannot be used").then_some(()));
    assert_eq!(world.visit("open-demo", "/").shows(&kept).run().status, 200);
    assert_eq!(world.visit("open-demo", "/").shows(&lost).run().status, 0);
}

#[test]
fn what_stands_on_a_certificate_ends_when_its_time_is_over() {
    let mut world = World::with().prepare();
    let authority = Authority::new();
    world.set("tls.clients=accept");
    world.set(&format!("tls.clients_file={}", authority.root(&world).display()));
    world.set("tls.clients_named_by=email");
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let brief = authority.certify(&world, "visitor", 9, Duration::from_secs(12));
    let mut download = world.visit("open-demo", "/stream").shows(&brief).start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    assert!(!download.wait().success());
    assert_eq!(world.record("session.closed", |_| true)["details"]["cause"], "certificate-expired");
    // In the certificate's last second TLS still takes it, and access doesn't; afterwards TLS doesn't either.
    let status = world.visit("open-demo", "/").shows(&brief).run().status;
    assert!([0, 401].contains(&status), "{status}");
}

#[test]
fn where_a_certificate_is_required_nobody_gets_in_without_one_of_the_right_authority() {
    let mut world = World::with().set("tls.clients=require").prepare();
    let (visitor, stranger) =
        (world.certify("visitor"), Authority::new().certify(&world, "visitor", 3, HOURS));
    world.start_beside_tls();
    let publisher = world.certify("publisher");
    let mut command = world.client_by_certificate(&publisher);
    command.args(["publish", "demo", "--name", "open-demo", "--give-up-after", "0", "--json"]);
    let mut publishing = Process::start("publisher", world.directory(), &mut command);
    publishing.line("that its tunnel is open", |line| line.contains("\"registered\"").then_some(()));

    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 0, "a token is not enough");
    assert_eq!(world.visit("open-demo", "/").shows(&stranger).run().status, 0);
    assert_eq!(world.visit("open-demo", "/").shows(&visitor).run().status, 200);
    let admin = world.certify("admin");
    let log = finish(world.client_by_certificate(&admin).args(["log", "--from", "0", "--json"]));
    for reason in ["client-certificate-missing", "client-certificate-unknown-issuer"] {
        assert!(log.out.contains(reason), "{reason}: {}", log.out);
    }
    assert!(log.out.contains("\"tls_clients\":\"require\""));
}

#[test]
fn the_gateways_own_certificate_is_no_clients() {
    let mut world = World::with().set("tls.clients=accept").prepare();
    // The private root issued it too, but for a server.
    let key = world.path("server.key");
    let own = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&key, own.serialize_pem()).unwrap();
    world.start_gateway();
    let authority = Authority::new();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names.push(SanType::URI("sallyport:user:admin".try_into().unwrap()));
    let server = params.signed_by(&own, &authority.issuer).unwrap();
    world.stop_gateway();
    let chain = world.path("server.pem");
    std::fs::write(&chain, server.pem()).unwrap();
    world.set(&format!("tls.clients_file={}", authority.root(&world).display()));
    world.start_gateway();
    let shown = Certified {
        id: String::new(),
        certificate: chain.to_string_lossy().into_owned(),
        key: key.to_string_lossy().into_owned(),
    };
    assert_eq!(world.curl("/api/v1/whoami").shows(&shown).run().status, 0);
}
