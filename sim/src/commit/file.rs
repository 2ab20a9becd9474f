//! What a shard keeps across its crashes: one account, and the records of commits.

use std::collections::{BTreeMap, VecDeque};

use shardwright_sql::commit::{
    CommitId, Party, Prepared, Record, Verdict,
    cut::{Listing, Members},
};

/// For how many commits after it was forgotten one is listed. Few, so that readers are outrun.
const LISTED: u64 = 2;

/// What a shard keeps.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) balance: i64,
    /// How many commits over several shards it has had.
    count: u64,
    applied: BTreeMap<CommitId, (u64, Members)>,
    /// Those that need not be listed for ever, with the count at that time.
    passing: VecDeque<(u64, CommitId)>,
    /// A part that is lasting and not visible, and the balance after it.
    pub(super) prepared: Option<(Prepared, i64)>,
    pub(super) decided: BTreeMap<CommitId, Vec<Party>>,
}

/// A record with what it stands for.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// The balance that the transaction has made, for a part that is prepared or decided.
    pub(super) balance: i64,
}

/// What an entry made visible.
pub(super) struct Shown {
    pub(super) id: CommitId,
    pub(super) verdict: Verdict,
}

impl File {
    pub(super) fn new(balance: i64) -> Self {
        Self {
            balance,
            count: 0,
            applied: BTreeMap::new(),
            passing: VecDeque::new(),
            prepared: None,
            decided: BTreeMap::new(),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What a snapshot lists. Who asks knows how many there were before.
    pub(super) fn listing(&self) -> Listing {
        let prepared = self.prepared.iter();
        Listing {
            before: 0,
            count: self.count,
            applied: self.applied.clone(),
            prepared: prepared
                .map(|(part, _)| (part.id, members(&part.first, &part.participants)))
                .collect(),
        }
    }

    /// Makes an entry lasting, all of it at once.
    pub(super) fn write(&mut self, me: &Party, entry: Entry) -> Option<Shown> {
        match entry.record {
            Record::Prepared(part) => {
                self.prepared = Some((part, entry.balance));
                None
            }
            Record::Decided { id, participants } => {
                self.balance = entry.balance;
                self.apply(id, members(me, &participants));
                self.decided.insert(id, participants);
                Some(Shown {
                    id,
                    verdict: Verdict::Commit,
                })
            }
            Record::Resolved { id, verdict } => {
                let (part, balance) = self.prepared.take_if(|(part, _)| part.id == id)?;
                if verdict == Verdict::Commit {
                    self.balance = balance;
                    self.apply(id, members(&part.first, &part.participants));
                    self.passing.push_back((self.count, id));
                }
                Some(Shown { id, verdict })
            }
            Record::Forgotten { id } => {
                if self.decided.remove(&id).is_some() {
                    self.passing.push_back((self.count, id));
                }
                None
            }
        }
    }

    fn apply(&mut self, id: CommitId, members: Members) {
        self.count += 1;
        self.applied.insert(id, (self.count, members));
        let is_past = |passed: u64| passed + LISTED <= self.count;
        while self
            .passing
            .front()
            .is_some_and(|(passed, _)| is_past(*passed))
        {
            if let Some((_, old)) = self.passing.pop_front() {
                self.applied.remove(&old);
            }
        }
    }
}

fn members(first: &Party, all: &[Party]) -> Members {
    Members {
        first: first.clone(),
        all: all.to_vec(),
    }
}
