//! Clients: they go by a map that may be old, number what they write, and try it again under the same number until they know what became of it.

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use shardwright_quorum::log::{ClientId, Level};
use shardwright_server::{
    reshaping::{is_sealed, shows_seal},
    shard::{Identity, Write, WriteError, Written},
};
use shardwright_store::{Error as StoreError, Member, Value, ValueRef};
use shardwright_testkit::{
    history::Read,
    sim::{Pid, Sim},
};
use shardwright_topology::{Position, ShardId, ShardMap, Timestamp};

use super::{
    CLIENTS_STOP, Missing, NODES, Reshape, TABLE, TIMEOUT, Token,
    executor::{Attempt, Reader, Reading, Who, is_refused},
    situations,
};

/// How many clients there are, and how many keys.
const CLIENTS: usize = 4;
pub(super) const KEYS: i64 = 10;

/// One who writes and reads.
#[derive(Default)]
struct Client {
    sequence: u64,
    map: Option<ShardMap>,
}

/// Something that was written, however often it is tried.
pub(super) struct Deed {
    pub(super) keys: Vec<i64>,
    client: usize,
    sequence: u64,
    pub(super) called: Timestamp,
    /// How many tries nobody has answered.
    pub(super) open: usize,
    pub(super) is_unknown: bool,
    /// When it was acknowledged, and where in the order of its keys it is.
    pub(super) answer: Option<(Timestamp, Vec<i64>)>,
    /// The shard that it was tried at last.
    last: Option<ShardId>,
    /// Whether it came to another shard after nobody knew what had become of it.
    is_elsewhere: bool,
    /// Whether nobody tries it any more.
    is_given_up: bool,
}

/// All that clients ask and are told.
#[derive(Default)]
pub(super) struct Clients {
    all: Vec<Client>,
    /// By the value that no other one has.
    pub(super) deeds: BTreeMap<i64, Deed>,
    /// The tries that nobody has answered: of which value, and on which node.
    tries: BTreeMap<u64, (i64, Pid)>,
    /// The reads that nobody has answered: of which key, since when, on which node, by whom.
    readings: BTreeMap<u64, (i64, Timestamp, Pid, usize)>,
    pub(super) reads: BTreeMap<i64, Vec<Read<i64>>>,
}

impl Clients {
    pub(super) fn new() -> Self {
        let mut clients = Self::default();
        clients.all.resize_with(CLIENTS, Client::default);
        clients
    }
}

fn client_id(client: usize) -> ClientId {
    let name = format!("client {client}");
    // Of some only the last outcome is remembered.
    match client % 2 {
        0 => ClientId::stream_named(&name),
        _ => ClientId::named(&name),
    }
}

fn moment(sim: &Sim<Reshape>) -> Timestamp {
    Timestamp(sim.true_time())
}

/// Adds a value to the lists of some keys, and returns where it is in each.
fn add(member: &mut Member<'_>, value: i64, keys: &[i64]) -> Result<Vec<u8>, StoreError> {
    let mut places = Vec::new();
    for key in keys {
        let count = "SELECT count(*) FROM entries WHERE k = ?1";
        let count = member.query_row(count, &[Value::from(*key)], |row| row.get(0).as_i64())?;
        let count = count.flatten().unwrap_or_default();
        let row = [*key, count, value].map(Value::from);
        member.execute("INSERT INTO entries(k, n, value) VALUES (?1, ?2, ?3)", &row)?;
        places.extend_from_slice(&count.to_be_bytes());
    }
    Ok(places)
}

fn places_of(outcome: &[u8]) -> Vec<i64> {
    let chunks = outcome.chunks_exact(8);
    let numbers = chunks.filter_map(|bytes| bytes.try_into().ok());
    numbers.map(i64::from_be_bytes).collect()
}

impl Reshape {
    pub(super) fn position(&self, key: i64) -> Position {
        let table = self.placement.table(TABLE);
        table.map_or(Position::MIN, |table| {
            table.position(ValueRef::Integer(key))
        })
    }

    /// Somebody writes or reads.
    pub(super) fn client(&mut self, sim: &mut Sim<Self>) {
        if sim.quiet_for().is_some_and(|quiet| quiet > CLIENTS_STOP) {
            return;
        }
        let pause = sim.dice().time(&(Duration::ZERO..=TIMEOUT / 6));
        sim.plan(pause, Token::Client);
        if !self.has_tables {
            return self.create_tables(sim);
        }
        let client = sim.dice().index(CLIENTS);
        let reads = match self.missing {
            Some(Missing::SealEndsReads) => 60,
            _ => 35,
        };
        if sim.dice().chance(reads) {
            return self.begin_client_read(sim, client);
        }
        let unsettled = self.clients.deeds.iter().filter(|(_, deed)| {
            let is_settled = deed.answer.is_some() || deed.is_given_up;
            deed.client == client && deed.open == 0 && !is_settled
        });
        // A stream has one write at a time, and all are to be settled soon.
        let unsettled: Vec<i64> = unsettled.map(|(value, _)| *value).collect();
        if let Some(value) = unsettled.first()
            && (client.is_multiple_of(2) || sim.dice().chance(70))
        {
            sim.mark(situations::AGAIN);
            return self.try_to_write(sim, *value);
        }
        let is_busy = |deed: &Deed| deed.client == client && deed.open > 0;
        if client.is_multiple_of(2) && self.clients.deeds.values().any(is_busy) {
            return;
        }
        let mut keys = vec![sim.dice().between(1..=KEYS)];
        if sim.dice().chance(20) {
            keys.push(sim.dice().between(1..=KEYS));
            keys.sort_unstable();
            keys.dedup();
        }
        let value = i64::try_from(self.name()).unwrap_or(i64::MAX);
        self.clients.all[client].sequence += 1;
        let deed = Deed {
            keys,
            client,
            sequence: self.clients.all[client].sequence,
            called: moment(sim),
            open: 0,
            is_unknown: false,
            answer: None,
            last: None,
            is_elsewhere: false,
            is_given_up: false,
        };
        self.clients.deeds.insert(value, deed);
        self.try_to_write(sim, value);
        if sim.dice().chance(4) {
            sim.mark(situations::IMPATIENT);
            self.try_to_write(sim, value);
        }
    }

    /// Where a client thinks that keys are; it looks the map up first if it has none.
    fn route(&mut self, sim: &Sim<Self>, client: usize, keys: &[i64]) -> Option<(ShardId, Pid)> {
        if self.clients.all[client].map.is_none() {
            self.clients.all[client].map = self.map(sim).ok();
        }
        let positions = keys.iter().map(|key| self.position(*key));
        let map = self.clients.all[client].map.as_ref()?;
        let mut owners = positions.map(|at| map.at(at));
        let owner = owners.next()?;
        if owners.any(|other| other.id() != owner.id()) {
            return None;
        }
        Some((owner.id().clone(), Self::pid(owner.primary()?)?))
    }

    fn try_to_write(&mut self, sim: &mut Sim<Self>, value: i64) {
        let Some(deed) = self.clients.deeds.get(&value) else {
            return;
        };
        let (client, keys) = (deed.client, deed.keys.clone());
        let Some((shard, at)) = self.route(sim, client, &keys) else {
            self.clients.all[client].map = None;
            return self.settle(sim, value);
        };
        if !sim.is_up(at) {
            self.clients.all[client].map = None;
            return;
        }
        let name = self.name();
        if let Some(deed) = self.clients.deeds.get_mut(&value) {
            deed.open += 1;
            if deed.is_unknown && deed.last.as_ref().is_some_and(|last| *last != shard) {
                sim.mark(situations::AGAIN_ELSEWHERE);
                deed.is_elsewhere = true;
            }
            deed.last = Some(shard.clone());
        }
        self.clients.tries.insert(name, (value, at));
        let later = sim.now(at) + sim.dice().time(&(Duration::ZERO..=TIMEOUT / 30));
        sim.wake(at, later, Token::Try(shard, name));
    }

    /// Keys that were in one shard are in two now: a write to both is given up, or has happened.
    fn settle(&mut self, sim: &mut Sim<Self>, value: i64) {
        if let Some(deed) = self.clients.deeds.get_mut(&value)
            && deed.keys.len() > 1
            && deed.open == 0
        {
            if deed.is_unknown {
                sim.mark(situations::DIVIDED);
                deed.is_given_up = true;
            } else {
                deed.keys.truncate(1);
            }
        }
    }

    /// A write has come to a node.
    pub(super) fn try_arrives(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId, name: u64) {
        let Some((value, _)) = self.clients.tries.get(&name).copied() else {
            return;
        };
        let Some(deed) = self.clients.deeds.get(&value) else {
            return;
        };
        let keys = deed.keys.clone();
        let positions = keys.iter().map(|key| self.position(*key)).collect();
        let identity = Identity {
            client: client_id(deed.client),
            sequence: deed.sequence,
        };
        let looks = self.missing != Some(Missing::SealEndsWrites);
        let run = move |member: &mut Member<'_>| {
            if looks && is_sealed(member)? {
                return Err(StoreError::Interrupted);
            }
            add(member, value, &keys)
        };
        let within = sim.dice().time(&(TIMEOUT / 2..=TIMEOUT * 3));
        let write = Write::new(run)
            .until(Level::Quorum, within)
            .identified(identity, positions);
        let attempt = Attempt {
            who: Who::Try(name),
            write,
            deadline: sim.now(at) + within,
        };
        self.take_write(sim, at, shard, attempt);
    }

    /// A client is told what became of a try.
    pub(super) fn tell(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        name: u64,
        told: Result<Written, WriteError>,
    ) {
        sim.trace(|| format!("{at} tells try {name}: {told:?}"));
        let Some((value, _)) = self.clients.tries.remove(&name) else {
            if name == 0 {
                self.has_tables = self.has_tables || told.is_ok();
            }
            return;
        };
        let now = moment(sim);
        let lost = match self.missing {
            Some(Missing::OutcomesShared) => 50,
            _ => 5,
        };
        let Some(deed) = self.clients.deeds.get_mut(&value) else {
            return;
        };
        deed.open = deed.open.saturating_sub(1);
        let client = deed.client;
        match told {
            // The answer gets lost on its way.
            _ if sim.is_faulty() && sim.dice().chance(lost) => deed.is_unknown = true,
            Ok(written) => {
                if written.repeated && deed.is_elsewhere {
                    sim.mark(situations::REPEATED_ELSEWHERE);
                }
                if written.repeated {
                    sim.mark(situations::REPEATED);
                }
                let places = places_of(&written.outcome);
                match &deed.answer {
                    Some((_, before)) if *before != places => {
                        let before = before.clone();
                        self.breaks(|| format!("{value} is told {before:?}, and then {places:?}"));
                    }
                    Some(_) => {}
                    None => deed.answer = Some((now, places)),
                }
            }
            Err(error) => {
                if is_refused(&error) {
                    sim.mark(situations::SEALED);
                }
                let is_lost = matches!(error, WriteError::Indeterminate | WriteError::Forgotten);
                deed.is_unknown |= is_lost;
                self.clients.all[client].map = None;
            }
        }
    }

    fn begin_client_read(&mut self, sim: &mut Sim<Self>, client: usize) {
        let key = sim.dice().between(1..=KEYS);
        let called = moment(sim);
        let Some((shard, at)) = self.route(sim, client, &[key]) else {
            self.clients.all[client].map = None;
            return;
        };
        let name = self.name();
        if sim.is_up(at) {
            self.clients
                .readings
                .insert(name, (key, called, at, client));
            let later = sim.now(at) + sim.dice().time(&(Duration::ZERO..=TIMEOUT / 30));
            sim.wake(at, later, Token::Read(shard, name));
        }
    }

    /// A read has come to a node.
    pub(super) fn read_arrives(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        name: u64,
    ) {
        let deadline = sim.now(at) + TIMEOUT * 2;
        let is_there = self
            .copy(at, shard)
            .is_some_and(|copy| copy.machine.is_some());
        let reading = Reading {
            by: Reader::Client(name),
            until: None,
            deadline,
        };
        if is_there {
            self.begin_read(sim, at, shard, reading);
        } else {
            self.show_client(sim, at, shard, name, false);
        }
    }

    /// A client is shown what it asked for, or has to ask again.
    pub(super) fn show_client(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        name: u64,
        is_fresh: bool,
    ) {
        let Some((key, called, _, client)) = self.clients.readings.remove(&name) else {
            return;
        };
        if !is_fresh {
            self.clients.all[client].map = None;
            return;
        }
        let looks = self.missing != Some(Missing::SealEndsReads);
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let list = copy.data.data().and_then(|data| {
            let snapshot = data.file().snapshot().map_err(|error| error.to_string())?;
            if looks && shows_seal(&snapshot).map_err(|error| error.to_string())? {
                return Ok(None);
            }
            let sql = "SELECT value FROM entries WHERE k = ?1 ORDER BY n";
            let mut seen = Vec::new();
            let all = snapshot.query(sql, &[Value::from(key)], |row| {
                seen.extend(row.get(0).as_i64());
                ControlFlow::<()>::Continue(())
            });
            let _all = all.map_err(|error| error.to_string())?;
            Ok(Some(seen))
        });
        let answered = moment(sim);
        match list {
            Ok(Some(seen)) => {
                sim.mark(situations::READ);
                let read = Read {
                    called,
                    answered,
                    seen,
                };
                self.clients.reads.entry(key).or_default().push(read);
            }
            Ok(None) => {
                sim.mark(situations::READ_SEALED);
                self.clients.all[client].map = None;
            }
            Err(error) => self.breaks(|| format!("{at} {shard} cannot be read: {error}")),
        }
    }

    /// A process has ended: nobody answers those who asked it.
    pub(super) fn is_gone(&mut self, at: Pid) {
        let mut lost = Vec::new();
        self.clients.tries.retain(|_, (value, of)| {
            let stays = *of != at;
            lost.extend((!stays).then_some(*value));
            stays
        });
        for value in lost {
            if let Some(deed) = self.clients.deeds.get_mut(&value) {
                deed.open = deed.open.saturating_sub(1);
                deed.is_unknown = true;
                self.clients.all[deed.client].map = None;
            }
        }
        self.clients.readings.retain(|_, (_, _, of, _)| *of != at);
    }

    /// Makes the tables, in the one shard that there is.
    fn create_tables(&mut self, sim: &mut Sim<Self>) {
        let shard = ShardId::numbered(0);
        let run = |member: &mut Member<'_>| {
            for sql in super::SCHEMA {
                member.execute(sql, ())?;
            }
            Ok(Vec::new())
        };
        let Some(at) = self
            .leader(&shard)
            .filter(|at| at.0 < NODES && sim.is_up(*at))
        else {
            return;
        };
        let identity = Identity {
            client: client_id(99),
            sequence: 1,
        };
        let attempt = Attempt {
            who: Who::Try(0),
            write: Write::new(run).identified(identity, Vec::new()),
            deadline: sim.now(at) + TIMEOUT,
        };
        self.take_write(sim, at, &shard, attempt);
    }
}
