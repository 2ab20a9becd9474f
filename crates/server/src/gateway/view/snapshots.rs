//! The places as one statement reads them: a snapshot of each, begun when it is first asked.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use shardwright_sql::{
    Error, Row, Value,
    shards::{Batch, Fragment, Place, Places, RowSource, Shards},
};

use super::View;
use crate::gateway::{
    way::Way,
    wire::{Rows, Step},
};

/// Snapshots on the nodes that have the shards.
#[derive(Debug)]
pub(super) struct ClusterShards {
    view: Arc<View>,
    kept: RefCell<BTreeMap<Place, Rc<Kept>>>,
}

/// A snapshot, which ends with the last who reads it.
#[derive(Debug)]
struct Kept {
    view: Arc<View>,
    place: Place,
    way: Way,
    session: u64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.view.end(self.place, &self.way, self.session);
    }
}

impl ClusterShards {
    pub(super) fn new(view: Arc<View>) -> Self {
        Self {
            view,
            kept: RefCell::default(),
        }
    }

    fn open(&self, place: Place, fragment: &Fragment) -> Result<(Rows, Rc<Kept>), Error> {
        let kept = self.kept.borrow().get(&place).cloned();
        if let Some(kept) = kept {
            let step = Step::Open(fragment.clone());
            let rows = self.view.more(place, &kept.way, kept.session, step)?;
            return Ok((rows, kept));
        }
        let (rows, way) = self.view.open(place, fragment.clone(), true)?;
        let kept = Rc::new(Kept {
            view: Arc::clone(&self.view),
            place,
            way,
            // A snapshot that was asked for has a number.
            session: rows.session.unwrap_or_default(),
        });
        self.kept.borrow_mut().insert(place, Rc::clone(&kept));
        Ok((rows, kept))
    }
}

impl Shards for ClusterShards {
    fn count(&self) -> usize {
        self.view.count()
    }

    fn name(&self, place: Place) -> &str {
        self.view.name(place)
    }

    fn run(&self, place: Place, fragment: &Fragment) -> Result<Box<dyn RowSource>, Error> {
        let (Rows { rows, more, .. }, kept) = self.open(place, fragment)?;
        Ok(Box::new(ClusterRows { kept, rows, more }))
    }
}

/// The rows of one statement at one place.
#[derive(Debug)]
struct ClusterRows {
    kept: Rc<Kept>,
    rows: Vec<Vec<Value>>,
    more: Option<u32>,
}

impl RowSource for ClusterRows {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear();
        if self.rows.is_empty()
            && let Some(cursor) = self.more.take()
        {
            let Kept {
                view,
                place,
                way,
                session,
            } = &*self.kept;
            let Rows { rows, more, .. } = view.more(*place, way, *session, Step::More(cursor))?;
            (self.rows, self.more) = (rows, more);
        }
        for row in self.rows.drain(..) {
            batch.push(&Row::of_values(&row));
        }
        Ok(!batch.is_empty())
    }
}
