//! Answers to those who do not speak TLS to a port that does: each in its own protocol, with what to do.
//!
//! Promised: nothing leads from here to a tunnel, to the console or to a publisher. HTTP is sent on to HTTPS where that does
//! no harm; what came with a token is refused, and recorded, for whoever was on the way has read it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONNECTION, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracing::debug;
use uuid::Uuid;

use super::arrival::Arrival;
use super::linger::{self, Lent, Unread};
use super::listener::not_agreed;
use super::page::Refusal;
use super::{Edge, credential, route};

/// After the goodbye: bytes and time in which an SSH client may go, so that it reads the goodbye before a reset.
const LINGER: (u64, Duration) = (64 * 1024, Duration::from_secs(2));

/// What an SSH client is told.
const NO_SSH: &str = "this port speaks TLS, not SSH. For SSH through a tunnel: \
                      ssh -o ProxyCommand='sallyport connect NAME --stdio' USER@NAME";

/// Answers HTTP that came without TLS, and closes.
pub(super) async fn answer_http(edge: &Edge, peer: SocketAddr, arrival: Arrival) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(edge.bounds.header)
        .max_buf_size(edge.bounds.header_bytes)
        .http2()
        .max_header_list_size(u32::try_from(edge.bounds.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(1);
    let (own, unread) = (edge.clone(), Unread::default());
    let watch = unread.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (edge, (head, body)) = (own.clone(), request.into_parts());
        let body = watch.watch(Body::new(body));
        async move {
            let answer = answer(&edge, peer, &Request::from_parts(head, ())).await;
            // Nobody wants it; it is let go of when there is something to say.
            drop(body);
            Ok::<_, Infallible>(answer)
        }
    });
    let (arrival, mut back) = Lent::new(arrival);
    // The head has its own limit; an answer of some hundred bytes needs no more than that again.
    let serving = tokio::time::timeout(
        edge.bounds.header * 2,
        builder.serve_connection(TokioIo::new(arrival), service),
    );
    match serving.await {
        Ok(Ok(())) if unread.is_some() => {
            if let Ok(arrival) = back.try_recv() {
                linger::read_out(arrival, linger::MOST).await;
            }
        }
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, %error, "HTTP in clear ended"),
        Err(_) => debug!(%peer, "HTTP in clear took too long"),
    }
}

async fn answer(edge: &Edge, peer: SocketAddr, request: &Request<()>) -> Response<Body> {
    let headers = request.headers();
    let correlation = format!("cor-{}", Uuid::now_v7().simple());
    let (authority, bad) = (route::authority(request).0, route::bad_host(request));
    let origin = if bad.is_none() { format!("https://{authority}") } else { edge.own_origin() };
    let mut response = if holds_credential(headers) {
        not_agreed(edge, peer, Some("sent-in-clear")).await;
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "sent-in-clear",
            "the request came without TLS, and a token with it, which whoever is on the way can read",
            format!("have that token revoked and use a new one; write {origin}"),
        )
        .respond(headers, &correlation)
    } else if let Some(refusal) = bad {
        refusal.respond(headers, &correlation)
    } else if !edge.serves(&authority) {
        no_tls("this port speaks HTTPS, and the request came without TLS", "write https:// before the host")
            .respond(headers, &correlation)
    } else if matches!(*request.method(), Method::GET | Method::HEAD) {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        redirect(&format!("{origin}{path}"))
    } else {
        // Sent again, it would have been sent in clear once already: the client's program is to be told.
        no_tls("this port speaks HTTPS, and the request came without TLS", &format!("use {origin}"))
            .respond(headers, &correlation)
    };
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn no_tls(detail: &str, hint: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "not-tls", detail, hint)
}

fn redirect(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

fn holds_credential(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || credential::token(headers).is_some()
}

/// Tells an SSH client in its own words, and closes.
pub(super) async fn refuse_ssh(mut arrival: Arrival) {
    let goodbye = async {
        arrival.write_all(&ssh_goodbye(NO_SSH)).await?;
        arrival.shutdown().await?;
        tokio::io::copy(&mut (&mut arrival).take(LINGER.0), &mut tokio::io::sink()).await
    };
    // Whoever does not read it has not been told.
    let _heard = tokio::time::timeout(LINGER.1, goodbye).await;
}

/// Our version, and a packet with `SSH_MSG_DISCONNECT` (RFC 4253 sections 4.2, 6 and 11.1): before keys are agreed on, a packet
/// is not encrypted.
fn ssh_goodbye(sentence: &str) -> Vec<u8> {
    const DISCONNECT: u8 = 1;
    const SERVICE_NOT_AVAILABLE: u32 = 7;
    const BLOCK: usize = 8;
    let text = |payload: &mut Vec<u8>, text: &str| {
        payload.extend(u32::try_from(text.len()).unwrap_or_default().to_be_bytes());
        payload.extend(text.as_bytes());
    };
    let mut payload = vec![DISCONNECT];
    payload.extend(SERVICE_NOT_AVAILABLE.to_be_bytes());
    text(&mut payload, sentence);
    text(&mut payload, "en");
    // Length, padding's length, payload and at least four bytes of padding are whole blocks together.
    let padding = 4 + (BLOCK - (4 + 1 + payload.len() + 4) % BLOCK) % BLOCK;
    let length = 1 + payload.len() + padding;
    let mut bytes = b"SSH-2.0-Sallyport\r\n".to_vec();
    bytes.extend(u32::try_from(length).unwrap_or_default().to_be_bytes());
    bytes.push(u8::try_from(padding).unwrap_or_default());
    bytes.extend(payload);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goodbye_to_ssh_is_a_packet_of_whole_blocks() {
        for length in 0..20 {
            let bytes = ssh_goodbye(&"x".repeat(length));
            let packet = bytes.strip_prefix(b"SSH-2.0-Sallyport\r\n").unwrap();
            assert_eq!(packet.len() % 8, 0);
            let told = u32::from_be_bytes(packet[..4].try_into().unwrap());
            assert_eq!(told as usize, packet.len() - 4);
            assert!(packet[4] >= 4);
        }
    }
}
