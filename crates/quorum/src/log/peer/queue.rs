//! What waits to be written to a connection: so much and no more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use super::{Limits, frame::FrameError};

/// How much is written at once, unless a single frame has more.
const BATCH_BYTES: usize = 256 << 10;

/// How many frames are taken at once.
const BATCH: usize = 256;

/// The end of a queue that takes frames. What does not fit is dropped.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    frames: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
    max: usize,
}

/// The end that is written to a connection.
#[derive(Debug)]
pub(super) struct Waiting {
    frames: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    taken: Vec<Bytes>,
    buffer: BytesMut,
}

pub(super) fn queue(limits: &Limits) -> (Queue, Waiting) {
    let (sender, frames) = mpsc::channel(limits.queue);
    let waiting = Arc::new(AtomicUsize::new(0));
    let queue = Queue {
        frames: sender,
        waiting: Arc::clone(&waiting),
        max: limits.queue_bytes,
    };
    let waiting = Waiting {
        frames,
        waiting,
        taken: Vec::new(),
        buffer: BytesMut::new(),
    };
    (queue, waiting)
}

impl Queue {
    /// Adds a frame, or drops it: whether it was added.
    pub(super) fn push(&self, frame: Bytes) -> bool {
        let size = frame.len();
        // An upper bound that two who push at once may overstep by a frame.
        let has_room = self.waiting.load(Ordering::Relaxed) < self.max;
        let is_added = has_room && {
            self.waiting.fetch_add(size, Ordering::Relaxed);
            let sent = self.frames.try_send(frame);
            if sent.is_err() {
                self.waiting.fetch_sub(size, Ordering::Relaxed);
            }
            sent.is_ok()
        };
        if !is_added {
            metrics::counter!("shardwright_quorum_messages_dropped_total").increment(1);
        }
        is_added
    }

    /// Returns whether nobody writes what is pushed.
    pub(super) fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }
}

impl Waiting {
    /// Waits until something is to be written. `false` if nobody is left to push anything.
    pub(super) async fn ready(&mut self) -> bool {
        if self.taken.is_empty() {
            self.frames.recv_many(&mut self.taken, BATCH).await;
        }
        !self.taken.is_empty()
    }

    /// Drops what waits: it is too old by now.
    pub(super) fn clear(&mut self) {
        let mut bytes: usize = self.taken.drain(..).map(|frame| frame.len()).sum();
        while let Ok(frame) = self.frames.try_recv() {
            bytes += frame.len();
        }
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Writes all that is pushed, as much at once as there is, until that fails or nobody is left to push.
    pub(super) async fn write(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        patience: Duration,
    ) -> Result<(), FrameError> {
        while self.ready().await {
            for frame in self.taken.drain(..) {
                if !self.buffer.is_empty() && self.buffer.len() + frame.len() > BATCH_BYTES {
                    flush(&mut self.buffer, writer, patience).await?;
                }
                self.buffer.extend_from_slice(&frame);
                self.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
            }
            flush(&mut self.buffer, writer, patience).await?;
        }
        Ok(())
    }

    /// Forgets what was not written whole.
    pub(super) fn reset(&mut self) {
        self.buffer.clear();
        self.clear();
    }
}

async fn flush(
    buffer: &mut BytesMut,
    writer: &mut (impl AsyncWrite + Unpin),
    patience: Duration,
) -> Result<(), FrameError> {
    let written = timeout(patience, writer.write_all(buffer)).await;
    buffer.clear();
    if buffer.capacity() > 4 * BATCH_BYTES {
        *buffer = BytesMut::new();
    }
    written.map_err(std::io::Error::from)??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_dropped() {
        let limits = Limits {
            queue: 2,
            queue_bytes: 8,
            ..Limits::default()
        };
        let (few, mut waiting) = queue(&limits);
        let frame = || Bytes::from_static(b"1234");
        assert!(few.push(frame()) && few.push(frame()));
        assert!(!few.push(frame()), "neither the number nor the bytes fit");
        waiting.clear();
        assert!(few.push(frame()), "there is room again");
        drop(few);
        let mut written = Vec::new();
        let patience = Duration::from_secs(5);
        waiting
            .write(&mut written, patience)
            .await
            .expect("it is written");
        assert_eq!(written, b"1234");
    }
}
