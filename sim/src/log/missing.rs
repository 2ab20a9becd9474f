//! The rules that can be left out, each to see that its absence is noticed.

use std::time::Duration;

use shardwright_quorum::log::{
    Answer, Ask, EpochTable, FenceAck, Participant, Point, Reply, Request,
};
use shardwright_topology::{Config, ConfigId, Epoch, Lsn, NodeId, ShardRecord, Timestamp};

use super::{LEASE, LONG_LEASE, rules::Rules};

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A fenced member accepts nothing of a lower epoch (R1, P1).
    Fence,
    /// An append of a lower epoch than promised is refused (R1).
    EpochCheck,
    /// A promise is durable before it is answered (R1).
    DurablePromise,
    /// A record is durable before it is acknowledged (R2).
    SyncFirst,
    /// After a sync that failed nothing is taken for durable (R4).
    FailedSync,
    /// What is damaged is not what was never there (R4).
    DamageIsNoAbsence,
    /// A copy that may have lost records gets a new id (R4).
    FreshReplicaId,
    /// An attempt recovers from the active configuration, never from a pending one (C3).
    RecoverFromActive,
    /// A new epoch starts from R fenced members (P1).
    RecoveryQuorum,
    /// An answer counts for the copy that the configuration lists, not for its node (P1, I4).
    ListedReplica,
    /// The word of the primary that gave way is enough, and that of no other copy (P1).
    PrimarysWord,
    /// A primary that has given way leads no more (P1).
    LeadsNoMore,
    /// A new primary gives up its own log for the newest (P2).
    AdoptLog,
    /// The newest log is that of the highest epoch, not the longest (P2).
    NewestLog,
    /// A configuration is activated when w members hold the begin of its epoch (P4).
    ActivateAtQuorum,
    /// Nothing is committed before activation (P5).
    ActivateBeforeCommit,
    /// A member acknowledges what it compared, not all that it has (R2).
    VerifiedRecords,
    /// An acknowledgement counts for the epoch that it was given in (P5).
    EpochOfAnswer,
    /// A process that starts again is another one (P6).
    NewIncarnation,
    /// The record is changed only as it was seen (C1).
    CompareAndSet,
    /// A consistent read hears from w members after it came.
    ReadBarrier,
    /// A member refuses higher fences for as long as it promised.
    LeaseHolds,
    /// It does so after its process start, too.
    LeaseAfterRestart,
    /// A primary counts a lease from when it asked for it.
    LeaseFromSend,
    /// A primary counts on less than was promised.
    LeaseMargin,
    /// Nothing begins that recovers from an earlier configuration than one that a copy has seen active (I21).
    RegistryForward,
    /// A record whose content was made from the data is appended next to what that was then.
    FollowsItsBase,
    /// Whoever writes again looks first whether that has happened (I17).
    LooksBefore,
    /// A copy is deleted only if the record says that nobody needs it (R5).
    DeletionGuard,
    /// The outcomes of writes are stored together with what they did (I17).
    OutcomesWithCommit,
    /// A transaction that waits is committed with its own record alone, and undone when another one comes.
    OwnRecordOnly,
    /// The log is trimmed only up to where the data is durable.
    SavesBeforeTrim,
    /// A write is acknowledged when it is committed, not when it is on the primary's disk.
    WaitsForQuorum,
    /// SQLite's refusal of a write counts only if the data was the latest.
    RefusesOnLatest,
    /// A read waits until the data has what the log says that it has to see.
    ReadWaits,
    /// A read waits until the data has what its client has been told of.
    TokenAwaited,
}

impl Missing {
    pub(crate) const ALL: &'static [Self] = &[
        Self::Fence,
        Self::EpochCheck,
        Self::DurablePromise,
        Self::SyncFirst,
        Self::FailedSync,
        Self::DamageIsNoAbsence,
        Self::FreshReplicaId,
        Self::RecoverFromActive,
        Self::RecoveryQuorum,
        Self::ListedReplica,
        Self::PrimarysWord,
        Self::LeadsNoMore,
        Self::AdoptLog,
        Self::NewestLog,
        Self::ActivateAtQuorum,
        Self::ActivateBeforeCommit,
        Self::VerifiedRecords,
        Self::EpochOfAnswer,
        Self::NewIncarnation,
        Self::CompareAndSet,
        Self::ReadBarrier,
        Self::LeaseHolds,
        Self::LeaseAfterRestart,
        Self::LeaseFromSend,
        Self::LeaseMargin,
        Self::RegistryForward,
        Self::FollowsItsBase,
        Self::LooksBefore,
        Self::DeletionGuard,
    ];

    /// Those that matter to the data.
    pub(super) const OF_DATA: &'static [Self] = &[
        Self::FollowsItsBase,
        Self::LeaseHolds,
        Self::OutcomesWithCommit,
        Self::OwnRecordOnly,
        Self::SavesBeforeTrim,
        Self::WaitsForQuorum,
        Self::RefusesOnLatest,
        Self::ReadWaits,
        Self::TokenAwaited,
    ];

    /// How long leases last, so that it is missed soon.
    pub(super) fn lease(self) -> Duration {
        match self {
            Self::LeaseHolds | Self::LeaseAfterRestart | Self::LeaseMargin => LONG_LEASE,
            _ => LEASE,
        }
    }

    /// What a member gets for a request, or what is answered in its place.
    pub(super) fn request(self, machine: &Participant, request: &mut Request) -> Option<Reply> {
        let replica = machine.replica();
        match self {
            Self::Fence | Self::LeadsNoMore if matches!(request.ask, Ask::Fence) => Some(Reply {
                ballot: request.ballot,
                stamp: request.stamp,
                lease: Duration::ZERO,
                replica_id: replica.replica_id(),
                answer: Answer::Fenced(FenceAck {
                    last: replica.log().last(),
                    epoch_table: replica.log().epoch_table().clone(),
                    base: replica.log().base(),
                    known_commit: replica.known_commit(),
                    highest_active_epoch_seen: Epoch::UNASSIGNED,
                    gave_way: self.led(machine),
                    clean: true,
                }),
            }),
            Self::EpochCheck => {
                let promised = replica.promised();
                let promised = promised.filter(|promised| promised.epoch > request.ballot.epoch);
                if let Some(promised) = promised
                    && matches!(request.ask, Ask::Append(_))
                {
                    request.ballot = promised;
                }
                None
            }
            Self::LeaseHolds => {
                request.lease = Duration::ZERO;
                None
            }
            _ => None,
        }
    }

    /// What a copy says that it has ceased to lead, though it goes on.
    fn led(self, machine: &Participant) -> Option<ConfigId> {
        let leads = machine.leads().filter(|_| self == Self::LeadsNoMore);
        leads.map(|config| config.config_id)
    }

    /// What a member answers.
    pub(super) fn reply(self, last: Lsn, reply: &mut Reply) {
        if let Answer::Appended(verified) = &mut reply.answer
            && self == Self::VerifiedRecords
        {
            *verified = last.max(*verified);
        }
        if let Answer::Fenced(ack) = &mut reply.answer
            && self == Self::RegistryForward
        {
            ack.highest_active_epoch_seen = Epoch::UNASSIGNED;
        }
        let is_fence = matches!(reply.answer, Answer::Fenced(_) | Answer::Fetched { .. });
        if self == Self::LeaseHolds && reply.answer.is_obedient() && !is_fence {
            reply.lease = LONG_LEASE;
        }
    }

    /// What a primary gets for an answer.
    pub(super) fn answer(
        self,
        now: Timestamp,
        machine: &Participant,
        rules: &Rules,
        from: &NodeId,
        reply: &mut Reply,
    ) {
        let own = machine.replica().promised();
        match self {
            Self::EpochOfAnswer | Self::EpochCheck => {
                if let Some(own) = own.filter(|_| matches!(reply.answer, Answer::Appended(_))) {
                    reply.ballot = own;
                }
            }
            Self::PrimarysWord => {
                if let Answer::Fenced(ack) = &mut reply.answer {
                    ack.gave_way = rules.recovers_from(reply.ballot.epoch);
                }
            }
            Self::LeaseFromSend => reply.stamp.at = now.0,
            Self::ListedReplica => {
                let config = rules.config(reply.ballot.epoch);
                let listed = config.and_then(|config| config.member(from));
                if let Some(listed) = listed {
                    reply.replica_id = listed.replica_id;
                }
            }
            Self::AdoptLog | Self::NewestLog => {
                let own = machine.replica().log().last();
                if let Answer::Fenced(ack) = &mut reply.answer
                    && (self == Self::AdoptLog || ack.last.lsn < own.lsn)
                {
                    ack.last = Point::default();
                    ack.epoch_table = EpochTable::default();
                }
            }
            _ => {}
        }
    }

    /// What a node sees of the shard's record.
    pub(super) fn record(self, record: &mut ShardRecord, replaced: Option<&Config>) {
        match self {
            Self::RecoverFromActive => {
                if let (Some(active), Some(replaced)) = (&mut record.active, replaced)
                    && replaced.epoch > active.epoch
                {
                    *active = Config {
                        config_id: ConfigId::from_bits(0),
                        epoch: active.epoch,
                        ..replaced.clone()
                    };
                }
            }
            Self::RecoveryQuorum => {
                if let Some(active) = &mut record.active {
                    active.w = u32::try_from(active.members.len()).unwrap_or(active.w);
                }
            }
            _ => {}
        }
    }
}
