//! Places behind channels, each on a thread of its own: the engine of a sharded database needs nothing of them but
//! plain data in both directions. They refuse what was planned for another schema than theirs.

mod check;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, VecDeque},
    ops::ControlFlow,
    rc::Rc,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
};

use shardwright::{
    sql::{
        Error,
        shards::{
            Batch, Call, Fault, FaultKind, Fragment, Place, PlaceTransaction, Places, Ran,
            RowSource, Shards, Visit, Watch, Watching,
        },
    },
    store::{Row, Value},
};

/// What goes to a place.
#[derive(Debug, Clone, PartialEq)]
enum Request {
    Size,
    Read(Fragment),
    Write(Vec<Fragment>),
    Begin(Wanted),
    Execute(u64, Fragment),
    Commit(u64),
    Rollback(u64),
    BeginSnapshot,
    Open(u64, Fragment),
    Next(u64),
    /// A transaction, a snapshot or a source is not needed any more.
    Forget(u64),
    Stop,
}

/// [`Watching`], owned.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Any,
    Nothing,
    These(Watch),
}

/// What comes back.
#[derive(Debug, Clone, PartialEq)]
enum Reply {
    Done,
    Size(u64),
    Rows(Vec<Vec<Value>>),
    Ran(Vec<Ran>),
    /// The number of a transaction, a snapshot or a source.
    Number(u64),
    /// What became of a step of a transaction, and whether that is still open.
    Step(Result<Ran, Fault>, bool),
}

type Answered = Result<Reply, Fault>;

/// A request with the number of the schema that it was planned for, if it depends on that, and where the answer goes.
type Asked = (Option<u64>, Request, Sender<Answered>);

/// Nothing borrowed, no handle and no connection is in what is sent.
const _: fn() = || {
    fn is_plain<T: Clone + PartialEq + Send + Sync + 'static>() {}
    is_plain::<Request>();
    is_plain::<Answered>();
};

/// The places that others serve.
#[derive(Debug)]
pub(crate) struct Channels {
    catalog: Line,
    shards: Vec<Line>,
    threads: Vec<JoinHandle<()>>,
}

/// The way to one place.
#[derive(Debug, Clone)]
struct Line {
    name: String,
    number: Option<u64>,
    requests: Sender<Asked>,
}

impl Channels {
    /// Serves each of `places` on a thread of its own.
    pub(crate) fn to(places: &Arc<dyn Places>) -> Self {
        let mut threads = Vec::new();
        let mut line = |place: Place| {
            let (requests, inbox) = mpsc::channel();
            let served = Arc::clone(places);
            threads.push(std::thread::spawn(move || serve(place, &served, &inbox)));
            Line {
                name: places.name(place).to_owned(),
                number: None,
                requests,
            }
        };
        Self {
            catalog: line(Place::Catalog),
            shards: (0..places.count())
                .map(|shard| line(Place::Shard(shard)))
                .collect(),
            threads,
        }
    }

    /// The same places, for statements that are planned for the schema of that number.
    pub(crate) fn numbered(&self, number: u64) -> Self {
        let line = |line: &Line| Line {
            number: Some(number),
            ..line.clone()
        };
        Self {
            catalog: line(&self.catalog),
            shards: self.shards.iter().map(line).collect(),
            threads: Vec::new(),
        }
    }

    fn line(&self, place: Place) -> &Line {
        match place {
            Place::Shard(index) => &self.shards[index],
            Place::Catalog => &self.catalog,
        }
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        for line in self.shards.iter().chain([&self.catalog]) {
            let _stopped = line.ask(Request::Stop);
        }
        for thread in self.threads.drain(..) {
            thread.join().expect("a place does not panic");
        }
    }
}

impl Line {
    fn ask(&self, request: Request) -> Result<Reply, Error> {
        let (back, reply) = mpsc::channel();
        let gone = || Fault::new(FaultKind::Unreachable, "its thread has ended").at(&self.name);
        let asked = (self.number, request, back);
        self.requests.send(asked).map_err(|_| gone())?;
        let answered = reply.recv().map_err(|_| gone())?;
        answered.map_err(|fault| fault.at(&self.name))
    }

    fn number(&self, request: Request) -> Result<u64, Error> {
        match self.ask(request)? {
            Reply::Number(number) => Ok(number),
            other => panic!("not a number: {other:?}"),
        }
    }

    fn rows(&self, request: Request) -> Result<Vec<Vec<Value>>, Error> {
        match self.ask(request)? {
            Reply::Rows(rows) => Ok(rows),
            other => panic!("no rows: {other:?}"),
        }
    }

    /// The number is not used again, and a place that is gone has forgotten it.
    fn forget(&self, number: u64) {
        let _forgotten = self.ask(Request::Forget(number));
    }
}

impl Places for Channels {
    fn count(&self) -> usize {
        self.shards.len()
    }

    fn name(&self, place: Place) -> &str {
        &self.line(place).name
    }

    fn size_bytes(&self, place: Place) -> Result<u64, Error> {
        match self.line(place).ask(Request::Size)? {
            Reply::Size(bytes) => Ok(bytes),
            other => panic!("no size: {other:?}"),
        }
    }

    fn read(&self, place: Place, call: Call<'_>, visit: &mut Visit<'_>) -> Result<(), Error> {
        let rows = self.line(place).rows(Request::Read(call.into()))?;
        let _shown = rows.iter().try_for_each(|row| visit(&Row::of_values(row)));
        Ok(())
    }

    fn snapshots(self: Arc<Self>) -> Rc<dyn Shards> {
        Rc::new(Snapshots {
            places: self,
            begun: RefCell::default(),
        })
    }

    fn write(&self, place: Place, unit: &[Call<'_>]) -> Result<Vec<Ran>, Error> {
        let unit = unit.iter().map(|call| Fragment::from(*call)).collect();
        match self.line(place).ask(Request::Write(unit))? {
            Reply::Ran(ran) => Ok(ran),
            other => panic!("not what was done: {other:?}"),
        }
    }

    fn begin(
        &self,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Box<dyn PlaceTransaction>, Error> {
        let wanted = match watching {
            Watching::Any => Wanted::Any,
            Watching::Nothing => Wanted::Nothing,
            Watching::These(watch) => Wanted::These((**watch).clone()),
        };
        let line = self.line(place).clone();
        let number = line.number(Request::Begin(wanted))?;
        Ok(Box::new(Transaction {
            line,
            number,
            is_open: true,
        }))
    }
}

#[derive(Debug)]
struct Transaction {
    line: Line,
    number: u64,
    is_open: bool,
}

impl Transaction {
    fn step(&mut self, request: Request) -> Result<Ran, Error> {
        match self.line.ask(request)? {
            Reply::Step(ran, is_open) => {
                self.is_open = is_open;
                ran.map_err(|fault| fault.at(&self.line.name))
            }
            other => panic!("not a step: {other:?}"),
        }
    }
}

impl PlaceTransaction for Transaction {
    fn execute(&mut self, call: Call<'_>) -> Result<Ran, Error> {
        self.step(Request::Execute(self.number, call.into()))
    }

    fn is_open(&self) -> bool {
        self.is_open
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.step(Request::Commit(self.number)).map(drop)
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.step(Request::Rollback(self.number)).map(drop)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.line.forget(self.number);
    }
}

/// Snapshots, by their numbers at the places.
#[derive(Debug)]
struct Snapshots {
    places: Arc<Channels>,
    begun: RefCell<BTreeMap<Place, u64>>,
}

impl Shards for Snapshots {
    fn count(&self) -> usize {
        self.places.count()
    }

    fn name(&self, place: Place) -> &str {
        self.places.name(place)
    }

    fn run(&self, place: Place, fragment: &Fragment) -> Result<Box<dyn RowSource>, Error> {
        let line = self.places.line(place);
        let mut begun = self.begun.borrow_mut();
        let snapshot = match begun.get(&place) {
            Some(snapshot) => *snapshot,
            None => {
                let number = line.number(Request::BeginSnapshot)?;
                begun.insert(place, number);
                number
            }
        };
        let number = line.number(Request::Open(snapshot, fragment.clone()))?;
        Ok(Box::new(Source {
            line: line.clone(),
            number,
        }))
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        for (place, number) in self.begun.borrow().iter() {
            self.places.line(*place).forget(*number);
        }
    }
}

#[derive(Debug)]
struct Source {
    line: Line,
    number: u64,
}

impl RowSource for Source {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear();
        for row in self.line.rows(Request::Next(self.number))? {
            batch.push(&Row::of_values(&row));
        }
        Ok(!batch.is_empty())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.line.forget(self.number);
    }
}

/// One place, on its own thread.
struct Server<'p> {
    place: Place,
    places: &'p Arc<dyn Places>,
    last: u64,
    transactions: HashMap<u64, Box<dyn PlaceTransaction>>,
    snapshots: HashMap<u64, Rc<dyn Shards>>,
    sources: HashMap<u64, Box<dyn RowSource>>,
}

fn serve(place: Place, places: &Arc<dyn Places>, inbox: &Receiver<Asked>) {
    let mut server = Server {
        place,
        places,
        last: 0,
        transactions: HashMap::new(),
        snapshots: HashMap::new(),
        sources: HashMap::new(),
    };
    // What writes has to wait for an open transaction, whose next step comes the same way.
    let mut waiting: VecDeque<Asked> = VecDeque::new();
    for asked in inbox {
        if asked.1 == Request::Stop {
            break;
        }
        waiting.push_back(asked);
        while let Some(next) = waiting.iter().position(|asked| server.is_ready(&asked.1)) {
            let (number, request, back) = waiting.remove(next).expect("it was found there");
            let checked = server.check(number, &request);
            let answered = checked.and_then(|()| server.answer(request));
            // Whoever asked may have gone.
            let _told = back.send(answered.map_err(|error| Fault::from(&error)));
        }
    }
}

impl Server<'_> {
    fn is_ready(&self, request: &Request) -> bool {
        let writes = matches!(request, Request::Write(_) | Request::Begin(_));
        !writes || !self.transactions.values().any(|open| open.is_open())
    }

    fn answer(&mut self, request: Request) -> Result<Reply, Error> {
        let place = self.place;
        Ok(match request {
            Request::Size => Reply::Size(self.places.size_bytes(place)?),
            Request::Read(fragment) => {
                let mut rows = Vec::new();
                fragment.with_call(|call| {
                    self.places.read(place, call, &mut |row| {
                        rows.push(row.to_values());
                        ControlFlow::Continue(())
                    })
                })?;
                Reply::Rows(rows)
            }
            Request::Write(unit) => Reply::Ran(Fragment::with_calls(&unit, |unit| {
                self.places.write(place, unit)
            })?),
            Request::Begin(wanted) => {
                let transaction = match wanted {
                    Wanted::Any => self.places.begin(place, Watching::Any)?,
                    Wanted::Nothing => self.places.begin(place, Watching::Nothing)?,
                    Wanted::These(watch) => {
                        let watch = Arc::new(watch);
                        self.places.begin(place, Watching::These(&watch))?
                    }
                };
                let number = self.next();
                self.transactions.insert(number, transaction);
                Reply::Number(number)
            }
            Request::Execute(number, fragment) => self.step(number, |transaction| {
                fragment.with_call(|call| transaction.execute(call))
            }),
            Request::Commit(number) => self.step(number, |transaction| {
                transaction.commit().map(|()| Ran::default())
            }),
            Request::Rollback(number) => self.step(number, |transaction| {
                transaction.rollback().map(|()| Ran::default())
            }),
            Request::BeginSnapshot => {
                let number = self.next();
                let snapshot = Arc::clone(self.places).snapshots();
                self.snapshots.insert(number, snapshot);
                Reply::Number(number)
            }
            Request::Open(snapshot, fragment) => {
                let source = self.snapshots[&snapshot].run(place, &fragment)?;
                let number = self.next();
                self.sources.insert(number, source);
                Reply::Number(number)
            }
            Request::Next(source) => {
                let mut batch = Batch::new();
                let source = self.sources.get_mut(&source).expect("a source of ours");
                source.next_batch(&mut batch)?;
                Reply::Rows(batch.rows().map(|row| row.to_values()).collect())
            }
            Request::Forget(number) => {
                self.transactions.remove(&number);
                self.snapshots.remove(&number);
                self.sources.remove(&number);
                Reply::Done
            }
            Request::Stop => Reply::Done,
        })
    }

    fn step(
        &mut self,
        number: u64,
        run: impl FnOnce(&mut dyn PlaceTransaction) -> Result<Ran, Error>,
    ) -> Reply {
        let transaction = self.transactions.get_mut(&number);
        let transaction = &mut **transaction.expect("a transaction of ours");
        let ran = run(transaction).map_err(|error| Fault::from(&error));
        Reply::Step(ran, transaction.is_open())
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}
