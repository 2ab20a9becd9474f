//! The rules that can be left out, each of which some scenario has to miss.

use crate::property;

/// A rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Fence,
    RecoveryQuorum,
    PrimarysWord,
    LeadsNoMore,
    RecoverFromActive,
    NewestLog,
    AdoptLog,
    ActivateAtQuorum,
    ActivateBeforeCommit,
    EpochStartRecord,
    DurablePromise,
    DurableRecord,
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
    WindowInLog,
    ExactSequences,
    DuplicateWaits,
    DeadlineUnknown,
    ExpiredRefused,
    ExpiryInLog,
    ApplyCommitted,
    TokenWaits,
    TokenEpoch,
    SealStopsWrites,
    TouchBeforeSeal,
    FilterAtBase,
    CompareBases,
    OpenAtSeal,
    DecideAfterSeal,
    DecideOnce,
    ChildWaits,
    SplitCopiesWindow,
    ChildTokens,
    AbortBeforeUnseal,
    UnsealBeforeCleanup,
    UniteWindows,
    UniteExactly,
    OneNumbering,
    ChildKeepsExpiry,
    SealBoth,
    FollowBoth,
    SnapshotPosition,
    TokenShard,
    UnsealBoth,
}

/// A rule, the scenario that misses it, and the property that fails there without it.
#[derive(Debug)]
pub(crate) struct Mutation {
    pub(crate) rule: Rule,
    /// What the command line calls the rule.
    pub(crate) name: &'static str,
    /// The rule itself.
    pub(crate) says: &'static str,
    pub(crate) scenario: &'static str,
    pub(crate) fails: &'static str,
}

const fn rule(
    rule: Rule,
    name: &'static str,
    says: &'static str,
    scenario: &'static str,
    fails: &'static str,
) -> Mutation {
    Mutation {
        rule,
        name,
        says,
        scenario,
        fails,
    }
}

/// Every rule that can be left out.
#[rustfmt::skip]
pub(crate) const MUTATIONS: &[Mutation] = &[
    rule(Rule::Fence, "fence", "a fenced member accepts nothing of a lower epoch (R1, P1)", "tiny", property::ONE_RECORD),
    rule(Rule::RecoveryQuorum, "recovery_quorum", "a new epoch starts from R fenced members (P1)", "tiny", property::ONE_RECORD),
    rule(Rule::PrimarysWord, "primarys_word", "the word of the primary that gave way is enough, and that of no other copy (P1)", "hand_over", property::ONE_RECORD),
    rule(Rule::LeadsNoMore, "leads_no_more", "a primary that has given way leads no more (P1)", "hand_over", property::ONE_RECORD),
    rule(Rule::RecoverFromActive, "recover_from_active", "an attempt recovers from the active configuration, never from a pending one (C3)", "isr_next", property::ONE_RECORD),
    rule(Rule::NewestLog, "newest_log", "the log with the highest last epoch, then position, is adopted (P2)", "longer_log", property::ONE_RECORD),
    rule(Rule::AdoptLog, "adopt_log", "a new primary gives up its own log for the newest (P2)", "tiny", property::ONE_RECORD),
    rule(Rule::ActivateAtQuorum, "activate_at_quorum", "a configuration is activated when w members hold its epoch-start record (P4)", "isr_next", property::ONE_RECORD),
    rule(Rule::ActivateBeforeCommit, "activate_before_commit", "nothing is committed before activation (P5)", "swap_again", property::ONE_RECORD),
    rule(Rule::EpochStartRecord, "epoch_start_record", "an epoch starts with a record of its own, and commits older ones only below it (P3)", "figure_8", property::ONE_RECORD),
    rule(Rule::DurablePromise, "durable_promise", "a promise is durable before it is answered (R1)", "tiny", property::ONE_RECORD),
    rule(Rule::DurableRecord, "durable_record", "a record is durable before it is acknowledged (R2)", "tiny", property::SURVIVES),
    rule(Rule::EpochCheck, "epoch_check", "an append of a lower epoch than promised is refused (R1)", "tiny", property::ONE_RECORD),
    rule(Rule::FreshReplicaId, "fresh_replica_id", "a copy that may have lost records gets a new replica id (R4)", "isr_lossy", property::ONE_RECORD),
    rule(Rule::ListedReplica, "listed_replica", "an answer counts for the replica id that the configuration lists, not for its node (P1, I4)", "lossy", property::ONE_RECORD),
    rule(Rule::ReadBarrier, "read_barrier", "a linearizable read hears from w members after it arrived", "reads", property::READ),
    rule(Rule::LeaseHolds, "lease_holds", "a member refuses higher fences for as long as it promised", "leases", property::LEASED_READ),
    rule(Rule::LeaseBindsCandidate, "lease_binds_candidate", "a member does not fence itself as a candidate either, while its promise holds", "leases", property::LEASED_READ),
    rule(Rule::LeaseAfterRestart, "lease_after_restart", "a member refuses higher fences for the maximum duration after its process start", "leases_restart", property::LEASED_READ),
    rule(Rule::LeaseFromSend, "lease_from_send", "a primary counts a lease from when it sent the ping", "leases_apart", property::LEASED_READ),
    rule(Rule::LeaseMargin, "lease_margin", "a primary counts a drift margin less than was promised", "leases_apart", property::LEASED_READ),
    rule(Rule::LeaseOfEpoch, "lease_of_epoch", "a same-primary change starts with no lease", "leases_change", property::LEASED_READ),
    rule(Rule::LeaseQuorum, "lease_quorum", "a lease is the promise of w members", "leases", property::LEASED_READ),
    rule(Rule::LeaseReadPastStart, "lease_read_past_start", "a leased read has applied the epoch-start record", "leases_pair", property::LEASED_READ),
    rule(Rule::LeaseReadApplied, "lease_read_applied", "a leased read has applied all that is acknowledged", "leases", property::LEASED_READ),
    rule(Rule::WindowInLog, "window_in_log", "what is known of clients' writes is in the log, so a new primary has it", "retries", property::ONCE),
    rule(Rule::ExactSequences, "exact_sequences", "a write is known by its own number, never by a higher one", "retries", property::ACKNOWLEDGED),
    rule(Rule::DuplicateWaits, "duplicate_waits", "a retry is answered when its record is committed", "retries", property::ACKNOWLEDGED),
    rule(Rule::DeadlineUnknown, "deadline_unknown", "a client is never told that an appended write failed, only that its outcome is not known (I16)", "retries", property::REFUSED),
    rule(Rule::ExpiredRefused, "expired_refused", "a retry older than the window is not applied", "retries", property::ONCE),
    rule(Rule::ExpiryInLog, "expiry_in_log", "outcomes are forgotten by a record, at once everywhere", "retries", property::REFUSED),
    rule(Rule::ApplyCommitted, "apply_committed", "a member applies only what is committed (R3)", "tiny", property::APPLIED),
    rule(Rule::TokenWaits, "token_waits", "a read with a token waits until its position is applied", "tiny", property::TOKEN),
    rule(Rule::TokenEpoch, "token_epoch", "a token names the epoch of its record, beside the position", "tiny", property::TOKEN),
    rule(Rule::SealStopsWrites, "seal_stops_writes", "no primary admits writes after SEAL, whoever appended it (S5)", "split", property::SEALED),
    rule(Rule::TouchBeforeSeal, "touch_before_seal", "the operation's record is touched before SEAL", "split", property::ORPHAN),
    rule(Rule::FilterAtBase, "filter_at_base", "a member filters its copy as it is at SPLIT_BASE", "split", property::CHILD),
    rule(Rule::CompareBases, "compare_bases", "a child opens with what enough members have alike", "split_damaged", property::CHILD),
    rule(Rule::OpenAtSeal, "open_at_seal", "a child has followed the parent's log up to SEAL (S6)", "split", property::CHILD),
    rule(Rule::DecideAfterSeal, "decide_after_seal", "an operation is committed when SEAL is, and the child has it (S7)", "split", property::ONE_HOME),
    rule(Rule::DecideOnce, "decide_once", "what was aborted is never committed (K4)", "split", property::ONE_HOME),
    rule(Rule::ChildWaits, "child_waits", "a child accepts no write before the operation is committed (K5)", "split", property::ONE_HOME),
    rule(Rule::SplitCopiesWindow, "split_copies_window", "a child takes over what the parent knows of clients' writes", "split", property::ONCE),
    rule(Rule::ChildTokens, "child_tokens", "a child honours its parent's tokens up to the seal, by epoch and position, and no others", "split", property::CHILD_TOKEN),
    rule(Rule::AbortBeforeUnseal, "abort_before_unseal", "UNSEAL follows a decision to abort (S5)", "split", property::SEALED),
    rule(Rule::UnsealBeforeCleanup, "unseal_before_cleanup", "an aborted operation is cleaned up when UNSEAL is committed", "split", property::ORPHAN),
    rule(Rule::UniteWindows, "unite_windows", "a merge unites what both parents know of clients' writes", "merge", property::ONCE),
    rule(Rule::UniteExactly, "unite_exactly", "windows are united number by number, never by the highest one", "merge", property::ACKNOWLEDGED),
    rule(Rule::OneNumbering, "one_numbering", "a client numbers its writes to all shards together, so that two parents never hold one number for two writes", "merge", property::ACKNOWLEDGED),
    rule(Rule::ChildKeepsExpiry, "child_keeps_expiry", "a child refuses the retries that a parent would refuse as expired", "merge", property::ONCE),
    rule(Rule::SealBoth, "seal_both", "a merge is committed when both parents are sealed", "merge", property::ONE_HOME),
    rule(Rule::FollowBoth, "follow_both", "a merge is committed when the merged shard has followed both parents up to their seals", "merge", property::MOVED),
    rule(Rule::SnapshotPosition, "snapshot_position", "a snapshot holds its own position, which is never asked for later", "merge", property::MOVED),
    rule(Rule::TokenShard, "token_shard", "a token names its shard, and is looked up in the log of that parent", "merge", property::CHILD_TOKEN),
    rule(Rule::UnsealBoth, "unseal_both", "an aborted merge is cleaned up when both parents have committed UNSEAL", "merge", property::ORPHAN),
];

/// The rule that the command line calls `name`.
pub(crate) fn named(name: &str) -> Option<&'static Mutation> {
    MUTATIONS.iter().find(|mutation| mutation.name == name)
}
