//! A shard: the replicated log with SQLite files under it, written by clients who number what they write.
//!
//! The data of each copy is that of production, `server::shard::logged_file`, in a directory of its own; what runs the batches does what the tasks
//! of a shard do. A crash leaves of a file what a crash may leave, down to a torn write-ahead log.
//!
//! At the end what clients were told is judged: it must be what one copy could have told them that does one thing at a time, nothing
//! acknowledged may be lost or doubled, each client sees what it has written, and the members are equal.

mod clients;
pub(crate) mod copy;
mod executor;
mod history;
mod situations;
mod statements;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use shardwright_quorum::log::{Kind, Outcome, Point, ReadLevel, Record, shard_log::Entry};
use shardwright_server::shard::logged_file::Came;
use shardwright_store::{Config, Digest, Mover};
use shardwright_testkit::sim::{Pid, Sim, marks};
use shardwright_topology::{Lsn, ShardId};
use tempfile::TempDir;

use self::{
    clients::{Client, Reading, Try},
    copy::Copy,
    executor::Executor,
    history::History,
    statements::{Contents, contents},
};
use super::{Content, Ending, Logs, Missing, situations as common};

/// Real data, and its clients.
pub(crate) struct Sqlite {
    directory: TempDir,
    config: Config,
    missing: Option<Missing>,
    copies: BTreeMap<Pid, Copy>,
    executors: BTreeMap<Pid, Executor>,
    clients: Vec<Client>,
    tries: BTreeMap<u64, Try>,
    readings: BTreeMap<u64, Reading>,
    history: History,
    /// The read that asks for a lease just now.
    leased: Option<u64>,
    /// What was written to each register last, as far as anybody knows.
    latest: BTreeMap<i64, i64>,
    /// How many entries any read has shown.
    most_shown: usize,
    /// What the copies held at places of the log.
    digests: BTreeMap<Lsn, (Point, (Digest, Digest))>,
    /// The situations that are to be noted.
    marks: Vec<&'static str>,
    /// What waits on a node, where a rule about that is left out.
    entries: BTreeMap<Pid, Entry>,
}

/// What is asked of a node.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Write(u64),
    /// At what level the log is asked; not at all for a read that says itself what it has to see.
    Read(u64, Option<ReadLevel>),
    /// A batch that has run is to be appended.
    Append(u64),
}

/// The situations of the log that matter to its data.
const OF_THE_LOG: &[&str] = &[
    common::FAILOVER,
    common::SAME_PRIMARY,
    common::TRUNCATED,
    common::INSTALLED,
    common::TRIMMED,
    common::JOINED,
    common::REPLACED,
    common::LOST_UNSYNCED,
    common::FULL,
    common::ROOM_AGAIN,
    common::INDETERMINATE,
    common::OUTRUN,
    common::HANDED_OVER,
    common::DELETED,
    common::WITHOUT_OWN,
];

/// Where files are made that need not outlive the power: in memory, where that can be.
pub(crate) fn in_memory() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() {
        shared.to_owned()
    } else {
        std::env::temp_dir()
    }
}

impl Sqlite {
    fn copy(&mut self, at: Pid) -> &mut Copy {
        let (directory, config) = (self.directory.path(), &self.config);
        let shard = ShardId::numbered(0);
        let new = || Copy::new(directory.join(at.to_string()), shard, config.clone());
        self.copies.entry(at).or_insert_with(new)
    }

    /// Reads what clients read.
    fn contents(&mut self, at: Pid) -> Result<Contents, String> {
        let file = Arc::clone(self.copy(at).data()?.file());
        contents(&file).map_err(|error| error.to_string())
    }

    /// Whether a client knows that the tables are there.
    fn has_tables(&self) -> bool {
        let first = self.history.writes.values().next();
        first.is_some_and(|create| create.answer.is_some())
    }

    /// What becomes of a record before it is applied, where a rule is left out.
    fn mutated(&mut self, at: Pid, record: &Record) -> Option<Record> {
        match self.missing {
            Some(Missing::OutcomesWithCommit) => Some(Record {
                members: Vec::new(),
                ..record.clone()
            }),
            Some(Missing::OwnRecordOnly) => {
                let entry = self.entries.remove(&at)?;
                Some(Record {
                    kind: Kind::Batch,
                    members: entry.members,
                    payload: entry.payload,
                    ..record.clone()
                })
            }
            _ => None,
        }
    }

    /// Compares a copy with what others were at the same place.
    fn compare(&mut self, at: Pid) -> Result<(), String> {
        let copy = self.copy(at);
        let here = copy.data()?.applied();
        let digest = copy.digest()?;
        let before = self.digests.insert(here.lsn, (here, digest));
        let Some((_, known)) = before.filter(|(place, _)| *place == here) else {
            return Ok(());
        };
        self.marks.push(situations::COMPARED);
        if known != digest {
            return Err(format!("it differs from other copies at {}", here.lsn));
        }
        Ok(())
    }
}

impl Content for Sqlite {
    const NAME: &'static str = "shard";
    const MARKS: &'static [&'static [&'static str]] = &[
        &[
            marks::PAUSE,
            marks::CRASH,
            marks::PARTITION,
            marks::ONE_WAY,
            marks::OUTAGE,
            marks::LOSS,
            marks::DUPLICATE,
        ],
        OF_THE_LOG,
        situations::ALL,
    ];
    const MUTATIONS: &'static [Missing] = Missing::OF_DATA;
    const LOSES: bool = false;

    type Ask = Ask;
    type Image = copy::Image;

    fn new(sim: &mut Sim<Logs<Self>>, missing: Option<Missing>) -> Self {
        let directory = tempfile::tempdir_in(in_memory()).expect("there is room for a directory");
        let config = Config {
            readers: 4,
            checkpoint_pages: *sim.dice().pick(&[4, 20, 1000]),
            mover: Mover::Commit,
            statement_cache: 64,
            ..Config::default()
        };
        Self {
            directory,
            config,
            missing,
            copies: BTreeMap::new(),
            executors: BTreeMap::new(),
            clients: clients::clients(),
            tries: BTreeMap::new(),
            readings: BTreeMap::new(),
            history: History::default(),
            leased: None,
            latest: BTreeMap::new(),
            most_shown: 0,
            digests: BTreeMap::new(),
            marks: Vec::new(),
            entries: BTreeMap::new(),
        }
    }

    fn reopen(
        &mut self,
        sim: &mut Sim<Logs<Self>>,
        at: Pid,
        saved: Point,
        ending: Ending,
    ) -> Result<Point, String> {
        Logs::is_gone(self, at, ending == Ending::Crash);
        self.entries.remove(&at);
        if ending == Ending::Crash && self.copy(at).crash(sim.dice())? {
            sim.mark(situations::POWER_FAILURE);
        }
        let found = self.copy(at).open()?;
        if found.lsn < saved.lsn {
            let (lost, found) = (saved.lsn, found.lsn);
            return Err(format!("{lost} was durable, and only {found} is there"));
        }
        Ok(found)
    }

    fn clear(&mut self, at: Pid) -> Result<(), String> {
        Logs::is_gone(self, at, false);
        self.copy(at).clear()
    }

    fn apply(&mut self, at: Pid, records: &[Arc<Record>]) -> Result<(), String> {
        for record in records {
            let mutated = self.mutated(at, record);
            let came = self.copy(at).apply(mutated.as_ref().unwrap_or(record))?;
            let executor = self.executors.entry(at).or_default();
            self.marks.extend(executor.came(came));
            if came == Came::Awaited {
                self.entries.remove(&at);
            }
        }
        Ok(())
    }

    fn save(&mut self, at: Pid) -> Result<(), String> {
        if self.missing == Some(Missing::SavesBeforeTrim) {
            return Ok(());
        }
        self.copy(at).save()?;
        self.compare(at)
    }

    fn image(&mut self, at: Pid, applied: Point) -> Result<copy::Image, String> {
        self.copy(at).image(applied)
    }

    fn receives(&mut self, at: Pid, point: Point, image: copy::Image) {
        self.copy(at).receives(point, image);
    }

    fn stores(&mut self, at: Pid, point: Point) -> bool {
        self.copy(at).stores(point)
    }

    fn install(&mut self, at: Pid, base: Point) -> Result<(), String> {
        self.copy(at).install(base)?;
        self.compare(at)
    }

    fn client(logs: &mut Logs<Self>, sim: &mut Sim<Logs<Self>>) {
        logs.client_of_data(sim);
    }

    fn asked(logs: &mut Logs<Self>, sim: &mut Sim<Logs<Self>>, at: Pid, ask: Ask) {
        match ask {
            Ask::Write(name) => logs.take_write(sim, at, name),
            Ask::Read(name, level) => logs.take_read(sim, at, name, level),
            Ask::Append(name) => logs.append_batch(sim, at, name),
        }
    }

    fn answered(
        logs: &mut Logs<Self>,
        sim: &mut Sim<Logs<Self>>,
        at: Pid,
        id: u64,
        outcome: Outcome,
    ) {
        logs.appended(sim, at, id, outcome);
    }

    fn read_at(
        logs: &mut Logs<Self>,
        sim: &mut Sim<Logs<Self>>,
        at: Pid,
        read: u64,
        applied: Option<Lsn>,
    ) {
        if !logs.confirmed(sim, at, read, applied) {
            logs.read_is_due(sim, at, read, applied);
        }
    }

    fn advance(logs: &mut Logs<Self>, sim: &mut Sim<Logs<Self>>, at: Pid) {
        for mark in std::mem::take(&mut logs.content.marks) {
            sim.mark(mark);
        }
        logs.execute(sim, at);
        logs.serve(sim, at);
        if let Some(rule) = logs.content.history.broken.take() {
            logs.rules.breaks(|| rule);
        }
    }

    fn judge(&mut self, members: &[Pid]) -> Result<(), String> {
        if let Some(rule) = self.history.broken.take() {
            return Err(rule);
        }
        let mut ends = Vec::new();
        for at in members {
            self.compare(*at)?;
            ends.push((*at, self.contents(*at)?));
        }
        let (_, end) = ends.first().ok_or("there is no member")?;
        if let Some((at, _)) = ends.iter().find(|(_, other)| other != end) {
            return Err(format!("{at} differs from {} at the end", members[0]));
        }
        self.history.judge(end)
    }
}
