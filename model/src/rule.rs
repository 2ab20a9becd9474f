//! The rules that can be left out, each of which some scenario has to miss.

use crate::property;

/// A rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Fence,
    RecoveryQuorum,
    RecoverFromActive,
    NewestLog,
    AdoptLog,
    ActivateAtQuorum,
    ActivateBeforeCommit,
    EpochStartRecord,
    DurablePromise,
    EpochCheck,
    FreshReplicaId,
    ListedReplica,
    ReadBarrier,
    LeaseHolds,
    LeaseBindsCandidate,
    LeaseAfterRestart,
    LeaseFromSend,
    LeaseMargin,
    LeaseOfEpoch,
    LeaseQuorum,
    LeaseReadPastStart,
    LeaseReadApplied,
    SealStopsWrites,
    DecideAfterSeal,
    AbortBeforeUnseal,
    OpenAtSeal,
}

/// A rule, the scenario that misses it, and the properties of which one fails first without it.
#[derive(Debug)]
pub(crate) struct Mutation {
    pub(crate) rule: Rule,
    /// What the command line calls the rule.
    pub(crate) name: &'static str,
    /// The rule itself.
    pub(crate) says: &'static str,
    pub(crate) scenario: &'static str,
    /// Any of them may be found first: searching in parallel is not in order.
    pub(crate) caught_by: &'static [&'static str],
}

const fn rule(
    rule: Rule,
    name: &'static str,
    says: &'static str,
    scenario: &'static str,
    caught_by: &'static [&'static str],
) -> Mutation {
    Mutation {
        rule,
        name,
        says,
        scenario,
        caught_by,
    }
}

/// What a lost record shows as, first in one place or in another.
const LOSS: &[&str] = &[
    property::ONE_RECORD,
    property::KEPT_COMMIT,
    property::COMPLETE,
    property::SURVIVES,
];

/// Every rule that can be left out.
#[rustfmt::skip]
pub(crate) const MUTATIONS: &[Mutation] = &[
    rule(Rule::Fence, "fence", "a fenced member accepts nothing of a lower epoch (R1, P1)", "small", LOSS),
    rule(Rule::RecoveryQuorum, "recovery_quorum", "a new epoch starts from R fenced members (P1)", "small", LOSS),
    rule(Rule::RecoverFromActive, "recover_from_active", "an attempt recovers from the active configuration, never from a pending one (C3)", "isr_next", LOSS),
    rule(Rule::NewestLog, "newest_log", "the log with the highest last epoch, then position, is adopted (P2)", "longer_log", LOSS),
    rule(Rule::AdoptLog, "adopt_log", "a new primary gives up its own log for the newest (P2)", "small", LOSS),
    rule(Rule::ActivateAtQuorum, "activate_at_quorum", "a configuration is activated when w members hold its epoch-start record (P4)", "isr_next", LOSS),
    rule(Rule::ActivateBeforeCommit, "activate_before_commit", "nothing is committed before activation (P5)", "swap_again", LOSS),
    rule(Rule::EpochStartRecord, "epoch_start_record", "an epoch starts with a record of its own, and commits older ones only below it (P3)", "figure_8", LOSS),
    rule(Rule::DurablePromise, "durable_promise", "a promise is durable before it is answered (R1)", "tiny", LOSS),
    rule(Rule::EpochCheck, "epoch_check", "an append of a lower epoch than promised is refused (R1)", "small", LOSS),
    rule(Rule::FreshReplicaId, "fresh_replica_id", "a copy that may have lost records gets a new replica id (R4)", "isr_lossy", LOSS),
    rule(Rule::ListedReplica, "listed_replica", "an answer counts for the replica id that the configuration lists, not for its node (P1, I4)", "lossy", LOSS),
    rule(Rule::ReadBarrier, "read_barrier", "a linearizable read hears from w members after it arrived", "reads", &[property::READ]),
    rule(Rule::LeaseHolds, "lease_holds", "a member refuses higher fences for as long as it promised", "leases", &[property::LEASED_READ]),
    rule(Rule::LeaseBindsCandidate, "lease_binds_candidate", "a member does not fence itself as a candidate either, while its promise holds", "leases", &[property::LEASED_READ]),
    rule(Rule::LeaseAfterRestart, "lease_after_restart", "a member refuses higher fences for the maximum duration after its process start", "leases_restart", &[property::LEASED_READ]),
    rule(Rule::LeaseFromSend, "lease_from_send", "a primary counts a lease from when it sent the ping", "leases", &[property::LEASED_READ]),
    rule(Rule::LeaseMargin, "lease_margin", "a primary counts a drift margin less than was promised", "leases", &[property::LEASED_READ]),
    rule(Rule::LeaseOfEpoch, "lease_of_epoch", "a same-primary change starts with no lease", "leases_change", &[property::LEASED_READ]),
    rule(Rule::LeaseQuorum, "lease_quorum", "a lease is the promise of w members", "leases", &[property::LEASED_READ]),
    rule(Rule::LeaseReadPastStart, "lease_read_past_start", "a leased read has applied the epoch-start record", "leases", &[property::LEASED_READ]),
    rule(Rule::LeaseReadApplied, "lease_read_applied", "a leased read has applied all that is acknowledged", "leases", &[property::LEASED_READ]),
    rule(Rule::SealStopsWrites, "seal_stops_writes", "no primary admits writes after SEAL, whoever appended it (S5)", "split", &[property::SEALED, property::ONE_HOME]),
    rule(Rule::DecideAfterSeal, "decide_after_seal", "a split is decided when SEAL is committed and the child is open (S7)", "split", &[property::ONE_HOME, property::SEALED]),
    rule(Rule::AbortBeforeUnseal, "abort_before_unseal", "UNSEAL follows a decision to abort (S5)", "split", &[property::SEALED, property::ONE_HOME]),
    rule(Rule::OpenAtSeal, "open_at_seal", "a child opens with the parent's state at SEAL (S6)", "split", &[property::CHILD]),
];

/// The rule that the command line calls `name`.
pub(crate) fn named(name: &str) -> Option<&'static Mutation> {
    MUTATIONS.iter().find(|mutation| mutation.name == name)
}
