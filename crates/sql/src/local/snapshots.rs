//! The shards of one directory, as one statement sees them.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use shardwright_store::{Batch, Cursor, Snapshot};

use super::LocalPlaces;
use crate::{
    error::Error,
    shards::{Apart, Fragment, Place, Places, RowSource, Shards, Stop},
};

/// Snapshots of local files, each begun when it is first asked and held until the statement ends.
#[derive(Debug)]
pub(super) struct LocalShards {
    places: Arc<LocalPlaces>,
    snapshots: RefCell<BTreeMap<Place, Rc<Snapshot>>>,
}

impl LocalShards {
    pub(super) fn new(places: Arc<LocalPlaces>) -> Self {
        Self {
            places,
            snapshots: RefCell::default(),
        }
    }

    fn snapshot(&self, place: Place) -> Result<Rc<Snapshot>, Error> {
        let mut snapshots = self.snapshots.borrow_mut();
        if let Some(snapshot) = snapshots.get(&place) {
            return Ok(Rc::clone(snapshot));
        }
        let snapshot = self
            .places
            .shard_file(place)
            .snapshot()
            .map_err(|error| self.places.error(place, error))?;
        let snapshot = Rc::new(snapshot);
        snapshots.insert(place, Rc::clone(&snapshot));
        Ok(snapshot)
    }
}

impl Shards for LocalShards {
    fn count(&self) -> usize {
        self.places.count()
    }

    fn name(&self, place: Place) -> &str {
        self.places.name(place)
    }

    fn run(&self, place: Place, fragment: &Fragment) -> Result<Box<dyn RowSource>, Error> {
        let rows = LocalRows::open(&self.snapshot(place)?, self.places.name(place), fragment)?;
        Ok(Box::new(rows))
    }

    fn scatter(
        self: Rc<Self>,
        places: &[Place],
        fragment: &Fragment,
        patience: Duration,
    ) -> Result<Vec<Box<dyn RowSource>>, Error> {
        if let [only] = places {
            return Ok(vec![self.run(*only, fragment)?]);
        }
        let snapshots = places.iter().map(|place| {
            self.snapshot(*place)?;
            Ok(self.snapshots.borrow_mut().remove(place))
        });
        let snapshots = snapshots.collect::<Result<Vec<_>, Error>>()?;
        let started = places.iter().zip(snapshots).map(|(place, snapshot)| {
            // A cursor that is still open has a share of it.
            let Some(snapshot) = snapshot.and_then(Rc::into_inner) else {
                return self.run(*place, fragment);
            };
            let (name, fragment) = (self.places.name(*place).to_owned(), fragment.clone());
            let interrupter = snapshot.interrupter();
            let stop: Stop = Box::new(move || interrupter.interrupt());
            let rows = Apart::start(self.places.name(*place), patience, Some(stop), move || {
                LocalRows::open(&Rc::new(snapshot), &name, &fragment)
            })?;
            Ok(Box::new(rows) as Box<dyn RowSource>)
        });
        started.collect()
    }
}

#[derive(Debug)]
struct LocalRows {
    cursor: Cursor,
    place: String,
}

impl LocalRows {
    fn open(snapshot: &Rc<Snapshot>, place: &str, fragment: &Fragment) -> Result<Self, Error> {
        let cursor = fragment
            .with_call(|call| snapshot.cursor(call.sql, call.params))
            .map_err(Error::at(place))?;
        Ok(Self {
            cursor,
            place: place.to_owned(),
        })
    }
}

impl RowSource for LocalRows {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        self.cursor
            .next_batch(batch)
            .map_err(Error::at(&self.place))
    }
}
