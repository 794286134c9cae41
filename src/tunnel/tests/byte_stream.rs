//! The byte stream over WebSocket messages, bare and sealed, between two ends in memory.

use std::io::ErrorKind;

use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};
use zeroize::Zeroizing;

use super::bed::soon;
use crate::tunnel::frame::{FrameKeys, MAX_PLAINTEXT};
use crate::tunnel::transport::{MessageStream, websocket_config};

type Socket = WebSocketStream<DuplexStream>;

async fn sockets() -> (Socket, Socket) {
    let (left, right) = duplex(256 * 1024);
    let config = Some(websocket_config());
    let client = WebSocketStream::from_raw_socket(left, Role::Client, config).await;
    let server = WebSocketStream::from_raw_socket(right, Role::Server, config).await;
    (client, server)
}

fn keys(send: u8, receive: u8) -> FrameKeys {
    FrameKeys {
        suite: crate::tunnel::Suite::ALL[0],
        send: Zeroizing::new([send; 32]),
        receive: Zeroizing::new([receive; 32]),
    }
}

async fn streams(sealed: bool) -> (MessageStream<Socket>, MessageStream<Socket>) {
    let (client, server) = sockets().await;
    if sealed {
        (
            MessageStream::sealed(client, keys(1, 2)).unwrap(),
            MessageStream::sealed(server, keys(2, 1)).unwrap(),
        )
    } else {
        (MessageStream::plain(client), MessageStream::plain(server))
    }
}

#[tokio::test]
async fn an_end_in_one_direction_leaves_the_other_open() {
    for sealed in [false, true] {
        let (mut left, mut right) = streams(sealed).await;
        left.write_all(b"question").await.unwrap();
        left.shutdown().await.unwrap();
        let mut heard = String::new();
        soon(right.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, "question");
        right.write_all(b"answer").await.unwrap();
        right.shutdown().await.unwrap();
        let mut heard = String::new();
        soon(left.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, "answer");
        assert_eq!(left.write_all(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn a_sealed_stream_that_a_relay_closes_was_cut_and_did_not_end() {
    let (mut client, server) = sockets().await;
    let mut sealed = MessageStream::sealed(server, keys(2, 1)).unwrap();
    client.close(None).await.unwrap();
    let error = soon(sealed.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_plain_stream_whose_connection_breaks_was_cut_and_did_not_end() {
    let (client, mut plain) = {
        let (client, server) = sockets().await;
        (client, MessageStream::plain(server))
    };
    drop(client);
    let error = soon(plain.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_sealed_frame_altered_on_the_way_breaks_the_stream() {
    let (mut client, server) = sockets().await;
    let mut sealed = MessageStream::sealed(server, keys(2, 1)).unwrap();
    client.send(Message::binary(vec![0; 100])).await.unwrap();
    let error = soon(sealed.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_message_above_the_bound_or_of_text_breaks_the_stream() {
    for message in [Message::binary(vec![0; MAX_PLAINTEXT + 17]), Message::text("hello")] {
        let (mut client, server) = sockets().await;
        let mut plain = MessageStream::plain(server);
        // The reader may hang up before all is written.
        let sending = tokio::spawn(async move { client.send(message).await });
        let error = soon(plain.read_u8()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        drop(plain);
        let _either = soon(sending).await.unwrap();
    }
}

#[tokio::test]
async fn a_message_in_endless_small_pieces_is_bounded_too() {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let (mut client, server) = sockets().await;
    let mut plain = MessageStream::plain(server);
    let sending = tokio::spawn(async move {
        let piece = |op| Message::Frame(Frame::message(vec![0; 1024], OpCode::Data(op), false));
        let mut sent = client.send(piece(Data::Binary)).await;
        while sent.is_ok() {
            sent = client.send(piece(Data::Continue)).await;
        }
    });
    let error = soon(plain.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    drop(plain);
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn pings_are_answered_and_are_not_data() {
    let (mut client, server) = sockets().await;
    let mut plain = MessageStream::plain(server);
    client.send(Message::Ping(vec![1, 2, 3].into())).await.unwrap();
    client.send(Message::binary(vec![9])).await.unwrap();
    assert_eq!(soon(plain.read_u8()).await.unwrap(), 9);
    plain.flush().await.unwrap();
    assert_eq!(soon(client.next()).await.unwrap().unwrap(), Message::Pong(vec![1, 2, 3].into()));
}

#[tokio::test]
async fn small_writes_are_gathered_into_one_message_until_the_flush() {
    let (client, mut server) = sockets().await;
    let mut plain = MessageStream::plain(client);
    for _ in 0..100 {
        plain.write_all(b"0123456789").await.unwrap();
    }
    plain.flush().await.unwrap();
    let Message::Binary(message) = soon(server.next()).await.unwrap().unwrap() else { panic!("not binary") };
    assert_eq!(message.len(), 1000);
}

#[tokio::test]
async fn a_writer_waits_for_a_reader_that_does_not_read() {
    for sealed in [false, true] {
        let (mut left, right) = streams(sealed).await;
        let mut written = 0;
        let chunk = vec![0; 16 * 1024];
        while let std::task::Poll::Ready(result) = futures_util::poll!(Box::pin(left.write(&chunk))) {
            written += result.unwrap();
            assert!(written < 4 << 20, "the writer never waited");
        }
        drop(right);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_is_written_in_whatever_pieces_is_read_the_same(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90_000), 0..6),
        sealed: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut left, mut right) = streams(sealed).await;
            let sent = pieces.concat();
            let writing = tokio::spawn(async move {
                for piece in pieces {
                    left.write_all(&piece).await.unwrap();
                }
                left.shutdown().await.unwrap();
                left
            });
            let mut read = Vec::new();
            right.read_to_end(&mut read).await.unwrap();
            assert!(read == sent);
            writing.await.unwrap();
        });
    }
}
