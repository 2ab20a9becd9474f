//! Clients: they number what they write, try it again while nobody knows what became of it, and read what they may.

use std::{collections::BTreeSet, time::Duration};

use shardwright_quorum::log::{ClientId, Event, Level, ReadLevel};
use shardwright_server::shard::{Identity, Token as Place, Write};
use shardwright_store::Member;
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{Lsn, Timestamp};

use super::{
    Ask, Sqlite,
    executor::{Attempt, Told},
    history::{Freshness, Refusal, Shown, Written},
    situations as own,
    statements::{Deed, REGISTERS},
};
use crate::log::{CLIENTS_STOP, Logs, Missing, TIMEOUT, Token, node::Node};

/// How many clients there are.
const CLIENTS: usize = 4;

/// One who writes and reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Client {
    /// The number of its last write.
    sequence: u64,
    /// Up to where it has been told of what happened.
    place: Option<Place>,
}

/// A read that is not answered yet.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    at: Pid,
    called: Timestamp,
    freshness: Freshness,
    /// What the data has to have come to.
    until: Option<Place>,
    /// Whether it is known how far that is.
    is_due: bool,
}

/// A try of a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try {
    value: i64,
    at: Pid,
    level: Level,
    called: Timestamp,
}

fn client_id(client: usize) -> ClientId {
    // Ids grow with the time they were made, and all of these are as old.
    let number = u128::try_from(client).unwrap_or_default() + 1;
    ClientId(number.to_be_bytes())
}

pub(super) fn clients() -> Vec<Client> {
    vec![Client::default(); CLIENTS]
}

/// Returns the true time.
pub(super) fn moment(sim: &Sim<Logs<Sqlite>>) -> Timestamp {
    Timestamp(sim.true_time())
}

impl Logs<Sqlite> {
    pub(super) fn client_of_data(&mut self, sim: &mut Sim<Self>) {
        if sim.quiet_for().is_some_and(|quiet| quiet > CLIENTS_STOP) {
            return;
        }
        let pause = sim.dice().time(&(Duration::ZERO..=TIMEOUT / 6));
        sim.plan(pause, Token::Client);
        let mut leading = self.leading();
        // What runs on old data makes this rule missed sooner.
        let stray = if self.missing == Some(Missing::RefusesOnLatest) {
            40
        } else {
            5
        };
        let is_anywhere = leading.is_empty() || sim.dice().chance(stray);
        let all: Vec<Pid> = self.nodes.keys().copied().collect();
        if is_anywhere {
            leading.clone_from(&all);
        }
        let is_read = self.content.has_tables() && sim.dice().chance(40);
        let at = match (self.missing, &*leading) {
            // Of two that lead, one writes and the other one does not know of it.
            (Some(Missing::LeaseHolds), [earlier, .., later]) => {
                *if is_read { earlier } else { later }
            }
            _ => *sim.dice().pick(&leading),
        };
        if is_read {
            let anywhere = *sim.dice().pick(&all);
            self.begin_read(sim, at, anywhere);
        } else if sim.is_up(at) {
            let count = if self.content.has_tables() {
                sim.dice().count(1..=3)
            } else {
                1
            };
            for _ in 0..count {
                self.write(sim, at);
            }
        }
    }

    /// Returns who takes itself for the primary, the earliest first.
    fn leading(&self) -> Vec<Pid> {
        let epoch = |node: &Node| Some(node.machine.as_ref()?.leads()?.epoch);
        let nodes = self.nodes.iter();
        let leading: BTreeSet<_> = nodes
            .filter_map(|(at, node)| Some((epoch(node)?, *at)))
            .collect();
        leading.into_iter().map(|(_, at)| at).collect()
    }

    fn begin_read(&mut self, sim: &mut Sim<Self>, leading: Pid, anywhere: Pid) {
        let client = sim.dice().index(CLIENTS);
        let (called, name) = (moment(sim), self.name());
        let levels = [Some(ReadLevel::Leased), Some(ReadLevel::Consistent), None];
        let leased = if self.missing == Some(Missing::LeaseHolds) {
            50
        } else {
            5
        };
        let choices = [(leased, levels[0]), (1, levels[1]), (4, levels[2])];
        let level = sim.dice().weighted(&choices);
        let (mut at, mut until, mut freshness) = (leading, None, Freshness::Latest);
        if level.is_none() {
            (at, freshness) = (anywhere, Freshness::Any);
            if sim.dice().chance(60) {
                until = self.content.clients[client].place;
                freshness = Freshness::AtLeast(self.content.history.told(client));
            }
        }
        if !sim.is_up(at) {
            return;
        }
        let reading = Reading {
            at,
            called,
            freshness,
            until,
            is_due: level.is_none(),
        };
        self.content.readings.insert(name, reading);
        let now = sim.now(at);
        sim.wake(at, now, Token::Ask(Ask::Read(name, level)));
    }

    /// Lets somebody write something, or try again what nobody knows about.
    fn write(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let unknown = self.content.history.unknown();
        let value = if !unknown.is_empty() && sim.dice().chance(60) {
            sim.mark(own::AGAIN);
            *sim.dice().pick(&unknown)
        } else if !self.content.has_tables() {
            match self.content.history.writes.keys().next() {
                Some(first) => *first,
                None => self.new_write(sim, 0, Deed::Create),
            }
        } else {
            let client = sim.dice().index(CLIENTS);
            let deed = self.deed(sim);
            self.new_write(sim, client, deed)
        };
        self.try_to_write(sim, at, value);
        if sim.dice().chance(3) {
            sim.mark(own::IMPATIENT);
            let other = Pid(sim.dice().index(self.nodes.len()));
            if sim.is_up(other) {
                self.try_to_write(sim, other, value);
            }
        }
    }

    fn deed(&mut self, sim: &mut Sim<Self>) -> Deed {
        let register = sim.dice().between(1..=REGISTERS);
        match sim.dice().index(100) {
            0..=29 => Deed::Set(register),
            30..=44 => Deed::Claim(register),
            45..=69 => {
                let latest = self.content.latest.get(&register).copied();
                Deed::Exchange(register, latest.unwrap_or_default())
            }
            70..=86 => Deed::Clear(register),
            87..=90 => Deed::Index(sim.dice().chance(50)),
            91..=96 => Deed::Violate(register),
            _ => Deed::End(register),
        }
    }

    fn new_write(&mut self, sim: &Sim<Self>, client: usize, deed: Deed) -> i64 {
        let value = i64::try_from(self.name()).unwrap_or(i64::MAX);
        let sequence = &mut self.content.clients[client].sequence;
        *sequence += 1;
        let write = Written {
            deed,
            client,
            sequence: *sequence,
            called: moment(sim),
            open: 0,
            is_unknown: false,
            answer: None,
        };
        self.content.history.writes.insert(value, write);
        value
    }

    fn try_to_write(&mut self, sim: &mut Sim<Self>, at: Pid, value: i64) {
        let name = self.name();
        let levels = [(1, Level::One), (6, Level::Quorum), (2, Level::All)];
        let level = sim.dice().weighted(&levels);
        let called = moment(sim);
        let one = Try {
            value,
            at,
            level,
            called,
        };
        self.content.tries.insert(name, one);
        if let Some(write) = self.content.history.writes.get_mut(&value) {
            write.open += 1;
        }
        let now = sim.now(at);
        sim.wake(at, now, Token::Ask(Ask::Write(name)));
    }

    /// A node is asked to write.
    pub(super) fn take_write(&mut self, sim: &mut Sim<Self>, at: Pid, name: u64) {
        let Some(Try { value, level, .. }) = self.content.tries.get(&name).copied() else {
            return;
        };
        let Some(written) = self.content.history.writes.get(&value) else {
            return;
        };
        let deed = written.deed;
        let identity = Identity {
            client: client_id(written.client),
            sequence: written.sequence,
        };
        let within = sim.dice().time(&(TIMEOUT / 2..=TIMEOUT * 3));
        let run = move |member: &mut Member<'_>| deed.run(member, value);
        let attempt = Attempt {
            id: name,
            write: Write::new(run)
                .until(level, within)
                .identified(identity, Vec::new()),
            deadline: sim.now(at) + within,
            is_alone: false,
        };
        let executor = self.content.executors.entry(at).or_default();
        executor.waiting.push_back(attempt);
        self.execute(sim, at);
    }

    /// A client is told what became of a try.
    pub(super) fn tell(&mut self, sim: &mut Sim<Self>, name: u64, told: Told) {
        sim.trace(|| format!("try {name}: {told:?}"));
        let Some(one) = self.content.tries.remove(&name) else {
            return;
        };
        let now = moment(sim);
        let history = &mut self.content.history;
        let Some(write) = history.writes.get_mut(&one.value) else {
            return;
        };
        write.open -= 1;
        let (client, deed) = (write.client, write.deed);
        match told {
            // The answer gets lost on its way.
            _ if sim.is_faulty() && sim.dice().chance(4) => write.is_unknown = true,
            Told::Written(written) => {
                if written.repeated {
                    sim.mark(own::REPEATED);
                } else if one.level == Level::One {
                    // It may yet be lost.
                    write.is_unknown = true;
                    return;
                }
                if deed.is_refused() {
                    history.breaks(|| format!("{} cannot happen, and has", one.value));
                }
                history.acknowledged(one.value, now, &written.outcome);
                if let Some(register) = deed.register() {
                    self.content.latest.insert(register, one.value);
                }
                let place = &mut self.content.clients[client].place;
                *place = (*place).max(Some(written.token));
            }
            Told::Refused if deed.is_refused() || one.level == Level::One => {}
            Told::Refused => match deed {
                Deed::Claim(register) => history.refused(Refusal {
                    register,
                    called: one.called,
                    answered: now,
                }),
                _ => history.breaks(|| format!("{} is refused: {deed:?}", one.value)),
            },
            Told::NotNow => {}
            Told::Forgotten => {
                sim.mark(own::FORGOTTEN);
                write.is_unknown = true;
            }
            Told::Unknown => write.is_unknown = true,
        }
    }

    /// A node is asked to read.
    pub(super) fn take_read(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        name: u64,
        level: Option<ReadLevel>,
    ) {
        let Some(level) = level else {
            return self.serve(sim, at);
        };
        self.content.leased = (level == ReadLevel::Leased).then_some(name);
        self.feed(sim, at, Event::Read { read: name, level });
        // What was not answered at once had no lease.
        self.content.leased = None;
    }

    /// The log says what a read has to see.
    pub(super) fn read_is_due(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        name: u64,
        applied: Option<Lsn>,
    ) {
        let Some(lsn) = applied else {
            sim.mark(own::REFUSED);
            self.content.readings.remove(&name);
            return;
        };
        let is_leased = self.content.leased == Some(name);
        sim.mark(if is_leased { own::LEASED } else { own::ROUND });
        if let Some(reading) = self.content.readings.get_mut(&name) {
            reading.is_due = true;
            let epoch = shardwright_topology::Epoch::UNASSIGNED;
            reading.until = Some(Place { epoch, lsn });
        }
        self.serve(sim, at);
    }

    /// Answers the reads at a node whose data has come far enough, and refuses them all while it has none.
    pub(super) fn serve(&mut self, sim: &mut Sim<Self>, at: Pid) {
        if !self.content.copy(at).is_open() {
            let readings = &mut self.content.readings;
            return readings.retain(|_, reading| reading.at != at);
        }
        let here = self.nodes[&at].data.applied;
        let missing = self.missing;
        let is_ready = |reading: &Reading| {
            let waits = match reading.freshness {
                Freshness::AtLeast(_) => missing != Some(Missing::TokenAwaited),
                _ => missing != Some(Missing::ReadWaits),
            };
            let until = reading.until.filter(|_| waits);
            let has_come =
                until.is_none_or(|until| here.lsn >= until.lsn && here.epoch >= until.epoch);
            reading.is_due && has_come
        };
        let here_now = self.content.readings.iter();
        let here_now = here_now.filter(|(_, reading)| reading.at == at && reading.is_due);
        let (ready, waiting): (Vec<_>, Vec<_>) = here_now
            .map(|(name, reading)| (*name, is_ready(reading)))
            .partition(|(_, is_ready)| *is_ready);
        if !waiting.is_empty() {
            sim.mark(own::WAITED);
        }
        for (name, _) in ready {
            let reading = self.content.readings.remove(&name);
            let contents = self.content.contents(at);
            match (reading, contents) {
                (Some(reading), Ok(contents)) => self.show_contents(sim, reading, contents),
                (_, Err(error)) => {
                    let history = &mut self.content.history;
                    history.breaks(|| format!("{at} cannot be read: {error}"));
                }
                (None, _) => {}
            }
        }
    }

    fn show_contents(
        &mut self,
        sim: &mut Sim<Self>,
        reading: Reading,
        contents: super::statements::Contents,
    ) {
        sim.trace(|| format!("{} shows {} entries", reading.at, contents.entries.len()));
        let most = &mut self.content.most_shown;
        if contents.entries.len() < *most {
            sim.mark(own::BEHIND);
        }
        *most = contents.entries.len().max(*most);
        self.content.history.shown(Shown {
            called: reading.called,
            answered: moment(sim),
            freshness: reading.freshness,
            contents,
        });
    }

    /// A process has ended: nobody answers those who asked it.
    pub(super) fn is_gone(content: &mut Sqlite, at: Pid, is_crash: bool) {
        let mut lost = content.executors.entry(at).or_default().stop(is_crash);
        if is_crash {
            let there = content.tries.iter().filter(|(_, one)| one.at == at);
            lost.extend(there.map(|(name, _)| *name).collect::<Vec<_>>());
            content.readings.retain(|_, reading| reading.at != at);
        }
        for name in lost {
            let value = content.tries.remove(&name).map(|one| one.value);
            let write = value.and_then(|value| content.history.writes.get_mut(&value));
            if let Some(write) = write {
                write.open -= 1;
                write.is_unknown = true;
            }
        }
    }
}
