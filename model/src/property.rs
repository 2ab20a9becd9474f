//! What has to hold in every state.

mod situation;

use std::collections::BTreeSet;

use stateright::Property;

use crate::{
    operation::Phase,
    protocol::Protocol,
    record::{Content, Log, Record, is_sealed, position, writes},
    rule::Rule,
    state::{Broken, Message, Replica, Role, State},
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
/// What a member applies is what was committed (I10).
pub(crate) const APPLIED: &str = "a member applies what was committed";
/// An acknowledgement means that the write is committed (I16).
pub(crate) const ACKNOWLEDGED: &str = "an acknowledged write is committed";
/// A write is applied at most once, also across failover, split and merge (I17).
pub(crate) const ONCE: &str = "a write is applied once";
/// A write that a client was told is not applied was not, and never will be (I16).
pub(crate) const REFUSED: &str = "a refused write is not applied";
/// Whoever answers a read with a token has the record that the token is from.
pub(crate) const TOKEN: &str = "a read with a token sees the write of the token";
/// K1 and K5: at any time one shard alone may commit writes of the range.
pub(crate) const ONE_HOME: &str = "a range is writable in one shard";
/// K2: no acknowledged write of a range follows its seal.
pub(crate) const SEALED: &str = "no write is committed after the seal";
/// K3: a child's state is that of its parents at their seals.
pub(crate) const CHILD: &str = "a child opens with its parents' writes up to the seal";
/// Whatever a parent acknowledged is in the child.
pub(crate) const MOVED: &str = "a child has every write that a parent acknowledged";
/// The same as [`TOKEN`], when the parent gave the token and the child answers.
pub(crate) const CHILD_TOKEN: &str = "a child read with a token sees the write of the token";
/// A seal of an operation that is over would stop the range for ever.
pub(crate) const ORPHAN: &str = "an operation that is over leaves no seal";

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
        Property::always(APPLIED, applies_committed),
        Property::always(ACKNOWLEDGED, |_, state| acknowledged_is_committed(state)),
        Property::always(ONCE, |_, state| is_applied_once(state)),
        Property::always(TOKEN, token_is_honoured),
    ];
    let scenario = &protocol.scenario;
    if scenario.retries > 0 || scenario.expiries > 0 {
        all.push(Property::always(REFUSED, |_, state| {
            refused_stays_away(state)
        }));
    }
    if scenario.operation.is_some() {
        all.push(Property::always(ONE_HOME, |_, state| has_one_home(state)));
        all.push(Property::always(SEALED, |_, state| holds_seal(state)));
        all.push(Property::always(CHILD, |_, state| opened_at_seal(state)));
        all.push(Property::always(MOVED, |_, state| {
            moved_acknowledged(state)
        }));
        all.push(Property::always(CHILD_TOKEN, child_honours_token));
        all.push(Property::always(ORPHAN, |_, state| leaves_no_seal(state)));
    }
    all.extend(situation::all(scenario));
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
            let mut pairs = one.iter().zip(other.iter());
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

fn applies_committed(protocol: &Protocol, state: &State) -> bool {
    state.replicas.iter().all(|replica| {
        let applied = if protocol.lacks(Rule::ApplyCommitted) {
            replica.log.len()
        } else {
            usize::from(replica.commit)
        };
        let mut applied = replica.log.iter().take(applied).enumerate();
        applied.all(|(index, record)| state.committed.get(index) == Some(&Some(*record)))
    })
}

fn acknowledged_is_committed(state: &State) -> bool {
    let mut acknowledged = state.acknowledged.iter();
    state.broken != Some(Broken::UnappliedAcknowledged)
        && acknowledged.all(|value| state.committed_writes().any(|write| write == *value))
}

fn is_applied_once(state: &State) -> bool {
    let mut seen = BTreeSet::new();
    state.applied_writes().all(|write| seen.insert(write))
}

fn refused_stays_away(state: &State) -> bool {
    let mut applied = state.applied_writes();
    applied.all(|write| !state.refused.contains(&write))
}

/// A token is the epoch and the position of a write that some primary appended, be it committed or not.
fn token_is_honoured(protocol: &Protocol, state: &State) -> bool {
    let mut writers = state.replicas.iter().map(|replica| &replica.log);
    writers.all(|written| {
        let mut tokens = written.iter().enumerate();
        tokens.all(|(index, record)| {
            record.content.write().is_none()
                || state.replicas.iter().all(|reader| {
                    let applied = &reader.log[..usize::from(reader.commit)];
                    let waits = index >= applied.len() && !protocol.lacks(Rule::TokenWaits);
                    let lost = applied
                        .get(index)
                        .is_some_and(|found| found.epoch != record.epoch);
                    let refuses = lost && !protocol.lacks(Rule::TokenEpoch);
                    waits || refuses || applied.get(index) == Some(record)
                })
        })
    })
}

/// The logs of the primaries that may commit.
fn serving(state: &State) -> impl Iterator<Item = &Log> {
    let serves = |replica: &&Replica| {
        matches!(&replica.role, Role::Primary(primary)
            if primary.activated && primary.config == state.registry.active)
    };
    let serving = state.replicas.iter().filter(serves);
    serving.map(|replica| &replica.log)
}

/// The log of a merge's second parent.
fn neighbour(state: &State) -> Option<&Log> {
    let neighbour = state.operation.neighbour.as_ref();
    neighbour.map(|neighbour| &neighbour.log)
}

fn has_one_home(state: &State) -> bool {
    if state.operation.phase == Phase::Committed {
        let mut parents = serving(state).chain(neighbour(state));
        parents.all(|log| is_sealed(log))
    } else {
        state.operation.accepted.is_empty()
    }
}

fn holds_seal(state: &State) -> bool {
    let neighbour = neighbour(state).into_iter().flat_map(|log| log.iter());
    keeps_seal(state, state.committed.iter().flatten()) && keeps_seal(state, neighbour)
}

fn keeps_seal<'a>(state: &State, committed: impl Iterator<Item = &'a Record>) -> bool {
    let mut sealed = false;
    for record in committed {
        match record.content {
            Content::Seal => sealed = true,
            Content::Unseal if state.operation.phase == Phase::Committed => return false,
            Content::Unseal => sealed = false,
            Content::Write(_) if sealed => return false,
            Content::Write(_) | Content::Start | Content::Expire(_) | Content::Base => {}
        }
    }
    true
}

/// The records of each parent up to its seal.
fn parents(state: &State) -> Vec<Vec<Record>> {
    let committed: Vec<Record> = state.committed.iter().flatten().copied().collect();
    let neighbour = neighbour(state).map(|log| log.to_vec());
    let mut parents: Vec<_> = [committed].into_iter().chain(neighbour).collect();
    for log in &mut parents {
        let seal = position(log, Content::Seal);
        log.truncate(seal.map_or(log.len(), |seal| usize::from(seal) - 1));
    }
    parents
}

/// The writes that the child opened with.
fn opened(state: &State) -> Option<Vec<u8>> {
    let parts = state.operation.opened.as_ref()?;
    let contents = parts.iter().flatten();
    Some(contents.filter_map(|content| content.write()).collect())
}

fn opened_at_seal(state: &State) -> bool {
    opened(state).is_none_or(|opened| {
        let parents = parents(state);
        opened
            .into_iter()
            .eq(parents.iter().flat_map(|log| writes(log)))
    })
}

fn moved_acknowledged(state: &State) -> bool {
    opened(state).is_none_or(|opened| {
        let neighbours = neighbour(state).into_iter().flat_map(|log| writes(log));
        let mut acknowledged = state.acknowledged.iter().copied().chain(neighbours);
        acknowledged.all(|write| opened.contains(&write))
    })
}

/// What primaries ever wrote is in what they sent, so tokens of records that were lost are there too.
fn child_honours_token(protocol: &Protocol, state: &State) -> bool {
    let Some(opened) = opened(state) else {
        return true;
    };
    let parents = parents(state);
    // Whose log a token is looked up in: these tokens are all of the first parent.
    let asked = if protocol.lacks(Rule::TokenShard) {
        parents.len()
    } else {
        1
    };
    let sent = state.messages.iter().filter_map(|message| match message {
        Message::Append { log, .. } => Some(log),
        Message::FenceAck { .. } | Message::AppendAck { .. } => None,
        Message::Ping { .. } | Message::Pong { .. } => None,
    });
    let mut tokens = sent.flat_map(|log| log.iter().enumerate());
    tokens.all(|(index, token)| {
        let same = |record: &Record| record.epoch == token.epoch;
        let mut asked = parents.iter().take(asked);
        let honours = asked.any(|parent| parent.get(index).is_some_and(same))
            || protocol.lacks(Rule::ChildTokens);
        let mut sees = token.content.write().into_iter();
        !honours || sees.all(|write| opened.contains(&write))
    })
}

fn leaves_no_seal(state: &State) -> bool {
    let mut parents = serving(state).chain(neighbour(state));
    state.operation.phase != Phase::Over || parents.all(|log| !is_sealed(log))
}
