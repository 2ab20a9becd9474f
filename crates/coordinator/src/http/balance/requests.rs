//! What commands about the balance take.

use serde::Deserialize;
use shardwright_rebalancer::{MapRevision, Move};
use shardwright_topology::ShardId;

use crate::{
    balance::{Automatic, Options, Proposed},
    http::Problem,
};

/// What is asked of a plan.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Plan {
    pub(super) options: Options,
}

/// A plan that is to be carried out: one that was saved, or a new one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    plan: Option<Saved>,
    options: Option<Options>,
    #[serde(default)]
    dry_run: bool,
}

/// What counts of a plan that was saved. It has more than that.
#[derive(Debug, Deserialize)]
pub(super) struct Saved {
    revision: MapRevision,
    moves: Vec<Move>,
}

/// Which plan is wanted.
#[derive(Debug)]
pub(super) enum Wanted {
    Saved(Saved),
    New(Options),
}

impl Apply {
    pub(super) fn checked(self) -> Result<(Wanted, bool), Problem> {
        let wanted = match (self.plan, self.options) {
            (Some(_), Some(_)) => {
                let message = "options are for a new plan, and this one was saved";
                return Err(Problem::bad_request(message));
            }
            (Some(plan), None) => Wanted::Saved(plan),
            (None, options) => Wanted::New(options.unwrap_or_default()),
        };
        Ok((wanted, self.dry_run))
    }
}

impl Saved {
    pub(super) fn of(proposed: &Proposed) -> Self {
        Self {
            revision: proposed.proposal.revision,
            moves: proposed.proposal.plan.moves.clone(),
        }
    }

    pub(super) fn parts(self) -> (MapRevision, Vec<Move>) {
        (self.revision, self.moves)
    }
}

/// What the leader is to do by itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mode {
    pub(super) mode: Automatic,
}

/// A shard that is to stay, or not any more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    pub(super) shard: ShardId,
    pub(super) pinned: bool,
}

/// Nothing: an empty body, or `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

/// Whether what is moved by hand stays where it is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::http) enum Pinning {
    /// No plan moves it again.
    #[default]
    Stays,
    /// The next plan may.
    Free,
}

impl Pinning {
    /// Returns what `pin` asks for: to stay, unless it says otherwise.
    pub(in crate::http) fn of(pin: Option<bool>) -> Self {
        match pin {
            Some(false) => Self::Free,
            Some(true) | None => Self::Stays,
        }
    }
}
