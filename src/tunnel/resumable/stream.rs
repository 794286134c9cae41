//! A resumable stream as whoever reads and writes it sees it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::ask::StreamId;
use super::end::End;
use super::shared::{Core, Keeper, Line, Shared, Under, cut};
use crate::tunnel::TunnelName;
use crate::tunnel::stream::TunnelStream;

/// See [`super`]. Shutting down the write side leaves the read side open, and returns when the other end has handed on all of it;
/// dropping it before both directions have ended breaks it at the other end. To be read and written by one task.
pub struct Resumable(Arc<Shared>);

impl Resumable {
    /// A new stream over `under`.
    pub(crate) fn new(id: StreamId, tunnel: TunnelName, under: Under, keeper: Box<dyn Keeper>) -> Self {
        Self(Shared::new(id, tunnel, under, keeper))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    pub(super) fn broken(&self) -> CancellationToken {
        self.0.broken.clone()
    }

    pub(super) fn stall(&self) {
        if let Line::Up { under, .. } = &self.0.core().line {
            under.stream.stall();
        }
    }
}

/// Pieces without a byte in them after which others have their turn: whoever sends them without end must not have a task for itself.
const LOOKS: u32 = 64;

impl Drop for Resumable {
    fn drop(&mut self) {
        self.0.break_off();
    }
}

impl AsyncRead for Resumable {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let shared = &self.0;
        let mut guard = shared.core();
        let core = &mut *guard;
        core.reader = None;
        let mut looks = 0;
        loop {
            if let Some(part) = core.end.hand_on(buf.remaining()) {
                buf.put_slice(&part);
                shared.handed_on(core, part.len());
                if core.end.owes_much() {
                    shared.tell(core, cx);
                }
                return Poll::Ready(Ok(()));
            }
            if core.end.is_past_the_end() {
                return Poll::Ready(Ok(()));
            }
            match &mut core.line {
                Line::Finished => return Poll::Ready(Ok(())),
                Line::Broken(_) => return Poll::Ready(core.why().map_or(Ok(()), Err)),
                // The other end waits for this acknowledgement, and nobody may read any more after the end.
                Line::Up { under, again: false, .. } if core.end.is_at_the_end() => {
                    if under.stream.poll_room(cx) == Poll::Ready(true) {
                        core.end.hand_on_end();
                        under.stream.send_piece(core.end.acknowledge());
                        shared.settle(core);
                        return Poll::Ready(Ok(()));
                    }
                }
                Line::Up { .. } | Line::Away => {}
            }
            let is_up = matches!(core.line, Line::Up { .. });
            if is_up && shared.poll_take(core, cx).is_ready() {
                looks += 1;
                if looks == LOOKS {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            if is_up {
                shared.tell_in_time(core, cx);
            }
            core.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
    }
}

impl Resumable {
    /// Waits until something may be sent: a connection is there, and there is room on it.
    fn poll_sendable<'c>(
        shared: &Arc<Shared>,
        core: &'c mut Core,
        cx: &mut Context<'_>,
        needs_room: bool,
    ) -> Poll<io::Result<(&'c mut End, &'c mut TunnelStream)>> {
        let mut looks = 0;
        loop {
            let is_full = needs_room && !shared.may_keep(core);
            let took = match &mut core.line {
                Line::Broken(_) => return Poll::Ready(Err(core.why().unwrap_or_else(cut))),
                Line::Finished => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                // The acknowledgement stands behind what nobody has read here.
                Line::Up { again: false, .. } if is_full => shared.poll_take_aside(core, cx),
                Line::Up { under, again: false, .. } => match under.stream.poll_room(cx) {
                    Poll::Ready(true) => break,
                    // Why stands in what came.
                    Poll::Ready(false) => shared.poll_take(core, cx),
                    Poll::Pending => Poll::Pending,
                },
                Line::Up { .. } | Line::Away => Poll::Pending,
            };
            looks += 1;
            if looks == LOOKS {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if took.is_ready() {
                continue;
            }
            core.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match &mut core.line {
            Line::Up { under, .. } => Poll::Ready(Ok((&mut core.end, &mut under.stream))),
            _ => Poll::Ready(Err(cut())),
        }
    }
}

impl AsyncWrite for Resumable {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut guard = self.0.core();
        let core = &mut *guard;
        core.writer = None;
        if core.end.has_ended() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let (end, stream) = ready!(Self::poll_sendable(&self.0, core, cx, true))?;
        let (taken, chunk) = end.write(buf);
        stream.send_piece(chunk);
        self.0.count_kept(core);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was taken is on its way, or will be.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = &self.0;
        let mut guard = shared.core();
        let core = &mut *guard;
        core.writer = None;
        if !core.end.has_ended() {
            let (end, stream) = ready!(Self::poll_sendable(shared, core, cx, false))?;
            let chunk = end.end();
            stream.send_piece(chunk);
            shared.settle(core);
        }
        let mut looks = 0;
        loop {
            if core.end.is_all_acknowledged() {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = core.why() {
                return Poll::Ready(Err(error));
            }
            // What waits for somebody who does not read stays in the connection's credit: whoever reads it passes the acknowledgement.
            let takes = matches!(core.line, Line::Up { .. }) && !core.end.has_waiting();
            if !takes || shared.poll_take(core, cx).is_pending() {
                core.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            looks += 1;
            if looks == LOOKS {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}
