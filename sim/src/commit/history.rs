//! What became of every commit, as nobody in the simulation can see it, and what it breaks.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_sql::commit::{CommitId, Outcome, Party, Verdict};
use shardwright_testkit::sim::Sim;

use super::{Commits, file::Shown};

/// Every commit, and the first rule that was broken.
#[derive(Debug, Default)]
pub(super) struct History {
    commits: BTreeMap<CommitId, Fate>,
    broken: Option<String>,
    /// When one was made last.
    pub(super) made_at: std::time::Duration,
    /// When a reader last had snapshots that belong together.
    pub(super) read_at: std::time::Duration,
}

#[derive(Debug, Default)]
struct Fate {
    participants: BTreeSet<Party>,
    first: Option<Party>,
    applied: BTreeSet<Party>,
    dropped: BTreeSet<Party>,
    told: Option<Outcome>,
}

impl History {
    /// A caller is about to commit.
    pub(super) fn begun(&mut self, id: CommitId, first: &Party, participants: BTreeSet<Party>) {
        let fate = self.commits.entry(id).or_default();
        (fate.first, fate.participants) = (Some(first.clone()), participants);
    }

    /// A caller was told an outcome.
    pub(super) fn told(&mut self, sim: &mut Sim<Commits>, id: CommitId, outcome: &Outcome) {
        let fate = self.commits.entry(id).or_default();
        match outcome {
            Outcome::Committed => self.made_at = sim.true_time(),
            Outcome::Unknown => sim.mark("an outcome is not known"),
            Outcome::Aborted { .. } => {}
        }
        fate.told = Some(outcome.clone());
        self.judge(id);
    }

    /// A shard has made a commit visible, or dropped its part.
    pub(super) fn shown(&mut self, sim: &mut Sim<Commits>, at: &Party, shown: Shown) {
        let Shown { id, verdict } = shown;
        let fate = self.commits.entry(id).or_default();
        let is_first = fate.first.as_ref() == Some(at);
        if verdict == Verdict::Abort {
            fate.dropped.insert(at.clone());
        } else {
            if is_first && fate.told.is_some() {
                sim.mark("a decision comes after its caller has ended");
            }
            if !fate.applied.insert(at.clone()) {
                return self.breaks(format!("{id} is made at {at} twice"));
            }
        }
        self.judge(id);
    }

    fn judge(&mut self, id: CommitId) {
        let Some(fate) = self.commits.get(&id) else {
            return;
        };
        let is_decided = fate
            .first
            .as_ref()
            .is_some_and(|first| fate.applied.contains(first));
        let is_aborted = matches!(fate.told, Some(Outcome::Aborted { .. }));
        let broken = if !fate.applied.is_empty() && !is_decided {
            "is made before it is decided"
        } else if is_decided && !fate.dropped.is_empty() {
            "is decided, and was dropped by a participant"
        } else if is_decided && is_aborted {
            "is decided, and its caller heard that it is not"
        } else if fate.told == Some(Outcome::Committed) && !is_decided {
            "is not decided, and its caller heard that it is"
        } else {
            return;
        };
        self.breaks(format!("{id} {broken}: {fate:?}"));
    }

    pub(super) fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match &self.broken {
            Some(what) => Err(what.clone()),
            None => Ok(()),
        }
    }

    /// At rest every commit is everywhere or nowhere.
    pub(super) fn recovered(&self) -> Result<(), String> {
        let torn = self
            .commits
            .iter()
            .find(|(_, fate)| !fate.applied.is_empty() && fate.applied != fate.participants);
        match torn {
            Some((id, fate)) => Err(format!("{id} is made in part: {fate:?}")),
            None => Ok(()),
        }
    }
}
