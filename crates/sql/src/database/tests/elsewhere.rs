//! Places that check the number of the schema, as those of a gateway do, and fail when a test wants it.

use std::{rc::Rc, sync::Mutex};

use super::*;
use crate::shards::{
    ANNOUNCED_KEY, BROADCAST_KEY, Call, Fault, FaultKind, PlaceTransaction, Ran, RowSource, Shards,
    Visit, Watching, is_announced,
};

/// A view of places.
#[derive(Debug)]
pub(super) struct Elsewhere {
    places: Arc<dyn Places>,
    /// The number that is expected, if any is.
    number: Option<u64>,
    trouble: Arc<Trouble>,
}

/// What is to go wrong.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// The next commit of a place.
    pub(super) commit: Mutex<Option<(Place, Lost)>>,
    /// The next statement of a transaction at a place.
    pub(super) statement: Mutex<Option<(Place, Lost)>>,
    /// A place that does not answer.
    pub(super) down: Mutex<Option<Place>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It is not made.
    Before,
    /// It is made, and the answer is lost.
    After,
    /// It is not made, and the place does not answer from then on.
    Down,
}

impl Elsewhere {
    pub(super) fn new(places: Arc<dyn Places>, number: Option<u64>) -> Arc<Self> {
        Self::with_trouble(places, number, &Arc::default())
    }

    pub(super) fn with_trouble(
        places: Arc<dyn Places>,
        number: Option<u64>,
        trouble: &Arc<Trouble>,
    ) -> Arc<Self> {
        let trouble = Arc::clone(trouble);
        Arc::new(Self {
            places,
            number,
            trouble,
        })
    }

    /// Takes no writes while a change is announced.
    fn check_write(&self, place: Place) -> Result<(), Error> {
        self.check(place)?;
        if self.number.is_none() || !is_announced(self.kept(place, ANNOUNCED_KEY)?) {
            return Ok(());
        }
        Err(Fault::new(FaultKind::SchemaChanged, "a change is announced").at(self.name(place)))
    }

    fn kept(&self, place: Place, key: &str) -> Result<u64, Error> {
        let key = [Value::from(key)];
        let sql = "SELECT value FROM main._meta WHERE key = ?1";
        let found = self
            .places
            .query_row(place, Call::new(sql, &key), |row| row.get(0).as_i64())?;
        Ok(found.flatten().unwrap_or(0).unsigned_abs())
    }

    fn check(&self, place: Place) -> Result<(), Error> {
        if *self.trouble.down.lock().unwrap() == Some(place) {
            return Err(Fault::new(FaultKind::Unreachable, "it is down").at(self.name(place)));
        }
        let Some(number) = self.number else {
            return Ok(());
        };
        if self.kept(place, BROADCAST_KEY)? == number {
            return Ok(());
        }
        Err(Fault::new(FaultKind::SchemaChanged, "another number").at(self.name(place)))
    }
}

impl Places for Elsewhere {
    fn count(&self) -> usize {
        self.places.count()
    }

    fn name(&self, place: Place) -> &str {
        self.places.name(place)
    }

    fn size_bytes(&self, place: Place) -> Result<u64, Error> {
        self.places.size_bytes(place)
    }

    fn read(&self, place: Place, call: Call<'_>, visit: &mut Visit<'_>) -> Result<(), Error> {
        self.check(place)?;
        self.places.read(place, call, visit)
    }

    fn snapshots(self: Arc<Self>) -> Rc<dyn Shards> {
        let shards = Arc::clone(&self.places).snapshots();
        Rc::new(Snapshots {
            places: self,
            shards,
        })
    }

    fn write(&self, place: Place, unit: &[Call<'_>]) -> Result<Vec<Ran>, Error> {
        self.check_write(place)?;
        self.places.write(place, unit)
    }

    fn begin(
        &self,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        self.check_write(place)?;
        Ok(Box::new(Transaction {
            place,
            name: self.name(place).to_owned(),
            open: Some(self.places.begin(place, watching)?),
            trouble: Arc::clone(&self.trouble),
        }))
    }
}

#[derive(Debug)]
struct Snapshots {
    places: Arc<Elsewhere>,
    shards: Rc<dyn Shards>,
}

impl Shards for Snapshots {
    fn count(&self) -> usize {
        self.shards.count()
    }

    fn name(&self, place: Place) -> &str {
        self.shards.name(place)
    }

    fn run(&self, place: Place, fragment: &Fragment) -> Result<Box<dyn RowSource>, Error> {
        self.places.check(place)?;
        self.shards.run(place, fragment)
    }
}

#[derive(Debug)]
struct Transaction {
    place: Place,
    name: String,
    open: Option<Box<dyn PlaceTransaction>>,
    trouble: Arc<Trouble>,
}

impl Transaction {
    fn lost(&self) -> Error {
        Fault::new(FaultKind::Indeterminate, "the answer is lost").at(&self.name)
    }

    fn open(&mut self) -> &mut dyn PlaceTransaction {
        &mut **self.open.as_mut().unwrap()
    }
}

impl PlaceTransaction for Transaction {
    fn execute(&mut self, call: Call<'_>) -> Result<Ran, Error> {
        let here = self.place;
        let wanted = |(place, _): &mut (Place, Lost)| *place == here;
        let lost = self.trouble.statement.lock().unwrap().take_if(wanted);
        if let Some((_, lost)) = lost {
            if lost == Lost::Down {
                *self.trouble.down.lock().unwrap() = Some(here);
            }
            return Err(self.lost());
        }
        self.open().execute(call)
    }

    fn is_open(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_open())
    }

    fn commit(&mut self) -> Result<(), Error> {
        let here = self.place;
        let wanted = |(place, _): &mut (Place, Lost)| *place == here;
        let lost = self.trouble.commit.lock().unwrap().take_if(wanted);
        let Some((_, lost)) = lost else {
            return self.open().commit();
        };
        match lost {
            Lost::Before => {}
            Lost::After => self.open().commit()?,
            Lost::Down => *self.trouble.down.lock().unwrap() = Some(self.place),
        }
        self.open = None;
        Err(self.lost())
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.open().rollback()
    }
}
