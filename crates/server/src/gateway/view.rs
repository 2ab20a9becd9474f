//! The places of a keyspace as one statement uses them: until when, how fresh, by whom, and for which schema.

mod commit;
mod kept;
mod snapshots;
mod transaction;

use std::{
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::try_join_all;
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_sql::{
    Error, Row,
    shards::{
        Call, Fault, Fragment, JointTransaction, Place, PlaceTransaction, Places, Ran, Shards,
        StatementId, Visit, Watching,
    },
};
use shardwright_topology::{Position, Timestamp};

use self::{
    commit::ClusterCommit, kept::Kept, snapshots::ClusterShards, transaction::ClusterTransaction,
};
use super::{
    cluster::{Cluster, Heard, Reached, Unanswered, milliseconds},
    fault::{indeterminate, unexpected},
    numbers::{Numbered, Numbering},
    way::{Lost, Way},
    wire::{Ask, Basis, CommitLevel, Freshness, Number, Point, Refusal, Request, Rows, Said, Step},
};

/// How a statement uses the places. Clones are the same statement.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) cluster: Arc<Cluster>,
    pub(super) until: Until,
    pub(super) freshness: Wanted,
    pub(super) level: CommitLevel,
    /// For which schema it is planned, if for any.
    pub(super) schema: Option<u64>,
    pub(super) writer: Claim,
    pub(super) numbering: Arc<Numbering>,
    /// Whether it may have been tried before.
    pub(super) recurs: bool,
    pub(super) notes: Arc<Notebook>,
}

/// When a call has to be over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// All calls together.
    Then(Timestamp),
    /// Each call after this time.
    Within(Duration),
}

/// Whether it is the keyspace's one writer who asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claim {
    /// No matter who.
    Anyone,
    /// It is the one of this epoch.
    Writer(u64),
    /// It is the one of the epoch that this node has claimed by then.
    Latest,
}

/// How fresh the data of reads has to be.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    Leased,
    Consistent,
    Any,
    /// No earlier than these places, and whatever there is of other shards.
    AtLeast(Arc<Reached>),
    /// The same, and of other shards all that there is, because some of the places are in the history of shards that are no more, or not
    /// yet: others have what they had.
    AtLeastAnywhere(Arc<Reached>),
}

impl Wanted {
    fn of(&self, shard: &PartitionId) -> Freshness {
        match self {
            Self::Leased => Freshness::Leased,
            Self::Consistent => Freshness::Consistent,
            Self::Any => Freshness::Any,
            Self::AtLeast(reached) => reached
                .get(shard)
                .map_or(Freshness::Any, |point| Freshness::AtLeast(*point)),
            Self::AtLeastAnywhere(reached) => reached
                .get(shard)
                .map_or(Freshness::Leased, |point| Freshness::AtLeast(*point)),
        }
    }
}

/// What a statement came across.
#[derive(Debug, Default)]
pub(super) struct Notebook(Mutex<Noted>);

/// The notes: how far the shards were, and how far behind.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) reached: Reached,
    pub(super) lag: u64,
    /// Whether a write may have been made that is reported as not made: its shard was replaced by others before it answered.
    pub(super) is_lost: bool,
}

impl Notebook {
    fn reach(&self, shard: &PartitionId, at: Point, lag: u64) {
        let mut notes = self.lock();
        notes.lag = notes.lag.max(lag);
        let reached = notes.reached.entry(shard.clone()).or_insert(at);
        if (reached.epoch, reached.lsn) < (at.epoch, at.lsn) {
            *reached = at;
        }
    }

    fn lose(&self) {
        self.lock().is_lost = true;
    }

    /// Takes what was noted.
    pub(super) fn take(&self) -> Noted {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// Returns the places as the engine itself uses them, for what is of no statement.
    pub(super) fn of_engine(cluster: Arc<Cluster>, within: Duration) -> Self {
        Self {
            until: Until::Within(within),
            freshness: Wanted::Leased,
            level: CommitLevel::Quorum,
            schema: None,
            writer: Claim::Latest,
            numbering: Arc::new(Numbering::Calls),
            recurs: false,
            cluster,
            notes: Arc::default(),
        }
    }

    fn basis(&self) -> Basis {
        Basis {
            schema: self.schema,
            writer: match self.writer {
                Claim::Anyone => None,
                Claim::Writer(epoch) => Some(epoch),
                Claim::Latest => self.cluster.claimed(),
            },
        }
    }

    fn deadline(&self) -> Timestamp {
        match self.until {
            Until::Then(deadline) => deadline,
            Until::Within(within) => self.cluster.deadline(within),
        }
    }

    fn left(&self) -> Duration {
        self.deadline().since(self.cluster.clock.now())
    }

    fn shard(&self, place: Place) -> &PartitionId {
        self.cluster.names.of_place(place)
    }

    /// Asks the shard of a place, and waits. Not for a thread that drives tasks.
    fn ask(&self, place: Place, ask: &Ask) -> Result<Heard, Error> {
        let asking = self.cluster.ask(self.shard(place), ask, self.deadline());
        let heard = self.cluster.block_on(asking, || indeterminate().into());
        heard.map_err(|unanswered| self.unanswered(place, unanswered))
    }

    fn unanswered(&self, place: Place, unanswered: Unanswered) -> Error {
        if !unanswered.is_ambiguous {
            return self.error(place, unanswered.fault);
        }
        if self.numbering.statement().is_none() {
            // Nobody finds out any more.
            return self.error(place, indeterminate());
        }
        self.notes.lose();
        self.error(place, unanswered.fault)
    }

    /// Lets a session go on; what is lost with it cannot be asked again.
    fn go_on(
        &self,
        place: Place,
        way: &Way,
        session: u64,
        step: Step,
    ) -> Result<Said, Result<Refusal, Lost>> {
        let request = Request {
            shard: self.shard(place).clone(),
            within_ms: milliseconds(self.left()),
            ask: Ask::Session { session, step },
        };
        match self.cluster.block_on(way.ask(request), || Lost::Unknown) {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(refusal)) => Err(Ok(refusal)),
            Err(lost) => Err(Err(lost)),
        }
    }

    /// Asks for the rows of a statement that reads.
    fn open(
        &self,
        place: Place,
        fragment: Fragment,
        keep: Option<u64>,
    ) -> Result<(Rows, Way), Error> {
        let ask = Ask::Read {
            lasts_ms: milliseconds(self.left()),
            basis: self.basis(),
            freshness: self.freshness.of(self.shard(place)),
            fragment,
            keep,
        };
        let Heard { said, way } = self.ask(place, &ask)?;
        match said {
            Said::Rows(rows) => {
                self.notes.reach(self.shard(place), rows.at, rows.lag);
                Ok((rows, way))
            }
            said => Err(self.error(place, unexpected(&said))),
        }
    }

    /// Lets a session end.
    fn end(&self, place: Place, way: &Way, session: u64) {
        let request = Request {
            shard: self.shard(place).clone(),
            within_ms: 0,
            ask: Ask::Size,
        };
        way.end(&self.cluster.runtime, request, session);
    }

    /// Makes a unit of writes, unless it has been made before.
    fn write_numbered(
        &self,
        number: Number,
        place: Place,
        unit: &[Call<'_>],
    ) -> Result<Vec<Ran>, Error> {
        let ask = Ask::Write {
            basis: self.basis(),
            number,
            unit: unit.iter().map(|call| Fragment::from(*call)).collect(),
            level: self.level,
        };
        match self.ask(place, &ask)?.said {
            Said::Wrote { ran, at } => {
                self.notes.reach(self.shard(place), at, 0);
                Ok(ran)
            }
            said => Err(self.error(place, unexpected(&said))),
        }
    }

    /// Begins a transaction, unless it has happened before.
    fn begin_numbered(
        &self,
        number: Number,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        let ask = Ask::Begin {
            basis: self.basis(),
            number,
            notes: watching.into(),
            level: self.level,
        };
        let heard = self.ask(place, &ask)?;
        Ok(ClusterTransaction::of(self, place, number, heard)?)
    }

    fn error(&self, place: Place, fault: Fault) -> Error {
        fault.at(self.shard(place).shard.as_str())
    }
}

impl Places for View {
    fn time_left(&self) -> Option<Duration> {
        match self.until {
            Until::Then(_) => Some(self.left()),
            Until::Within(_) => None,
        }
    }

    fn count(&self) -> usize {
        self.cluster.names.count()
    }

    fn name(&self, place: Place) -> &str {
        self.shard(place).shard.as_str()
    }

    fn size_bytes(&self, place: Place) -> Result<u64, Error> {
        match self.ask(place, &Ask::Size)?.said {
            Said::Size(bytes) => Ok(bytes),
            said => Err(self.error(place, unexpected(&said))),
        }
    }

    fn read(&self, place: Place, call: Call<'_>, visit: &mut Visit<'_>) -> Result<(), Error> {
        let (mut rows, way) = self.open(place, Fragment::from(call), None)?;
        let mut kept = rows.session.map(|session| Kept {
            view: self,
            place,
            way,
            session,
            is_over: false,
        });
        loop {
            if let Some(kept) = &mut kept {
                // The node lets go of it with the last rows.
                kept.is_over = rows.more.is_none();
            }
            for row in &rows.rows {
                if visit(&Row::of_values(row)).is_break() {
                    return Ok(());
                }
            }
            let (Some(cursor), Some(kept)) = (rows.more, &kept) else {
                return Ok(());
            };
            rows = kept.step(Step::More(cursor))?;
        }
    }

    fn snapshots(self: Arc<Self>) -> Rc<dyn Shards> {
        Rc::new(ClusterShards::new(self))
    }

    fn write(&self, place: Place, unit: &[Call<'_>]) -> Result<Vec<Ran>, Error> {
        self.write_numbered(self.numbering.next(place), place, unit)
    }

    fn write_at(
        &self,
        place: Place,
        position: Position,
        unit: &[Call<'_>],
    ) -> Result<Vec<Ran>, Error> {
        self.write_numbered(self.numbering.next(place).of_key(position), place, unit)
    }

    fn begin(
        &self,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        self.begin_numbered(self.numbering.next(place), place, watching)
    }

    fn begin_at(
        &self,
        place: Place,
        position: Position,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        let number = self.numbering.next(place).of_key(position);
        self.begin_numbered(number, place, watching)
    }

    fn statement(&self) -> Option<StatementId> {
        self.numbering.statement().map(Numbered::id)
    }

    fn may_recur(&self) -> bool {
        self.recurs
    }

    fn recall(&self) -> Result<Vec<(Place, Vec<Ran>)>, Error> {
        let Some(statement) = self.numbering.statement() else {
            return Ok(Vec::new());
        };
        let ask = Ask::Recall {
            number: statement.after(0),
        };
        let (ask, deadline) = (&ask, self.deadline());
        let places: &dyn Places = self;
        let asking = places.all().map(|place| async move {
            let heard = self.cluster.ask(self.shard(place), ask, deadline).await;
            let heard = heard.map_err(|unanswered| self.unanswered(place, unanswered))?;
            Ok::<_, Error>((place, heard.said))
        });
        let mut known = Vec::new();
        let lost = || self.error(Place::Catalog, indeterminate());
        for (place, said) in self.cluster.block_on(try_join_all(asking), lost)? {
            match said {
                Said::Known { ran, at } => {
                    self.notes.reach(self.shard(place), at, 0);
                    known.push((place, ran));
                }
                Said::Done => {}
                said => return Err(self.error(place, unexpected(&said))),
            }
        }
        Ok(known)
    }

    fn begin_as(
        &self,
        statement: StatementId,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        self.begin_numbered(statement.into(), place, watching)
    }

    fn join(&self, started: u64) -> Option<Box<dyn JointTransaction>> {
        Some(Box::new(ClusterCommit::new(self.clone(), started)))
    }

    fn everywhere(self: Arc<Self>) -> Option<Arc<dyn Places>> {
        let mut view = Self::clone(&self);
        view.schema = None;
        view.freshness = Wanted::Leased;
        if view.level == CommitLevel::One {
            // What every shard has to have must not be lost with one copy.
            view.level = CommitLevel::Quorum;
        }
        view.numbering = Arc::new(Numbering::Calls);
        view.recurs = false;
        Some(Arc::new(view))
    }
}
