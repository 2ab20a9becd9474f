//! Clients: each moves money between accounts on several shards, and reads the sum of all.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_sql::commit::{
    Answer, Caller, CallerAction, CallerEvent, CommitId, Message, Outcome, Party, Refusal, Ticket,
    cut::{self, Listing},
};
use shardwright_testkit::sim::{Pid, Sim};

use super::{Commits, HOLD, LAST, Missing, SHARDS, Said, TIMING, TOTAL, Token, party, pid};

/// A client, which does one thing at a time.
#[derive(Debug, Default)]
pub(super) struct Client {
    transfer: Option<Transfer>,
    read: Option<Read>,
    /// How many things it has begun, in all its lives.
    begun: u64,
    /// The revision of the shard map that it knows.
    revision: u64,
    /// The age of a commit that was wounded, and is to be repeated.
    age: Option<u64>,
}

#[derive(Debug)]
struct Transfer {
    caller: Caller,
    /// What is still to be run, the next one last.
    next: Vec<(Party, i64)>,
    running: Option<(Party, i64, Option<Ticket>)>,
    participants: BTreeSet<Party>,
}

#[derive(Debug)]
struct Read {
    number: u64,
    counts: BTreeMap<Party, u64>,
    listings: BTreeMap<Party, (Listing, i64)>,
}

impl Commits {
    pub(super) fn start_client(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let client = self.client(at);
        if client.transfer.take().is_some() {
            sim.mark("a caller is no more");
        }
        let client = self.client(at);
        (client.read, client.age) = (None, None);
        Self::tick_later(sim, at);
    }

    fn client(&mut self, at: Pid) -> &mut Client {
        &mut self.clients[at.0 - SHARDS]
    }

    fn tick_later(sim: &mut Sim<Self>, at: Pid) {
        let pause = sim.dice().time(&(HOLD / 40..=HOLD / 10));
        let next = sim.now(at) + pause;
        sim.wake(at, next, Token::Tick);
    }

    pub(super) fn tick_client(&mut self, sim: &mut Sim<Self>, at: Pid) {
        Self::tick_later(sim, at);
        let client = self.client(at);
        if client.transfer.is_some() {
            self.ask_again(sim, at);
            return self.call(sim, at, CallerEvent::Tick);
        }
        let is_over = sim.quiet_for().is_some_and(|quiet| LAST < quiet);
        if is_over || client.read.is_some() && !sim.dice().chance(10) {
            return;
        }
        // A read that was not answered is given up at some time.
        let client = self.client(at);
        client.read = None;
        client.begun += 1;
        if sim.dice().chance(35) {
            self.begin_read(sim, at);
        } else {
            self.begin_transfer(sim, at);
        }
    }

    fn begin_transfer(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let mut shards: Vec<usize> = (0..SHARDS).collect();
        sim.dice().shuffle(&mut shards);
        let size = sim.dice().count(1..=SHARDS);
        shards.truncate(size);
        let mut amounts = vec![0; shards.len()];
        for place in 1..amounts.len() {
            let amount = sim.dice().between(1..=40);
            amounts[place] += amount;
            amounts[0] -= amount;
        }
        let pairs = shards.into_iter().map(|shard| party(Pid(shard)));
        let next: Vec<(Party, i64)> = pairs.zip(amounts).collect();
        let millis = sim.now(at).0.as_millis();
        // A client hears of the shard map late.
        let revision = if sim.dice().chance(10) {
            self.client(at).revision
        } else {
            self.revision
        };
        let client = self.client(at);
        client.revision = revision;
        let started = client.age.take();
        let id = CommitId {
            started: started.unwrap_or_else(|| u64::try_from(millis).unwrap_or(u64::MAX)),
            author: (at.0 as u128) << 64 | u128::from(client.begun),
        };
        client.transfer = Some(Transfer {
            caller: Caller::new(id, revision, TIMING),
            participants: next.iter().map(|(shard, _)| shard.clone()).collect(),
            next,
            running: None,
        });
        self.go_on(sim, at);
    }

    /// Runs the next statement, or commits.
    fn go_on(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let Some(transfer) = &mut self.client(at).transfer else {
            return;
        };
        if let Some((shard, amount)) = transfer.next.pop() {
            transfer.running = Some((shard.clone(), amount, None));
            return self.call(sim, at, CallerEvent::Enlist(shard));
        }
        transfer.running = None;
        let (id, participants) = (transfer.caller.id(), transfer.participants.clone());
        let first = transfer.caller.first().cloned();
        if let Some(first) = first {
            self.history.begun(id, &first, participants.clone());
            self.call(sim, at, CallerEvent::Commit);
            if self.missing == Some(Missing::AllPrepare) {
                for other in participants.into_iter().filter(|each| *each != first) {
                    self.call(sim, at, CallerEvent::Answer(other, Answer::Prepared));
                }
            }
        }
        if sim.is_faulty() && sim.dice().rarely(100) {
            sim.crash(at);
            sim.plan(HOLD / 3, Token::Restart(at));
        }
    }

    /// Says a statement again whose answer did not come.
    fn ask_again(&mut self, sim: &mut Sim<Self>, at: Pid) {
        if let Some(transfer) = &self.client(at).transfer
            && let Some((shard, amount, Some(ticket))) = transfer.running.clone()
        {
            let id = transfer.caller.id();
            sim.send(at, pid(&shard), Said::Run { id, ticket, amount });
        }
    }

    fn call(&mut self, sim: &mut Sim<Self>, at: Pid, event: CallerEvent) {
        let now = sim.now(at);
        let mut actions = Vec::new();
        let Some(transfer) = &mut self.client(at).transfer else {
            return;
        };
        transfer.caller.handle(now, event, &mut actions);
        for action in actions {
            sim.trace(|| format!("{at} -> {action:?}"));
            match action {
                CallerAction::Send(to, message) => sim.send(at, pid(&to), Said::Request(message)),
                CallerAction::Ready(shard, ticket) => self.run_at(sim, at, &shard, ticket),
                CallerAction::End(outcome) => self.end(sim, at, &outcome),
            }
        }
    }

    fn run_at(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &Party, ticket: Ticket) {
        let Some(transfer) = &mut self.client(at).transfer else {
            return;
        };
        let id = transfer.caller.id();
        if let Some((running, amount, known)) = &mut transfer.running
            && running == shard
        {
            *known = Some(ticket);
            let amount = *amount;
            sim.send(at, pid(shard), Said::Run { id, ticket, amount });
        }
    }

    fn end(&mut self, sim: &mut Sim<Self>, at: Pid, outcome: &Outcome) {
        let client = self.client(at);
        let Some(transfer) = client.transfer.take() else {
            return;
        };
        let id = transfer.caller.id();
        if let Outcome::Aborted { refusal, .. } = outcome
            && *refusal == Refusal::Wounded
        {
            client.age = Some(id.started);
        }
        if let Outcome::Committed = outcome
            && transfer.participants.len() > 2
        {
            sim.mark("a commit over three shards");
        }
        self.history.told(sim, id, outcome);
    }

    pub(super) fn said_to_client(&mut self, sim: &mut Sim<Self>, at: Pid, said: Said) {
        match said {
            Said::Answer { id, shard, answer } => self.answered(sim, at, id, shard, answer),
            Said::Ran { id, shard, is_done } => self.ran(sim, at, id, &shard, is_done),
            Said::Counted { read, shard, count } => self.counted(sim, at, read, shard, count),
            Said::Looked {
                read,
                shard,
                listing,
                balance,
            } => self.looked(sim, at, read, shard, (listing, balance)),
            Said::Request(_) | Said::Run { .. } | Said::Count { .. } | Said::Look { .. } => {}
        }
    }

    fn answered(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        id: CommitId,
        shard: Party,
        answer: Answer,
    ) {
        let transfer = self.client(at).transfer.as_ref();
        if transfer.is_some_and(|transfer| transfer.caller.id() == id) {
            return self.call(sim, at, CallerEvent::Answer(shard, answer));
        }
        // Of what has ended, a caller says the same as while it knew it.
        match answer {
            Answer::Enlisted(_) => {
                sim.send(at, pid(&shard), Said::Request(Message::Release { id }));
            }
            Answer::Committed => {
                sim.send(at, pid(&shard), Said::Request(Message::Heard { id }));
            }
            Answer::Prepared | Answer::Refused { .. } => {}
        }
    }

    fn ran(&mut self, sim: &mut Sim<Self>, at: Pid, id: CommitId, shard: &Party, is_done: bool) {
        let Some(transfer) = &self.client(at).transfer else {
            return;
        };
        let is_awaited =
            matches!(&transfer.running, Some((running, _, Some(_))) if running == shard);
        if transfer.caller.id() != id || !is_awaited {
            return;
        }
        if is_done {
            self.go_on(sim, at);
        } else {
            self.call(sim, at, CallerEvent::Abandon);
        }
    }

    fn begin_read(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let client = self.client(at);
        client.begun += 1;
        let read = client.begun;
        client.read = Some(Read {
            number: read,
            counts: BTreeMap::new(),
            listings: BTreeMap::new(),
        });
        for shard in (0..SHARDS).map(Pid) {
            sim.send(at, shard, Said::Count { read });
        }
    }

    fn counted(&mut self, sim: &mut Sim<Self>, at: Pid, number: u64, shard: Party, count: u64) {
        let Some(read) = &mut self.client(at).read else {
            return;
        };
        if read.number != number || read.counts.contains_key(&shard) {
            return;
        }
        read.counts.insert(shard, count);
        if read.counts.len() == SHARDS {
            for shard in (0..SHARDS).map(Pid) {
                sim.send(at, shard, Said::Look { read: number });
            }
        }
    }

    fn looked(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        number: u64,
        shard: Party,
        found: (Listing, i64),
    ) {
        let Some(read) = &mut self.client(at).read else {
            return;
        };
        if read.number == number {
            read.listings.insert(shard, found);
        }
        if read.listings.len() < SHARDS {
            return;
        }
        let missing = self.missing;
        let Some(read) = self.client(at).read.take() else {
            return;
        };
        let sum: i64 = read.listings.values().map(|(_, balance)| balance).sum();
        let listings = read.listings.into_iter().map(|(shard, (listing, _))| {
            let before = match missing {
                Some(Missing::CountFirst) => listing.count,
                _ => read.counts[&shard],
            };
            (shard, Listing { before, ..listing })
        });
        let checked = cut::check(&listings.collect());
        match checked {
            Err(cut::Torn::Partly { .. }) => sim.mark("snapshots do not belong together"),
            Err(cut::Torn::Outrun { .. }) => sim.mark("a reader is outrun"),
            Ok(()) => {}
        }
        if checked.is_ok() || missing == Some(Missing::Compare) {
            self.history.read_at = sim.true_time();
            if sum != TOTAL {
                self.history
                    .breaks(format!("a reader sees {sum} of {TOTAL}"));
            }
        }
    }
}
