//! One move of a plan, carried out: a hand-over, or an operation that is begun, or found begun, and waited for.

use std::time::Duration;

use shardwright_failover::replication::{Condition, Refused};
use shardwright_rebalancer::{Move, PartitionId, Step, execution::Fault};
use shardwright_topology::{Decision, MemberChange, NodeId, Operation, OperationId, Phase};

use crate::{
    Handle,
    core::{Command, Refusal, View},
};

/// How long a hand-over may take. It is tried again then.
const HAND_OVER: Duration = Duration::from_secs(60);

/// How long a shard that lacks copies is waited for.
const WHOLE: Duration = Duration::from_secs(60);

/// How long it takes at most until a move that was begun is seen in the registry.
const SEEN: Duration = Duration::from_secs(60);

/// Why a move was not done.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) fault: Fault,
    pub(super) why: String,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        let fault = match &refusal {
            refusal if refusal.is_retryable() => Fault::Passing,
            Refusal::Unconfirmed | Refusal::NotInSync { .. } => Fault::Passing,
            Refusal::Holds { .. }
            | Refusal::IsPrimary { .. }
            | Refusal::NotHolder { .. }
            | Refusal::UnknownShard { .. }
            | Refusal::UnknownNode { .. } => Fault::DoesNotFit,
            Refusal::Replication(refused) => of_replication(refused),
            _ => Fault::Refused,
        };
        let why = refusal.to_string();
        Self { fault, why }
    }
}

/// What is refused for what a leader knows may be otherwise once it has heard of all nodes.
fn of_replication(refused: &Refused) -> Fault {
    match refused {
        Refused::UnknownShard { .. } | Refused::NotMember { .. } | Refused::IsMember { .. } => {
            Fault::DoesNotFit
        }
        Refused::TooFewZones { .. } => Fault::Refused,
        _ => Fault::Passing,
    }
}

/// Carries a move out. Again, it takes up what has begun.
pub(super) async fn carry(handle: &Handle, planned: &Move) -> Result<(), Failed> {
    let partition = &planned.partition;
    match &planned.step {
        Step::Promote { to } => hand_over(handle, partition, to).await,
        Step::Move { from, to } => migrate(handle, partition, from, to).await,
        Step::Place { .. } | Step::Drop { .. } => Err(Failed {
            fault: Fault::Refused,
            why: "the number of copies is not changed for the balance".to_owned(),
        }),
    }
}

fn holders<'a>(view: &'a View, partition: &PartitionId) -> impl Iterator<Item = &'a NodeId> {
    let mut shards = view.shards.iter();
    let found =
        shards.find(|record| record.id == partition.shard && record.keyspace == partition.keyspace);
    let active = found.and_then(|record| record.active.as_ref());
    let primary = active.map(|config| &config.primary.node);
    let members = active.into_iter().flat_map(|config| &config.members);
    primary
        .into_iter()
        .chain(members.map(|member| &member.node))
}

async fn hand_over(handle: &Handle, partition: &PartitionId, to: &NodeId) -> Result<(), Failed> {
    let has = |view: &View| holders(view, partition).next() == Some(to);
    if has(&handle.view()) {
        return Ok(());
    }
    let command = Command::Promote {
        partition: partition.clone(),
        node: to.clone(),
        force: false,
    };
    until_whole(handle, partition).await?;
    let done = async {
        handle.command(command).await?;
        // So that what is decided next is decided on it.
        handle.view_when(has).await;
        Ok(())
    };
    let late = |_| Failed {
        fault: Fault::Passing,
        why: format!("{to} did not take over in time"),
    };
    tokio::time::timeout(HAND_OVER, done).await.map_err(late)?
}

async fn migrate(
    handle: &Handle,
    partition: &PartitionId,
    from: &NodeId,
    to: &NodeId,
) -> Result<(), Failed> {
    let change = MemberChange {
        from: from.clone(),
        to: to.clone(),
    };
    let view = handle.view();
    let begun = view.operations.iter().find(|operation| {
        let is_same = operation.members.as_ref() == Some(&change);
        is_same && operation.sources == [partition.shard.clone()] && !operation.phase.is_final()
    });
    let begun = begun.map(|operation| operation.id.clone());
    let id = match begun {
        Some(id) => id,
        None => {
            until_whole(handle, partition).await?;
            let command = Command::Migrate {
                partition: partition.clone(),
                from: Some(change.from),
                to: change.to,
                dry_run: false,
            };
            let done = handle.command(command).await?;
            done.operation.ok_or_else(|| Failed {
                fault: Fault::DoesNotFit,
                why: format!("{to} has the shard already"),
            })?
        }
    };
    ended(handle, &id).await
}

/// Waits until a shard has all its copies, as far as this leader knows: one that has just begun to lead has yet to hear of them.
async fn until_whole(handle: &Handle, partition: &PartitionId) -> Result<(), Failed> {
    let is_whole = |view: &View| {
        let known = view.replicated.get(partition);
        known.is_some_and(|known| known.condition == Condition::Whole)
    };
    let whole = tokio::time::timeout(WHOLE, handle.view_when(is_whole)).await;
    whole.map(drop).map_err(|_| Failed {
        fault: Fault::Passing,
        why: format!("{} lacks copies", partition.shard),
    })
}

/// Waits for the end of a move. Its record is there for days after that.
async fn ended(handle: &Handle, id: &OperationId) -> Result<(), Failed> {
    let find = |view: &View| {
        let mut all = view.operations.iter();
        all.find(|operation| operation.id == *id).cloned()
    };
    let failed = |fault, why| Err(Failed { fault, why });
    let seen = handle.view_when(|view| find(view).is_some());
    if tokio::time::timeout(SEEN, seen).await.is_err() {
        return failed(Fault::Passing, "it was not seen to begin".to_owned());
    }
    // What was there and is gone is over, too.
    let is_over = |view: &View| find(view).is_none_or(|found| found.phase.is_final());
    let Some(view) = handle.view_when(is_over).await else {
        return failed(Fault::Passing, "the coordinator stops".to_owned());
    };
    match find(&view) {
        Some(Operation {
            phase: Phase::Done,
            error: None,
            ..
        }) => Ok(()),
        Some(Operation { phase, error, .. }) => {
            let why = error.unwrap_or_else(|| "it ended without effect".to_owned());
            let is_over = phase.decision() == Decision::Commit || why == "cancelled";
            failed(
                if is_over {
                    Fault::Refused
                } else {
                    Fault::Passing
                },
                why,
            )
        }
        None => failed(Fault::Passing, "nobody knows of it any more".to_owned()),
    }
}
