//! One gathering statement under way: its shards, its limits, and what it has done so far.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use shardwright_store::{Batch, Value};

use super::{GatherRequest, copy::Copies};
use crate::{
    error::Error,
    meter::Meter,
    plan::{Homes, OwnedRouting, Purpose},
    shards::{Fragment, Place, RowSource, Shards},
};

thread_local! {
    /// The statement that runs on this thread. Virtual tables find it here: they outlive it, and it borrows.
    static CURRENT: RefCell<Option<Rc<Execution>>> = const { RefCell::new(None) };
}

#[derive(Debug)]
pub(super) struct Execution {
    pub(super) shards: Rc<dyn Shards>,
    pub(super) routing: OwnedRouting,
    /// The homes of keys that were asked about.
    pub(super) homes: Homes,
    /// The keys that matter, by folded table name; a table that is missing matters whole.
    pub(super) pins: HashMap<String, Vec<Value>>,
    meter: Meter,
    touched: RefCell<BTreeSet<Place>>,
    failure: RefCell<Option<Error>>,
    /// What each table has cost so far, to decide when a copy of it is cheaper.
    spent: RefCell<HashMap<String, u64>>,
    /// Numbers that tell rows apart, given out as they are asked for.
    numbers: RefCell<HashMap<RowIdentity, i64>>,
    pub(super) copies: Copies,
}

/// A table, a place, and the rowid or primary key there.
type RowIdentity = (String, i64, Vec<Value>);

impl Execution {
    pub(super) fn new(request: GatherRequest) -> Self {
        let GatherRequest {
            shards,
            routing,
            pins,
            limits,
        } = request;
        Self {
            shards,
            homes: Homes::new(routing.has_directory.then_some(Purpose::Find)),
            routing,
            pins,
            meter: Meter::start(limits),
            touched: RefCell::default(),
            failure: RefCell::default(),
            spent: RefCell::default(),
            numbers: RefCell::default(),
            copies: Copies::default(),
        }
    }

    /// Makes this the statement of the thread for the time of `work`.
    pub(super) fn during<T>(self: &Rc<Self>, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Rc<Execution>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(Rc::clone(self))));
        work()
    }

    /// The statement of the thread.
    pub(super) fn current() -> Result<Rc<Self>, rusqlite::Error> {
        CURRENT
            .with_borrow(Clone::clone)
            .ok_or_else(|| rusqlite::Error::ModuleError("no statement is running".to_owned()))
    }

    pub(super) fn run(
        &self,
        place: Place,
        fragment: &Fragment,
    ) -> Result<Box<dyn RowSource>, Error> {
        self.touched.borrow_mut().insert(place);
        self.shards.run(place, fragment)
    }

    pub(super) fn shard_count(&self) -> usize {
        self.shards.count()
    }

    pub(super) fn touched(&self) -> Vec<Place> {
        self.touched.borrow().iter().copied().collect()
    }

    /// Counts a batch that came from a place.
    pub(super) fn count(&self, batch: &Batch) -> Result<(), Error> {
        self.meter.count(batch)
    }

    pub(super) fn check_limits(&self) -> Result<(), Error> {
        self.meter.check()
    }

    /// Adds to what a table has cost, and returns the sum.
    pub(super) fn spend(&self, table: &str, cost: u64) -> u64 {
        let mut spent = self.spent.borrow_mut();
        let sum = spent.entry(table.to_owned()).or_default();
        *sum = sum.saturating_add(cost);
        *sum
    }

    /// A number that this row has, and no other row of its table, for the time of the statement.
    pub(super) fn row_number(&self, table: &str, place: i64, identity: Vec<Value>) -> i64 {
        let mut numbers = self.numbers.borrow_mut();
        let next = i64::try_from(numbers.len()).unwrap_or(i64::MAX);
        *numbers
            .entry((table.to_owned(), place, identity))
            .or_insert(next)
    }

    /// Keeps the first failure; SQLite only carries its text.
    pub(super) fn fail(&self, error: Error) -> rusqlite::Error {
        let text = error.to_string();
        self.failure.borrow_mut().get_or_insert(error);
        rusqlite::Error::ModuleError(text)
    }

    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.borrow_mut().take()
    }
}
