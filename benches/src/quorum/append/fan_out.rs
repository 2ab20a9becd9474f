//! The bare fan-out: what many submit is sent to two processes in batches, and is acknowledged once two of three have synced it.
//!
//! There is no protocol: no epoch, no check, no log that can be read. Nothing that replicates can be faster by much.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Context;
use tokio::sync::{mpsc, oneshot};

use super::{
    Appends, PAYLOAD,
    follower::{self, HEAD},
};
use crate::{bare_file::BareFile, subprocess::Subprocess};

/// The leader and its two followers.
#[derive(Debug, Clone)]
pub(super) struct FanOut {
    submit: mpsc::UnboundedSender<oneshot::Sender<()>>,
    _followers: Arc<[Subprocess; 2]>,
}

/// What is not acknowledged yet.
#[derive(Debug, Default)]
struct Waiting {
    /// How many batches each of the three has synced.
    synced: [u64; 3],
    /// The batches that two have not synced, with who waits for them.
    batches: VecDeque<(u64, Vec<oneshot::Sender<()>>)>,
}

impl Waiting {
    /// Notes what one has synced, and returns whom to tell.
    fn synced(&mut self, by: usize, number: u64) -> Vec<oneshot::Sender<()>> {
        self.synced[by] = number;
        let mut sorted = self.synced;
        sorted.sort_unstable();
        let majority = sorted[1];
        let mut done = Vec::new();
        while self
            .batches
            .front()
            .is_some_and(|(number, _)| *number <= majority)
        {
            done.extend(
                self.batches
                    .pop_front()
                    .into_iter()
                    .flat_map(|(_, who)| who),
            );
        }
        done
    }
}

/// Tells the writers of what one has synced.
fn tell(waiting: &Mutex<Waiting>, by: usize, number: u64) {
    let done = waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .synced(by, number);
    for writer in done {
        // A writer that has gone needs no answer.
        writer.send(()).ok();
    }
}

impl FanOut {
    /// Starts it, with its files in a directory.
    pub(super) fn start(directory: &Path) -> anyhow::Result<Self> {
        let file = BareFile::create(&directory.join("leader"))?;
        let (first, to_first) = follower::start(directory)?;
        let (second, to_second) = follower::start(directory)?;
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let streams = [to_first, to_second];
        for (follower, stream) in streams.iter().enumerate() {
            let (mut stream, waiting) = (stream.try_clone()?, Arc::clone(&waiting));
            let mut number = [0; 8];
            thread::spawn(move || {
                while stream.read_exact(&mut number).is_ok() {
                    tell(&waiting, follower, u64::from_le_bytes(number));
                }
            });
        }
        let (submit, submitted) = mpsc::unbounded_channel();
        thread::spawn(move || lead(submitted, file, streams, &waiting));
        Ok(Self {
            submit,
            _followers: Arc::new([first, second]),
        })
    }
}

/// Sends and syncs batch after batch, of all that was submitted meanwhile, until nobody submits any more.
fn lead(
    mut submitted: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    mut file: BareFile,
    mut streams: [TcpStream; 2],
    waiting: &Mutex<Waiting>,
) -> anyhow::Result<()> {
    let mut number = 0_u64;
    let mut message = Vec::new();
    while let Some(first) = submitted.blocking_recv() {
        let mut writers = vec![first];
        while let Ok(writer) = submitted.try_recv() {
            writers.push(writer);
        }
        number += 1;
        let length = writers.len() * PAYLOAD.len();
        message.clear();
        message.extend(number.to_le_bytes());
        message.extend((length as u64).to_le_bytes());
        message.extend(writers.iter().flat_map(|_| PAYLOAD));
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .batches
            .push_back((number, writers));
        for stream in &mut streams {
            stream.write_all(&message)?;
        }
        file.append(&message[HEAD..])?;
        tell(waiting, 2, number);
    }
    Ok(())
}

impl Appends for FanOut {
    async fn append(&self) -> anyhow::Result<()> {
        let (writer, done) = oneshot::channel();
        self.submit.send(writer).ok().context("the leader ended")?;
        Ok(done.await?)
    }
}
