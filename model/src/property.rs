//! What has to hold in every state, and what some state has to show.

use stateright::Property;

use crate::{
    protocol::Protocol,
    record::{Content, is_sealed, writes},
    split::Decision,
    state::{Broken, Role, State},
};

/// Two different records are never committed at one position (I1, I4).
pub(crate) const ONE_RECORD: &str = "one record is committed at a position";
/// Nobody truncates what it knows to be committed (I9).
pub(crate) const KEPT_COMMIT: &str = "no known commit is truncated";
/// The active primary has every record that was ever committed (I7).
pub(crate) const COMPLETE: &str = "the active primary has every committed record";
/// Equal position and epoch mean an equal prefix (I8).
pub(crate) const MATCHING: &str = "logs match";
/// Whatever recovery quorum answers, an acknowledged write is in one of its logs (I5).
pub(crate) const SURVIVES: &str = "an acknowledged write is in every recovery quorum";
/// A read behind a barrier sees what was acknowledged when it arrived.
pub(crate) const READ: &str = "a read behind a barrier is linearizable";
/// A read under a lease sees all that is acknowledged anywhere (I19 names its clock).
pub(crate) const LEASED_READ: &str = "a read under a lease is linearizable";
/// K1: at any time one shard alone may commit writes of the range.
pub(crate) const ONE_HOME: &str = "a range is writable in one shard";
/// K2: no acknowledged write of a range follows its seal.
pub(crate) const SEALED: &str = "no write is committed after the seal";
/// K3: a child's state is the parent's at the seal.
pub(crate) const CHILD: &str = "a child opens with the parent's writes up to the seal";

/// Some state has to show a write that a later epoch acknowledged.
pub(crate) const LATER_WRITE: &str = "a write is acknowledged in a later epoch";
/// Some state has to show a read under a lease.
pub(crate) const READ_UNDER_LEASE: &str = "a read under a lease is possible";
/// Some state has to show a split that was decided.
pub(crate) const SPLIT_DONE: &str = "a split is committed after a failover";

/// The properties of a scenario; the last ones are witnesses that it reaches what it is about.
pub(crate) fn all(protocol: &Protocol) -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always(ONE_RECORD, |_, state: &State| {
            state.broken != Some(Broken::TwoRecordsCommitted)
        }),
        Property::always(KEPT_COMMIT, |_, state: &State| {
            state.broken != Some(Broken::CommitTruncated)
        }),
        Property::always(READ, |_, state: &State| {
            state.broken != Some(Broken::StaleRead)
        }),
        Property::always(LEASED_READ, |_, state: &State| {
            state.broken != Some(Broken::StaleLeasedRead)
        }),
        Property::always(COMPLETE, |_, state| is_complete(state)),
        Property::always(MATCHING, |_, state| logs_match(state)),
        Property::always(SURVIVES, |_, state| acknowledged_survives(state)),
    ];
    if protocol.scenario.split {
        all.push(Property::always(ONE_HOME, |_, state| has_one_home(state)));
        all.push(Property::always(SEALED, |_, state| holds_seal(state)));
        all.push(Property::always(CHILD, |_, state| opened_at_seal(state)));
        all.push(Property::sometimes(SPLIT_DONE, |_, state: &State| {
            state.split.decision == Decision::Commit && state.registry.active.epoch > 1
        }));
    }
    if protocol.scenario.rounds > 0 {
        all.push(Property::sometimes(
            READ_UNDER_LEASE,
            |protocol: &Protocol, state: &State| {
                let mut nodes = 0..protocol.scenario.nodes;
                nodes.any(|node| !protocol.leased_reads(state, node).is_empty())
            },
        ));
    }
    // What comes first in a scenario may use its writes up.
    if protocol.scenario.prefix.is_empty() && !protocol.scenario.split {
        all.push(Property::sometimes(LATER_WRITE, |_, state: &State| {
            let mut committed = state.committed.iter().flatten();
            committed.any(|record| record.epoch > 1 && matches!(record.content, Content::Write(_)))
        }));
    }
    all
}

fn is_complete(state: &State) -> bool {
    state.replicas.iter().all(|replica| match &replica.role {
        Role::Primary(primary) if primary.activated && primary.config == state.registry.active => {
            let mut committed = state.committed.iter().enumerate();
            committed.all(|(index, record)| {
                record.is_none() || replica.log.get(index) == record.as_ref()
            })
        }
        Role::Primary(_) | Role::Recovering(_) | Role::Replica => true,
    })
}

fn logs_match(state: &State) -> bool {
    let logs = state.replicas.iter().map(|replica| &replica.log);
    logs.clone().enumerate().all(|(index, one)| {
        logs.clone().skip(index + 1).all(|other| {
            let mut pairs = one.iter().zip(other);
            let shared = pairs.rposition(|(left, right)| left.epoch == right.epoch);
            shared.is_none_or(|last| one[..=last] == other[..=last])
        })
    })
}

fn acknowledged_survives(state: &State) -> bool {
    let config = &state.registry.active;
    state.acknowledged.iter().all(|value| {
        let lacks = config.members.iter().filter(|(node, replica_id)| {
            let replica = state.replica(*node);
            replica.replica_id == *replica_id && writes(&replica.log).all(|write| write != *value)
        });
        lacks.count() < config.recovery_quorum()
    })
}

fn has_one_home(state: &State) -> bool {
    state.split.decision != Decision::Commit
        || state.replicas.iter().all(|replica| match &replica.role {
            Role::Primary(primary) => {
                let serves = primary.activated && primary.config == state.registry.active;
                !serves || is_sealed(&replica.log)
            }
            Role::Recovering(_) | Role::Replica => true,
        })
}

fn holds_seal(state: &State) -> bool {
    let mut sealed = false;
    for record in state.committed.iter().flatten() {
        match record.content {
            Content::Seal => sealed = true,
            Content::Unseal if state.split.decision == Decision::Commit => return false,
            Content::Unseal => sealed = false,
            Content::Write(_) if sealed => return false,
            Content::Write(_) | Content::Start => {}
        }
    }
    true
}

fn opened_at_seal(state: &State) -> bool {
    let (Some(child), Some(sealed_at)) = (&state.split.child, state.split.sealed_at) else {
        return true;
    };
    let parent = state
        .committed
        .iter()
        .take(usize::from(sealed_at))
        .flatten();
    let parent: Vec<_> = parent.copied().collect();
    child.iter().copied().eq(writes(&parent))
}
