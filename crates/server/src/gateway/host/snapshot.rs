//! Reads: one snapshot for each, kept while its rows are fetched, or while a statement reads it again.

use std::{collections::BTreeMap, rc::Rc, sync::mpsc, time::Duration};

use shardwright_sql::shards::{Batch, Fragment};
use shardwright_store::{Cursor, Error as StoreError, Snapshot};
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    fault,
    sessions::{Session, Sessions},
};
use crate::{
    gateway::wire::{Answer, Basis, Point, Refusal, Rows, Said, Step},
    shard::{Fresh, Shard},
};

/// How many rows are one answer, about.
const ROWS_MAX: usize = 1_024;

/// How many bytes of texts and blobs are one answer, about.
const BYTES_MAX: usize = 256 << 10;

/// After how long a snapshot that nobody reads is let go: it keeps the write-ahead log from being used again.
const IDLE: Duration = Duration::from_secs(10);

/// The next step of a session, and who waits for its answer.
#[derive(Debug)]
pub(in crate::gateway) struct Turn {
    step: Step,
    told: oneshot::Sender<Answer>,
}

/// Lets a session go on.
pub(super) async fn go_on(turns: &mpsc::Sender<Turn>, step: Step) -> Answer {
    let (told, answer) = oneshot::channel();
    let sent = turns.send(Turn { step, told });
    sent.map_err(|_| Refusal::NoSession)?;
    answer.await.unwrap_or(Err(Refusal::NoSession))
}

/// Runs a statement on a snapshot, and serves the snapshot as long as somebody reads it. It takes a thread for that time.
pub(super) fn read(
    sessions: &Sessions,
    shard: Shard,
    fresh: &Fresh,
    basis: Basis,
    fragment: &Fragment,
    keep: bool,
    told: oneshot::Sender<Answer>,
) {
    let begun = Reading::begin(shard, fresh, basis).and_then(|mut reading| {
        let rows = reading.open(fragment)?;
        Ok((reading, rows))
    });
    let (mut reading, mut rows) = match begun {
        Ok(begun) => begun,
        Err(refusal) => return tell(told, Err(refusal)),
    };
    if rows.more.is_none() && !keep {
        return tell(told, Ok(Said::Rows(rows)));
    }
    let (turns, inbox) = mpsc::channel();
    let session = sessions.insert(Session::Snapshot(turns));
    rows.session = Some(session);
    tell(told, Ok(Said::Rows(rows)));
    while let Ok(Turn { step, told }) = inbox.recv_timeout(IDLE) {
        tell(told, reading.go_on(step));
    }
    sessions.remove(session);
}

fn tell(told: oneshot::Sender<Answer>, answer: Answer) {
    // Whoever asked may have gone.
    let _told = told.send(answer);
}

/// A snapshot and the statements that run on it.
struct Reading {
    shard: Shard,
    snapshot: Rc<Snapshot>,
    cursors: BTreeMap<u32, Cursor>,
    opened: u32,
    at: Point,
    lag: u64,
}

impl Reading {
    fn begin(shard: Shard, fresh: &Fresh, basis: Basis) -> Result<Self, Refusal> {
        let snapshot = fresh.file.snapshot();
        let snapshot = snapshot.map_err(|error| refusal(&shard, &error))?;
        basis.check_snapshot(&snapshot)?;
        Ok(Self {
            shard,
            snapshot: Rc::new(snapshot),
            cursors: BTreeMap::new(),
            opened: 0,
            at: fresh.token.into(),
            lag: fresh.lag,
        })
    }

    fn go_on(&mut self, step: Step) -> Answer {
        match step {
            Step::Open(fragment) => self.open(&fragment).map(Said::Rows),
            Step::More(number) => {
                let cursor = self.cursors.remove(&number).ok_or(Refusal::NoSession)?;
                self.next(number, cursor).map(Said::Rows)
            }
            Step::Run(_) | Step::Commit | Step::End => Err(Refusal::NoSession),
        }
    }

    fn open(&mut self, fragment: &Fragment) -> Result<Rows, Refusal> {
        let cursor = fragment.with_call(|call| self.snapshot.cursor(call.sql, call.params));
        let cursor = cursor.map_err(|error| refusal(&self.shard, &error))?;
        self.opened += 1;
        self.next(self.opened, cursor)
    }

    /// Takes the next rows, and keeps the cursor unless they are the last.
    fn next(&mut self, number: u32, mut cursor: Cursor) -> Result<Rows, Refusal> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut batch = Batch::new();
        let is_over = loop {
            let more = cursor.next_batch(&mut batch);
            if !more.map_err(|error| refusal(&self.shard, &error))? {
                break true;
            }
            bytes += batch.payload_bytes();
            rows.extend(batch.rows().map(|row| row.to_values()));
            if rows.len() >= ROWS_MAX || bytes >= BYTES_MAX {
                break false;
            }
        };
        if !is_over {
            self.cursors.insert(number, cursor);
        }
        Ok(Rows {
            rows,
            more: (!is_over).then_some(number),
            session: None,
            at: self.at,
            lag: self.lag,
        })
    }
}

/// Returns what a failure of a read means for whoever asked, and stops the copy if its disk is at fault.
fn refusal(shard: &Shard, error: &StoreError) -> Refusal {
    Handle::current().block_on(shard.found(error));
    fault(error, false)
}
