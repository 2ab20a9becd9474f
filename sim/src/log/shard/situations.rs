//! The rare situations of data that many seeds must reach.

pub(super) const UNDONE: &str = "a transaction is undone because another record comes";
pub(super) const AS_ANY_OTHER: &str = "a batch whose transaction is undone is committed";
pub(super) const ALONE: &str = "a write needs a batch of its own";
pub(super) const ISOLATED: &str = "a write of a batch is refused, and others are not";
pub(super) const REFUSED_EARLY: &str = "a write is refused on data that is not the latest";
pub(super) const AGAIN: &str = "a write of which nobody knows comes again";
pub(super) const REPEATED: &str = "a write that has happened is answered as before";
pub(super) const FORGOTTEN: &str = "a write comes again after its outcome is forgotten";
pub(super) const IMPATIENT: &str = "a write comes twice at the same time";
pub(super) const POWER_FAILURE: &str = "a power failure takes commits of a file back";
pub(super) const LEASED: &str = "a client reads under a lease";
pub(super) const ROUND: &str = "a client reads after a round of questions";
pub(super) const REFUSED: &str = "a read is refused";
pub(super) const WAITED: &str = "a read waits for the data";
pub(super) const BEHIND: &str = "a read shows less than was acknowledged, as it may";
pub(super) const COMPARED: &str = "two copies are compared at the same place";

pub(super) const ALL: &[&str] = &[
    UNDONE,
    AS_ANY_OTHER,
    ALONE,
    ISOLATED,
    REFUSED_EARLY,
    AGAIN,
    REPEATED,
    FORGOTTEN,
    IMPATIENT,
    POWER_FAILURE,
    LEASED,
    ROUND,
    REFUSED,
    WAITED,
    BEHIND,
    COMPARED,
];
