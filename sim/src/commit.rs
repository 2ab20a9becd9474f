//! Commits over several shards: the caller and the participants of production, on simulated files and a bad network.
//!
//! Three shards have an account each. Three clients move money between two or three of them, in any order, and read the
//! sum by snapshots that they compare. Everybody crashes at any step, writes fail, and shards are replaced by others.
//!
//! What must hold: a commit is on all of its shards or on none; its caller never hears the contrary; whoever reads
//! snapshots that belong together sees the whole sum. A writer is held for the recovery time-out at most. After the
//! faults nothing is prepared, no decision is kept, and commits and reads succeed.

mod client;
mod file;
mod history;
mod missing;
mod shard;

use std::time::Duration;

use shardwright_sql::commit::{Answer, CommitId, Message, Party, Ticket, Timing, cut::Listing};
use shardwright_testkit::sim::{Faults, Input, InputOf, Pid, Scenario, Sim, StoreFaults, marks};

pub(crate) use self::missing::Missing;
use self::{client::Client, history::History, shard::Shard};

/// How many shards there are. They are the first processes, the clients the others.
const SHARDS: usize = 3;
const CLIENTS: usize = 3;

/// What each account has at first, and all have together.
const BALANCE: i64 = 100;
const TOTAL: i64 = BALANCE * SHARDS as i64;

/// For how long after the faults clients go on.
const LAST: Duration = Duration::from_millis(12_000);

/// The recovery time-out.
const HOLD: Duration = Duration::from_millis(2_000);

const TIMING: Timing = Timing {
    hold: HOLD,
    ask: Duration::from_millis(700),
    wait: Duration::from_millis(1_500),
    retry: Duration::from_millis(250),
    patience: Duration::from_millis(2_000),
    retention: Duration::from_millis(6_000),
};

/// All processes.
#[derive(Debug)]
pub(crate) struct Commits {
    missing: Option<Missing>,
    shards: Vec<Shard>,
    clients: Vec<Client>,
    /// Of the shard map.
    revision: u64,
    history: History,
}

/// What processes say to each other.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// To a participant, by a caller or another one.
    Request(Message),
    /// To a caller.
    Answer {
        id: CommitId,
        shard: Party,
        answer: Answer,
    },
    /// A statement, in the transaction of a ticket.
    Run {
        id: CommitId,
        ticket: Ticket,
        amount: i64,
    },
    Ran {
        id: CommitId,
        shard: Party,
        is_done: bool,
    },
    /// How many commits has the shard had?
    Count {
        read: u64,
    },
    Counted {
        read: u64,
        shard: Party,
        count: u64,
    },
    /// What is in a snapshot of now?
    Look {
        read: u64,
    },
    Looked {
        read: u64,
        shard: Party,
        listing: Listing,
        balance: i64,
    },
}

/// What comes back to a process, or is done to it.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    Tick,
    /// A write of that number has ended.
    Written(u64),
    /// A process that crashed at some step starts again.
    Restart(Pid),
    /// Some shard is replaced.
    Seal,
}

fn party(at: Pid) -> Party {
    Party::new(at.0.to_string())
}

fn pid(party: &Party) -> Pid {
    Pid(party.as_str().parse().expect("shards are named by numbers"))
}

/// The client whose commit it is.
fn author(id: CommitId) -> Pid {
    Pid((id.author >> 64) as usize)
}

impl Scenario for Commits {
    type Message = Said;
    type Token = Token;
    type Value = ();
    type Mutation = Missing;

    const NAME: &'static str = "commit";
    const MARKS: &'static [&'static [&'static str]] = &[
        marks::MESSAGES,
        &[marks::PAUSE, marks::CRASH, marks::PARTITION, marks::ONE_WAY],
        &[
            "a caller is no more",
            "a shard starts with a prepared part",
            "a shard starts with a decision",
            "a participant asks for the outcome",
            "a question ends a ticket",
            "a ticket is gone",
            "an older commit wounds a younger one",
            "a commit holds a writer for too long",
            "a commit was planned for another map",
            "a commit over three shards",
            "a decision comes after its caller has ended",
            "a decision is forgotten",
            "a record is not stored",
            "an outcome is not known",
            "a seal waits for what is unresolved",
            "a shard is replaced",
            "snapshots do not belong together",
            "a reader is outrun",
        ],
    ];
    const MUTATIONS: &'static [Missing] = Missing::ALL;

    fn faults(_: Option<Missing>) -> Faults {
        let mut faults = Faults {
            events: 3_000,
            delay: HOLD / 1_000..=HOLD / 60,
            every: HOLD,
            store: StoreFaults {
                unknown: 0,
                spurious: 0,
                stale: 0,
                watch_ends: 0,
            },
            ..Faults::around(HOLD)
        };
        let outage = shardwright_testkit::sim::FaultKind::Outage;
        faults.kinds.retain(|(_, kind)| *kind != outage);
        faults
    }

    fn new(sim: &mut Sim<Self>, missing: Option<Missing>) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::new(sim.spawn(), BALANCE));
        let shards = shards.collect();
        let clients = (0..CLIENTS).map(|_| {
            sim.spawn();
            Client::default()
        });
        let clients = clients.collect();
        sim.plan(HOLD, Token::Seal);
        Self {
            missing,
            shards,
            clients,
            revision: 0,
            history: History::default(),
        }
    }

    fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
        let is_shard = at.0 < SHARDS;
        match input {
            Input::Start if is_shard => self.start_shard(sim, at),
            Input::Start => self.start_client(sim, at),
            Input::Message { from, message } if is_shard => {
                self.said_to_shard(sim, at, from, message);
            }
            Input::Message { message, .. } => self.said_to_client(sim, at, message),
            Input::Timer(Token::Written(number)) => self.written(sim, at, number),
            Input::Timer(Token::Tick) if is_shard => self.tick_shard(sim, at),
            Input::Timer(Token::Tick) => self.tick_client(sim, at),
            Input::Timer(Token::Restart(_) | Token::Seal)
            | Input::Written { .. }
            | Input::Got { .. }
            | Input::Listed { .. }
            | Input::Changed { .. }
            | Input::Ended { .. } => {}
        }
    }

    fn planned(&mut self, sim: &mut Sim<Self>, token: Token) {
        match token {
            Token::Restart(at) => sim.restart(at),
            Token::Seal => {
                let at = Pid(sim.dice().index(SHARDS));
                if sim.is_faulty() {
                    self.seal(sim, at);
                    let next = sim.dice().time(&(HOLD..=HOLD * 8));
                    sim.plan(next, Token::Seal);
                }
            }
            Token::Tick | Token::Written(_) => {}
        }
    }

    fn check(&mut self, _: &Sim<Self>) -> Result<(), String> {
        let mut shards = self.shards.iter();
        shards.try_for_each(|shard| shard.machine.check_invariants())?;
        self.history.check()
    }

    fn recovered(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        self.history.recovered()?;
        let sum: i64 = self.shards.iter().map(|shard| shard.file.balance).sum();
        if sum != TOTAL {
            return Err(format!("the sum is {sum} of {TOTAL}"));
        }
        let quiet = sim.true_time() - sim.quiet_for().unwrap_or_default();
        if self.history.made_at < quiet || self.history.read_at < quiet {
            return Err(format!("nothing is made or read since {quiet:?}"));
        }
        let shards = self.shards.iter().map(|shard| &shard.machine);
        for machine in shards {
            let name = machine.name();
            if let Some((id, _)) = machine.held() {
                return Err(format!("{id} has the writer of {name}"));
            }
            if let Some((id, _)) = machine.undelivered().next() {
                return Err(format!("{name} still tells others of {id}"));
            }
        }
        Ok(())
    }

    fn recovery_time(&self) -> Duration {
        HOLD * 8
    }
}
