//! The places as one statement reads them: a snapshot of each, begun when it is first asked.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use shardwright_sql::{
    Error, Row, Value,
    shards::{Batch, ByteSource, Fault, FaultKind, Fragment, Place, Places, RowSource, Shards},
};

use super::{View, kept::Kept};
use crate::gateway::{
    fault::unexpected,
    wire::{Rows, Said, Step},
};

/// Snapshots on the nodes that have the shards.
#[derive(Debug)]
pub(super) struct ClusterShards {
    view: Arc<View>,
    /// A number that no other statement has.
    statement: u64,
    kept: RefCell<BTreeMap<Place, Rc<Snapshot>>>,
}

type Snapshot = Kept<Arc<View>>;

impl ClusterShards {
    pub(super) fn new(view: Arc<View>) -> Self {
        Self {
            view,
            statement: rand::random(),
            kept: RefCell::default(),
        }
    }

    fn open(&self, place: Place, fragment: &Fragment) -> Result<(Rows, Rc<Snapshot>), Error> {
        let kept = self.kept.borrow().get(&place).cloned();
        if let Some(kept) = kept {
            let rows = kept.step(Step::Open(fragment.clone()))?;
            return Ok((rows, kept));
        }
        let keep = Some(self.statement);
        let (rows, way) = self.view.open(place, fragment.clone(), keep)?;
        let kept = Rc::new(Kept {
            view: Arc::clone(&self.view),
            place,
            way,
            // A snapshot that was asked for has a number.
            session: rows.session.unwrap_or_default(),
            is_over: false,
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

    fn file(&self, place: Place) -> Result<Box<dyn ByteSource>, Error> {
        let kept = self.kept.borrow_mut().remove(&place);
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let (_, kept) = self.open(place, &Fragment::new("SELECT 1", Vec::new()))?;
                self.kept.borrow_mut().remove(&place);
                kept
            }
        };
        match kept.say(Step::Detach)? {
            Said::Size(size) => Ok(Box::new(ClusterFile { kept, size, at: 0 })),
            said => Err(self.view.error(place, unexpected(&said))),
        }
    }
}

/// The file of a place, on the node that has made it.
#[derive(Debug)]
struct ClusterFile {
    kept: Rc<Snapshot>,
    size: u64,
    /// How much of it has come.
    at: u64,
}

impl ByteSource for ClusterFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn next_bytes(&mut self) -> Result<Vec<u8>, Error> {
        let Kept { view, place, .. } = &*self.kept;
        let bytes = match self.kept.say(Step::Bytes(self.at))? {
            Said::Bytes(bytes) => bytes,
            said => return Err(view.error(*place, unexpected(&said))),
        };
        self.at += bytes.len() as u64;
        if bytes.is_empty() && self.at != self.size {
            let message = "the copy for a backup has become shorter";
            return Err(view.error(*place, Fault::new(FaultKind::Io, message)));
        }
        Ok(bytes)
    }
}

/// The rows of one statement at one place.
#[derive(Debug)]
struct ClusterRows {
    kept: Rc<Snapshot>,
    rows: Vec<Vec<Value>>,
    more: Option<u32>,
}

impl RowSource for ClusterRows {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear();
        if self.rows.is_empty()
            && let Some(cursor) = self.more.take()
        {
            let Rows { rows, more, .. } = self.kept.step(Step::More(cursor))?;
            (self.rows, self.more) = (rows, more);
        }
        for row in self.rows.drain(..) {
            batch.push(&Row::of_values(&row));
        }
        Ok(!batch.is_empty())
    }
}
