//! Syslog over TCP and TLS: frames written to a connection that never answers.
//!
//! A write counts as received only when the receiver's host has acknowledged it and the connection has stayed whole for a while
//! after that (see [`super::window`]).

use std::{pin::pin, time::Duration};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    delivery::{Delivery, Fault, Stop, asked, stopping},
    format,
    notice::about_a_sink,
    parcel::{Item, Parcel},
    transport::{self, Connected, TransportError},
};

/// Records read and formatted at a time. Bounds memory, with [`OCTETS`].
const BATCH: usize = 256;
/// Octets read at a time, but for a single record that is larger.
const OCTETS: usize = 1 << 20;
/// Octets handed to the connection under one write timeout.
const STROKE: usize = 64 * 1024;
/// How long an orderly close waits for the receiver's own close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

impl Delivery {
    /// Writes until the connection is lost (an error) or all is written after the request to stop.
    pub(super) async fn deliver_stream(
        &mut self,
        connected: Connected,
        stop: &mut Stop,
    ) -> Result<(), Fault> {
        let Connected { wire, unacknowledged } = connected;
        let (from, mut to) = tokio::io::split(wire);
        let mut gone = pin!(transport::gone(from));
        let mut heads = self.feed.heads();
        let mut more_may_come = true;
        let mut position = self.window.rewind();
        let mut tick = interval(
            (self.options.settle() / 8).clamp(Duration::from_millis(20), Duration::from_millis(250)),
        );
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.announcer.connected(Instant::now().into_std());
        loop {
            let head = *heads.borrow_and_update();
            self.show(position, position, head);
            if position.next < head {
                let parcel = self.parcel(position, BATCH, OCTETS).await?;
                self.weigh(&parcel);
                let frames = frames(&parcel);
                tokio::select! {
                    biased;
                    lost = &mut gone => return Err(lost.into()),
                    written = write(&mut to, &frames, self.options.write_timeout) => written?,
                }
                position = parcel.upto;
                self.window.sent(position, frames.len() as u64, Instant::now().into_std());
                self.account(&parcel.items).await;
            } else if stopping(stop) {
                // The rest of the window is sent again by the next start: a close says nothing about the
                // receiver's memory.
                let _ = timeout(CLOSE_PATIENCE, async { (to.shutdown().await, gone.await) }).await;
                return Ok(());
            } else {
                tokio::select! {
                    biased;
                    lost = &mut gone => return Err(lost.into()),
                    () = asked(stop) => {}
                    changed = heads.changed(), if more_may_come => more_may_come = changed.is_ok(),
                    _ = tick.tick() => {}
                }
            }
            let outstanding = unacknowledged.now();
            // Only a connection that is seen to be whole lets anything settle.
            tokio::select! {
                biased;
                lost = &mut gone => return Err(lost.into()),
                () = std::future::ready(()) => {}
            }
            let now = Instant::now().into_std();
            self.window.reached(outstanding, now);
            self.window.settle(now, self.options.settle());
            self.holds(position).await;
        }
    }

    /// What is to be said of records that were sent.
    pub(super) async fn account(&mut self, sent: &[Item]) {
        for item in sent {
            if !about_a_sink(item.kind) {
                self.receipts.sent(item.seq);
            }
            if item.oversize.is_some() {
                self.quarantine(item, None).await;
            }
        }
    }
}

fn frames(parcel: &Parcel) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parcel.octets + 8 * parcel.items.len());
    for item in &parcel.items {
        format::frame(&mut bytes, &item.bytes);
    }
    bytes
}

async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    patience: Duration,
) -> Result<(), TransportError> {
    let within = |done: Result<std::io::Result<()>, _>| match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(TransportError::Broken { source }),
        Err(_elapsed) => Err(TransportError::Stalled { waited: patience }),
    };
    for stroke in bytes.chunks(STROKE) {
        within(timeout(patience, to.write_all(stroke)).await)?;
    }
    // TLS keeps bytes of its own until told otherwise.
    within(timeout(patience, to.flush()).await)
}
