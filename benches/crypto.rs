//! What the keys and the handshakes cost, in one run: the TLS key in memory, in SoftHSM and in SoftHSM behind a worker process; the
//! hybrid tunnel handshake beside a classical one; bytes on the wire; frames sealed and not.
//!
//! The classical handshake is a stand-in that exists here alone (X25519, Ed25519, HKDF, AES-256-GCM, no ML-KEM and no ML-DSA): the
//! product has no such suite. `make bench-crypto` runs this; the last line is JSON, with aims beside what was reached.

#![expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::SystemRandom;
use bytes::{Bytes, BytesMut};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use sallyport::tunnel::handshake::kem::DecapsulationKey;
use sallyport::tunnel::handshake::{
    Accepted, ClientHandshake, GatewayHandshake, Secret, Session, SessionLimits, Welcome, Wishes,
};
use sallyport::tunnel::{CertificateBody, IdentityCertificate, IdentitySignatures, Suite};
use sallyport_hsm::authority::{self, RootCertificate, RootOptions, Validity};
use sallyport_hsm::testing::TestToken;
use sallyport_hsm::{Keys, ProviderConfig, PublicKey, Role};
use serde_json::json;

const RUN: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let Some(directory) = std::env::var_os("SALLYPORT_BENCH_STATE").map(PathBuf::from) else {
        bail!("run this through `make bench-crypto`");
    };
    let token = TestToken::create();
    // The module reads its configuration from the environment, which was made by who started this.
    let conf = directory.join("softhsm2.conf");
    std::fs::copy(token.conf(), &conf).context("the configuration of SoftHSM")?;
    std::fs::create_dir_all(directory.join("software"))?;
    let passphrase_file = directory.join("software/passphrase");
    std::fs::write(&passphrase_file, "a passphrase for a bench")?;
    let worker =
        std::env::var_os("SALLYPORT_BENCH_WORKER").context("run this through `make bench-crypto`")?;
    let places = [
        ("memory", ProviderConfig::Software { directory: directory.join("software"), passphrase_file }),
        ("softhsm", token.config()),
        ("worker", ProviderConfig::InWorker { program: worker.into(), provider: Box::new(token.config()) }),
    ];
    let (mut rows, mut walls) = (serde_json::Map::new(), Vec::new());
    for (name, config) in places {
        let keys = Keys::open(&config)?;
        keys.generate_missing()?;
        let worker = keys.vitals().worker.and_then(|worker| worker.pid);
        let signature = microseconds_each(|| {
            black_box(keys.sign_blocking(Role::Tls, b"a transcript")?);
            Ok(())
        })?;
        keys.generate_optional(Role::TlsPq)?;
        let tls = Tls::new(&keys, Role::Tls)?;
        let per_second = tls_handshakes(&tls)?;
        let ml_dsa = Tls::new(&keys, Role::TlsPq)?;
        let ml_dsa_per_second = tls_handshakes(&ml_dsa)?;
        let (tls_bytes, ml_dsa_bytes) = (tls.bytes()?, ml_dsa.bytes()?);
        let hybrid = Cost::of(worker, |client| hybrid(&keys, client))?;
        let classical = Cost::of(worker, |client| classical(&keys, client))?;
        println!(
            "{name:>8}: P-256 signature {signature:>5.0} us · TLS {per_second:>5.0}/s (ML-DSA-65 certificate {ml_dsa_per_second:>5.0}/s) · tunnel handshake hybrid {:>5.0} us ({:>5.0} us of gateway CPU), classical {:>5.0} us ({:>5.0})",
            hybrid.wall, hybrid.gateway, classical.wall, classical.gateway
        );
        walls.push((1e6 / per_second, hybrid.wall, classical.wall, hybrid.gateway));
        rows.insert(
            name.to_owned(),
            json!({
                "p256_signature_us": signature.round(), "tls_handshakes_per_second": per_second.round(),
                "tls_ml_dsa_65_handshakes_per_second": ml_dsa_per_second.round(), "tls_bytes": tls_bytes, "tls_ml_dsa_65_bytes": ml_dsa_bytes,
                "hybrid_us": hybrid.wall.round(), "hybrid_gateway_cpu_us": hybrid.gateway.round(), "hybrid_per_second": (1e6 / hybrid.wall).round(),
                "classical_us": classical.wall.round(), "classical_gateway_cpu_us": classical.gateway.round(), "classical_per_second": (1e6 / classical.wall).round(),
                "hybrid_bytes": hybrid.bytes, "classical_bytes": classical.bytes,
            }),
        );
    }
    let (tls_us, hybrid_us, classical_us, cpu_us) = *walls.get(1).context("SoftHSM was measured")?;
    let share = 100.0 * (hybrid_us - classical_us) / (tls_us + hybrid_us);
    let (plain, sealed) = throughput()?;
    let seal_cost = 100.0 * (1.0 - sealed / plain);
    println!(
        "post-quantum share of TLS and tunnel handshake, on one machine without a network: {share:.0} %"
    );
    println!(
        "TLS alone {plain:.0} MiB/s, TLS with sealed frames in it {sealed:.0} MiB/s, both ends on one core: sealing costs {seal_cost:.0} %"
    );
    println!(
        "{}",
        json!({
            "bench": "crypto", "keys": rows, "tls_mib_per_second": plain.round(), "sealed_mib_per_second": sealed.round(),
            "aims": {
                "hybrid_gateway_cpu_us": { "aim": 2000, "reached": cpu_us.round() },
                "pq_share_percent": { "aim": 10, "reached": share.round() },
                "sealing_cost_percent": { "aim": 15, "reached": seal_cost.round() },
            },
        })
    );
    Ok(())
}

fn microseconds_each(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < RUN {
        work()?;
        count += 1;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}

#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    #[expect(clippy::disallowed_methods, reason = "rustls checks certificates against the real clock")]
    fn new(keys: &Keys, role: Role) -> Result<Self> {
        let now = jiff::Timestamp::now();
        let options = RootOptions { organisation: "Bench".to_owned(), validity: Validity::root(now) };
        let root = authority::create_root(keys, &options)?;
        let (key, names) = (keys.present(role)?, ["localhost".to_owned()]);
        let leaf = authority::issue_server_leaf_for(keys, &root, &names, Validity::leaf(now), key.public())?;
        let leaf = CertificateDer::from_pem_slice(leaf.as_bytes())?;
        let certified = CertifiedKey::new(vec![leaf], key.for_tls());
        let mut server = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Only(Arc::new(certified))));
        server.send_tls13_tickets = 0;
        let mut roots = RootCertStore::empty();
        roots.add(RootCertificate::from_pem(&root)?.der().clone())?;
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }

    /// Bytes of one whole handshake, both ways.
    fn bytes(&self) -> Result<usize> {
        let mut bytes = 0;
        self.shake_hands(&mut bytes)?;
        Ok(bytes)
    }

    fn pair(&self) -> Result<(ClientConnection, ServerConnection)> {
        self.shake_hands(&mut 0)
    }

    fn shake_hands(&self, bytes: &mut usize) -> Result<(ClientConnection, ServerConnection)> {
        let mut client = ClientConnection::new(Arc::clone(&self.client), ServerName::try_from("localhost")?)?;
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        while client.is_handshaking() || server.is_handshaking() {
            *bytes += pass(&mut client, &mut server)?;
            let mut back = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut back)?;
            }
            *bytes += back.len();
            let mut rest = &back[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest)?;
                client.process_new_packets()?;
            }
        }
        Ok((client, server))
    }
}

/// Moves what the client has to say, and tells how many bytes that were.
fn pass(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<usize> {
    let mut bytes = Vec::with_capacity(80 * 1024);
    while client.wants_write() {
        client.write_tls(&mut bytes)?;
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        server.read_tls(&mut rest)?;
        server.process_new_packets()?;
    }
    Ok(bytes.len())
}

/// Whole handshakes per second, both ends here, on as many threads as there are cores.
fn tls_handshakes(tls: &Tls) -> Result<f64> {
    let threads = std::thread::available_parallelism()?.get();
    let began = Instant::now();
    let counts: Vec<Result<u64>> = std::thread::scope(|scope| {
        let one = || {
            let mut count = 0;
            while began.elapsed() < RUN {
                tls.pair()?;
                count += 1;
            }
            Ok(count)
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("a thread panicked"))).collect()
    });
    let total: u64 = counts.into_iter().sum::<Result<u64>>()?;
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

/// What one kind of handshake costs.
struct Cost {
    /// Microseconds from the first message to the last, both ends.
    wall: f64,
    /// Microseconds of CPU of the gateway's end, its token included.
    gateway: f64,
    bytes: usize,
}

impl Cost {
    /// Runs handshakes one after another; each tells what its client's end took, and how many bytes passed.
    fn of(worker: Option<u32>, mut one: impl FnMut(&mut Duration) -> Result<usize>) -> Result<Self> {
        let (mut client, mut bytes) = (Duration::ZERO, 0);
        let (cpu, began, mut count) = (cpu(worker)?, Instant::now(), 0_u32);
        while began.elapsed() < RUN {
            bytes = one(&mut client)?;
            count += 1;
        }
        let each = |seconds: f64| seconds * 1e6 / f64::from(count);
        let gateway = self::cpu(worker)? - cpu - client.as_secs_f64();
        Ok(Self { wall: each(began.elapsed().as_secs_f64()), gateway: each(gateway), bytes })
    }
}

/// Seconds of CPU of this process and its worker so far.
fn cpu(worker: Option<u32>) -> Result<f64> {
    let mut ticks = 0.0;
    for process in std::iter::once("self".to_owned()).chain(worker.map(|pid| pid.to_string())) {
        let stat = std::fs::read_to_string(Path::new("/proc").join(process).join("stat"))?;
        // After the name, which may hold anything, come the state and then numbers; the 12th and 13th are ticks of 10 ms.
        let numbers: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        for field in numbers.iter().skip(11).take(2) {
            ticks += field.parse::<f64>()?;
        }
    }
    Ok(ticks / 100.0)
}

/// Adds this thread's CPU to `spent`.
fn client_end<T>(spent: &mut Duration, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let now = || -> Result<u64> {
        let told = std::fs::read_to_string("/proc/thread-self/schedstat")?;
        Ok(told.split(' ').next().unwrap_or_default().parse()?)
    };
    let before = now()?;
    let made = work()?;
    *spent += Duration::from_nanos(now()?.saturating_sub(before));
    Ok(made)
}

fn hybrid(keys: &Keys, client: &mut Duration) -> Result<usize> {
    thread_local! { static CERTIFICATE: std::cell::RefCell<Option<(String, IdentityCertificate)>> = const { std::cell::RefCell::new(None) }; }
    let place = keys.describe().to_string();
    let known = CERTIFICATE.with_borrow(|known| known.clone().filter(|(of, _)| *of == place));
    let certificate = match known {
        Some((_, certificate)) => certificate,
        None => {
            let made = certificate(keys)?;
            CERTIFICATE.with_borrow_mut(|known| *known = Some((place, made.clone())));
            made
        }
    };
    let suites = [Suite::XWingEd25519MlDsa65Aes256Gcm];
    let (started, one) = client_end(client, || {
        Ok(ClientHandshake::start(DecapsulationKey::generate()?, [1; 32], None, &suites)?)
    })?;
    let awaiting = GatewayHandshake::receive_client_hello(&one, &suites, None, [2; 32], certificate)?;
    let to_sign = awaiting.to_sign();
    let ed25519 = keys.sign_blocking(Role::Identity, &to_sign.ed25519())?;
    let ml_dsa = keys.sign_blocking(Role::IdentityPq, &to_sign.ml_dsa())?;
    let signatures = IdentitySignatures {
        ed25519: ed25519.try_into().ok().context("64 bytes")?,
        ml_dsa: Box::new(ml_dsa.try_into().ok().context("3,309 bytes")?),
    };
    let (awaiting, two) = awaiting.signed(&signatures);
    let (waiting, three) = client_end(client, || {
        let Welcome::Presented(presented) = started.receive(&two)? else { bail!("no gateway hello") };
        Ok(presented.credential(&Secret::Token("a token of some length".into()), &Wishes::default())?)
    })?;
    let (_, answering) = awaiting.receive_credential(&three)?;
    let second = Duration::from_secs(1);
    let limits = SessionLimits { heartbeat_interval: second, heartbeat_timeout: second, max_streams: 1 };
    let accepted = Accepted { tunnels: Vec::new(), limits, resume: Vec::new(), ticket: None };
    let (_, four) = answering.accept(&accepted)?;
    let _session: (Accepted, Session) = client_end(client, || Ok(waiting.receive_answer(&four)?))?;
    Ok(one.len() + two.len() + three.len() + four.len())
}

fn certificate(keys: &Keys) -> Result<IdentityCertificate> {
    let (PublicKey::Ed25519(ed25519), PublicKey::MlDsa65(ml_dsa)) =
        (keys.public_key(Role::Identity)?, keys.public_key(Role::IdentityPq)?)
    else {
        bail!("the identity has other algorithms");
    };
    let body = CertificateBody {
        organisation: "Bench".to_owned(),
        gateway: "localhost".to_owned(),
        ed25519,
        ml_dsa: Box::new(ml_dsa.try_into().ok().context("1,952 bytes")?),
        not_before: 1000,
        not_after: 4_000_000_000,
    };
    let signature = keys.sign_blocking(Role::CertificateAuthority, &body.to_be_signed()?)?;
    Ok(IdentityCertificate::new(body, signature.try_into().ok().context("64 bytes")?)?)
}

/// The same exchange without its post-quantum half: keys and nonces, one signature, a sealed credential and a sealed answer.
fn classical(keys: &Keys, client: &mut Duration) -> Result<usize> {
    let rng = SystemRandom::new();
    let pair = || -> Result<(EphemeralPrivateKey, Vec<u8>)> {
        let private = EphemeralPrivateKey::generate(&X25519, &rng)?;
        let public = private.compute_public_key()?.as_ref().to_vec();
        Ok((private, public))
    };
    let agree = |own: EphemeralPrivateKey, peer: &[u8]| {
        agree_ephemeral(own, UnparsedPublicKey::new(&X25519, peer), anyhow::anyhow!("X25519"), |secret| {
            let keys = Salt::new(HKDF_SHA256, b"a bench").extract(secret);
            let key = keys.expand(&[b"client"], &AES_256_GCM).map_err(|_| anyhow::anyhow!("HKDF"))?;
            Ok(LessSafeKey::new(UnboundKey::from(key)))
        })
    };
    let seal = |key: &LessSafeKey, text: &[u8]| -> Result<Vec<u8>> {
        let mut sealed = text.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key([3; 12]), Aad::empty(), &mut sealed)?;
        Ok(sealed)
    };
    let open = |key: &LessSafeKey, sealed: &[u8]| -> Result<()> {
        key.open_in_place(Nonce::assume_unique_for_key([3; 12]), Aad::empty(), &mut sealed.to_vec())?;
        Ok(())
    };
    let PublicKey::Ed25519(identity) = keys.public_key(Role::Identity)? else { bail!("Ed25519") };
    let (own, one) = client_end(client, pair)?;
    let (gateways, two) = pair()?;
    let transcript = [&one[..], &two].concat();
    let signature = keys.sign_blocking(Role::Identity, &transcript)?;
    let gateway_key = agree(gateways, &one)?;
    let (client_key, three) = client_end(client, || {
        PublicKey::Ed25519(identity).verify(&transcript, &signature)?;
        let key = agree(own, &two)?;
        let three = seal(&key, &[4; 64])?;
        Ok((key, three))
    })?;
    open(&gateway_key, &three)?;
    let four = seal(&gateway_key, &[5; 64])?;
    client_end(client, || open(&client_key, &four))?;
    // With nonces, and a certificate of 32 bytes of key, 64 of signature and what the real one has beside its keys.
    let about = 2 * 32 + 32 + 64 + 40;
    Ok(one.len() + two.len() + signature.len() + three.len() + four.len() + about)
}

/// MiB/s through TLS in memory, and through sealed frames in TLS; both ends on one core.
fn throughput() -> Result<(f64, f64)> {
    let folder = tempfile::tempdir()?;
    let passphrase_file = folder.path().join("passphrase");
    std::fs::write(&passphrase_file, "a passphrase for a bench")?;
    let keys =
        Keys::open(&ProviderConfig::Software { directory: folder.path().join("keys"), passphrase_file })?;
    keys.generate_missing()?;
    let tls = Tls::new(&keys, Role::Tls)?;
    let plain = stream(&tls, None)?;
    let frames = sallyport::tunnel::frame::FrameKeys::looped([6; 32])?;
    Ok((plain, stream(&tls, Some(frames))?))
}

fn stream(
    tls: &Tls,
    mut frames: Option<(sallyport::tunnel::frame::Sealer, sallyport::tunnel::frame::Opener)>,
) -> Result<f64> {
    // What the transport cuts its stream into, so that a frame and its tag fit one TLS record.
    const FRAME: usize = 16 * 1024 - 64;
    let (mut client, mut server) = tls.pair()?;
    let (payload, began, mut bytes) = (vec![7; FRAME], Instant::now(), 0_usize);
    let mut arrived = vec![0; FRAME + 64];
    while began.elapsed() < RUN {
        match &mut frames {
            None => client.writer().write_all(&payload)?,
            Some((sealer, _)) => {
                let mut frame = BytesMut::with_capacity(FRAME + 16);
                frame.extend_from_slice(&payload);
                sealer.seal(&mut frame)?;
                client.writer().write_all(&frame)?;
            }
        }
        pass(&mut client, &mut server)?;
        let wanted = FRAME + if frames.is_some() { 16 } else { 0 };
        let room = arrived.get_mut(..wanted).context("room")?;
        server.reader().read_exact(room)?;
        match &mut frames {
            None => drop(black_box(Bytes::copy_from_slice(room))),
            Some((_, opener)) => drop(black_box(opener.open(Bytes::copy_from_slice(room))?)),
        }
        bytes += FRAME;
    }
    Ok(bytes as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64())
}
