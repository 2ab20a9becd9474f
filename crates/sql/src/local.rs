//! The shards of one directory, as one statement sees them.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use shardwright_store::{Batch, Cursor, Snapshot};

use crate::{
    database::Files,
    error::Error,
    shards::{Fragment, Place, RowSource, Shards},
};

/// Snapshots of local files, each begun when it is first asked and held until the statement ends.
#[derive(Debug)]
pub(crate) struct LocalShards {
    files: Arc<Files>,
    snapshots: RefCell<BTreeMap<Place, Rc<Snapshot>>>,
}

impl LocalShards {
    pub(crate) fn new(files: Arc<Files>) -> Self {
        Self {
            files,
            snapshots: RefCell::default(),
        }
    }

    fn snapshot(&self, place: Place) -> Result<Rc<Snapshot>, Error> {
        let mut snapshots = self.snapshots.borrow_mut();
        if let Some(snapshot) = snapshots.get(&place) {
            return Ok(Rc::clone(snapshot));
        }
        let snapshot = self
            .files
            .file(place)
            .snapshot()
            .map_err(Error::at(self.files.name(place)))?;
        let snapshot = Rc::new(snapshot);
        snapshots.insert(place, Rc::clone(&snapshot));
        Ok(snapshot)
    }
}

impl Shards for LocalShards {
    fn count(&self) -> usize {
        self.files.shards().len()
    }

    fn name(&self, place: Place) -> &str {
        self.files.name(place)
    }

    fn run(&self, place: Place, fragment: &Fragment) -> Result<Box<dyn RowSource>, Error> {
        let name = self.files.name(place);
        let cursor = self
            .snapshot(place)?
            .cursor(&*fragment.sql, &fragment.params)
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
