//! Group commit for what has none of its own: a thread takes what has arrived and makes it durable at once.

use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

const GROUP_RECORDS: usize = 4096;

type Waiting = (Arc<Vec<u8>>, oneshot::Sender<()>);

#[derive(Clone)]
pub struct Committer(mpsc::Sender<Waiting>);

impl Committer {
    /// `commit` makes a group durable; it is called on a thread of its own.
    pub fn new(mut commit: impl FnMut(&[Waiting]) + Send + 'static) -> Self {
        let (sender, waiting) = mpsc::channel::<Waiting>();
        std::thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let mut group = vec![first];
                group.extend(waiting.try_iter().take(GROUP_RECORDS - 1));
                commit(&group);
                for (_, done) in group {
                    let _ = done.send(());
                }
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
