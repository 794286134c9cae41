//! Bodies cut very small that nobody takes: what they cost the others of a tunnel.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::bed::{Door, Organisation, Running, http, name, publication, soon};
use crate::tunnel::Limits;

/// More frames of a byte than a connection's library lets wait unread.
const MANY: usize = 700_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_single_bytes_that_the_app_does_not_read_costs_nobody_else_the_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = [0; 5];
                socket.read_exact(&mut head).await.unwrap();
                if head.starts_with(b"POST") {
                    std::future::pending::<()>().await;
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                socket.write_all(answer).await.unwrap();
            });
        }
    });
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let _publisher = Running::start(door.options(vec![publication(http("demo"), app)]));
    let link = door.link().await;
    let (sent, mut all_sent) = tokio::sync::mpsc::channel(1);
    let pieces = stream::iter(0..MANY).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))));
    let told = stream::once(async move {
        sent.send(()).await.unwrap();
        std::future::pending().await
    });
    let body = StreamBody::new(pieces.chain(told).boxed());
    let uploading = {
        let link = link.clone();
        tokio::spawn(async move {
            let request = http::Request::builder().method("POST").uri("http://demo/").body(body).unwrap();
            link.request(&name("demo"), request).await.map(drop)
        })
    };
    tokio::select! {
        told = soon(all_sent.recv()) => told.unwrap(),
        closed = link.closed() => panic!("the tunnel is gone: {closed}"),
    }
    let request = http::Request::builder().uri("http://demo/").body(http_body_util::Empty::new()).unwrap();
    let answer = soon(link.request(&name("demo"), request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    uploading.abort();
    serving.abort();
}
