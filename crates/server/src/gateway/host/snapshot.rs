//! Reads: one snapshot for each, kept while its rows are fetched, or while a statement reads it again.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, mpsc},
    time::Duration,
};

use shardwright_sql::shards::{Batch, Fault, FaultKind, Fragment};
use shardwright_store::{Cursor, Error as StoreError, ShardFile, Snapshot};
use tokio::{runtime::Handle, sync::oneshot, task::spawn_blocking};

use super::{
    detached::Detached,
    fault,
    seats::Seat,
    sessions::{Session, Sessions},
};
use crate::{
    gateway::wire::{Answer, Basis, Point, Refusal, Rows, Said, Step},
    shard::{Alarm, Fresh, Over, Shard},
};

/// How many rows are one answer, about.
const ROWS_MAX: usize = 1_024;

/// How many bytes of texts and blobs are one answer, about.
const BYTES_MAX: usize = 256 << 10;

/// How long a connection is waited for, of which a file has a few. Nothing else is blocked: whoever asked asks again.
const PATIENCE: Duration = Duration::from_millis(20);

/// The next step of a session, and who waits for its answer.
#[derive(Debug)]
pub(in crate::gateway) struct Turn {
    step: Step,
    alarm: Arc<Alarm>,
    told: oneshot::Sender<Answer>,
}

/// The thread that reads a snapshot.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Reader {
    shard: Shard,
    turns: mpsc::Sender<Turn>,
}

/// What is read.
pub(super) struct Read {
    pub(super) shard: Shard,
    pub(super) fresh: Fresh,
    pub(super) basis: Basis,
    pub(super) fragment: Fragment,
    /// Whether the snapshot will be read again.
    pub(super) is_kept: bool,
    /// How long all of that may take.
    pub(super) lasts: Duration,
}

/// Runs a statement on a snapshot, which is kept as long as it is to be read and no longer than it may last. It takes a thread for that time.
pub(super) async fn read(sessions: &Arc<Sessions>, read: Read, seat: Seat) -> Answer {
    let alarm = Alarm::new(read.shard.clock());
    let over = read.shard.over_after(read.lasts);
    let (told, answer) = oneshot::channel();
    let (sessions, rings) = (Arc::clone(sessions), Arc::clone(&alarm));
    spawn_blocking(move || {
        serve(&sessions, &read, &rings, told);
        drop(seat);
    });
    let (answer, over) = alarm.bound(answer, over).await;
    // Only a panic says nothing.
    in_time(answer.unwrap_or(Err(Refusal::Later)), over)
}

/// Lets a session go on, for so long.
pub(super) async fn go_on(reader: &Reader, step: Step, within: Duration) -> Answer {
    let alarm = Alarm::new(reader.shard.clock());
    let (told, answer) = oneshot::channel();
    let turn = Turn {
        step,
        alarm: Arc::clone(&alarm),
        told,
    };
    reader.turns.send(turn).map_err(|_| Refusal::NoSession)?;
    let (answer, over) = alarm.bound(answer, reader.shard.over_after(within)).await;
    in_time(answer.unwrap_or(Err(Refusal::NoSession)), over)
}

/// Returns what is answered where the alarm may have rung.
fn in_time(answer: Answer, over: Option<Over>) -> Answer {
    match (answer, over) {
        (Err(_), Some(Over::Late)) => Err(Refusal::Fault {
            fault: Fault::new(
                FaultKind::OutOfTime,
                "the statement took longer than it may",
            ),
            ended: true,
        }),
        (Err(_), Some(Over::NotPrimary | Over::Stopped)) => Err(Refusal::Later),
        (answer, _) => answer,
    }
}

fn serve(sessions: &Sessions, read: &Read, alarm: &Alarm, told: oneshot::Sender<Answer>) {
    let clock = read.shard.clock();
    let end = clock.now() + read.lasts;
    let begun = Reading::begin(read).and_then(|mut reading| {
        let rows = reading.in_time(alarm, |reading| reading.open(&read.fragment))?;
        Ok((reading, rows))
    });
    let (mut reading, mut rows) = match begun {
        Ok(begun) => begun,
        Err(refusal) => {
            tell(told, Err(refusal));
            return;
        }
    };
    if rows.more.is_none() && !read.is_kept {
        tell(told, Ok(Said::Rows(rows)));
        return;
    }
    let (turns, inbox) = mpsc::channel();
    let shard = read.shard.clone();
    let session = sessions.insert(Session::Snapshot(Reader { shard, turns }));
    rows.session = Some(session);
    let mut goes_on = tell(told, Ok(Said::Rows(rows)));
    while goes_on && let Ok(Turn { step, alarm, told }) = inbox.recv_timeout(end.since(clock.now()))
    {
        if let Step::Detach = step {
            let detached = reading.in_time(&alarm, |reading| reading.detach(&alarm));
            // Nothing but the file is read from now on, and commits need not keep what the snapshot has shown.
            drop(reading);
            serve_file(detached, told, &inbox, || end.since(clock.now()));
            break;
        }
        let answer = reading.in_time(&alarm, |reading| reading.go_on(step));
        let is_used = read.is_kept || !reading.cursors.is_empty();
        goes_on = tell(told, answer) && is_used;
    }
    sessions.remove(session);
}

/// Gives the bytes of a file to whoever has asked for it, as long as there is time.
fn serve_file(
    detached: Result<Detached, Refusal>,
    told: oneshot::Sender<Answer>,
    inbox: &mpsc::Receiver<Turn>,
    left: impl Fn() -> Duration,
) {
    let mut file = match detached {
        Ok(file) => file,
        Err(refusal) => {
            tell(told, Err(refusal));
            return;
        }
    };
    let mut goes_on = tell(told, Ok(Said::Size(file.size())));
    while goes_on && let Ok(Turn { step, told, .. }) = inbox.recv_timeout(left()) {
        goes_on = tell(told, file.go_on(&step));
    }
}

/// Whether whoever asked is still there.
fn tell(told: oneshot::Sender<Answer>, answer: Answer) -> bool {
    told.send(answer).is_ok()
}

/// A snapshot and the statements that run on it.
struct Reading {
    shard: Shard,
    file: Arc<ShardFile>,
    snapshot: Rc<Snapshot>,
    cursors: BTreeMap<u32, Cursor>,
    opened: u32,
    at: Point,
    lag: u64,
}

impl Reading {
    fn begin(read: &Read) -> Result<Self, Refusal> {
        let Read { shard, fresh, .. } = read;
        let snapshot = fresh.file.snapshot_within(PATIENCE);
        let snapshot = snapshot.map_err(|error| refusal(shard, &error))?;
        read.basis.check_snapshot(&snapshot)?;
        let replica = snapshot.replica();
        let replica = replica.map_err(|error| refusal(shard, &error))?;
        // More may have been applied since the data was fresh enough: a token says what was read.
        let at = replica.map_or(fresh.token.into(), |replica| Point {
            epoch: replica.applied.epoch,
            lsn: replica.applied.lsn,
        });
        let known = fresh.token.lsn.0 + fresh.lag;
        Ok(Self {
            shard: shard.clone(),
            file: Arc::clone(&fresh.file),
            snapshot: Rc::new(snapshot),
            cursors: BTreeMap::new(),
            opened: 0,
            at,
            lag: known.saturating_sub(at.lsn),
        })
    }

    /// Does something as long as the alarm does not ring.
    fn in_time<T>(
        &mut self,
        alarm: &Alarm,
        run: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let interrupter = self.snapshot.interrupter();
        let shard = self.shard.clone();
        let done = alarm.during(interrupter, || shard.meter().during(|| run(self)));
        done.unwrap_or(Err(Refusal::Later))
    }

    fn go_on(&mut self, step: Step) -> Answer {
        match step {
            Step::Open(fragment) => {
                self.shard.meter().read();
                self.open(&fragment).map(Said::Rows)
            }
            Step::More(number) => {
                let cursor = self.cursors.remove(&number).ok_or(Refusal::NoSession)?;
                self.next(number, cursor).map(Said::Rows)
            }
            Step::Run(_)
            | Step::Aside(_)
            | Step::Stay
            | Step::Commit
            | Step::End
            | Step::Detach
            | Step::Bytes(_) => Err(Refusal::NoSession),
        }
    }

    /// Keeps the content of the snapshot as a file of its own.
    fn detach(&self, alarm: &Alarm) -> Result<Detached, Refusal> {
        let beside = self.file.path();
        let detached = Detached::of(&self.snapshot, beside, || alarm.has_rung());
        detached.map_err(|error| refusal(&self.shard, &error))
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
