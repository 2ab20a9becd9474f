//! The shards of one directory, as one statement sees them.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use shardwright_store::{Batch, Cursor, Snapshot};

use super::LocalPlaces;
use crate::{
    error::Error,
    shards::{Fragment, Place, Places, RowSource, Shards},
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
        let name = self.places.name(place);
        let snapshot = self.snapshot(place)?;
        let cursor = fragment
            .with_call(|call| snapshot.cursor(call.sql, call.params))
            .map_err(Error::at(name))?;
        Ok(Box::new(LocalRows {
            cursor,
            place: name.to_owned(),
        }))
    }
}

#[derive(Debug)]
struct LocalRows {
    cursor: Cursor,
    place: String,
}

impl RowSource for LocalRows {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        self.cursor
            .next_batch(batch)
            .map_err(Error::at(&self.place))
    }
}
