//! Snapshots of several shards that show a commit everywhere or nowhere.
//!
//! A snapshot of each shard is taken when that shard is asked, so a commit may be in one and not yet in another. Each
//! snapshot therefore lists the commits over several shards that it has and those that are prepared in it. The lists tell
//! whether the snapshots belong together; if not, the reader takes others.
//!
//! Before the first snapshot, every shard is asked how many such commits it has had. What was in one shard by then was
//! decided by then, so it is prepared or applied in every snapshot that is taken after. What came since is in the lists,
//! which reach back that far or say that they do not.

use std::collections::BTreeMap;

use super::{CommitId, Party};

/// What one snapshot shows of commits over several participants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// How many the shard had, before a snapshot of any shard was taken.
    pub before: u64,
    /// How many are in the snapshot.
    pub count: u64,
    /// The recent ones of these, each with which one of the shard it is, counted from one. One that the shard decided stays
    /// listed until it is forgotten, and each for as many commits after that as may come while snapshots are taken.
    pub applied: BTreeMap<CommitId, (u64, Members)>,
    /// Those that are prepared and not resolved.
    pub prepared: BTreeMap<CommitId, Members>,
}

/// Who takes part in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// Who decides.
    pub first: Party,
    /// All of them, the first one included.
    pub all: Vec<Party>,
}

/// Why snapshots do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Torn {
    /// A commit is in one snapshot, and may not be in another.
    #[error("commit {id} is not known to be at {at}, and may be elsewhere")]
    Partly {
        /// The commit.
        id: CommitId,
        /// Where it may be missing.
        at: Party,
    },
    /// More commits came between than a shard lists.
    #[error("{at} has had more commits than it lists")]
    Outrun {
        /// The shard.
        at: Party,
    },
}

/// What one snapshot says of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It was applied before the first question.
    Before,
    /// It was applied since.
    Since,
    Prepared,
    /// It is not listed by the one that decides it.
    Undecided,
    /// It is not listed.
    Nothing,
}

/// Whether snapshots of these shards show every commit on all of its participants among them, or on none.
///
/// # Errors
/// What speaks against it. It may be too careful, never too bold; other snapshots, taken later, then do better.
pub fn check(listings: &BTreeMap<Party, Listing>) -> Result<(), Torn> {
    let mut commits: BTreeMap<CommitId, &Members> = BTreeMap::new();
    for (at, listing) in listings {
        let numbers = listing.applied.values().map(|(number, _)| *number);
        let listed = numbers.filter(|number| listing.before < *number).count();
        if (listed as u64) < listing.count.saturating_sub(listing.before) {
            return Err(Torn::Outrun { at: at.clone() });
        }
        let applied = listing.applied.iter();
        commits.extend(applied.map(|(id, (_, members))| (*id, members)));
        commits.extend(listing.prepared.iter().map(|(id, members)| (*id, members)));
    }
    let mut commits = commits.into_iter();
    commits.try_for_each(|(id, members)| check_commit(listings, id, members))
}

fn check_commit(
    listings: &BTreeMap<Party, Listing>,
    id: CommitId,
    members: &Members,
) -> Result<(), Torn> {
    let here = members.all.iter().filter_map(|party| {
        let listing = listings.get(party)?;
        Some((party, listing.shows(id, *party == members.first)))
    });
    let here: Vec<(&Party, Seen)> = here.collect();
    let any = |wanted: Seen| here.iter().any(|(_, seen)| *seen == wanted);
    let (is_old, is_new) = (any(Seen::Before), any(Seen::Since));
    let torn = here.iter().find(|(_, seen)| match seen {
        Seen::Before | Seen::Since => false,
        Seen::Prepared => is_old || is_new,
        // Applied somewhere by the first question, it was decided by then and prepared everywhere. What is not prepared
        // here now is applied, and listed no more.
        Seen::Undecided | Seen::Nothing if is_old => false,
        Seen::Undecided => is_new,
        Seen::Nothing => here.len() > 1,
    });
    match torn {
        Some((party, _)) => Err(Torn::Partly {
            id,
            at: (*party).clone(),
        }),
        None => Ok(()),
    }
}

impl Listing {
    fn shows(&self, id: CommitId, decides: bool) -> Seen {
        match self.applied.get(&id) {
            Some((number, _)) if *number <= self.before => Seen::Before,
            Some(_) => Seen::Since,
            None if self.prepared.contains_key(&id) => Seen::Prepared,
            None if decides => Seen::Undecided,
            None => Seen::Nothing,
        }
    }
}
