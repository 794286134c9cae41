//! A small web app to publish when there is none at hand: a page, an echo, and a stream that never ends by itself, with
//! which one can watch a revocation cut an open connection.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Html;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpListener;

const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Demo app</title>\
<body style=\"font-family:system-ui;max-width:40rem;margin:4rem auto;line-height:1.5\">\
<h1>You are through</h1><p>This page is served by an app behind the gateway. Somebody approved your visit, and the ledger \
says who, why, and until when.</p></body></html>\n";

/// Starts the app on a free port of the loopback interface.
pub(super) async fn start() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/headers", get(headers))
        .route("/echo", post(|body: Body| async { body }))
        .route("/stream", get(ticks));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn headers(headers: HeaderMap) -> String {
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    lines.collect()
}

/// A line every quarter of a second, for ever.
async fn ticks() -> Body {
    let ticks = stream::unfold(0_u64, |count| async move {
        tokio::time::sleep(Duration::from_millis(250)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from(format!("tick {count}\n"))), count + 1))
    });
    Body::from_stream(ticks)
}
