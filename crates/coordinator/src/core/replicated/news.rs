//! What happens to shards that commit on several members, as people and metrics get to know it.

use shardwright_failover::replication::Event;
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{KeyspaceName, Member, NodeId, ShardId};

use crate::core::Notice;

/// What to tell of an event; of one that this release does not know, nothing.
pub(super) fn notice(keyspace: &KeyspaceName, event: Event) -> Option<Notice> {
    let named = |shard: ShardId| PartitionId::new(keyspace.clone(), shard);
    Some(match event {
        Event::Condition { shard, from, to } => {
            let (from, to) = (from.kind(), to.kind());
            if from == to {
                return None;
            }
            let partition = named(shard);
            Notice::ShardCondition {
                partition,
                from,
                to,
            }
        }
        Event::Attempt {
            shard,
            epoch,
            primary,
            purpose,
            ..
        } => Notice::Attempt {
            partition: named(shard),
            epoch,
            to: primary,
            purpose: purpose.kind(),
        },
        Event::Activated {
            shard,
            epoch,
            from,
            primary,
            members,
            w,
        } => Notice::Activated {
            partition: named(shard),
            epoch,
            from,
            to: primary,
            members: nodes(members),
            w,
        },
        other => return rare_notice(keyspace, other),
    })
}

fn rare_notice(keyspace: &KeyspaceName, event: Event) -> Option<Notice> {
    let named = |shard: ShardId| PartitionId::new(keyspace.clone(), shard);
    Some(match event {
        Event::LossAccepted {
            shard,
            epoch,
            generation,
            by,
            primary,
            left,
            given_up,
        } => Notice::LossAccepted {
            partition: named(shard),
            epoch,
            generation,
            by,
            to: primary,
            left: nodes(left),
            given_up: nodes(given_up),
        },
        Event::CopyOrdered {
            shard,
            node,
            replica_id,
        } => Notice::CopyOrdered {
            partition: named(shard),
            node,
            replica: replica_id,
        },
        Event::CopyGivenUp {
            shard,
            node,
            replica_id,
        } => Notice::CopyGivenUp {
            partition: named(shard),
            node,
            replica: replica_id,
        },
        _ => return None,
    })
}

fn nodes(members: impl IntoIterator<Item = Member>) -> Vec<NodeId> {
    members.into_iter().map(|member| member.node).collect()
}
