//! The parts that a copy keeps aside for the shards that follow it.
//!
//! ```text
//! KEYSPACE/SOURCE/        the copy that is divided
//! KEYSPACE/TARGET/        the copy of a target on the same node
//!   base-SOURCE.db        what it is to begin with
//!   base-SOURCE.json      of which operation and place that is
//! ```
//! A part is made on a thread of its own, from a snapshot: records are applied meanwhile. One that a crash interrupted is not there, and the
//! cut is made again. A later cut for the same target takes the place of an earlier one.

use std::{
    collections::HashMap,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde::{Deserialize, Serialize};
use shardwright_store::{DividedTable, Entry, Error as StoreError, Part, Snapshot};
use shardwright_topology::{Lsn, OperationId, ShardId};

use super::{Cut, CutPart, NOTES, Take, import_client};
use crate::shard::remembered::share;

/// A part that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    /// The operation.
    pub(crate) operation: OperationId,
    /// The shard that was divided.
    pub(crate) source: ShardId,
    /// The record at which that was.
    pub(crate) at: Lsn,
    /// What it holds.
    pub(crate) digest: [u8; 32],
}

impl Base {
    /// Returns whether a copy that has it may begin with it.
    pub(in crate::shard) fn is_for(&self, take: &Take) -> bool {
        (&self.operation, &self.source) == (&take.operation, &take.source)
            && (self.at, self.digest) == (take.at, take.digest)
    }
}

/// How far a part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BaseState {
    /// It is there.
    Made(Base),
    /// It is being made.
    Making,
    /// It could not be made.
    Failed(String),
    /// Nobody makes it.
    Missing,
}

/// The parts that a copy makes. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct Bases(Arc<Mutex<HashMap<ShardId, Work>>>);

/// What is done for one target.
#[derive(Debug)]
struct Work {
    operation: OperationId,
    at: Lsn,
    failed: Option<String>,
}

impl Bases {
    /// Begins to make the parts of a cut, of a file that is in this snapshot; `home` is the directory of the copy.
    pub(in crate::shard) fn begin(&self, home: &Path, at: Lsn, cut: Cut, snapshot: Snapshot) {
        {
            let mut working = self.lock();
            for part in &cut.parts {
                let work = Work {
                    operation: cut.operation.clone(),
                    at,
                    failed: None,
                };
                working.insert(part.shard.clone(), work);
            }
        }
        let (bases, home) = (self.clone(), home.to_owned());
        let making = thread::Builder::new().name("split".to_owned());
        let failed = cut.clone();
        let begun = making.spawn(move || {
            for part in &cut.parts {
                let made = make(&home, at, &cut, part, &snapshot);
                bases.end(part, at, made.err().map(|error| error.to_string()));
            }
        });
        if let Err(error) = begun {
            for part in &failed.parts {
                self.end(part, at, Some(error.to_string()));
            }
        }
    }

    /// Returns how far the part of a target is.
    pub(in crate::shard) fn state(
        &self,
        home: &Path,
        operation: &OperationId,
        target: &ShardId,
    ) -> BaseState {
        let working = self.lock();
        let work = working
            .get(target)
            .filter(|work| work.operation == *operation);
        match work.map(|work| work.failed.clone()) {
            Some(None) => return BaseState::Making,
            Some(Some(why)) => return BaseState::Failed(why),
            None => {}
        }
        match own_name(home).and_then(|source| read(&directory_of(home, target), &source)) {
            Some(base) if base.operation == *operation => BaseState::Made(base),
            _ => BaseState::Missing,
        }
    }

    /// Notes that a part is there, or why not, unless a later cut has begun.
    fn end(&self, part: &CutPart, at: Lsn, failed: Option<String>) {
        if let Some(why) = &failed {
            tracing::error!(shard = %part.shard, %at, %why, "a part of a shard could not be kept aside");
        }
        let mut working = self.lock();
        if working.get(&part.shard).is_some_and(|work| work.at == at) {
            match (failed, working.get_mut(&part.shard)) {
                (Some(why), Some(work)) => work.failed = Some(why),
                _ => drop(working.remove(&part.shard)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShardId, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the directory of the copy of another shard on this node.
fn directory_of(home: &Path, shard: &ShardId) -> PathBuf {
    home.with_file_name(shard.as_str())
}

/// Returns the name of the shard whose copy is in a directory.
fn own_name(home: &Path) -> Option<ShardId> {
    ShardId::new(home.file_name()?.to_str()?).ok()
}

/// Returns what lies in the directory of a copy for it to begin with, of a shard.
pub(in crate::shard) fn read(directory: &Path, source: &ShardId) -> Option<Base> {
    let text = fs::read(note(directory, source)).ok()?;
    let base = serde_json::from_slice(&text).ok()?;
    file(directory, source).exists().then_some(base)
}

/// Returns where the file lies that a copy is to begin with.
pub(in crate::shard) fn file(directory: &Path, source: &ShardId) -> PathBuf {
    directory.join(format!("base-{source}.db"))
}

fn note(directory: &Path, source: &ShardId) -> PathBuf {
    directory.join(format!("base-{source}.json"))
}

/// Removes what a copy was to begin with.
pub(in crate::shard) fn forget(directory: &Path, source: &ShardId) {
    for path in [note(directory, source), file(directory, source)] {
        // What is not there need not go, and what stays is of no operation that anybody asks for.
        let _removed = fs::remove_file(path);
    }
}

fn make(
    home: &Path,
    at: Lsn,
    cut: &Cut,
    part: &CutPart,
    snapshot: &Snapshot,
) -> Result<(), StoreError> {
    let directory = directory_of(home, &part.shard);
    let failed = |source| StoreError::Io {
        action: "keep a part of a shard in",
        path: directory.clone(),
        source,
    };
    fs::create_dir_all(&directory).map_err(failed)?;
    forget(&directory, &cut.source);
    let made = directory.join(format!("making-{}-{at}.db", cut.source));
    let _left_over = fs::remove_file(&made);
    let tables: Vec<_> = cut.placement.tables().cloned().collect();
    let divided = tables.iter().map(|table| DividedTable {
        name: table.name.clone(),
        column: table.column.clone(),
    });
    let divided: Vec<_> = divided.collect();
    let (range, tells) = (part.range, part.tells);
    let copied = snapshot.part_to(
        &made,
        &Part {
            place: part.shard.as_str(),
            divided: &divided,
            keeps: Arc::new(move |table, key| range.contains(tables[table].position(key))),
            without_notes: NOTES,
            remembers: &|remembered| share(remembered, |at| range.contains(at), tells),
            entries: &[Entry {
                client: import_client(&cut.operation, &cut.source).0,
                sequence: at.0,
                outcome: &[],
            }],
        },
        |_, _| ControlFlow::Continue(()),
    )?;
    fs::rename(&made, file(&directory, &cut.source)).map_err(failed)?;
    let base = Base {
        operation: cut.operation.clone(),
        source: cut.source.clone(),
        at,
        digest: *copied.digest.as_bytes(),
    };
    let text = serde_json::to_vec(&base).expect("plain values are JSON");
    fs::write(note(&directory, &cut.source), text).map_err(failed)
}
