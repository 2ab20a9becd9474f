//! Places that make what has a number once, as those of a gateway do.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    rc::Rc,
    sync::Mutex,
    time::Duration,
};

use super::*;
use crate::shards::{
    Call, Fault, FaultKind, PlaceTransaction, Ran, Shards, StatementId, Visit, Watching,
};

/// The places as a statement uses them.
#[derive(Debug)]
pub(super) struct Once {
    places: Arc<dyn Places>,
    memory: Arc<Memory>,
    statement: Option<StatementId>,
    counts: Mutex<BTreeMap<Place, u32>>,
    left: Option<Duration>,
}

/// What the places remember, and what is to go wrong.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) known: Mutex<HashMap<(StatementId, Place, u32), Vec<Ran>>>,
    /// How the writes are refused that come after so many.
    pub(super) refusal: Mutex<Option<(u32, FaultKind)>>,
    /// A place whose next commit is not made, and where nothing is begun.
    pub(super) down: Mutex<Option<Place>>,
}

pub(super) fn statement(sequence: u64) -> StatementId {
    StatementId {
        client: [7; 16],
        sequence,
    }
}

impl Memory {
    /// A handle for a try of a statement.
    pub(super) fn try_of(self: &Arc<Self>, db: &ShardedDatabase, sequence: u64) -> ShardedDatabase {
        self.handle(db, Some(statement(sequence)), None)
    }

    /// A handle for a statement that has so much time.
    pub(super) fn within(
        self: &Arc<Self>,
        db: &ShardedDatabase,
        left: Duration,
    ) -> ShardedDatabase {
        self.handle(db, None, Some(left))
    }

    fn handle(
        self: &Arc<Self>,
        db: &ShardedDatabase,
        statement: Option<StatementId>,
        left: Option<Duration>,
    ) -> ShardedDatabase {
        db.through(|_| {
            Arc::new(Once {
                places: db.places(),
                memory: Arc::clone(self),
                statement,
                counts: Mutex::default(),
                left,
            })
        })
    }

    fn is_down(&self, place: Place) -> bool {
        *self.down.lock().unwrap() == Some(place)
    }
}

impl Once {
    fn next(&self, place: Place) -> Option<(StatementId, Place, u32)> {
        let statement = self.statement?;
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(place).or_default();
        *count += 1;
        Some((statement, place, *count))
    }

    fn begun(
        &self,
        number: Option<(StatementId, Place, u32)>,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        if self.memory.is_down(place) {
            return Err(Fault::new(FaultKind::Unreachable, "it is down").at(self.name(place)));
        }
        let known = number.and_then(|number| {
            let known = self.memory.known.lock().unwrap();
            known.get(&number).cloned()
        });
        let open = match &known {
            Some(_) => None,
            None => Some(self.places.begin(place, watching)?),
        };
        Ok(Box::new(Transaction {
            memory: Arc::clone(&self.memory),
            number,
            place,
            name: self.name(place).to_owned(),
            open,
            known: known.map(VecDeque::from),
            ran: Vec::new(),
        }))
    }
}

impl Places for Once {
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
        self.places.read(place, call, visit)
    }

    fn snapshots(self: Arc<Self>) -> Rc<dyn Shards> {
        Arc::clone(&self.places).snapshots()
    }

    fn write(&self, place: Place, unit: &[Call<'_>]) -> Result<Vec<Ran>, Error> {
        let number = self.next(place);
        let known = |number| self.memory.known.lock().unwrap().get(&number).cloned();
        if let Some(ran) = number.and_then(known) {
            return Ok(ran);
        }
        if let (Some(_), Some((after, kind))) = (number, &mut *self.memory.refusal.lock().unwrap())
        {
            if *after == 0 {
                return Err(Fault::new(*kind, "it is refused").at(self.name(place)));
            }
            *after -= 1;
        }
        let ran = self.places.write(place, unit)?;
        if let Some(number) = number {
            self.memory
                .known
                .lock()
                .unwrap()
                .insert(number, ran.clone());
        }
        Ok(ran)
    }

    fn begin(
        &self,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        self.begun(self.next(place), place, watching)
    }

    fn time_left(&self) -> Option<Duration> {
        self.left
    }

    fn statement(&self) -> Option<StatementId> {
        self.statement
    }

    fn may_recur(&self) -> bool {
        self.statement.is_some()
    }

    fn recall(&self) -> Result<Vec<(Place, Vec<Ran>)>, Error> {
        let statement = self.statement.unwrap();
        let known = self.memory.known.lock().unwrap();
        let places: &dyn Places = self;
        let at = |place| Some((place, known.get(&(statement, place, 1))?.clone()));
        Ok(places.all().filter_map(at).collect())
    }

    fn begin_as(
        &self,
        statement: StatementId,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        self.begun(Some((statement, place, 1)), place, watching)
    }

    fn everywhere(self: Arc<Self>) -> Option<Arc<dyn Places>> {
        Some(Arc::new(Self {
            places: Arc::clone(&self.places),
            memory: Arc::clone(&self.memory),
            statement: None,
            counts: Mutex::default(),
            left: self.left,
        }))
    }
}

#[derive(Debug)]
struct Transaction {
    memory: Arc<Memory>,
    number: Option<(StatementId, Place, u32)>,
    place: Place,
    name: String,
    open: Option<Box<dyn PlaceTransaction>>,
    known: Option<VecDeque<Ran>>,
    ran: Vec<Ran>,
}

impl PlaceTransaction for Transaction {
    fn execute(&mut self, call: Call<'_>) -> Result<Ran, Error> {
        if let Some(known) = &mut self.known {
            return Ok(known.pop_front().expect("it is the same statement"));
        }
        let ran = self.aside(call)?;
        self.ran.push(ran.clone());
        Ok(ran)
    }

    fn aside(&mut self, call: Call<'_>) -> Result<Ran, Error> {
        self.open.as_mut().expect("nothing is run").execute(call)
    }

    fn is_remembered(&self) -> bool {
        self.known.is_some()
    }

    fn remembered(&mut self) -> Vec<Ran> {
        self.known.take().into_iter().flatten().collect()
    }

    fn is_open(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.is_open())
    }

    fn commit(&mut self) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        if self.memory.is_down(self.place) {
            return Err(Fault::new(FaultKind::Indeterminate, "it is lost").at(&self.name));
        }
        open.commit()?;
        if let Some(number) = self.number {
            let ran = std::mem::take(&mut self.ran);
            self.memory.known.lock().unwrap().insert(number, ran);
        }
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.open.take().map_or(Ok(()), |mut open| open.rollback())
    }
}
