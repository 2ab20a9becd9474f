//! What is said of shards that commit on several members, against the OpenAPI files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use shardwright_coordinator::{
    core::Notice,
    failover::replication::{Condition, CopyReport, Health, Instruction, Lead, Purpose},
    protocol::{CopyInstruction, CopyState, CopyTrouble, TroubleKind},
    rebalancer::PartitionId,
    registry::Revision,
};
use shardwright_topology::{Epoch, Incarnation, KeyspaceName, Lsn, Member, ReplicaId, ShardId};

use crate::{schema::Document, setting::name};

/// What happens to shards that commit on several members.
pub(crate) fn notices_of_copies(partition: &PartitionId) -> Vec<Notice> {
    let (node, partition) = (name("n"), partition.clone());
    let (epoch, replica) = (Epoch(2), ReplicaId::from_bits(1));
    vec![
        Notice::ShardCondition {
            partition: partition.clone(),
            from: Condition::Unknown.kind(),
            to: Condition::Whole.kind(),
        },
        Notice::Attempt {
            partition: partition.clone(),
            epoch,
            to: node.clone(),
            purpose: Purpose::HandOver.kind(),
        },
        Notice::Activated {
            partition: partition.clone(),
            epoch,
            from: None,
            to: node.clone(),
            members: vec![node.clone()],
            w: 1,
        },
        Notice::LossAccepted {
            partition: partition.clone(),
            epoch,
            generation: 1,
            by: "Ada".to_owned(),
            to: node.clone(),
            left: vec![node.clone()],
            given_up: vec![node.clone()],
        },
        Notice::CopyOrdered {
            partition: partition.clone(),
            node: node.clone(),
            replica,
        },
        Notice::CopyGivenUp {
            partition: partition.clone(),
            node: node.clone(),
            replica,
        },
        Notice::CopyFailed {
            partition: partition.clone(),
            node: node.clone(),
            kind: TroubleKind::NoRoom,
            error: "no room".to_owned(),
        },
        Notice::CopyBack { partition, node },
    ]
}

/// What a worker says of its copy.
pub(crate) fn copy_state() -> CopyState {
    let lead = Lead {
        epoch: Epoch(2),
        last: Lsn(9),
        commit: Some(Lsn(9)),
        followers: BTreeMap::from([(ReplicaId::from_bits(2), Lsn(8))]),
    };
    CopyState {
        partition: PartitionId::from(ShardId::numbered(0)),
        report: CopyReport {
            replica_id: ReplicaId::from_bits(1),
            incarnation: Incarnation(3),
            epoch: Epoch(2),
            durable: Lsn(9),
            health: Health::Whole,
            installs: false,
            lead: Some(lead),
        },
    }
}

/// What a worker says of a copy that does not work.
pub(crate) fn copy_trouble() -> CopyTrouble {
    CopyTrouble {
        partition: PartitionId::from(ShardId::numbered(0)),
        kind: TroubleKind::SetAside,
        error: "it differs".to_owned(),
    }
}

/// All that goes between coordinators and workers about copies goes there and back, and is as the file says.
#[test]
fn the_worker_file_describes_instructions() {
    let document = Document::read("shardz-worker.json");
    check_instructions(&document);
    let state = serde_json::to_value(copy_state()).expect("JSON");
    let read: CopyState = serde_json::from_value(state).expect("it can be read");
    assert_eq!(read, copy_state());
}

/// What coordinators tell workers that keep copies.
pub(crate) fn check_instructions(document: &Document) {
    let (shard, replica_id) = (ShardId::numbered(0), ReplicaId::from_bits(1));
    let learner = Member {
        node: name("n"),
        replica_id,
    };
    let instructions = [
        Instruction::Create {
            shard: shard.clone(),
            replica_id,
        },
        Instruction::Follow {
            shard: shard.clone(),
            epoch: Epoch(2),
            learners: BTreeSet::from([learner]),
        },
        Instruction::Drop {
            shard,
            replica_id,
            epoch: Epoch(2),
            revision: Revision(7),
        },
    ];
    let instructions = instructions.map(|instruction| CopyInstruction {
        keyspace: KeyspaceName::main(),
        instruction,
    });
    let shown = serde_json::to_value(&instructions).expect("JSON");
    let read: Vec<CopyInstruction> = serde_json::from_value(shown.clone()).expect("it can be read");
    assert_eq!(read, instructions);
    let ping = json!({"version": 1, "coordinator": "c", "node": "w", "incarnation": 1, "term": 1, "list": 1,
        "hold_ms": 1, "expired": false, "drained": false, "instructions": shown});
    document.check("Ping", &ping);
}
