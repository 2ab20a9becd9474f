//! Places, from the engine's side: reads, units of writes, and transactions.

use std::{fmt::Debug, ops::ControlFlow, path::Path, rc::Rc, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use shardwright_store::Row;
use shardwright_topology::Position;

use super::{Call, Place, Ran, Shards, StatementId};
use crate::error::Error;

/// Takes the rows of a read one by one, and says when it has enough.
pub type Visit<'v> = dyn FnMut(&Row<'_>) -> ControlFlow<()> + 'v;

/// The places of one keyspace.
///
/// A place is a SQLite database with the table `_meta(key, value)` of a [shard file](shardwright_store::META_TABLE), in
/// which the engine keeps the number of the last change that reached every place. It makes all other tables itself.
///
/// The engine keeps to one rule that implementations may rely on: no call of one place waits for another place, so
/// that a place can serve its calls one after the other. A transaction may stay open while other places are asked.
///
/// Where a method fails, it has changed nothing, unless the error is a [`Fault`](super::Fault) of the kind
/// [`Indeterminate`](super::FaultKind::Indeterminate).
pub trait Places: Debug + Send + Sync {
    /// How many shards there are, the catalog not counted. It does not change: where shards are split or merged, there are
    /// [other places](crate::ShardedDatabase::with_map) then, and these refuse what is for a shard that is no more, or is about to be
    /// replaced, with [`FaultKind::LayoutChanged`](super::FaultKind::LayoutChanged).
    fn count(&self) -> usize;

    /// The name of a place.
    fn name(&self, place: Place) -> &str;

    /// Whether nobody but the engine over these places can write to them, from when it opens them until it has finished
    /// what a crash before that has interrupted. Then no change has to be [announced](super::ANNOUNCED_KEY).
    fn is_exclusive(&self) -> bool {
        false
    }

    /// The size of a place in bytes.
    ///
    /// # Errors
    /// When the place does not answer.
    fn size_bytes(&self, place: Place) -> Result<u64, Error>;

    /// The file of a place, if it is one of this machine.
    fn file(&self, _place: Place) -> Option<&Path> {
        None
    }

    /// Runs a statement that only reads, and shows each row to `visit` until that breaks. It sees every write of this
    /// engine that has returned, and perhaps later ones.
    ///
    /// # Errors
    /// What SQLite says of the statement, a refusal of one that writes, and failures of the place. Rows may have been
    /// shown before.
    fn read(&self, place: Place, call: Call<'_>, visit: &mut Visit<'_>) -> Result<(), Error>;

    /// The places as one statement sees them. A place's snapshot begins when it is first asked.
    fn snapshots(self: Arc<Self>) -> Rc<dyn Shards>;

    /// Makes a unit of writes at one place: all of its statements, in their order and in one transaction, or none of
    /// them. Returns what each did.
    ///
    /// # Errors
    /// What SQLite says of the statement that failed, and failures of the place.
    fn write(&self, place: Place, unit: &[Call<'_>]) -> Result<Vec<Ran>, Error>;

    /// Begins a transaction that writes. It has the place for itself: other writes wait.
    ///
    /// # Errors
    /// Failures of the place, or of the statements of the watch.
    fn begin(
        &self,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error>;

    /// As [`write`](Places::write), where the position of the one key that the unit names has led to the place. Where places can be
    /// replaced by others, the one that owns the position then remembers the unit.
    ///
    /// # Errors
    /// As [`write`](Places::write).
    fn write_at(
        &self,
        place: Place,
        _position: Position,
        unit: &[Call<'_>],
    ) -> Result<Vec<Ran>, Error> {
        self.write(place, unit)
    }

    /// As [`begin`](Places::begin), for one key as [`write_at`](Places::write_at).
    ///
    /// # Errors
    /// As [`begin`](Places::begin).
    fn begin_at(
        &self,
        place: Place,
        _position: Position,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        self.begin(place, watching)
    }

    /// How long the statement of these places may still take; `None` if it may take as long as its limits say. Nothing waits
    /// longer for a lock, and what runs on the engine itself is ended then.
    fn time_left(&self) -> Option<Duration> {
        None
    }

    /// Which statement these places are for, if it is one that they know again: the first unit or transaction at each
    /// place happens once under that, and a repeated one is answered with what the first did.
    fn statement(&self) -> Option<StatementId> {
        None
    }

    /// Whether the statement may have been tried before, through any engine. The engine then asks
    /// [`recall`](Places::recall) before it draws or computes what another try would compute differently.
    fn may_recur(&self) -> bool {
        false
    }

    /// What the first unit or transaction of the [statement](Places::statement) did, at each place that knows it. It has
    /// not happened anywhere else, and will not, but by this try.
    ///
    /// The engine that is the writer asks this, before it makes the statement. Whoever makes these places sees to it that no
    /// other try of the same statement runs through this engine meanwhile; the places refuse a former writer. Others ask
    /// only where that decides about nothing: what a place tells that has taken over a unit of another one, and of a
    /// statement for one shard whose rows are on several now, so that nobody can make it any more.
    ///
    /// # Errors
    /// When a place does not answer, or has [forgotten](super::FaultKind::Forgotten).
    fn recall(&self) -> Result<Vec<(Place, Vec<Ran>)>, Error> {
        Ok(Vec::new())
    }

    /// As [`begin`](Places::begin), under the identity of a statement that may be another one: of a change that reaches
    /// every place, which is finished by whoever comes next. If it has happened here before, the transaction is a
    /// [memory](PlaceTransaction::is_remembered).
    ///
    /// # Errors
    /// As [`begin`](Places::begin), and [`Forgotten`](super::FaultKind::Forgotten).
    fn begin_as(
        &self,
        _statement: StatementId,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        self.begin(place, watching)
    }

    /// Begins a commit over several places, all or nothing, which the places make themselves; `None` if they cannot. It says when it
    /// `started`, in microseconds since 1970: of two that want the same place the older one goes first. One that begins again because
    /// an older one was in its way says when it started first.
    fn join(&self, _started: u64) -> Option<Box<dyn JointTransaction>> {
        None
    }

    /// The same places for what a statement does to all of them, and for the engine's own notes: they do not refuse a
    /// number of the schema, and take nothing for the statement's that is not begun [as](Places::begin_as) it. `None`
    /// if the places of the database are to be used for that.
    fn everywhere(self: Arc<Self>) -> Option<Arc<dyn Places>> {
        None
    }

    /// Lets go of the places, as dropping does, and reports what goes wrong.
    ///
    /// # Errors
    /// When something cannot be written.
    fn close(self: Arc<Self>) -> Result<(), Error> {
        Ok(())
    }
}

/// An open transaction at one place. Dropping it undoes it.
pub trait PlaceTransaction: Debug + Send {
    /// Runs one statement, which may also read, and SAVEPOINT, RELEASE or ROLLBACK TO.
    ///
    /// # Errors
    /// What SQLite says of the statement, and failures of the place. The statement is undone, and the transaction goes
    /// on unless [`PlaceTransaction::is_open`] says that the statement ended it.
    fn execute(&mut self, call: Call<'_>) -> Result<Ran, Error>;

    /// Runs a statement of the engine's own: as [`execute`](PlaceTransaction::execute), but what it did is no part of
    /// what is remembered of the transaction.
    ///
    /// # Errors
    /// As [`execute`](PlaceTransaction::execute).
    fn aside(&mut self, call: Call<'_>) -> Result<Ran, Error> {
        self.execute(call)
    }

    /// Whether it has happened before: then statements are answered with what they did, and nothing is run.
    fn is_remembered(&self) -> bool {
        false
    }

    /// What its statements did, if it [has happened before](PlaceTransaction::is_remembered) and none of them was asked for yet. They may
    /// be more or fewer than now: the place may have taken over rows of another one. Implementations that remember have to have it.
    fn remembered(&mut self) -> Vec<Ran> {
        Vec::new()
    }

    /// Whether the transaction can go on.
    fn is_open(&self) -> bool;

    /// Makes what was done lasting.
    ///
    /// # Errors
    /// A deferred constraint, after which the transaction is still open, or a failure of the place.
    fn commit(&mut self) -> Result<(), Error>;

    /// Undoes what was done. Without an open transaction it does nothing.
    ///
    /// # Errors
    /// When the place fails.
    fn rollback(&mut self) -> Result<(), Error>;
}

/// A transaction at several places, all or nothing. Dropping it undoes it, unless it was committed or that is not known.
pub trait JointTransaction: Debug + Send {
    /// Begins at a place, where it has not begun. It waits for others there, as long as the commits of these places may wait.
    ///
    /// # Errors
    /// [`Error::Aborted`] and failures of the place. It has ended at all places then.
    fn enlist(&mut self, place: Place, watching: Watching<'_>) -> Result<Enlisted, Error>;

    /// Returns what is open at a place; `None` if it has not begun there, or has ended.
    fn at(&mut self, place: Place) -> Option<&mut dyn PlaceTransaction>;

    /// The place has ended what was open there. Returns why, and ends the others.
    fn lost(&mut self, place: Place) -> Error;

    /// Whether it has neither ended nor been ended.
    fn is_open(&self) -> bool;

    /// Commits at all places or at none. Once this returns, every read that is fresh sees it.
    ///
    /// # Errors
    /// [`Error::Aborted`] and what a place says of its own part: nothing has happened then.
    /// [`Indeterminate`](super::FaultKind::Indeterminate) if that is not known. [`Error::Unfinished`] if it is decided, and not seen at all
    /// places yet: they make it visible by themselves.
    fn commit(&mut self) -> Result<(), Error>;
}

/// How a [`JointTransaction`] begins at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enlisted {
    /// Its statements can run there.
    Open,
    /// The place knows the statement: it was made before, everywhere.
    Known,
}

/// What the writing connection of a place notes of the rows that it writes.
///
/// The engine checks what no place can check alone. It lets temporary triggers note the rows that matter, and asks the
/// other places about them before it commits. The notes are rows of a temporary table, which a transaction reads like
/// any other; so they are never part of what is replicated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Statements that create temporary tables and triggers, separated by semicolons.
    pub script: Arc<str>,
}

/// What a transaction expects of the temporary tables and triggers of its connection.
#[derive(Debug, Clone, Copy)]
pub enum Watching<'w> {
    /// Nothing: it writes no row that a watch is about.
    Any,
    /// That there are none, because it changes the tables under them.
    Nothing,
    /// That there are those of this watch and no others. They are made before the transaction begins and outlive it,
    /// so that implementations may keep them until something else is asked for.
    These(&'w Arc<Watch>),
}

impl dyn Places + '_ {
    /// Every place, the catalog first: what is known there is known before any shard has it.
    pub fn all(&self) -> impl Iterator<Item = Place> + use<> {
        std::iter::once(Place::Catalog).chain((0..self.count()).map(Place::Shard))
    }

    /// The place of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Place> {
        self.all().find(|place| self.name(*place) == name)
    }

    /// Reads as [`Places::read`] does, and returns what `visit` breaks with.
    ///
    /// # Errors
    /// As [`Places::read`].
    #[inline]
    pub fn query<B>(
        &self,
        place: Place,
        call: Call<'_>,
        mut visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        let mut flow = ControlFlow::Continue(());
        self.read(place, call, &mut |row| match visit(row) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            found @ ControlFlow::Break(_) => {
                flow = found;
                ControlFlow::Break(())
            }
        })?;
        Ok(flow)
    }

    /// Reads as [`Places::read`] does, and returns what `map` makes of the first row.
    ///
    /// # Errors
    /// As [`Places::read`].
    #[inline]
    pub fn query_row<T>(
        &self,
        place: Place,
        call: Call<'_>,
        mut map: impl FnMut(&Row<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let flow = self.query(place, call, |row| ControlFlow::Break(map(row)))?;
        Ok(flow.break_value())
    }
}
