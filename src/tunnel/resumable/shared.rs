//! The state of a resumable stream, and the connection that it has, if it has one.
//!
//! One task reads and writes it; others bring it another connection ([`Shared::attach`]) or look whether it has lost the one that it
//! had. All of them find the same state behind a lock that is never held across an await.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::ask::StreamId;
use super::end::End;
use crate::tunnel::TunnelName;
use crate::tunnel::stream::{TunnelStream, is_lost};

/// What was handed on is acknowledged at the latest after so long without more of it, if it doesn't travel with what goes the other
/// way. Nobody waits for it but the memory at the other end.
const INSTANT: Duration = Duration::from_millis(100);

/// What one end does about the connections of a stream. Called while the stream is locked.
pub(crate) trait Keeper: Send + Sync + 'static {
    /// The connection is lost: begins what brings another one, or gives up in time. `None`: nothing will.
    /// `heard` is whether the other end has said anything over it.
    fn lost(&self, stream: &Arc<Shared>, heard: bool) -> Option<AbortHandle>;

    /// The stream is over: finished, or not.
    fn over(&self, stream: &Shared, finished: bool);
}

/// The connection under a stream.
pub(crate) struct Under {
    pub(crate) stream: TunnelStream,
    /// Whether one of the two ends said that it ends, so that its end is no loss.
    pub(crate) parted: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// Why a connection is of no use to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAttached {
    /// Both ends have all.
    Finished,
    /// It is broken, or the other end doesn't know it right.
    Broken,
}

/// What all who have to do with a stream share.
pub(crate) struct Shared {
    id: StreamId,
    tunnel: TunnelName,
    keeper: Box<dyn Keeper>,
    core: Mutex<Core>,
    /// Cancelled when it breaks.
    pub(super) broken: CancellationToken,
}

/// What the lock is around.
pub(super) struct Core {
    pub(super) end: End,
    pub(super) line: Line,
    /// Of the last that brought a connection.
    attempt: u64,
    /// Of who waits to read, and of who waits to write or for the end.
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// When what is owed is told.
    tell_at: Option<Pin<Box<Sleep>>>,
    /// Whether that runs.
    tells: bool,
    /// What is being done about the connection.
    helper: Option<AbortHandle>,
}

/// Whether there is a connection.
pub(super) enum Line {
    Up {
        under: Box<Under>,
        /// Whether what was lost with the last one is still to be sent.
        again: bool,
        /// Whether the other end has said anything over it: before that it may have been given up for another one.
        heard: bool,
    },
    /// It is lost, and another one may come.
    Away,
    /// Both directions have ended, and both ends know.
    Finished,
    /// Why, until that was said.
    Broken(Option<io::Error>),
}

impl Shared {
    /// A new stream over `under`.
    pub(super) fn new(id: StreamId, tunnel: TunnelName, under: Under, keeper: Box<dyn Keeper>) -> Arc<Self> {
        let core = Core {
            end: End::default(),
            line: Line::Up { under: Box::new(under), again: false, heard: true },
            attempt: 0,
            reader: None,
            writer: None,
            tell_at: None,
            tells: false,
            helper: None,
        };
        Arc::new(Self { id, tunnel, keeper, core: Mutex::new(core), broken: CancellationToken::new() })
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn tunnel(&self) -> &TunnelName {
        &self.tunnel
    }

    /// The offset before which everything came.
    pub(crate) fn received(&self) -> u64 {
        self.core().end.received()
    }

    /// Goes on over another connection, in place of the one that it has, if it has one; the other end has all before `received`.
    /// `check` is asked last. Returns the offset before which everything came here.
    pub(crate) fn attach(
        self: &Arc<Self>,
        under: Under,
        (received, attempt): (u64, u64),
        check: impl FnOnce() -> bool,
    ) -> Result<u64, NotAttached> {
        let mut guard = self.core();
        let core = &mut *guard;
        match core.line {
            Line::Up { .. } | Line::Away if attempt > core.attempt => {}
            Line::Finished => return Err(NotAttached::Finished),
            _ => return Err(NotAttached::Broken),
        }
        let attached = if check() { core.end.attach(received).map_err(io::Error::other) } else { Err(cut()) };
        if let Err(error) = attached {
            self.end_broken(core, Some(error));
            return Err(NotAttached::Broken);
        }
        core.attempt = attempt;
        // The one before is dropped here: what still came over it is not taken any more.
        core.line = Line::Up { under: Box::new(under), again: true, heard: false };
        let sending = tokio::spawn(Arc::clone(self).send_again());
        core.help(Some(sending.abort_handle()));
        core.wake();
        Ok(core.end.received())
    }

    /// The other end is finished.
    pub(crate) fn other_has_finished(&self) {
        let mut guard = self.core();
        let core = &mut *guard;
        if core.end.other_has_finished() {
            self.end_finished(core);
        } else {
            self.end_broken(core, Some(cut()));
        }
    }

    /// Nobody brings another connection in time.
    pub(crate) fn give_up(&self) {
        let mut guard = self.core();
        let core = &mut *guard;
        if matches!(core.line, Line::Away) {
            self.end_broken(core, Some(cut()));
        }
    }

    /// It breaks here and now.
    pub(super) fn break_off(&self) {
        let mut guard = self.core();
        let core = &mut *guard;
        self.end_broken(core, None);
    }

    /// Looks whether its connection is lost.
    pub(crate) fn look(self: &Arc<Self>) {
        let mut guard = self.core();
        let core = &mut *guard;
        // Whoever waits for what comes is still the one who is told of it.
        let waker = core.reader.clone().or_else(|| core.writer.clone());
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(Waker::noop()));
        while matches!(core.line, Line::Up { .. }) && self.poll_take(core, &mut cx).is_ready() {}
    }

    /// Sends what was lost with the last connection. A loss of this one begins all anew.
    async fn send_again(self: Arc<Self>) {
        std::future::poll_fn(|cx| {
            let mut guard = self.core();
            let core = &mut *guard;
            loop {
                let Line::Up { under, again, .. } = &mut core.line else { return Poll::Ready(()) };
                if !ready!(under.stream.poll_room(cx)) {
                    ready!(self.poll_take(core, cx));
                    continue;
                }
                match core.end.again() {
                    Some(chunk) => under.stream.send_piece(chunk),
                    None => {
                        *again = false;
                        core.wake();
                        self.settle(core);
                        return Poll::Ready(());
                    }
                }
            }
        })
        .await;
    }

    /// Takes the next that came, or learns of the connection's end.
    pub(super) fn poll_take(self: &Arc<Self>, core: &mut Core, cx: &mut Context<'_>) -> Poll<()> {
        let Line::Up { under, heard, .. } = &mut core.line else { return Poll::Ready(()) };
        // Without a word the body does not end before both ends are finished.
        let came = ready!(under.stream.poll_piece(cx)).unwrap_or(Err(io::ErrorKind::UnexpectedEof.into()));
        match came {
            Ok(piece) => {
                *heard = true;
                let before = core.end.acknowledged();
                match core.end.take(piece) {
                    Ok(()) => {
                        core.reader.take().into_iter().for_each(Waker::wake);
                        if core.end.acknowledged() > before {
                            core.writer.take().into_iter().for_each(Waker::wake);
                        }
                        self.settle(core);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a resumable stream is broken off: the other end misbehaves");
                        self.end_broken(core, Some(io::Error::new(io::ErrorKind::InvalidData, error)));
                    }
                }
            }
            Err(error) if is_lost(&error) || !*heard => {
                let parted = under.parted.as_ref().is_some_and(|parted| parted());
                let helper = if parted { None } else { self.keeper.lost(self, *heard) };
                if helper.is_none() {
                    self.end_broken(core, Some(error));
                    return Poll::Ready(());
                }
                core.line = Line::Away;
                core.end.detach();
                core.help(helper);
            }
            Err(error) => self.end_broken(core, Some(error)),
        }
        Poll::Ready(())
    }

    /// Tells what is owed, if there is room for it.
    pub(super) fn tell(&self, core: &mut Core, cx: &mut Context<'_>) {
        let Line::Up { under, again: false, .. } = &mut core.line else { return };
        if under.stream.poll_room(cx) == Poll::Ready(true) {
            under.stream.send_piece(core.end.acknowledge());
            self.settle(core);
        }
    }

    /// Tells what is owed when nothing more has come for an instant.
    pub(super) fn tell_in_time(&self, core: &mut Core, cx: &mut Context<'_>) {
        if !core.tells {
            if !core.end.owes() {
                return;
            }
            core.tells = true;
            match &mut core.tell_at {
                Some(at) => at.as_mut().reset(Instant::now() + INSTANT),
                None => core.tell_at = Some(Box::pin(tokio::time::sleep(INSTANT))),
            }
        }
        if core.tell_at.as_mut().is_some_and(|at| at.as_mut().poll(cx).is_ready()) {
            core.tells = false;
            if core.end.owes() {
                self.tell(core, cx);
            }
        }
    }

    /// Looks whether that was all.
    pub(super) fn settle(&self, core: &mut Core) {
        if core.end.is_finished() {
            self.end_finished(core);
        }
    }

    fn end_finished(&self, core: &mut Core) {
        if let Line::Up { under, .. } = &mut core.line {
            under.stream.ends_in_order();
        }
        self.end(core, Line::Finished);
    }

    fn end_broken(&self, core: &mut Core, error: Option<io::Error>) {
        if matches!(core.line, Line::Up { .. } | Line::Away) {
            self.end(core, Line::Broken(error));
            self.broken.cancel();
        }
    }

    fn end(&self, core: &mut Core, line: Line) {
        self.keeper.over(self, matches!(line, Line::Finished));
        core.line = line;
        core.help(None);
        core.wake();
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        // Nothing panics while it is held; a poisoned lock would still hold a state that the other end can check.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Has what is done about the connection be this alone.
    fn help(&mut self, helper: Option<AbortHandle>) {
        if let Some(before) = std::mem::replace(&mut self.helper, helper) {
            before.abort();
        }
    }

    /// Why it is broken; said in full once.
    pub(super) fn why(&mut self) -> Option<io::Error> {
        match &mut self.line {
            Line::Broken(error) => Some(error.take().unwrap_or_else(cut)),
            _ => None,
        }
    }
}

pub(super) fn cut() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
