//! Whether a node deletes a copy that it is told to delete: it is asked to by somebody who may have been wrong, or a while ago.

use shardwright_registry::{Revision, Stored};
use shardwright_topology::{Epoch, ReplicaId, ShardId, ShardRecord};

use super::Instruction;

/// Why a node keeps a copy that it was told to delete. Whoever asked looks again, and asks again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Kept {
    /// The instruction is another one, or about another shard.
    #[error("nobody asked for a copy of shard {shard} to be deleted")]
    NotAsked {
        /// The shard whose record was read.
        shard: ShardId,
    },
    /// The copy meant is not here any more.
    #[error("the copy here is {held}, not {named}")]
    OtherCopy {
        /// The copy that is here.
        held: ReplicaId,
        /// The copy that was to be deleted.
        named: ReplicaId,
    },
    /// The record was read before what was decided on. Read it again.
    #[error("the record was read at revision {read}, this was decided on {decided}, read it again")]
    OldRecord {
        /// The revision that was read.
        read: Revision,
        /// The revision of the record that this was decided on.
        decided: Revision,
    },
    /// The shard has reached another epoch since, or the copy has.
    #[error(
        "this was decided at {decided}, the shard is at {shard}, and the copy has promised {promised}"
    )]
    OtherEpoch {
        /// The highest epoch of the shard when this was decided.
        decided: Epoch,
        /// Its highest epoch now.
        shard: Epoch,
        /// The epoch that the copy has promised to obey.
        promised: Epoch,
    },
    /// The copy counts: the active or the pending configuration names it.
    #[error("copy {copy} is a member of shard {shard}")]
    Member {
        /// The shard.
        shard: ShardId,
        /// The copy.
        copy: ReplicaId,
    },
}

impl Instruction {
    /// Checks that a node may delete its copy `held` as this instruction says, which has promised to obey the epoch `promised`.
    ///
    /// The record was read after the instruction arrived. From before this check on the copy answers nobody until it is deleted, so that it
    /// acknowledges nothing meanwhile. What it may have acknowledged before, in an attempt that the record does not show yet, shows in what
    /// it has promised.
    ///
    /// # Errors
    /// [`Kept`], unless the record says that no configuration names the copy, and nothing has changed since that was decided.
    pub fn may_delete(
        &self,
        held: ReplicaId,
        promised: Epoch,
        stored: &Stored<ShardRecord>,
    ) -> Result<(), Kept> {
        let record = &stored.value;
        let (id, named, decided, revision) = match self {
            Self::Drop {
                shard,
                replica_id,
                epoch,
                revision,
            } if *shard == record.id => (shard, *replica_id, *epoch, *revision),
            _ => {
                let shard = record.id.clone();
                return Err(Kept::NotAsked { shard });
            }
        };
        if named != held {
            return Err(Kept::OtherCopy { held, named });
        }
        let configs = record.active.iter().chain(&record.pending);
        let mut members = configs.flat_map(|config| &config.members);
        if members.any(|member| member.replica_id == held) {
            let (shard, copy) = (id.clone(), held);
            return Err(Kept::Member { shard, copy });
        }
        if stored.revision < revision {
            let (read, decided) = (stored.revision, revision);
            return Err(Kept::OldRecord { read, decided });
        }
        if record.epoch != decided || promised > decided {
            return Err(Kept::OtherEpoch {
                decided,
                shard: record.epoch,
                promised,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use shardwright_registry::Key;
    use shardwright_topology::{
        Config, ConfigId, Incarnation, KeyspaceName, Member, NodeId, Primary,
    };

    use super::*;

    const COPY: ReplicaId = ReplicaId::from_bits(7);

    fn config(copy: ReplicaId) -> Config {
        let node = NodeId::new("n1").expect("a name");
        let primary = Primary {
            node: node.clone(),
            incarnation: Incarnation(1),
        };
        Config {
            epoch: Epoch(4),
            config_id: ConfigId::from_bits(4),
            primary,
            members: BTreeSet::from([Member {
                node,
                replica_id: copy,
            }]),
            w: 1,
            zones: 1,
        }
    }

    fn stored(revision: u64, epoch: u64) -> Stored<ShardRecord> {
        let id = ShardId::numbered(0);
        let mut value = ShardRecord::new(KeyspaceName::main(), id, None);
        value.epoch = Epoch(epoch);
        Stored {
            key: Key::new("shard/main/shard-0").expect("a key"),
            value,
            revision: Revision(revision),
        }
    }

    fn told() -> Instruction {
        Instruction::Drop {
            shard: ShardId::numbered(0),
            replica_id: COPY,
            epoch: Epoch(4),
            revision: Revision(9),
        }
    }

    #[test]
    fn a_copy_that_no_configuration_names_is_deleted() {
        let check = |held, promised| told().may_delete(held, Epoch(promised), &stored(9, 4));
        assert_eq!(check(COPY, 4), Ok(()));
        assert_eq!(check(COPY, 0), Ok(()), "it never heard of anybody");
        let kept = check(ReplicaId::from_bits(8), 4);
        assert!(matches!(kept, Err(Kept::OtherCopy { .. })));
        let kept = check(COPY, 5);
        assert!(
            matches!(kept, Err(Kept::OtherEpoch { .. })),
            "it may count there"
        );
    }

    #[test]
    fn a_member_is_kept() {
        for is_active in [true, false] {
            let mut stored = stored(9, 4);
            let place = if is_active {
                &mut stored.value.active
            } else {
                &mut stored.value.pending
            };
            *place = Some(config(COPY));
            let kept = told().may_delete(COPY, Epoch(4), &stored);
            assert!(matches!(kept, Err(Kept::Member { .. })));
        }
    }

    #[test]
    fn a_record_of_another_time_decides_nothing() {
        let check = |revision, epoch| told().may_delete(COPY, Epoch(4), &stored(revision, epoch));
        assert!(matches!(check(8, 4), Err(Kept::OldRecord { .. })));
        assert!(matches!(check(10, 5), Err(Kept::OtherEpoch { .. })));
        let back = check(10, 3);
        assert!(
            matches!(back, Err(Kept::OtherEpoch { .. })),
            "the registry went back"
        );
        assert_eq!(check(10, 4), Ok(()));
    }

    #[test]
    fn what_is_asked_for_is_nothing_else() {
        let create = Instruction::Create {
            shard: ShardId::numbered(0),
            replica_id: COPY,
        };
        let kept = create.may_delete(COPY, Epoch(4), &stored(9, 4));
        assert!(matches!(kept, Err(Kept::NotAsked { .. })));
        let mut other = stored(9, 4);
        other.value.id = ShardId::numbered(1);
        let kept = told().may_delete(COPY, Epoch(4), &other);
        assert!(matches!(kept, Err(Kept::NotAsked { .. })));
    }
}
