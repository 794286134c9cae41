//! TLS with the key in the token: a stock rustls client on one side, the token's signature on the other.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, NamedGroup, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sallyport_hsm::authority::{self, RootCertificate, RootOptions, Validity};
use sallyport_hsm::testing::TestToken;
use sallyport_hsm::{Keys, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[expect(clippy::disallowed_methods, reason = "rustls checks certificates against the real clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn configs(keys: &Keys, names: &[&str]) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let options = RootOptions { organisation: "Example Ltd".to_owned(), validity: Validity::root(now()) };
    let root = authority::create_root(keys, &options).unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let leaf = authority::issue_server_leaf(keys, &root, &names, Validity::leaf(now())).unwrap();
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    let certified = CertifiedKey::new(vec![leaf], keys.tls_signing_key().unwrap());
    certified.keys_match().unwrap();
    let server = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Only(Arc::new(certified))));
    let mut roots = RootCertStore::empty();
    roots.add(RootCertificate::from_pem(&root).unwrap().der().clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

async fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> (std::io::Result<NamedGroup>, std::io::Result<()>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(Arc::clone(server));
    let serving = tokio::spawn(async move {
        let mut stream = acceptor.accept(far).await?;
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await?;
        stream.write_all(&ping).await?;
        stream.shutdown().await
    });
    let connector = TlsConnector::from(Arc::clone(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let visiting = async {
        let mut stream = connector.connect(name, near).await?;
        stream.write_all(b"ping").await?;
        let mut pong = [0; 4];
        stream.read_exact(&mut pong).await?;
        assert_eq!(&pong, b"ping");
        // Until the server has closed: else it would write its farewell to nobody.
        stream.read_to_end(&mut Vec::new()).await?;
        Ok(stream.get_ref().1.negotiated_key_exchange_group().unwrap().name())
    };
    (visiting.await, serving.await.unwrap())
}

//= G3: TLS 1.3 with X25519MLKEM768, the key in the token
#[test]
fn a_stock_client_gets_a_hybrid_handshake_signed_by_the_token() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    for flavour in [
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap(),
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
    ] {
        let (server, client) = configs(&keys, &["localhost", "demo.localhost", "*.localhost", "127.0.0.1"]);
        flavour.block_on(async {
            for name in ["localhost", "demo.localhost", "127.0.0.1"] {
                let (group, other_end) = handshake(&server, &client, name).await;
                assert_eq!(group.unwrap(), NamedGroup::X25519MLKEM768, "{name}");
                other_end.unwrap();
            }
            let (refused, _) = handshake(&server, &client, "other.example").await;
            assert!(refused.is_err(), "a name that is not in the certificate");
        });
    }
}

#[test]
fn a_wildcard_serves_below_two_labels_and_not_below_one() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let (server, client) = configs(&keys, &["*.localhost", "*.sallyport.localhost"]);
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        handshake(&server, &client, "demo.sallyport.localhost").await.0.unwrap();
        assert!(handshake(&server, &client, "demo.localhost").await.0.is_err());
    });
}

#[test]
fn many_handshakes_at_once_leave_no_worker_stuck() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    let (server, client) = configs(&keys, &["localhost"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut visits = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let (server, client) = (Arc::clone(&server), Arc::clone(&client));
            visits.spawn(async move { handshake(&server, &client, "localhost").await.0.unwrap() });
        }
        while let Some(group) = visits.join_next().await {
            assert_eq!(group.unwrap(), NamedGroup::X25519MLKEM768);
        }
    });
}

#[test]
fn a_handshake_without_the_token_fails_and_the_next_one_with_it_works() {
    let Some(token) = TestToken::for_this_test_with_softhsm() else { return };
    let keys = token.open_with_keys();
    let (server, client) = configs(&keys, &["localhost"]);
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        token.take_away();
        let (visited, other_end) = handshake(&server, &client, "localhost").await;
        assert!(visited.is_err());
        assert!(other_end.unwrap_err().to_string().contains("the TLS key cannot sign"));
        token.put_back();
        let mut health = keys.health();
        let up = health.wait_for(|health| *health == sallyport_hsm::Health::Up);
        tokio::time::timeout(std::time::Duration::from_mins(1), up).await.unwrap().unwrap();
        handshake(&server, &client, "localhost").await.0.unwrap();
    });
}

//= issue 4: ML-DSA certificates as an option, the key in the provider
#[test]
fn a_certificate_with_an_ml_dsa_key_is_believed_by_a_stock_client_that_knows_it_and_by_no_other() {
    let Some(token) = TestToken::for_this_test() else { return };
    let keys = token.open_with_keys();
    assert_eq!(keys.generate_optional(Role::TlsPq).unwrap().len(), 1);
    assert_eq!(keys.generate_optional(Role::TlsPq).unwrap().len(), 0, "one is enough");
    let options = RootOptions { organisation: "Example Ltd".to_owned(), validity: Validity::root(now()) };
    let root = authority::create_root(&keys, &options).unwrap();
    let key = keys.present(Role::TlsPq).unwrap();
    let names = ["localhost".to_owned()];
    let leaf =
        authority::issue_server_leaf_for(&keys, &root, &names, Validity::leaf(now()), key.public()).unwrap();
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    let certified = CertifiedKey::new(vec![leaf], key.for_tls());
    certified.keys_match().unwrap();
    let server = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Only(Arc::new(certified))));
    let server = Arc::new(server);
    let roots = || {
        let mut roots = RootCertStore::empty();
        roots.add(RootCertificate::from_pem(&root).unwrap().der().clone()).unwrap();
        roots
    };
    let client = ClientConfig::builder().with_root_certificates(roots()).with_no_client_auth();
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let kept: Vec<_> = provider.signature_verification_algorithms.mapping.to_vec();
    let kept: Vec<_> = kept
        .into_iter()
        .filter(|(scheme, _)| *scheme == rustls::SignatureScheme::ECDSA_NISTP256_SHA256)
        .collect();
    provider.signature_verification_algorithms.mapping = Vec::leak(kept);
    let old = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let (group, other_end) = handshake(&server, &Arc::new(client), "localhost").await;
        assert_eq!(group.unwrap(), NamedGroup::X25519MLKEM768);
        other_end.unwrap();
        assert!(handshake(&server, &Arc::new(old), "localhost").await.0.is_err());
    });
}
