//! Tables of candidates and who takes over.

use shardwright_topology::{Incarnation, KeyspaceName, Lsn, ReplicaId};

use super::*;

fn primary(name: &str) -> Primary {
    Primary {
        node: NodeId::new(name).expect("a valid name"),
        incarnation: Incarnation(1),
    }
}

/// `n2`: nothing reported. `n2 e3 17`: behind at a position. `n2 e3 17 sync`: in sync.
fn candidate(text: &str) -> Candidate {
    let words: Vec<&str> = text.split(' ').collect();
    let copy = (words.len() > 1).then(|| Copy {
        epoch: Epoch(words[1][1..].parse().expect("an epoch")),
        position: Lsn(words[2].parse().expect("a position")),
        in_sync: words.len() > 3,
    });
    Candidate {
        primary: primary(words[0]),
        copy,
    }
}

#[track_caller]
fn check(candidates: &[&str], eligible: Eligible, expect: &str) {
    let candidates: Vec<_> = candidates.iter().map(|text| candidate(text)).collect();
    let chosen = choose(&ShardId::numbered(0), Epoch(3), &candidates, eligible);
    let chosen = match chosen {
        Ok(candidate) => candidate.primary.node.to_string(),
        Err(refused) => refused.to_string(),
    };
    assert_eq!(chosen, expect);
}

#[test]
fn one_in_sync_comes_first_then_the_highest_position() {
    use Eligible::{Any, InSync, Reported};
    check(&["n2 e3 9", "n3 e3 7 sync"], Reported, "n3");
    check(&["n2 e3 9", "n3 e3 7 sync"], InSync, "n3");
    check(&["n2 e3 7", "n3 e3 9", "n4"], Reported, "n3");
    check(&["n2 e2 99", "n3 e3 1"], Reported, "n3");
    check(&["n2 e3 7 sync", "n3 e3 7 sync"], Reported, "n2");
    check(&["n2", "n3"], Any, "n2");
    // In sync at an earlier epoch is behind at this one.
    check(&["n2 e2 99 sync", "n3 e3 1"], Reported, "n3");
}

#[test]
fn who_never_reported_is_not_promoted_without_being_forced() {
    use Eligible::{Any, InSync, Reported};
    let none = "shard shard-0 has no replica that is up, start one";
    check(&[], Any, none);
    let refused = |replicas| {
        format!(
            "shard shard-0: none of {replicas} replicas reported that it may take over, force one to accept a loss"
        )
    };
    check(&["n2", "n3"], Reported, &refused(2));
    check(&["n2 e3 9", "n3 e2 9 sync"], InSync, &refused(2));
}

fn record(nodes: &[&str], w: u32) -> ShardRecord {
    let member = |(bits, name): (u128, &&str)| Member {
        node: primary(name).node,
        replica_id: ReplicaId::from_bits(bits),
    };
    let proposal = Proposal {
        config_id: ConfigId::from_bits(1),
        primary: primary(nodes[0]),
        members: (1..).zip(nodes).map(member).collect(),
        w,
        zones: 1,
    };
    let clean = proposal
        .members
        .iter()
        .map(|member| member.replica_id)
        .collect();
    let empty = ShardRecord::new(KeyspaceName::main(), ShardId::numbered(0), None);
    let attempt = empty.begin_attempt(proposal, &Conditions { clean, w_min: 1 });
    attempt
        .expect("valid")
        .activate(ConfigId::from_bits(1))
        .expect("pending")
}

fn nodes(record: &ShardRecord) -> Vec<&str> {
    let members = record.active.iter().flat_map(|config| &config.members);
    members.map(|member| member.node.as_str()).collect()
}

#[test]
fn a_promotion_raises_the_epoch_and_takes_the_shard_from_the_former_primary() {
    let record = record(&["n1", "n2", "n3"], 1);
    let next = promoted(&record, &primary("n2"), true, ConfigId::from_bits(2)).expect("a replica");
    assert_eq!(
        (next.active_epoch(), next.data_loss_generation),
        (Epoch(2), 0)
    );
    assert_eq!(next.primary(), Some(&primary("n2").node));
    assert_eq!(nodes(&next), ["n2", "n3"]);
    assert_eq!(next.check_invariants(), Ok(()));
    let lossy =
        promoted(&record, &primary("n2"), false, ConfigId::from_bits(2)).expect("a replica");
    assert_eq!(lossy.data_loss_generation, 1);
}

#[test]
fn a_shard_is_reclaimed_with_all_its_replicas_at_the_next_epoch() {
    let record = record(&["n1", "n2"], 1);
    let again = Primary {
        incarnation: Incarnation(2),
        ..primary("n1")
    };
    let next = reclaimed(&record, &again, ConfigId::from_bits(2)).expect("its own");
    assert_eq!(
        (next.active_epoch(), nodes(&next)),
        (Epoch(2), vec!["n1", "n2"])
    );
    assert_eq!(next.active.map(|config| config.primary), Some(again));
}

#[test]
fn what_a_promotion_cannot_change_is_refused_by_name() {
    let config_id = ConfigId::from_bits(2);
    let refused = |record: &ShardRecord, to: &str| {
        promoted(record, &primary(to), true, config_id)
            .expect_err("not possible")
            .to_string()
    };
    let empty = ShardRecord::new(KeyspaceName::main(), ShardId::numbered(0), None);
    assert_eq!(
        refused(&empty, "n1"),
        "shard shard-0 has no primary yet, assign it"
    );
    assert_eq!(
        refused(&record(&["n1", "n2"], 1), "n9"),
        "node n9 holds no replica of shard shard-0, add one first"
    );
    assert_eq!(
        refused(&record(&["n1", "n2", "n3"], 2), "n2"),
        "shard shard-0 commits on 2 members, its log decides who takes over"
    );
}
