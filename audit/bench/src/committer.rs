//! Group commit for what has none of its own: a thread takes what has arrived and makes it durable at once.
//!
//! It gathers as the ledger does: it waits for those who were answered last, as long and no longer.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

const GROUP_RECORDS: usize = 4096;
const LONGEST: Duration = Duration::from_millis(2);
const EACH: Duration = Duration::from_micros(5);

type Waiting = (Arc<Vec<u8>>, oneshot::Sender<()>);

#[derive(Clone)]
pub struct Committer(mpsc::Sender<Waiting>);

impl Committer {
    /// `commit` makes a group durable; it is called on a thread of its own. With `gathers` it waits for who was
    /// answered last; without, a group is what has arrived.
    pub fn new(gathers: bool, mut commit: impl FnMut(&[Waiting]) + Send + 'static) -> Self {
        let (sender, waiting) = mpsc::channel::<Waiting>();
        std::thread::spawn(move || {
            let (mut answered, mut took) = (0, Duration::ZERO);
            let mut since = Instant::now();
            while let Ok(first) = waiting.recv() {
                let mut group = vec![first];
                group.extend(waiting.try_iter().take(GROUP_RECORDS - 1));
                let longest = took.max(EACH * answered).min(LONGEST);
                while gathers && group.len() < answered as usize {
                    let left = longest.saturating_sub(since.elapsed());
                    let Ok(next) = waiting.recv_timeout(left) else { break };
                    group.push(next);
                    group.extend(waiting.try_iter().take(GROUP_RECORDS - group.len()));
                }
                let began = Instant::now();
                commit(&group);
                took = began.elapsed();
                answered = group.len() as u32;
                for (_, done) in group {
                    let _ = done.send(());
                }
                since = Instant::now();
            }
        });
        Self(sender)
    }

    pub async fn append(&self, record: Arc<Vec<u8>>) {
        let (done, durable) = oneshot::channel();
        self.0.send((record, done)).expect("the committer runs");
        durable.await.expect("it is durable");
    }
}
