//! The state of a resumable stream, and the connection that it has, if it has one.
//!
//! One task reads and writes it; others bring it another connection ([`Shared::attach`]) or look whether it has lost the one that it
//! had. All of them find the same state behind a lock that is never held across an await.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::allowance::{Allowances, FREE};
use super::ask::StreamId;
use super::end::End;
use crate::tunnel::TunnelName;
use crate::tunnel::stream::{TunnelStream, is_lost};

/// What was handed on is acknowledged at the latest after so long without more of it, if it doesn't travel with what goes the other
/// way. Nobody waits for it but the memory at the other end.
const INSTANT: Duration = Duration::from_millis(100);

/// How long the other end may take for its first word over another connection: it has something to say at once, and if the connection
/// is lost meanwhile, that is found out before.
const FIRST_WORD: Duration = Duration::from_mins(2);

/// What one end does about the connections of a stream. Called while the stream is locked.
pub(crate) trait Keeper: Send + Sync + 'static {
    /// The connection is lost: begins what brings another one, or gives up in time. `None`: nothing will.
    fn lost(&self, stream: &Arc<Shared>, loss: Loss) -> Option<AbortHandle>;

    /// The other end has said something over another connection than the first.
    fn resumed(&self, stream: &Shared);

    /// What its streams may have together.
    fn allowances(&self) -> &Allowances;

    /// The stream is over: finished, or not.
    fn over(&self, stream: &Shared, finished: bool);
}

/// How a connection was lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    /// Since when nothing has been heard: from the loss of this one on, or of one before it, where nothing was heard over those since.
    pub(crate) since: Instant,
    /// Whether the other end has said anything over this one.
    pub(crate) heard: bool,
}

/// The connection under a stream.
pub(crate) struct Under {
    pub(crate) stream: Box<TunnelStream>,
    /// At the publisher's end.
    pub(crate) carrier: Option<Carrier>,
}

/// What a publisher knows of a connection that carries streams.
pub(crate) struct Carrier {
    /// Tells it from its other ones.
    pub(crate) number: u64,
    /// Whether one of the two ends said that it ends, so that its end is no loss.
    pub(crate) parted: Box<dyn Fn() -> bool + Send + Sync>,
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
    /// Since when nothing has been heard, once a connection was lost.
    lost: Option<Instant>,
    /// Bytes of what waits that were taken out of the connection's credit for the sake of what stands behind them.
    aside: u64,
    /// Bytes that are not acknowledged, as far as they count for all streams together.
    kept: u64,
    /// Of who waits to read, and of who waits to write or for the end.
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// Of who waits for the other end's first word over a connection.
    listener: Option<Waker>,
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
        under: Under,
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
            line: Line::Up { under, again: false, heard: true },
            attempt: 0,
            lost: None,
            aside: 0,
            kept: 0,
            reader: None,
            writer: None,
            listener: None,
            tell_at: None,
            tells: false,
            helper: None,
        };
        let shared =
            Arc::new(Self { id, tunnel, keeper, core: Mutex::new(core), broken: CancellationToken::new() });
        let is_there = shared.core().listen(&shared);
        if !is_there {
            shared.look(0);
        }
        shared
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn tunnel(&self) -> &TunnelName {
        &self.tunnel
    }

    /// The number of the connection that carries it, at the publisher's end.
    pub(crate) fn carrier(&self) -> Option<u64> {
        match &self.core().line {
            Line::Up { under, .. } => under.carrier.as_ref().map(|carrier| carrier.number),
            Line::Away | Line::Finished | Line::Broken(_) => None,
        }
    }

    /// Whether it has finished or is broken.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.core().line, Line::Up { .. } | Line::Away)
    }

    /// Bytes of it that stand aside.
    #[cfg(test)]
    pub(crate) fn stands_aside(&self) -> u64 {
        self.core().aside
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
        core.line = Line::Up { under, again: true, heard: false };
        // If it is gone by now, whoever sends over it will find out.
        let _is_there = core.listen(self);
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

    /// The connection that was brought is of no use: nothing comes over it.
    fn give_up_unheard(&self) {
        let mut guard = self.core();
        let core = &mut *guard;
        if matches!(core.line, Line::Up { heard: false, .. }) {
            tracing::info!(tunnel = %self.tunnel, "a byte stream is broken off: the other end says nothing over the connection on which it goes on");
            self.end_broken(core, Some(cut()));
        }
    }

    /// It breaks here and now.
    pub(super) fn break_off(&self) {
        let mut guard = self.core();
        let core = &mut *guard;
        self.end_broken(core, None);
    }

    /// Looks whether the connection of this attempt is lost, also while nobody reads: what came over it stands before its end.
    fn look(self: &Arc<Self>, attempt: u64) {
        let mut guard = self.core();
        let core = &mut *guard;
        if core.attempt != attempt {
            return;
        }
        // Whoever waits for what comes is still the one who is told of it.
        let waker = core.reader.clone().or_else(|| core.writer.clone());
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(Waker::noop()));
        // Where nobody reads, it stands aside from here on.
        while matches!(core.line, Line::Up { .. }) && self.poll_aside(core, &mut cx).is_ready() {}
    }

    /// Sends what was lost with the last connection, and waits for the other end's first word, also where nobody reads. A loss of
    /// this one begins all anew.
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
        let hearing = std::future::poll_fn(|cx| {
            let mut guard = self.core();
            let core = &mut *guard;
            while matches!(core.line, Line::Up { heard: false, .. }) {
                // Whoever reads may be the one who hears it.
                core.listener = Some(cx.waker().clone());
                ready!(self.poll_take(core, cx));
            }
            Poll::Ready(())
        });
        if tokio::time::timeout(FIRST_WORD, hearing).await.is_err() {
            self.give_up_unheard();
        }
    }

    /// Takes the next that came, or learns of the connection's end.
    pub(super) fn poll_take(self: &Arc<Self>, core: &mut Core, cx: &mut Context<'_>) -> Poll<()> {
        let Line::Up { under, heard, .. } = &mut core.line else { return Poll::Ready(()) };
        // Without a word the body does not end before both ends are finished.
        let came = ready!(under.stream.poll_piece(cx)).unwrap_or(Err(io::ErrorKind::UnexpectedEof.into()));
        match came {
            Ok(piece) => {
                let is_first = !std::mem::replace(heard, true);
                if is_first {
                    core.lost = None;
                    core.listener.take().into_iter().for_each(Waker::wake);
                    // Whoever took this is not asked again, and may have taken the place of others who wait for what comes.
                    core.wake();
                    self.keeper.resumed(self);
                }
                let before = core.end.acknowledged();
                match core.end.take(piece) {
                    Ok(()) => {
                        core.reader.take().into_iter().for_each(Waker::wake);
                        if core.end.acknowledged() > before {
                            core.writer.take().into_iter().for_each(Waker::wake);
                            self.count_kept(core);
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
                let parted = under.carrier.as_ref().is_some_and(|carrier| (carrier.parted)());
                let loss = Loss { since: *core.lost.get_or_insert_with(Instant::now), heard: *heard };
                let helper = if parted { None } else { self.keeper.lost(self, loss) };
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

    /// Takes the next that came though nobody reads what came before it, if that may stand aside.
    pub(super) fn poll_take_aside(self: &Arc<Self>, core: &mut Core, cx: &mut Context<'_>) -> Poll<()> {
        if !self.keeper.allowances().aside.has_room(self.id, cx) {
            return Poll::Pending;
        }
        self.poll_aside(core, cx)
    }

    fn poll_aside(self: &Arc<Self>, core: &mut Core, cx: &mut Context<'_>) -> Poll<()> {
        let before = core.end.waiting();
        ready!(self.poll_take(core, cx));
        // Nothing of one that is over waits.
        if matches!(core.line, Line::Up { .. } | Line::Away) {
            let aside = core.aside + core.end.waiting().saturating_sub(before);
            self.count_aside(core, aside);
        }
        Poll::Ready(())
    }

    /// So many bytes of what waited were handed on.
    pub(super) fn handed_on(&self, core: &mut Core, length: usize) {
        self.count_aside(core, core.aside.saturating_sub(length as u64));
    }

    fn count_aside(&self, core: &mut Core, aside: u64) {
        let before = std::mem::replace(&mut core.aside, aside);
        self.keeper.allowances().aside.change(before, aside);
    }

    /// Whether more may be sent and wait for its acknowledgement. If not, something will be acknowledged.
    pub(super) fn may_keep(&self, core: &Core) -> bool {
        let has = core.end.kept();
        core.end.has_room() && (has < FREE || self.keeper.allowances().kept.has_room(has - FREE))
    }

    /// Something was sent, or acknowledged.
    pub(super) fn count_kept(&self, core: &mut Core) {
        let kept = core.end.kept().saturating_sub(FREE);
        let before = std::mem::replace(&mut core.kept, kept);
        self.keeper.allowances().kept.change(before, kept);
    }

    fn end_finished(&self, core: &mut Core) {
        if let Line::Up { under, .. } = self.end(core, Line::Finished) {
            under.stream.end_in_order();
        }
    }

    fn end_broken(&self, core: &mut Core, error: Option<io::Error>) {
        if matches!(core.line, Line::Up { .. } | Line::Away) {
            drop(self.end(core, Line::Broken(error)));
            self.broken.cancel();
        }
    }

    fn end(&self, core: &mut Core, line: Line) -> Line {
        self.keeper.over(self, matches!(line, Line::Finished));
        self.count_aside(core, 0);
        self.keeper.allowances().aside.leave(self.id);
        self.keeper.allowances().kept.change(std::mem::take(&mut core.kept), 0);
        let before = std::mem::replace(&mut core.line, line);
        core.help(None);
        core.wake();
        before
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        // Nothing panics while it is held; a poisoned lock would still hold a state that the other end can check.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Has `shared` look when its connection lets go of it; `false` if it has.
    fn listen(&self, shared: &Arc<Shared>) -> bool {
        let Line::Up { under, .. } = &self.line else { return true };
        let (shared, attempt) = (Arc::downgrade(shared), self.attempt);
        under.stream.when_gone(move || {
            // With the runtime everything is over.
            if let Some(shared) = shared.upgrade().filter(|_| Handle::try_current().is_ok()) {
                shared.look(attempt);
            }
        })
    }

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
