//! A log without copies: what many submit is persisted in batches by the storage alone.

use std::{path::Path, sync::Arc, thread};

use anyhow::Context;
use shardwright_quorum::{
    log::{
        Kind, Point, Record, Storage, Write,
        segments::{Options, Segments},
    },
    topology::{Epoch, Lsn, ReplicaId},
};
use tokio::sync::{mpsc, oneshot};

use super::{Appends, PAYLOAD};

/// How many records are kept, at least.
const KEPT: u64 = 10_000;

/// The log.
#[derive(Debug, Clone)]
pub(super) struct Local {
    submit: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl Local {
    /// Starts it in a directory.
    pub(super) fn start(directory: &Path) -> anyhow::Result<Self> {
        let segments = Segments::create(directory, ReplicaId::from_bits(1), Options::default())?;
        let (submit, submitted) = mpsc::unbounded_channel();
        thread::spawn(move || persist(submitted, segments));
        Ok(Self { submit })
    }
}

/// Persists batch after batch, of all that was submitted meanwhile, until nobody submits any more.
fn persist(
    mut submitted: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    mut segments: Segments,
) -> anyhow::Result<()> {
    let mut chain = Chain::default();
    while let Some(first) = submitted.blocking_recv() {
        let mut writers = vec![first];
        while let Ok(writer) = submitted.try_recv() {
            writers.push(writer);
        }
        segments.persist(&[chain.write(writers.len())])?;
        for writer in writers {
            // A writer that has gone needs no answer.
            writer.send(()).ok();
        }
    }
    Ok(())
}

/// Makes the writes of a log.
#[derive(Debug, Default)]
pub(super) struct Chain {
    last: Point,
    trimmed: u64,
}

impl Chain {
    /// Returns a write of so many more records. It trims now and then.
    pub(super) fn write(&mut self, count: usize) -> Write {
        let next = || {
            let kind = Kind::Batch;
            let record = Record::after(self.last, Epoch(1), kind, vec![], PAYLOAD.to_vec());
            self.last = record.point();
            Arc::new(record)
        };
        let records = std::iter::repeat_with(next).take(count).collect();
        let known_commit = self.last.lsn;
        let kept = known_commit.0.saturating_sub(KEPT);
        let trims = kept > self.trimmed + KEPT;
        if trims {
            self.trimmed = kept;
        }
        Write {
            records,
            trim: trims.then_some(Lsn(kept)),
            known_commit,
            ..Write::default()
        }
    }
}

impl Appends for Local {
    async fn append(&self) -> anyhow::Result<()> {
        let (writer, done) = oneshot::channel();
        self.submit.send(writer).ok().context("the log ended")?;
        Ok(done.await?)
    }
}
