//! Peers made by hand, for what curl and `sallyport` would never send.

use rustls::pki_types::ServerName;
use sallyport::tunnel::client::{TlsRoots, tls_config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::patience::PATIENCE;
use super::world::World;

/// A WebSocket over TLS.
pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A TLS connection to the gateway under `host`.
pub(crate) async fn tls(world: &World, host: &str) -> TlsStream<TcpStream> {
    let config = tls_config(&TlsRoots::File(world.root())).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
    TlsConnector::from(config).connect(ServerName::try_from(host.to_owned()).unwrap(), tcp).await.unwrap()
}

/// Sends these bytes to the gateway under `host`, as they are, and reads what it says to the end, which is one in order.
pub(crate) async fn said(world: &World, host: &str, bytes: &[u8]) -> String {
    let mut stream = tls(world, host).await;
    stream.write_all(bytes).await.expect("all of it is taken");
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    read.expect("the gateway ends the connection").expect("it ends in order");
    String::from_utf8_lossy(&said).into_owned()
}

/// A WebSocket to `path` of `host`, with a person's token if there is one.
pub(crate) async fn websocket(world: &World, host: &str, path: &str, person: Option<&str>) -> Socket {
    let mut request = format!("wss://{host}:{}{path}", world.port()).into_client_request().unwrap();
    if let Some(person) = person {
        let bearer = format!("Bearer {}", world.token(person)).parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
    }
    client_async(request, tls(world, host).await).await.unwrap().0
}
