//! Rows that a thread of their own computes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use shardwright_store::Batch;

use super::{Fault, FaultKind, RowSource};
use crate::error::Error;

/// How many batches may wait for whoever reads. With more, the thread waits.
const BATCHES_WAITING: usize = 2;

/// How long somebody waits who has stopped a thread, before it is stopped once more: it may have been between two queries.
const STOPPED_AGAIN: Duration = Duration::from_millis(2);

/// Stops what a thread is about.
pub type Stop = Box<dyn Fn() + Send>;

/// The rows of a place, computed by a thread while others are read.
///
/// It holds no more than a few batches. Dropping it ends the thread: where there is a way to stop what it does, the drop waits for that,
/// and otherwise the thread ends when it has the next batch.
pub struct Apart {
    /// An empty batch is the end.
    batches: Option<Receiver<Result<Batch, Error>>>,
    stop: Option<Stop>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    place: String,
    /// How long a batch may take.
    patience: Duration,
}

impl Apart {
    /// Starts a thread that opens a source and reads it. A batch that takes longer than `patience` ends the rows with
    /// [`Error::OutOfTime`].
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start<S: RowSource + 'static>(
        place: &str,
        patience: Duration,
        stop: Option<Stop>,
        open: impl FnOnce() -> Result<S, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let (sender, batches) = sync_channel(BATCHES_WAITING);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::Builder::new()
            .name("scatter".to_owned())
            .spawn(move || {
                if let Err(error) = read(open, &over, &sender) {
                    // Nobody may be there to hear it.
                    let _ = sender.send(Err(error));
                }
            })
            .map_err(|error| Fault::new(FaultKind::Busy, error.to_string()).at(place))?;
        Ok(Self {
            batches: Some(batches),
            stop,
            is_over,
            thread: Some(thread),
            place: place.to_owned(),
            patience,
        })
    }

    fn end(&mut self) {
        let Some(batches) = self.batches.take() else {
            return;
        };
        self.is_over.store(true, Ordering::Release);
        let Some(stop) = self.stop.take() else {
            return;
        };
        // The thread has its snapshot until it ends, and whoever reads no more may want to close the file.
        loop {
            stop();
            match batches.recv_timeout(STOPPED_AGAIN) {
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
        if let Some(thread) = self.thread.take() {
            // Its panic was reported where it happened.
            let _ = thread.join();
        }
    }
}

fn read<S: RowSource>(
    open: impl FnOnce() -> Result<S, Error>,
    is_over: &AtomicBool,
    sender: &SyncSender<Result<Batch, Error>>,
) -> Result<(), Error> {
    if is_over.load(Ordering::Acquire) {
        return Ok(());
    }
    let mut source = open()?;
    loop {
        let mut batch = Batch::new();
        let more = !is_over.load(Ordering::Acquire) && source.next_batch(&mut batch)?;
        if !more {
            // What the source holds goes before the reader hears of the end.
            drop(source);
            let _ = sender.send(Ok(Batch::new()));
            return Ok(());
        }
        if sender.send(Ok(batch)).is_err() {
            return Ok(());
        }
    }
}

impl RowSource for Apart {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear();
        let Some(batches) = &self.batches else {
            return Ok(false);
        };
        let received = match batches.recv_timeout(self.patience) {
            Ok(received) => received,
            Err(RecvTimeoutError::Timeout) => Err(Error::OutOfTime {
                limit: self.patience,
            }),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Fault::new(FaultKind::Other, "the thread of a scan has died").at(&self.place))
            }
        };
        match received {
            Ok(filled) if filled.is_empty() => {
                self.end();
                Ok(false)
            }
            Ok(filled) => {
                *batch = filled;
                Ok(true)
            }
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apart")
            .field("place", &self.place)
            .field("has_ended", &self.batches.is_none())
            .finish_non_exhaustive()
    }
}
