//! The places as the statements of a transaction see them: each is held from when it is first asked.

use std::{cell::OnceCell, path::Path, rc::Rc, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use shardwright_store::{Row, Value};

use super::{
    super::{Inner, ShardedDatabase, state::State, view::View},
    spread::Spread,
};
use crate::{
    error::Error,
    shards::{
        Batch, Call, Fault, FaultKind, Fragment, Place, PlaceTransaction, Places, Ran, RowSource,
        Shards, Visit, Watching,
    },
};

/// A transaction that statements may be run in.
#[derive(Debug)]
pub(in crate::database) struct Within(Mutex<Spread>);

impl Within {
    pub(super) fn new(database: &ShardedDatabase) -> Self {
        Self(Mutex::new(Spread::new(database)))
    }

    /// Shows the transaction. No place must be asked meanwhile but through it.
    pub(in crate::database) fn lock(&self) -> MutexGuard<'_, Spread> {
        self.0.lock()
    }

    pub(super) fn into_inner(self) -> Spread {
        self.0.into_inner()
    }
}

impl ShardedDatabase {
    /// A handle whose statements are those of a transaction.
    pub(super) fn within_transaction(&self, state: &Arc<State>, transaction: &Arc<Within>) -> Self {
        let places = TransactionPlaces {
            places: self.places(),
            state: Arc::clone(state),
            transaction: Arc::clone(transaction),
        };
        Self {
            inner: Arc::new(Inner {
                shared: Arc::clone(&self.inner.shared),
                places: Arc::new(places),
                state: ArcSwap::new(Arc::clone(state)),
                view: Some(View::within(self.base(), transaction)),
            }),
        }
    }
}

#[derive(Debug)]
struct TransactionPlaces {
    places: Arc<dyn Places>,
    state: Arc<State>,
    transaction: Arc<Within>,
}

impl TransactionPlaces {
    /// Holds a place, and reads there if the transaction may have changed something. What others see of it is all that there
    /// is otherwise, and stays so.
    fn read_own(&self, place: Place, call: Call<'_>) -> Result<Option<Vec<Vec<Value>>>, Error> {
        let mut transaction = self.transaction.lock();
        transaction.hold(&self.state, place)?;
        if !transaction.has_written(place) {
            return Ok(None);
        }
        transaction.read(place, call).map(Some)
    }

    fn unfit(&self, place: Place) -> Error {
        let message = "the statement cannot be run in a transaction";
        Fault::new(FaultKind::Other, message).at(self.name(place))
    }
}

impl Places for TransactionPlaces {
    fn count(&self) -> usize {
        self.places.count()
    }

    fn name(&self, place: Place) -> &str {
        self.places.name(place)
    }

    fn is_exclusive(&self) -> bool {
        self.places.is_exclusive()
    }

    fn size_bytes(&self, place: Place) -> Result<u64, Error> {
        self.places.size_bytes(place)
    }

    fn file(&self, place: Place) -> Option<&Path> {
        self.places.file(place)
    }

    fn read(&self, place: Place, call: Call<'_>, visit: &mut Visit<'_>) -> Result<(), Error> {
        let Some(rows) = self.read_own(place, call)? else {
            return self.places.read(place, call, visit);
        };
        let mut rows = rows.iter();
        let _all = rows.try_for_each(|row| visit(&Row::of_values(row)));
        Ok(())
    }

    fn snapshots(self: Arc<Self>) -> Rc<dyn Shards> {
        Rc::new(TransactionShards {
            places: self,
            unchanged: OnceCell::new(),
        })
    }

    fn write(&self, place: Place, _unit: &[Call<'_>]) -> Result<Vec<Ran>, Error> {
        Err(self.unfit(place))
    }

    fn begin(
        &self,
        place: Place,
        _watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        Err(self.unfit(place))
    }

    fn time_left(&self) -> Option<Duration> {
        self.places.time_left()
    }
}

/// The places as one statement of a transaction sees them.
#[derive(Debug)]
struct TransactionShards {
    places: Arc<TransactionPlaces>,
    /// Those that the transaction has not changed.
    unchanged: OnceCell<Rc<dyn Shards>>,
}

impl Shards for TransactionShards {
    fn count(&self) -> usize {
        self.places.count()
    }

    fn name(&self, place: Place) -> &str {
        self.places.name(place)
    }

    fn run(&self, place: Place, fragment: &Fragment) -> Result<Box<dyn RowSource>, Error> {
        let own = fragment.with_call(|call| self.places.read_own(place, call))?;
        match own {
            Some(rows) => Ok(Box::new(OwnRows(rows))),
            None => {
                let others = || Arc::clone(&self.places.places).snapshots();
                self.unchanged.get_or_init(others).run(place, fragment)
            }
        }
    }
}

/// Rows of a place that the transaction has changed.
#[derive(Debug)]
struct OwnRows(Vec<Vec<Value>>);

impl RowSource for OwnRows {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear();
        for row in self.0.drain(..) {
            batch.push(&Row::of_values(&row));
        }
        Ok(!batch.is_empty())
    }
}
