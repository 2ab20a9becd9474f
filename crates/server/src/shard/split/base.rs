//! The parts that a copy keeps aside for the shards that follow it.
//!
//! ```text
//! KEYSPACE/SOURCE/             the copy that is divided
//!   making-whole-AT.db         what the parts are made of
//!   making-TARGET-AT.db        a part that is not complete
//! KEYSPACE/TARGET/             the copy of a target on the same node
//!   base-SOURCE-AT.db          what it is to begin with, of the record AT of the source
//!   base-SOURCE-AT.json        of which operation that is, and what it holds: it comes last
//! ```
//! Parts are made on a thread of their own, from a copy of a snapshot: records are applied meanwhile. One that a crash interrupted is not there, and the
//! cut is made again. Parts of several cuts lie side by side until the copy has begun with one of them. Where there is no copy of the target, none is
//! made.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde::{Deserialize, Serialize};
use shardwright_store::{
    DividedTable, Entry, Error as StoreError, Part, PartCopy, ShardFile, Snapshot, Whole,
};
use shardwright_topology::{Halts, Lsn, OperationId, ShardId};

use super::{Cut, CutPart, OWN_NOTES, Take, import_client};
use crate::{
    shard::{CopyGap, remembered::share},
    threads::give_way,
};

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
    /// It is there, and the copy that is to begin with it has yet to take in what comes before it.
    Waiting,
}

/// The parts that a copy makes. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Bases(Arc<Mutex<HashMap<ShardId, Work>>>);

/// What is done for one target.
#[derive(Debug)]
struct Work {
    operation: OperationId,
    at: Lsn,
    failed: Option<String>,
}

impl Bases {
    /// Begins to make the parts of a cut, of a file that is in this snapshot; `home` is the directory of the copy.
    pub(super) fn begin(
        &self,
        home: &Path,
        at: Lsn,
        cut: Cut,
        snapshot: Snapshot,
        halts: Halts<CopyGap>,
    ) -> Making {
        let mut working = self.lock();
        for part in &cut.parts {
            let work = Work {
                operation: cut.operation.clone(),
                at,
                failed: None,
            };
            working.insert(part.shard.clone(), work);
        }
        Making {
            bases: self.clone(),
            home: home.to_owned(),
            at,
            cut,
            snapshot,
            halts,
        }
    }

    /// Returns how far the part of a target is.
    pub(super) fn state(
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
        let source = own_name(home);
        let latest = source.and_then(|source| latest(&directory_of(home, target), &source));
        match latest {
            Some(base) if base.operation == *operation => BaseState::Made(base),
            _ => BaseState::Missing,
        }
    }

    /// Returns the first record that is still to be read for one of the parts that are being made.
    pub(super) fn first_making(&self) -> Option<Lsn> {
        let working = self.lock();
        let making = working.values().filter(|work| work.failed.is_none());
        making.map(|work| work.at).min()
    }

    /// Gives up all that is being made.
    pub(super) fn give_up(&self) {
        self.lock().clear();
    }

    /// Whether nobody wants a part any more, nor a later one.
    fn is_given_up(&self, part: &CutPart) -> bool {
        !self.lock().contains_key(&part.shard)
    }

    fn is_latest(&self, part: &CutPart, at: Lsn) -> bool {
        let working = self.lock();
        working.get(&part.shard).is_some_and(|work| work.at == at)
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

/// The parts of a cut that are to be made.
#[derive(Debug)]
pub struct Making {
    bases: Bases,
    home: PathBuf,
    at: Lsn,
    cut: Cut,
    snapshot: Snapshot,
    halts: Halts<CopyGap>,
}

impl Making {
    /// Makes them, one after the other, as far as they are still wanted.
    pub fn run(self) {
        let (bases, at, parts) = (&self.bases, self.at, &self.cut.parts);
        let path = self.home.join(format!("{MAKING}whole-{}.db", at.0));
        // What an earlier process has left.
        let _removed = fs::remove_file(&path);
        let whole = self.snapshot.whole_to(&path, |_, _| {
            match parts.iter().any(|part| bases.is_latest(part, at)) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        drop(self.snapshot);
        for part in parts {
            let made = match &whole {
                Ok(whole) => {
                    let made = make(&self.home, at, &self.cut, part, whole, bases);
                    let made = made.and_then(|made| settle(bases, part, made, &self.halts));
                    made.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            bases.end(part, at, made.err());
        }
    }

    /// Makes them on a thread of its own.
    pub(in crate::shard) fn begin(self) {
        let (bases, at, parts) = (self.bases.clone(), self.at, self.cut.parts.clone());
        let making = thread::Builder::new().name("split".to_owned());
        let making = making.spawn(move || {
            give_way();
            self.run();
        });
        if let Err(error) = making {
            for part in &parts {
                bases.end(part, at, Some(error.to_string()));
            }
        }
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

/// Returns what lies in the directory of a copy for it to begin with, of a record of a shard.
pub(in crate::shard) fn read(directory: &Path, source: &ShardId, at: Lsn) -> Option<Base> {
    let text = fs::read(note(directory, source, at)).ok()?;
    let base = serde_json::from_slice(&text).ok()?;
    file(directory, source, at).exists().then_some(base)
}

/// Returns the latest that lies there.
fn latest(directory: &Path, source: &ShardId) -> Option<Base> {
    let kept = kept(directory, source).into_iter().filter_map(|name| {
        let at = name.strip_suffix(".json")?.rsplit('-').next()?;
        read(directory, source, Lsn(at.parse().ok()?))
    });
    kept.max_by_key(|base| base.at)
}

/// Returns where the file lies that a copy is to begin with.
pub(in crate::shard) fn file(directory: &Path, source: &ShardId, at: Lsn) -> PathBuf {
    directory.join(format!("{BASE}{source}-{}.db", at.0))
}

fn note(directory: &Path, source: &ShardId, at: Lsn) -> PathBuf {
    directory.join(format!("{BASE}{source}-{}.json", at.0))
}

/// Returns the names of all that was kept aside of a shard.
fn kept(directory: &Path, source: &ShardId) -> Vec<String> {
    let of_source = format!("{BASE}{source}-");
    names(directory)
        .filter(|name| name.starts_with(&of_source))
        .collect()
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// Removes what a copy was to begin with, of whatever record of a shard.
pub(in crate::shard) fn forget(directory: &Path, source: &ShardId) {
    for name in kept(directory, source) {
        // What stays is of no operation that anybody asks for.
        let _removed = fs::remove_file(directory.join(name));
    }
}

/// Removes what a copy that is no more has kept aside for others, in their directories: who was to begin with it has done so.
pub(super) fn leave(home: &Path) {
    let (Some(own), Some(keyspace)) = (own_name(home), home.parent()) else {
        return;
    };
    let others = fs::read_dir(keyspace).into_iter().flatten().flatten();
    for other in others {
        forget(&other.path(), &own);
    }
}

/// Removes what a copy has begun with already, and did not remove before its process ended.
pub(super) fn forget_taken(directory: &Path, file: &ShardFile) {
    let notes = names(directory).filter(|name| name.starts_with(BASE) && name.ends_with(".json"));
    for note in notes {
        let base = fs::read(directory.join(&note)).ok();
        let Some(base) = base.and_then(|text| serde_json::from_slice::<Base>(&text).ok()) else {
            continue;
        };
        let client = import_client(&base.operation, &base.source).0;
        let taken = file.snapshot().and_then(|file| file.last_of(&client));
        if matches!(taken, Ok(Some(_))) {
            forget(directory, &base.source);
        }
    }
}

/// Removes the parts that a copy has not completed before its process ended.
pub(super) fn forget_unfinished(directory: &Path) {
    for name in names(directory).filter(|name| name.starts_with(MAKING)) {
        // What stays takes room, and is in nobody's way.
        let _removed = fs::remove_file(directory.join(name));
    }
}

const BASE: &str = "base-";
const MAKING: &str = "making-";

/// A part that is complete, and has no name yet.
struct Unnamed {
    made: PathBuf,
    directory: PathBuf,
    base: Base,
}

fn make(
    home: &Path,
    at: Lsn,
    cut: &Cut,
    part: &CutPart,
    whole: &Whole,
    bases: &Bases,
) -> Result<Option<Unnamed>, StoreError> {
    let directory = directory_of(home, &part.shard);
    // Its copy may be removed meanwhile: the operation was cancelled.
    if !bases.is_latest(part, at) || !directory.exists() {
        return Ok(None);
    }
    let made = home.join(format!("{MAKING}{}-{}.db", part.shard, at.0));
    let copied = write_part(&made, at, cut, part, whole)?;
    let base = Base {
        operation: cut.operation.clone(),
        source: cut.source.clone(),
        at,
        digest: *copied.digest.as_bytes(),
    };
    Ok(Some(Unnamed {
        made,
        directory,
        base,
    }))
}

/// Gives a part its name, unless nobody wants it any more.
fn settle(
    bases: &Bases,
    part: &CutPart,
    made: Option<Unnamed>,
    halts: &Halts<CopyGap>,
) -> Result<(), StoreError> {
    let Some(made) = made else { return Ok(()) };
    made.name(halts)?;
    if bases.is_given_up(part) {
        made.take_back();
    }
    Ok(())
}

impl Unnamed {
    /// Lets it lie in the directory of the target's copy, durably.
    fn name(&self, halts: &Halts<CopyGap>) -> Result<(), StoreError> {
        let named = self.move_there(halts).map_err(|source| StoreError::Io {
            action: "keep a part of a shard in",
            path: self.directory.clone(),
            source,
        });
        named.inspect_err(|_| self.forget())
    }

    fn move_there(&self, halts: &Halts<CopyGap>) -> io::Result<()> {
        let Base { source, at, .. } = &self.base;
        fs::rename(&self.made, file(&self.directory, source, *at))?;
        halts.reached(CopyGap::Part);
        let text = serde_json::to_vec(&self.base).expect("plain values are JSON");
        let note = note(&self.directory, source, *at);
        let unnamed = note.with_extension("new");
        let mut file = File::create(&unnamed)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&unnamed, &note)?;
        // Both names have to last: the target's log will say that they are there.
        File::open(&self.directory)?.sync_all()?;
        halts.reached(CopyGap::Kept);
        Ok(())
    }

    /// Removes it from there.
    fn take_back(&self) {
        forget(&self.directory, &self.base.source);
    }

    /// Removes it: nobody wants it any more.
    fn forget(&self) {
        // What stays is of no operation that anybody asks for.
        let _removed = fs::remove_file(&self.made);
    }
}

fn write_part(
    path: &Path,
    at: Lsn,
    cut: &Cut,
    part: &CutPart,
    whole: &Whole,
) -> Result<PartCopy, StoreError> {
    // What an earlier process has left.
    let _removed = fs::remove_file(path);
    let tables: Vec<_> = cut.placement.tables().cloned().collect();
    let divided = tables.iter().map(|table| DividedTable {
        name: table.name.clone(),
        column: table.column.clone(),
    });
    let divided: Vec<_> = divided.collect();
    let (range, tells) = (part.range, part.tells);
    let part = Part {
        place: part.shard.as_str(),
        divided: &divided,
        keeps: Arc::new(move |table, key| range.contains(tables[table].position(key))),
        without_notes: &OWN_NOTES,
        remembers: &|remembered| share(remembered, |at| range.contains(at), tells),
        entries: &[Entry {
            client: import_client(&cut.operation, &cut.source).0,
            sequence: at.0,
            outcome: &[],
        }],
    };
    whole.part_to(path, &part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_aside_goes_with_the_copy_that_kept_it() -> io::Result<()> {
        let keyspace = tempfile::tempdir()?;
        let [source, target] = ["source", "target"].map(|name| keyspace.path().join(name));
        fs::create_dir_all(&source)?;
        fs::create_dir_all(&target)?;
        for name in ["base-source-7.db", "base-source-7.json", "base-other-7.db"] {
            fs::write(target.join(name), "")?;
        }
        leave(&source);
        assert_eq!(names(&target).collect::<Vec<_>>(), ["base-other-7.db"]);
        assert!(source.exists());
        Ok(())
    }
}
