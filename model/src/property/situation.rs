//! What some state of a scenario has to show: a scenario that never gets there proves nothing.

use stateright::Property;

use super::neighbour;
use crate::{
    operation::{Kind, Phase},
    protocol::Protocol,
    record::{Content, position},
    scenario::Scenario,
    state::{Message, Role, State},
};

/// The situations that `scenario` has to reach.
pub(super) fn all(scenario: &Scenario) -> Vec<Property<Protocol>> {
    let mut all = vec![Property::sometimes(
        "the last epoch is active",
        |protocol: &Protocol, state: &State| {
            state.registry.active.epoch == protocol.scenario.epochs
        },
    )];
    // What comes first in a scenario may use its writes up.
    if scenario.prefix.is_empty() {
        all.push(Property::sometimes(
            "a write is acknowledged in a later epoch",
            |_, state| acknowledges_later(state),
        ));
    }
    if scenario.restarts > 0 {
        all.push(Property::sometimes(
            "a restarted process is the active primary",
            |_, state: &State| state.registry.active.incarnation > 0,
        ));
    }
    if scenario.losses > 0 && scenario.operation.is_none() {
        all.push(Property::sometimes(
            "a copy that lost something is a member again, by another id",
            |_, state: &State| {
                let mut members = state.registry.active.members.iter();
                members.any(|(_, replica_id)| *replica_id > 0)
            },
        ));
    }
    if scenario.barriers {
        all.push(Property::sometimes(
            "a read waits for a second answer",
            |_, state| answers_reads(state),
        ));
    }
    if scenario.hand_overs {
        all.push(Property::sometimes(
            "an epoch that a primary gave way to is active",
            |_, state: &State| {
                let mut messages = state.messages.iter();
                messages.any(|message| {
                    matches!(message, Message::FenceAck { epoch, left: true, .. }
                        if *epoch == state.registry.active.epoch)
                })
            },
        ));
    }
    if scenario.rounds > 0 {
        all.extend(leases());
    }
    if scenario.retries > 0 {
        all.extend(retries());
    }
    if scenario.operation.is_some() {
        all.extend(operations());
    }
    if scenario.operation == Some(Kind::Merge) {
        all.extend(merges());
    }
    all
}

fn acknowledges_later(state: &State) -> bool {
    let mut committed = state.committed.iter().flatten();
    committed.any(|record| record.epoch > 1 && record.content.write().is_some())
}

fn answers_reads(state: &State) -> bool {
    let mut nodes = state.replicas.iter();
    nodes.any(|replica| {
        matches!(&replica.role, Role::Primary(primary)
            if primary.barrier.as_ref().is_some_and(|barrier| barrier.answered.len() > 1))
    })
}

fn leases() -> [Property<Protocol>; 2] {
    [
        Property::sometimes(
            "a read under a lease is possible",
            |protocol: &Protocol, state: &State| {
                let mut nodes = 0..protocol.scenario.nodes;
                nodes.any(|node| !protocol.leased_reads(state, node).is_empty())
            },
        ),
        Property::sometimes("a promise holds up a newer epoch", |_, state: &State| {
            let held = state.replicas.iter().filter(|replica| replica.held > 0);
            held.map(|replica| replica.promised)
                .any(|promised| promised < state.registry.epoch)
        }),
    ]
}

fn retries() -> [Property<Protocol>; 3] {
    [
        Property::sometimes("a write is refused as expired", |_, state: &State| {
            !state.refused.is_empty()
        }),
        Property::sometimes(
            "a write is committed before one with a lower number",
            |_, state: &State| !state.committed_writes().is_sorted(),
        ),
        Property::sometimes(
            "a write is appended again, as its record was lost",
            |protocol: &Protocol, state: &State| state.written > protocol.scenario.writes,
        ),
    ]
}

fn operations() -> [Property<Protocol>; 4] {
    [
        Property::sometimes(
            "an operation is committed after a failover",
            |_, state: &State| {
                state.operation.phase == Phase::Committed && state.registry.active.epoch > 1
            },
        ),
        Property::sometimes(
            "an operation is aborted after its seal",
            |_, state: &State| {
                let committed: Vec<_> = state.committed.iter().flatten().copied().collect();
                let sealed = position(&committed, Content::Seal).is_some();
                state.operation.phase == Phase::Over && sealed
            },
        ),
        Property::sometimes(
            "a child opens with something of each parent",
            |_, state: &State| {
                let opened = state.operation.opened.as_ref();
                opened.is_some_and(|parts| parts.iter().all(|part| !part.is_empty()))
            },
        ),
        Property::sometimes("a child accepts a write", |_, state: &State| {
            !state.operation.accepted.is_empty()
        }),
    ]
}

fn merges() -> [Property<Protocol>; 3] {
    [
        Property::sometimes(
            "a merge is aborted after its second seal",
            |_, state: &State| {
                let sealed = neighbour(state).and_then(|log| position(log, Content::Seal));
                state.operation.phase == Phase::Over && sealed.is_some()
            },
        ),
        Property::sometimes(
            "a merged shard refuses a write as expired",
            |_, state: &State| !state.refused.is_empty(),
        ),
        Property::sometimes(
            "a write that a failover lost is accepted by the merged shard",
            |_, state: &State| {
                let lost = state.written > 0 && state.committed_writes().count() == 0;
                lost && state.operation.accepted.contains(&1)
            },
        ),
    ]
}
