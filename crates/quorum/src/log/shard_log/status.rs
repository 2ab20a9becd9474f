//! How it stands with a copy.

use shardwright_topology::{Config, Epoch, Lsn, Primary, ReplicaId};

use crate::log::{Ballot, Follower, Point};

/// How it stands with a copy, some milliseconds ago at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Whether it runs.
    pub condition: Condition,
    /// The copy; none before it was opened. Another one after it was set aside.
    pub replica_id: Option<ReplicaId>,
    /// What the registry has to name for this copy to become the primary. Another one after each opening.
    pub me: Option<Primary>,
    /// The configuration that this copy is the primary of.
    pub leads: Option<Config>,
    /// Whether it is about to be the primary: the registry names it for the next epoch, and it has begun with that.
    pub aspires: bool,
    /// The highest ballot promised.
    pub promised: Option<Ballot>,
    /// The last record, and the place in front of the first one.
    pub last: Point,
    /// The place in front of the first record.
    pub base: Point,
    /// The last record that is durable here.
    pub durable: Lsn,
    /// The highest record known to be committed.
    pub known_commit: Lsn,
    /// The last record that whoever reads the data sees.
    pub applied: Lsn,
    /// How far the other copies are, if this is the primary.
    pub followers: Vec<Follower>,
    /// How often it was opened.
    pub openings: u64,
    /// Whether this copy has found that the registry went back in time: nothing should be decided for the shard until somebody has looked.
    pub registry_went_back: bool,
    /// What the copy has failed of last, until it has caught up as a member of the shard.
    pub trouble: Option<Trouble>,
}

/// What a copy has failed of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// How it stood then.
    pub condition: Condition,
    /// The highest record that was known to be committed.
    pub commit: Lsn,
}

/// Whether a copy runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Condition {
    /// It is being opened.
    #[default]
    Opening,
    /// It takes part.
    Running,
    /// There is no room. It takes no part until there is.
    NoRoom(String),
    /// It cannot be opened, or not be registered. That is tried again.
    Waiting(String),
    /// It may have lost something, or its data does not fit the log: it was set aside, and begins anew as another copy.
    SetAside(String),
    /// It was shut down.
    Stopped,
}

impl Status {
    /// Returns whether a copy that stands so has got over what it has failed of: it runs, its data has all that is known to be committed,
    /// which is no less than before.
    pub(super) fn is_recovered(&self) -> bool {
        let commit = self.trouble.as_ref().map(|trouble| trouble.commit);
        self.condition == Condition::Running
            && commit <= Some(self.known_commit)
            && self.known_commit <= self.applied
    }

    /// Returns the epoch that this copy is the primary of.
    #[must_use]
    pub fn leading(&self) -> Option<Epoch> {
        self.leads.as_ref().map(|config| config.epoch)
    }
}
