//! What the registry keeps of the balance: one record, which changes by compare-and-set.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use rand::RngCore;
use serde::{Deserialize, Serialize};
use shardwright_rebalancer::execution::Execution;
use shardwright_registry::{
    Error as RegistryError, Prefix, Record, Records, Store, StoreError, Stored,
};
use shardwright_topology::{KeyspaceName, ShardId};

use super::{Asked, Refused};

/// What the leader does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Automatic {
    /// Nothing: splits, merges and moves are for people.
    #[default]
    Off,
    /// It says what it would do.
    DryRun,
    /// It splits hot shards, merges cold ones, and moves what is out of balance.
    On,
}

impl Automatic {
    /// Returns its name, as commands and events have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DryRun => "dry-run",
            Self::On => "on",
        }
    }
}

/// A plan that is carried out, or was.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// Its name.
    pub id: String,
    /// Who wanted it.
    pub asked: Asked,
    /// Whether somebody wants no further move to begin.
    pub is_cancelled: bool,
    /// How far it is.
    pub execution: Execution,
    /// The term of the leader who wrote that: one of an earlier term does not write over it.
    #[serde(default)]
    pub term: u64,
}

impl fmt::Display for Automatic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name of what a leader does by itself that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are off, dry-run and on")]
pub struct UnknownMode;

impl FromStr for Automatic {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let all = [Self::Off, Self::DryRun, Self::On];
        let found = all.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or(UnknownMode)
    }
}

impl Carried {
    pub(super) fn new(asked: Asked, execution: Execution, term: u64) -> Self {
        Self {
            id: format!("plan-{:016x}", rand::rng().next_u64()),
            asked,
            is_cancelled: false,
            execution,
            term,
        }
    }

    /// Takes in how far it is; `false` if a later leader has said so already.
    #[must_use]
    pub(super) fn advance(&mut self, execution: &Execution, term: u64) -> bool {
        if self.term > term {
            return false;
        }
        self.execution.clone_from(execution);
        self.term = term;
        true
    }
}

/// The record.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// What somebody has said that the leader is to do by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) automatic: Option<Automatic>,
    pub(super) pins: BTreeSet<ShardId>,
    pub(super) execution: Option<Carried>,
    /// Tells this value from an equal one of somebody else.
    pub(super) writer: u64,
}

impl Record for Kept {
    const KIND: &'static str = "balance";
    const VERSION: u64 = 1;
}

/// How often a change is decided again after others changed the record first.
const ATTEMPTS_MAX: usize = 30;

/// Where the record is.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    records: Records<Kept>,
    name: KeyspaceName,
}

impl Keeper {
    pub(super) fn new(store: &Arc<dyn Store>) -> Self {
        let prefix = Prefix::new("balance/").expect("a valid prefix");
        Self {
            records: Records::new(store.clone(), prefix),
            name: KeyspaceName::main(),
        }
    }

    pub(super) async fn load(&self) -> Result<Kept, RegistryError> {
        let found = self.records.get(&self.name).await?;
        Ok(found.map(|stored| stored.value).unwrap_or_default())
    }

    /// Changes the record by a function that may be called again.
    pub(super) async fn change<R>(
        &self,
        mut decide: impl FnMut(&mut Kept) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
        let mut attempts = 0;
        loop {
            let found: Option<Stored<Kept>> = self.records.get(&self.name).await?;
            let mut kept = found
                .as_ref()
                .map_or_else(Kept::default, |stored| stored.value.clone());
            let result = decide(&mut kept)?;
            kept.writer = rand::rng().next_u64();
            let expected = found.map(|stored| stored.revision);
            attempts += 1;
            match self.records.put(&self.name, expected, kept).await {
                Ok(_) => return Ok(result),
                Err(RegistryError::Store(StoreError::Conflict { .. }))
                    if attempts < ATTEMPTS_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shardwright_rebalancer::{
        Cluster, MapRevision, Move, PartitionId, Reason, Step,
        execution::{Event, Pace},
    };
    use shardwright_topology::{NodeId, Timestamp};

    use super::*;
    use crate::balance::propose::of_moves;

    #[test]
    fn a_record_of_an_earlier_release_says_what_the_leader_is_to_do() {
        let old = r#"{"automatic":"dry-run","pins":[],"execution":null,"writer":1}"#;
        let old: Kept = serde_json::from_str(old).unwrap();
        assert_eq!(old.automatic, Some(Automatic::DryRun));
        let unsaid = serde_json::to_string(&Kept::default()).unwrap();
        let unsaid: Kept = serde_json::from_str(&unsaid).unwrap();
        assert_eq!(unsaid.automatic, None);
        assert_eq!("on".parse(), Ok(Automatic::On));
        assert_eq!("yes".parse::<Automatic>(), Err(UnknownMode));
    }

    #[test]
    fn who_led_before_does_not_write_over_what_a_later_leader_wrote() {
        let moved = Move {
            partition: PartitionId::from(ShardId::numbered(0)),
            step: Step::Promote {
                to: NodeId::new("n1").unwrap(),
            },
            reason: Reason::Overloaded,
        };
        let (now, at) = (Timestamp::default(), MapRevision(7));
        let (proposal, cluster) = (of_moves(at, vec![moved]), Cluster::new());
        let pace = Pace::default();
        let begun = Execution::begin(now, &proposal, &cluster, at, pace, &mut Vec::new());
        let begun = begun.unwrap();
        let mut done = begun.clone();
        let ids: Vec<_> = begun.running().map(|(id, _)| id).collect();
        done.handle(now, Event::Ended { id: ids[0] }, &mut Vec::new());

        let mut carried = Carried::new(Asked::ByHand, begun.clone(), 3);
        assert!(carried.advance(&done, 4));
        assert!(!carried.advance(&begun, 3));
        assert!(carried.execution.is_finished());
        // What an earlier release has written has no term.
        let mut old = serde_json::to_value(&carried).unwrap();
        old.as_object_mut().unwrap().remove("term");
        let mut old: Carried = serde_json::from_value(old).unwrap();
        assert!(old.advance(&begun, 1));
    }
}
