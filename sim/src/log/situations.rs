//! The rare situations that many seeds must reach.

pub(super) const ACTIVATION_UNKNOWN: &str = "an activation whose outcome was unknown";
pub(super) const FAILOVER: &str = "another primary goes on";
pub(super) const SAME_PRIMARY: &str = "a primary goes on in another configuration";
pub(super) const ADOPTED: &str = "a primary adopts the log of another copy";
pub(super) const TRUNCATED: &str = "a copy drops records that differ";
pub(super) const INSTALLED: &str = "a snapshot takes the place of a log";
pub(super) const TRIMMED: &str = "records are dropped for their room";
pub(super) const JOINED: &str = "a copy becomes a member";
pub(super) const REPLACED: &str = "a damaged copy's successor becomes a member";
pub(super) const TORN: &str = "a torn record is dropped";
pub(super) const LOST_UNSYNCED: &str = "a crash loses what was not synced";
pub(super) const DAMAGED: &str = "a damaged record is found";
pub(super) const SYNC_FAILED: &str = "a sync fails";
pub(super) const HELD: &str = "a lease delays a fence";
pub(super) const LEASED: &str = "a read under a lease";
pub(super) const ROUND: &str = "a read after a round of questions";
pub(super) const READ_REFUSED: &str = "a read that is refused";
pub(super) const INDETERMINATE: &str = "a write of which nobody knows";
pub(super) const OVERLOADED: &str = "a write is refused because too many wait";
pub(super) const OUTRUN: &str = "a write is refused because the log has gone on";
pub(super) const RETRIED: &str = "a write of which nobody knew comes again";
pub(super) const RECOGNIZED: &str = "a write that comes again has happened before";
pub(super) const WITHOUT_OWN: &str = "a record is committed before its primary has it on disk";
pub(super) const SEVERAL_AT_ONCE: &str = "several records become durable at once";
pub(super) const SUPERSEDED: &str = "an attempt is replaced before it is active";
pub(super) const FULL: &str = "a disk is full";
pub(super) const ROOM_AGAIN: &str = "a copy goes on when there is room again";
pub(super) const LEASE_GIVEN_UP: &str = "a primary gives up its lease for its successor";
pub(super) const GAVE_WAY: &str = "a primary answers its successor, and leads no more";
pub(super) const HANDED_OVER: &str = "a planned hand-over";
pub(super) const QUICKLY_HANDED_OVER: &str = "a planned hand-over that waits for no lease";
pub(super) const REFUSED: &str = "an attempt is refused because too few copies are left";
pub(super) const LOSS_ACCEPTED: &str = "a primary goes on with what is left";
pub(super) const LOST: &str = "a committed record is lost with the acceptance of an operator";
pub(super) const GIVEN_UP: &str = "a copy that has what was lost is given up";
pub(super) const WITHOUT_REGISTRY: &str = "a write while the registry is away for a minute";

pub(super) const WENT_BACK: &str = "the registry went back, and it was noticed";
pub(super) const CAME_FORWARD: &str = "the registry is brought forward, and a primary goes on";
pub(super) const DELETED: &str = "a copy that nobody needs is deleted";
pub(super) const DELETION_REFUSED: &str = "a member is to be deleted, and kept";
pub(super) const DELETION_TOO_LATE: &str = "a deletion that was decided too long ago";
pub(super) const LOOKED_AFTER: &str =
    "the coordinator of production sees a configuration activated";

pub(super) const MOVED: &str = "a member gives its place to a copy that was named";

pub(super) const ALL_HOLD: &str = "a write that every member holds";
pub(super) const ALONE: &str = "a configuration of one member";
pub(super) const STALE_EPOCH: &str = "a primary of the past is refused";

pub(super) const ALL: &[&str] = &[
    ACTIVATION_UNKNOWN,
    FAILOVER,
    SAME_PRIMARY,
    ADOPTED,
    TRUNCATED,
    INSTALLED,
    TRIMMED,
    JOINED,
    REPLACED,
    TORN,
    LOST_UNSYNCED,
    DAMAGED,
    SYNC_FAILED,
    HELD,
    LEASED,
    ROUND,
    READ_REFUSED,
    INDETERMINATE,
    OVERLOADED,
    OUTRUN,
    RETRIED,
    RECOGNIZED,
    WITHOUT_OWN,
    SEVERAL_AT_ONCE,
    SUPERSEDED,
    ALL_HOLD,
    ALONE,
    STALE_EPOCH,
    FULL,
    ROOM_AGAIN,
    LEASE_GIVEN_UP,
    GAVE_WAY,
    HANDED_OVER,
    QUICKLY_HANDED_OVER,
    REFUSED,
    LOSS_ACCEPTED,
    LOST,
    GIVEN_UP,
    WITHOUT_REGISTRY,
    WENT_BACK,
    CAME_FORWARD,
    DELETED,
    DELETION_REFUSED,
    DELETION_TOO_LATE,
    LOOKED_AFTER,
    MOVED,
];
