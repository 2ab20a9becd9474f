//! The homes of a statement's keys, where a directory may name others than the shard map does.
//!
//! Planning does no I/O. So a plan is made with the homes that are known, and says which keys it had to ask about that
//! are not; they are looked up, and it is made again. Most statements name one key and are planned twice at most.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
};

use shardwright_store::Value;
use shardwright_topology::{Position, ShardMap};

use super::Routing;
use crate::{error::Error, key::CanonicalKey, schema::Schema};

/// A key of a key space, in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HomeKey {
    /// The key space: the name of its root table.
    pub(crate) space: Arc<str>,
    pub(crate) key: Value,
}

impl HomeKey {
    /// `None` for NULL, which is where its hash says and nowhere else.
    pub(crate) fn of(space: &str, key: &CanonicalKey<'_>) -> Option<Self> {
        let key = key.to_value();
        (!key.is_null()).then(|| Self {
            space: space.into(),
            key,
        })
    }

    /// Where the key's rows are without an entry, and where its entry is.
    pub(crate) fn position(&self) -> Position {
        CanonicalKey::of_canonical(self.key.as_ref()).position_in(&self.space)
    }
}

/// A key that gets its home by the statement that inserts its first row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewHome {
    pub(crate) key: HomeKey,
    /// The shard of the entry.
    pub(crate) entry: usize,
    /// The shard of the rows.
    pub(crate) shard: usize,
}

/// What a key is looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To find its rows; a key without an entry gets none.
    Find,
    /// To insert rows: a key without an entry may get one.
    Allocate,
}

/// The homes of the keys of one statement, as far as they were looked up.
#[derive(Debug)]
pub(crate) struct Homes {
    /// `None` where no directory is in use.
    purpose: Option<Purpose>,
    known: RefCell<HashMap<HomeKey, Option<usize>>>,
    missing: RefCell<Vec<HomeKey>>,
    new: RefCell<Vec<NewHome>>,
    /// Whether a key has no entry.
    has_unlisted: Cell<bool>,
}

impl Homes {
    pub(crate) fn new(purpose: Option<Purpose>) -> Self {
        Self {
            purpose,
            known: RefCell::default(),
            missing: RefCell::default(),
            new: RefCell::default(),
            has_unlisted: Cell::new(false),
        }
    }

    pub(crate) fn allocates(&self) -> bool {
        self.purpose == Some(Purpose::Allocate)
    }

    /// The home that the directory names for a key. One that was not looked up is noted.
    pub(super) fn of(&self, space: &str, key: &CanonicalKey<'_>) -> Option<usize> {
        let key = HomeKey::of(space, key)?;
        match self.known.borrow().get(&key) {
            Some(home) => *home,
            None => {
                let mut missing = self.missing.borrow_mut();
                if !missing.contains(&key) {
                    missing.push(key);
                }
                None
            }
        }
    }

    /// A key that gets a home.
    pub(crate) fn add(&self, new: NewHome) {
        self.new.borrow_mut().push(new);
    }

    /// The keys that get homes with this statement.
    pub(crate) fn take_new(&self) -> Vec<NewHome> {
        self.new.take()
    }

    /// Whether a key of the statement has no entry.
    pub(crate) fn has_unlisted(&self) -> bool {
        self.has_unlisted.get()
    }

    /// Plans until no key is missing; `look` finds the home of one, if it has an entry or gets one.
    pub(crate) fn plan<T>(
        &self,
        schema: &Schema,
        map: &ShardMap,
        mut look: impl FnMut(&HomeKey) -> Result<Option<usize>, Error>,
        make: impl Fn(Routing<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let homes = self.purpose.map(|_| self);
        let routing = Routing { schema, map, homes };
        loop {
            let made = make(routing);
            let missing = self.missing.take();
            if missing.is_empty() {
                return made;
            }
            for key in missing {
                let home = look(&key)?;
                self.has_unlisted
                    .set(self.has_unlisted.get() || home.is_none());
                self.known.borrow_mut().insert(key, home);
            }
        }
    }
}
