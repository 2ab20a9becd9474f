//! The scenarios, and how far each goes.

use crate::{
    operation::Kind,
    record::{Epoch, NodeId, Ticks},
};

/// What a coordinator may attempt: a primary, and its members.
pub(crate) type Choice = (NodeId, &'static [NodeId]);

/// A cluster, and the bounds of what happens to it.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    pub(crate) nodes: NodeId,
    /// The members of epoch 1; the first is the primary.
    pub(crate) members: &'static [NodeId],
    /// Whether all members make a record committed, or a majority.
    pub(crate) in_sync: bool,
    pub(crate) attempts: &'static [Choice],
    /// Whether an active primary may go on without fences.
    pub(crate) same_primary: bool,
    /// Whether an active primary may give way to the next one.
    pub(crate) hand_overs: bool,
    pub(crate) epochs: Epoch,
    pub(crate) writes: u8,
    /// How many writes are appended again at most; 0 if each arrives once, in order.
    pub(crate) retries: u8,
    pub(crate) expiries: u8,
    pub(crate) restarts: u8,
    /// How many disks lose a suffix; in a split, how many copies are damaged.
    pub(crate) losses: u8,
    /// Whether there are reads behind a barrier.
    pub(crate) barriers: bool,
    /// How many rounds of pings for leases there are.
    pub(crate) rounds: u8,
    /// For how long a member refuses higher fences.
    pub(crate) promise: Ticks,
    /// How far a clock is ahead of the slowest one at most.
    pub(crate) drift: Ticks,
    /// What is done with the range.
    pub(crate) operation: Option<Kind>,
    /// Whether a primary sends at a moment of its own: more states, though they show no more.
    pub(crate) sends_late: bool,
    /// Steps that come first: each the beginning of an action's text.
    pub(crate) prefix: &'static [&'static str],
    /// Whether seconds exhaust it, or hours, or nothing.
    pub(crate) size: Size,
}

/// How many states a scenario has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Exhausted by the tests.
    Small,
    /// Exhausted at night.
    Large,
    /// Not exhausted in any memory; walked by chance at night.
    Endless,
}

const ALL: &[NodeId] = &[0, 1, 2];
const ANY_OF_ALL: &[Choice] = &[(0, ALL), (1, ALL), (2, ALL)];
const ONE_OR_BOTH: &[Choice] = &[(0, &[0, 1]), (1, &[0, 1]), (0, &[0]), (1, &[1])];
const IN_SYNC_SETS: &[Choice] = &[
    (0, &[0, 1]),
    (1, &[0, 1]),
    (1, &[1, 2]),
    (2, &[1, 2]),
    (0, ALL),
    (1, ALL),
    (2, ALL),
];
const NEXT_TO_ANOTHER: &[Choice] = &[(0, &[0, 1]), (1, &[0, 1]), (1, &[1, 2]), (2, &[1, 2])];
const SWAPS: &[Choice] = &[
    (0, &[0, 1, 3]),
    (1, &[0, 1, 3]),
    (3, &[0, 1, 3]),
    (1, &[1, 2, 3]),
    (2, &[1, 2, 3]),
    (3, &[1, 2, 3]),
];
/// As [`SWAPS`], with 1 for 2 where they are alike.
const FIRST_SWAPS: &[Choice] = &[
    (0, &[0, 1, 3]),
    (1, &[0, 1, 3]),
    (3, &[0, 1, 3]),
    (1, &[1, 2, 3]),
    (3, &[1, 2, 3]),
];

/// The two that are not the primary are alike until the first attempt, so one of them stands for both.
const OTHER_OR_SAME: &[Choice] = &[(1, ALL), (0, ALL)];
const FAILOVER: &[Choice] = &[(1, ALL)];
const OTHER_ALONE: &[Choice] = &[(1, &[1])];
const EITHER_OF_BOTH: &[Choice] = &[(0, &[0, 1]), (1, &[0, 1])];
const OTHER_OF_BOTH: &[Choice] = &[(1, &[0, 1])];

const MAJORITY: Scenario = Scenario {
    name: "tiny",
    nodes: 3,
    members: ALL,
    in_sync: false,
    attempts: OTHER_OR_SAME,
    same_primary: true,
    hand_overs: false,
    epochs: 2,
    writes: 1,
    retries: 0,
    expiries: 0,
    restarts: 0,
    losses: 0,
    barriers: false,
    rounds: 0,
    promise: 3,
    drift: 1,
    operation: None,
    sends_late: false,
    prefix: &[],
    size: Size::Small,
};

/// 0 writes alone, 1 writes in epoch 2, and 0 comes back in epoch 3 with 2, then 1 in epoch 4.
const FIGURE_8: &[&str] = &[
    "Write(0",
    "Attempt { primary: 1",
    "Begin(0",
    "Fence { candidate: 1, member: 2",
    "FenceAck(1",
    "Adopt(1",
    "Append(2, Append { epoch: 2",
    "AppendAck(1",
    "Activate(1",
    "Write(1",
    "Attempt { primary: 0",
    "Begin(1",
    "Fence { candidate: 0, member: 2",
    "FenceAck(0",
    "Adopt(0",
    "Append(2, Append { epoch: 3",
    "AppendAck(0",
    "Activate(0",
    "Commit(0",
    "Attempt { primary: 1",
    "Begin(2",
    "Fence { candidate: 1, member: 2",
    "FenceAck(1",
];

/// 0 has two writes that nobody else has; epoch 2 is active with 1.
const LONGER_LOG: &[&str] = &[
    "Write(0",
    "Write(0",
    "Attempt { primary: 1",
    "Begin(0",
    "Fence { candidate: 1, member: 2",
    "FenceAck(1",
    "Adopt(1",
    "Append(2, Append { epoch: 2",
    "AppendAck(1",
    "Activate(1",
    "Commit(1",
    "Attempt { primary: 0",
    "Begin(1",
];

/// Epoch 2, with 3 in place of 0, is not activated when epoch 3 recovers from epoch 1.
const SWAPPED: &[&str] = &[
    "Attempt { primary: 1, members: [1, 2, 3]",
    "Begin(0",
    "Fence { candidate: 1, member: 2",
    "FenceAck(1",
    "Adopt(1",
    "Append(3, Append { epoch: 2",
    "AppendAck(1",
    "Attempt { primary: 0, members: [0, 1, 3]",
    "Begin(1",
    "Fence { candidate: 0, member: 2",
    "FenceAck(0",
    "Adopt(0",
];

/// 0 holds a lease of 1, goes on with 2 in place of 1, and asks for leases again.
const CHANGED: &[&str] = &[
    "PingAll(0",
    "Ping(1",
    "Pong(0",
    "Attempt { primary: 0",
    "SamePrimary(0",
    "Append(2, Append { epoch: 2",
    "AppendAck(0",
    "Activate(0",
    "PingAll(0",
];

/// A scenario of the protocol's design, whose steps are the same as there, and so are its counts: `tiny_late` has
/// 159,675 unique states, `small_late` 2,063,505, `swap_late` 866,952, and `isr_lossy_late` 292,833.
const COUNTED: Scenario = Scenario {
    attempts: ANY_OF_ALL,
    sends_late: true,
    size: Size::Large,
    ..MAJORITY
};

/// Two members, of which both make a record committed; any alone recovers.
const PAIR: Scenario = Scenario {
    nodes: 2,
    members: &[0, 1],
    in_sync: true,
    attempts: OTHER_OF_BOTH,
    ..MAJORITY
};

/// 0 is ahead of the others when it sends its pings, so that its clock can fall behind them the farthest.
const SLOW: &[&str] = &["Tick(0", "PingAll(0"];

/// As [`SLOW`]; then its clock falls behind that of 2, which promises, while a write is on its way.
const APART: &[&str] = &[
    "Tick(0",
    "PingAll(0",
    "Attempt { primary: 1",
    "Write(0",
    "Tick(1",
    "Ping(2",
];

/// All copies of the parents are made, and they may seal.
const SEALING: &[&str] = &[
    "Operation(Base(0",
    "Append(1",
    "Append(1",
    "AppendAck(0",
    "Commit(0",
    "Append(1",
    "Operation(Filter(0",
    "Operation(Filter(1",
    "Operation(Neighbour(Copy",
    "Operation(Touch",
];

/// Every scenario; those of `tiny`'s kind first.
#[rustfmt::skip]
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { restarts: 1, ..MAJORITY },
    Scenario { name: "small", writes: 2, ..MAJORITY },
    Scenario { name: "isr2", attempts: ONE_OR_BOTH, epochs: 3, restarts: 1, ..PAIR },
    Scenario { name: "isr_next", members: &[0, 1], in_sync: true, attempts: NEXT_TO_ANOTHER, epochs: 3, size: Size::Large, ..MAJORITY },
    Scenario { name: "isr_lossy", members: &[0, 1], in_sync: true, attempts: NEXT_TO_ANOTHER, losses: 1, ..MAJORITY },
    Scenario { name: "swap", nodes: 4, attempts: FIRST_SWAPS, ..MAJORITY },
    Scenario { name: "swap_again", nodes: 4, attempts: SWAPS, epochs: 3, prefix: SWAPPED, ..MAJORITY },
    Scenario { name: "lossy", losses: 1, ..MAJORITY },
    Scenario { name: "figure_8", epochs: 4, writes: 2, prefix: FIGURE_8, ..MAJORITY },
    Scenario { name: "longer_log", epochs: 3, writes: 2, prefix: LONGER_LOG, ..MAJORITY },
    Scenario { name: "reads", attempts: FAILOVER, barriers: true, ..MAJORITY },
    Scenario { name: "leases", attempts: FAILOVER, rounds: 1, prefix: SLOW, ..MAJORITY },
    Scenario { name: "leases_apart", attempts: FAILOVER, rounds: 1, prefix: APART, ..MAJORITY },
    Scenario { name: "leases_pair", rounds: 1, ..PAIR },
    Scenario { name: "leases_restart", attempts: OTHER_ALONE, rounds: 1, restarts: 1, ..PAIR },
    Scenario { name: "leases_change", members: &[0, 1], in_sync: true, attempts: &[(0, &[0, 2]), (2, &[2])], epochs: 3, rounds: 2, prefix: CHANGED, ..MAJORITY },
    Scenario { name: "hand_over", attempts: ANY_OF_ALL, hand_overs: true, restarts: 1, ..MAJORITY },
    Scenario { name: "hand_over_again", hand_overs: true, same_primary: false, epochs: 3, size: Size::Large, ..MAJORITY },
    Scenario { name: "leases_hand_over", attempts: FAILOVER, hand_overs: true, rounds: 1, prefix: SLOW, ..MAJORITY },
    Scenario { name: "retries", writes: 2, retries: 1, expiries: 1, ..PAIR },
    Scenario { name: "split", operation: Some(Kind::Split), ..PAIR },
    Scenario { name: "split_damaged", operation: Some(Kind::Split), losses: 1, ..PAIR },
    Scenario { name: "merge", expiries: 1, operation: Some(Kind::Merge), prefix: SEALING, ..PAIR },
    Scenario { name: "tiny_late", restarts: 1, ..COUNTED },
    Scenario { name: "small_late", writes: 2, ..COUNTED },
    Scenario { name: "maj3x_late", epochs: 3, same_primary: false, ..COUNTED },
    Scenario { name: "maj3_late", epochs: 3, ..COUNTED },
    Scenario { name: "maj3_restart_late", epochs: 3, restarts: 1, ..COUNTED },
    Scenario { name: "isr2_late", nodes: 2, members: &[0, 1], in_sync: true, attempts: ONE_OR_BOTH, epochs: 3, restarts: 1, ..COUNTED },
    Scenario { name: "isr_late", in_sync: true, attempts: IN_SYNC_SETS, epochs: 3, ..COUNTED },
    Scenario { name: "swap_late", nodes: 4, attempts: SWAPS, ..COUNTED },
    Scenario { name: "lossy_late", losses: 1, ..COUNTED },
    Scenario { name: "isr_lossy_late", members: &[0, 1], in_sync: true, attempts: NEXT_TO_ANOTHER, losses: 1, ..COUNTED },
    Scenario { name: "reads_late", writes: 2, barriers: true, ..COUNTED },
    Scenario { name: "reads_all", writes: 2, barriers: true, size: Size::Large, ..MAJORITY },
    Scenario { name: "maj3", attempts: ANY_OF_ALL, epochs: 3, restarts: 1, size: Size::Large, ..MAJORITY },
    Scenario { name: "isr", in_sync: true, attempts: IN_SYNC_SETS, epochs: 3, size: Size::Large, ..MAJORITY },
    Scenario { name: "leases_restarts", attempts: FAILOVER, rounds: 1, restarts: 1, prefix: SLOW, size: Size::Large, ..MAJORITY },
    Scenario { name: "leases_pair3", epochs: 3, rounds: 1, restarts: 1, size: Size::Large, ..PAIR },
    Scenario { name: "retries3", epochs: 3, writes: 2, retries: 1, expiries: 1, size: Size::Large, ..PAIR },
    Scenario { name: "split_writes", writes: 2, operation: Some(Kind::Split), size: Size::Large, ..PAIR },
    Scenario { name: "split_restart", attempts: EITHER_OF_BOTH, restarts: 1, operation: Some(Kind::Split), size: Size::Large, ..PAIR },
    Scenario { name: "split3", epochs: 3, operation: Some(Kind::Split), size: Size::Large, ..PAIR },
    Scenario { name: "merge_copies", expiries: 1, operation: Some(Kind::Merge), size: Size::Large, ..PAIR },
    Scenario { name: "leases_all", rounds: 1, restarts: 1, size: Size::Endless, ..MAJORITY },
    Scenario { name: "leases_twice", attempts: OTHER_OR_SAME, rounds: 2, size: Size::Endless, ..MAJORITY },
    Scenario { name: "leases_lossy", attempts: FAILOVER, rounds: 1, losses: 1, size: Size::Endless, ..MAJORITY },
    Scenario { name: "retries_all", attempts: FAILOVER, writes: 2, retries: 1, expiries: 1, size: Size::Endless, ..MAJORITY },
    Scenario { name: "split_all", attempts: FAILOVER, operation: Some(Kind::Split), size: Size::Endless, ..MAJORITY },
    Scenario { name: "merge_all", attempts: FAILOVER, expiries: 1, operation: Some(Kind::Merge), size: Size::Endless, ..MAJORITY },
    Scenario { name: "split_damaged_all", attempts: FAILOVER, operation: Some(Kind::Split), losses: 1, size: Size::Endless, ..MAJORITY },
];

/// The scenario that the command line calls `name`.
pub(crate) fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}
