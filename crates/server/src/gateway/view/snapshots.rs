//! The places as one statement reads them: a snapshot of each, begun when it is first asked.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use shardwright_sql::{
    Error, Row, Value,
    shards::{
        Apart, Batch, ByteSource, Fault, FaultKind, Fragment, Place, Places, RowSource, Shards,
    },
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

    fn open(&self, place: Place, fragment: &Fragment) -> Result<ClusterRows<Rc<Snapshot>>, Error> {
        let kept = self.kept.borrow().get(&place).cloned();
        if let Some(kept) = kept {
            return ClusterRows::on(kept, fragment);
        }
        let rows = ClusterRows::open(&self.view, place, fragment, Some(self.statement))?;
        let rows = rows.shared();
        self.kept.borrow_mut().insert(place, Rc::clone(&rows.kept));
        Ok(rows)
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
        Ok(Box::new(self.open(place, fragment)?))
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
        let started = places.iter().map(|place| {
            let place = *place;
            let kept = self.kept.borrow_mut().remove(&place);
            let kept = kept.and_then(Rc::into_inner);
            let (view, fragment) = (Arc::clone(&self.view), fragment.clone());
            let statement = self.statement;
            // Nothing stops a request that is on its way, so its thread is not waited for.
            let rows = Apart::start(self.view.name(place), patience, None, move || match kept {
                Some(kept) => ClusterRows::on(kept, &fragment),
                None => ClusterRows::open(&view, place, &fragment, Some(statement)),
            })?;
            Ok(Box::new(rows) as Box<dyn RowSource>)
        });
        started.collect()
    }

    fn file(&self, place: Place) -> Result<Box<dyn ByteSource>, Error> {
        let kept = self.kept.borrow_mut().remove(&place);
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let opened = self.open(place, &Fragment::new("SELECT 1", Vec::new()))?;
                self.kept.borrow_mut().remove(&place);
                opened.kept
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

/// The rows of one statement at one place, and who lets go of the snapshot.
#[derive(Debug)]
struct ClusterRows<K> {
    kept: K,
    rows: Vec<Vec<Value>>,
    more: Option<u32>,
}

impl<K: AsRef<Snapshot>> ClusterRows<K> {
    /// Opens a statement on a snapshot.
    fn on(kept: K, fragment: &Fragment) -> Result<Self, Error> {
        let Rows { rows, more, .. } = kept.as_ref().step(Step::Open(fragment.clone()))?;
        Ok(Self { kept, rows, more })
    }
}

impl ClusterRows<Snapshot> {
    /// Opens a statement on a snapshot that begins with it.
    fn open(
        view: &Arc<View>,
        place: Place,
        fragment: &Fragment,
        keep: Option<u64>,
    ) -> Result<Self, Error> {
        let (
            Rows {
                rows,
                more,
                session,
                ..
            },
            way,
        ) = view.open(place, fragment.clone(), keep)?;
        let kept = Kept {
            view: Arc::clone(view),
            place,
            way,
            // A snapshot that was asked for has a number.
            session: session.unwrap_or_default(),
            is_over: false,
        };
        Ok(Self { kept, rows, more })
    }

    fn shared(self) -> ClusterRows<Rc<Snapshot>> {
        ClusterRows {
            kept: Rc::new(self.kept),
            rows: self.rows,
            more: self.more,
        }
    }
}

impl<K: AsRef<Snapshot> + std::fmt::Debug> RowSource for ClusterRows<K> {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear();
        if self.rows.is_empty()
            && let Some(cursor) = self.more.take()
        {
            let Rows { rows, more, .. } = self.kept.as_ref().step(Step::More(cursor))?;
            (self.rows, self.more) = (rows, more);
        }
        for row in self.rows.drain(..) {
            batch.push(&Row::of_values(&row));
        }
        Ok(!batch.is_empty())
    }
}
