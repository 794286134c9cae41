//! HTTP/2 by hand, frame by frame, for what no client would send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::patience::PATIENCE;
use super::socket::tls;
use super::world::World;

/// HTTP/2 by hand (RFC 9113), on a connection of its own.
pub(crate) struct Http2(TlsStream<TcpStream>);

/// Types of frames, and errors.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;

impl Http2 {
    /// To the gateway under `host`.
    pub(crate) async fn begin(world: &World, host: &str) -> Self {
        let mut stream = tls(world, host).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut http2 = Self(stream);
        http2.frame(SETTINGS, 0, 0, b"").await;
        http2
    }

    /// Sends a frame.
    pub(crate) async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.announce(kind, flags, stream, u32::try_from(payload.len()).unwrap()).await;
        self.0.write_all(payload).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Sends the head of a frame that is so long.
    pub(crate) async fn announce(&mut self, kind: u8, flags: u8, stream: u32, length: u32) {
        let [_, a, b, c] = length.to_be_bytes();
        self.0.write_all(&[&[a, b, c, kind, flags][..], &stream.to_be_bytes()].concat()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next frame: its type, the stream that it is about, and what it brings. `None`: the connection has ended.
    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], stream, payload))
    }

    /// The first error that comes in a frame of this type: its code, and the stream that it is about.
    pub(crate) async fn error(&mut self, wanted: u8) -> (u32, u32) {
        let reading = async {
            loop {
                let (kind, stream, payload) = self.next().await.expect("it ended first");
                if kind == wanted {
                    return (code(kind, &payload), stream);
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the gateway says what is wrong")
    }

    /// What becomes of the first stream.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        let reading = async {
            while let Some((kind, stream, payload)) = self.next().await {
                match (kind, stream) {
                    (HEADERS, 1) => return Outcome::Answered(payload.first().copied().unwrap_or_default()),
                    (RST_STREAM, 1) | (GOAWAY, 0) => return Outcome::Refused(code(kind, &payload)),
                    _ => {}
                }
            }
            Outcome::Ended
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the gateway says what becomes of it")
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer, whose head begins with this byte: `0x88` is a 200, `0x8c` a 400 (RFC 7541 appendix A).
    Answered(u8),
    /// The stream, or the whole connection, was ended with this code.
    Refused(u32),
    /// The connection ended without a word.
    Ended,
}

fn code(kind: u8, payload: &[u8]) -> u32 {
    // GOAWAY names the last stream first.
    let at = if kind == GOAWAY { 4 } else { 0 };
    u32::from_be_bytes(payload[at..at + 4].try_into().unwrap())
}

/// A field of a head, in plain letters (RFC 7541 section 6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let mut length = text.len();
        let mut bytes = Vec::new();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap());
        } else {
            bytes.push(127);
            length -= 127;
            while length >= 128 {
                bytes.push(u8::try_from(length % 128 + 128).unwrap());
                length /= 128;
            }
            bytes.push(u8::try_from(length).unwrap());
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}
