//! The way to a gateway through somebody's proxy: HTTP CONNECT or SOCKS5, as the environment or a setting says.
//!
//! What the proxy sees is TLS to the gateway, which is checked as ever: a proxy that opens it is found out, unless its root is
//! trusted, and then the tunnel's frames are sealed. QUIC does not pass through either, and its dial says so.
//!
//! Credentials come from the environment's own variables or from a file; no error, event or log line has them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;
use tower_service::Service;

use super::address::GatewayAddress;
use super::dial_error::DialError;
use super::reach::{in_turn, reach};
use crate::tunnel::link::chain;
use crate::tunnel::prompt;

/// Which proxies there are, and for what. Clones share it.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<Matcher>>);

/// Why a proxy cannot be used as it was named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// No address, or one with more in it than an address.
    #[error("this is no proxy's address: write http://HOST:PORT or socks5://HOST:PORT")]
    Address,
    /// A password in the address.
    #[error("the proxy's address holds credentials, which everybody on this machine would see")]
    Credentials,
    /// The credentials are not `user:password`.
    #[error("the proxy's credentials are not one line of the form USER:PASSWORD")]
    NoCredentials,
}

impl ProxyError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Address => {
                "socks5h:// leaves the gateway's name for the proxy to resolve; `none` uses no proxy"
            }
            Self::Credentials | Self::NoCredentials => {
                "put USER:PASSWORD into a file and name that with --proxy-credentials-file"
            }
        }
    }
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proxies(..)")
    }
}

impl Proxies {
    /// None, whatever the environment says.
    pub fn none() -> Self {
        Self(None)
    }

    /// Those of `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, also in lower case.
    pub fn of_environment() -> Self {
        Self(Some(Arc::new(Matcher::from_env())))
    }

    /// This one, for every gateway.
    pub fn at(address: &str, credentials: Option<&SecretString>) -> Result<Self, ProxyError> {
        let uri: Uri = address.parse().map_err(|_| ProxyError::Address)?;
        let authority = uri.authority().ok_or(ProxyError::Address)?;
        if authority.as_str().contains('@') {
            return Err(ProxyError::Credentials);
        }
        let scheme = uri.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "socks5" | "socks5h") || uri.path().len() > 1 || uri.query().is_some() {
            return Err(ProxyError::Address);
        }
        let named = match credentials {
            None => format!("{scheme}://{authority}"),
            Some(credentials) => {
                let line = credentials.expose_secret().trim();
                let (user, password) = line.split_once(':').ok_or(ProxyError::NoCredentials)?;
                if user.is_empty() || line.chars().any(char::is_control) {
                    return Err(ProxyError::NoCredentials);
                }
                let [user, password] = [user, password].map(escaped);
                format!("{scheme}://{user}:{password}@{authority}")
            }
        };
        Ok(Self(Some(Arc::new(Matcher::builder().all(named).build()))))
    }

    /// The proxy on the way to `gateway`, if there is one.
    fn towards(&self, gateway: &GatewayAddress) -> Option<Intercept> {
        self.0.as_ref()?.intercept(&destination(gateway)?)
    }

    /// Its address, for people.
    pub fn shown(&self, gateway: &GatewayAddress) -> Option<String> {
        self.towards(gateway).map(|proxy| shown(&proxy))
    }

    /// Connects to `gateway` within `patience`, through the proxy on the way if there is one.
    pub async fn connect(
        &self,
        gateway: &GatewayAddress,
        patience: Duration,
    ) -> Result<TcpStream, DialError> {
        let address = || gateway.to_string();
        let late =
            || DialError::Timeout { address: address(), step: "connecting", seconds: patience.as_secs() };
        let tcp = match self.towards(gateway) {
            None => {
                let reached = reach((gateway.host(), gateway.port()), patience).await;
                reached.map_err(|source| match source.kind() {
                    ErrorKind::TimedOut => late(),
                    _ => DialError::Connect { address: address(), source },
                })?
            }
            Some(proxy) => {
                let through = through(&proxy, gateway, patience);
                tokio::time::timeout(patience, through).await.unwrap_or_else(|_| Err(late()))?
            }
        };
        prompt(&tcp);
        Ok(tcp)
    }
}

async fn through(
    proxy: &Intercept,
    gateway: &GatewayAddress,
    patience: Duration,
) -> Result<TcpStream, DialError> {
    let failed = |error: &dyn std::error::Error| failed(proxy, gateway, error);
    let unnamed = || failed(&std::io::Error::other("the gateway's address cannot be written for a proxy"));
    let destination = destination(gateway).ok_or_else(unnamed)?;
    let tcp = plain(patience);
    let scheme = proxy.uri().scheme_str().unwrap_or_default().to_owned();
    let stream = match scheme.as_str() {
        "http" => {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(credentials) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(credentials.clone());
            }
            // A connector of TCP alone is ready at any time.
            tunnel.call(destination).await.map_err(|error| failed(&error))?
        }
        "socks5h" => socks(proxy, tcp).call(destination).await.map_err(|error| failed(&error))?,
        "socks5" => {
            let deadline = Instant::now() + patience;
            // Not by the library, which has a thread of the runtime wait for it, and takes the first address alone.
            let found =
                lookup_host((gateway.host(), gateway.port())).await.map_err(|error| failed(&error))?;
            by_addresses(proxy, gateway, tcp, (found.collect(), deadline)).await?
        }
        other => {
            let reason = format!("proxies of the kind {other}:// are not spoken to");
            return Err(failed(&std::io::Error::other(reason)));
        }
    };
    Ok(TokioIo::into_inner(stream))
}

/// By the first of the gateway's addresses to which the proxy leads.
async fn by_addresses(
    proxy: &Intercept,
    gateway: &GatewayAddress,
    tcp: HttpConnector,
    (peers, deadline): (Vec<SocketAddr>, Instant),
) -> Result<TokioIo<TcpStream>, DialError> {
    let late = || failed(proxy, gateway, &std::io::Error::from(ErrorKind::TimedOut));
    let call = |peer: SocketAddr| {
        let calling = uri(&peer.to_string()).map(|uri| socks(proxy, tcp.clone()).call(uri));
        async move {
            match calling {
                Some(calling) => calling.await.map_err(|error| failed(proxy, gateway, &error)),
                None => Err(late()),
            }
        }
    };
    in_turn(peers, deadline, call).await.unwrap_or_else(|| Err(late()))
}

fn failed(proxy: &Intercept, gateway: &GatewayAddress, error: &dyn std::error::Error) -> DialError {
    DialError::Proxy { address: gateway.to_string(), proxy: shown(proxy), reason: chain(error) }
}

/// The way to the proxy itself, of whose addresses each has its share of `patience`.
fn plain(patience: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(patience));
    tcp
}

fn socks(proxy: &Intercept, tcp: HttpConnector) -> SocksV5<HttpConnector> {
    let socks = SocksV5::new(proxy.uri().clone(), tcp);
    match proxy.raw_auth() {
        Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
        None => socks,
    }
}

/// The gateway as proxies and `NO_PROXY` know it.
fn destination(gateway: &GatewayAddress) -> Option<Uri> {
    uri(&gateway.to_string())
}

fn uri(authority: &str) -> Option<Uri> {
    Uri::builder().scheme("https").authority(authority).path_and_query("/").build().ok()
}

fn shown(proxy: &Intercept) -> String {
    let uri = proxy.uri();
    let authority = uri.authority().map_or("?", http::uri::Authority::as_str);
    let without = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{}://{without}", uri.scheme_str().unwrap_or("http"))
}

/// As a part of a URL: whatever is no letter or digit, by its bytes.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn gateway() -> GatewayAddress {
        GatewayAddress::parse("gate.example").unwrap()
    }

    #[test]
    fn a_proxy_is_an_address_alone_and_its_credentials_come_apart_from_it() {
        let secret = SecretString::from("ann:p@ss:w/rd\n".to_owned());
        let proxies = Proxies::at("http://proxy.example:3128", Some(&secret)).unwrap();
        let way = proxies.towards(&gateway()).unwrap();
        assert_eq!(way.basic_auth().unwrap(), "Basic YW5uOnBAc3M6dy9yZA==");
        assert_eq!(proxies.shown(&gateway()).unwrap(), "http://proxy.example:3128");
        let proxies = Proxies::at("socks5h://proxy.example:1080", Some(&secret)).unwrap();
        assert_eq!(proxies.towards(&gateway()).unwrap().raw_auth(), Some(("ann", "p@ss:w/rd")));
        assert_eq!(Proxies::at("http://ann:pw@proxy:1", None).err(), Some(ProxyError::Credentials));
        for wrong in ["proxy:3128", "ftp://proxy:1", "http://proxy/path", "", "https://proxy:1"] {
            assert_eq!(Proxies::at(wrong, None).err(), Some(ProxyError::Address), "{wrong}");
        }
        let empty = SecretString::from("no colon".to_owned());
        assert_eq!(Proxies::at("http://proxy:1", Some(&empty)).err(), Some(ProxyError::NoCredentials));
    }

    /// A proxy of SOCKS5 that passes nobody on to the first address that it hears of; and the addresses that it heard of.
    async fn choosy() -> (SocketAddr, Arc<Mutex<Vec<[u8; 4]>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let told = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let (mut greeting, mut request) = ([0; 3], [0; 10]);
                socket.read_exact(&mut greeting).await.unwrap();
                socket.write_all(&[5, 0]).await.unwrap();
                socket.read_exact(&mut request).await.unwrap();
                assert_eq!(request[3], 1, "an IPv4 address, and no name");
                let is_first = {
                    let mut told = told.lock().unwrap();
                    told.push(request[4..8].try_into().unwrap());
                    told.len() == 1
                };
                let word = if is_first { 5 } else { 0 };
                socket.write_all(&[5, word, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                held.push(socket);
            }
        });
        (address, asked)
    }

    #[tokio::test]
    async fn a_proxy_that_is_told_addresses_is_told_each_of_the_gateways_until_one_is_reached() {
        let (address, asked) = choosy().await;
        let named = format!("socks5://{address}");
        let way = Proxies::at(&named, None).unwrap().towards(&gateway()).unwrap();
        let peers = vec!["192.0.2.1:443".parse().unwrap(), "192.0.2.2:443".parse().unwrap()];
        let deadline = Instant::now() + Duration::from_secs(20);
        by_addresses(&way, &gateway(), plain(Duration::from_secs(20)), (peers, deadline)).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [[192, 0, 2, 1], [192, 0, 2, 2]]);
    }

    #[test]
    fn without_a_proxy_nothing_is_on_the_way() {
        assert!(Proxies::none().towards(&gateway()).is_none());
    }
}
