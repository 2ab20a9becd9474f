//! The settings of what the leader does by itself: when shards are split, merged and moved.

use super::Setting;

pub(crate) const AUTO: Setting = Setting {
    name: "auto",
    variable: "SHARDWRIGHT_AUTO",
    value: Some("MODE"),
    help: "What the leader does by itself until `rebalance auto` says otherwise: off, dry-run or on",
    default: Some("off"),
};

pub(crate) const AUTO_COOL_DOWN: Setting = Setting {
    name: "auto-cool-down",
    variable: "SHARDWRIGHT_AUTO_COOL_DOWN",
    value: Some("DURATION"),
    help: "How long a shard that was just split or merged, or could not be, is left alone",
    default: Some("10m"),
};

pub(crate) const AUTO_INTERVAL: Setting = Setting {
    name: "auto-interval",
    variable: "SHARDWRIGHT_AUTO_INTERVAL",
    value: Some("DURATION"),
    help: "How often the leader looks whether there is something to do",
    default: Some("60s"),
};

pub(crate) const AUTO_LASTING: Setting = Setting {
    name: "auto-lasting",
    variable: "SHARDWRIGHT_AUTO_LASTING",
    value: Some("DURATION"),
    help: "For how long there must be a reason without a break before a shard is split, merged or moved",
    default: Some("30s"),
};

pub(crate) const AUTO_MIN_SHARDS: Setting = Setting {
    name: "auto-min-shards",
    variable: "SHARDWRIGHT_AUTO_MIN_SHARDS",
    value: Some("N"),
    help: "How many shards are left when the leader merges; by default as many as --shards names, and 2 at least",
    default: None,
};

pub(crate) const AUTO_REST: Setting = Setting {
    name: "auto-rest",
    variable: "SHARDWRIGHT_AUTO_REST",
    value: Some("DURATION"),
    help: "How long a shard that was just moved stays where it is",
    default: Some("5m"),
};

pub(crate) const MERGE_BYTES: Setting = Setting {
    name: "merge-bytes",
    variable: "SHARDWRIGHT_MERGE_BYTES",
    value: Some("SIZE"),
    help: "Neighbours are merged below this size, each and together",
    default: Some("1GiB"),
};

pub(crate) const MERGE_CPU: Setting = Setting {
    name: "merge-cpu",
    variable: "SHARDWRIGHT_MERGE_CPU",
    value: Some("PERCENT"),
    help: "Neighbours are merged below this part of a processor, each and together",
    default: Some("30"),
};

pub(crate) const MERGE_REQUESTS: Setting = Setting {
    name: "merge-requests",
    variable: "SHARDWRIGHT_MERGE_REQUESTS",
    value: Some("N"),
    help: "Neighbours are merged below so many requests in a second, each and together",
    default: Some("1000"),
};

pub(crate) const MERGE_ROWS: Setting = Setting {
    name: "merge-rows",
    variable: "SHARDWRIGHT_MERGE_ROWS",
    value: Some("N"),
    help: "How many rows a merge makes at most; --force passes it over",
    default: Some("10000000"),
};

pub(crate) const SPLIT_BYTES: Setting = Setting {
    name: "split-bytes",
    variable: "SHARDWRIGHT_SPLIT_BYTES",
    value: Some("SIZE"),
    help: "A shard is split above this size",
    default: Some("10GiB"),
};

pub(crate) const SPLIT_CPU: Setting = Setting {
    name: "split-cpu",
    variable: "SHARDWRIGHT_SPLIT_CPU",
    value: Some("PERCENT"),
    help: "A shard is split above this part of a processor",
    default: Some("80"),
};

pub(crate) const SPLIT_MIN_ROWS: Setting = Setting {
    name: "split-min-rows",
    variable: "SHARDWRIGHT_SPLIT_MIN_ROWS",
    value: Some("N"),
    help: "With fewer rows a shard is never split at its median; --force passes it over",
    default: Some("100"),
};

pub(crate) const SPLIT_REQUESTS: Setting = Setting {
    name: "split-requests",
    variable: "SHARDWRIGHT_SPLIT_REQUESTS",
    value: Some("N"),
    help: "A shard is split above so many requests in a second",
    default: Some("10000"),
};

pub(crate) const SPLIT_ROWS: Setting = Setting {
    name: "split-rows",
    variable: "SHARDWRIGHT_SPLIT_ROWS",
    value: Some("N"),
    help: "A shard is split above so many rows",
    default: Some("20000000"),
};

/// All of them, in the order of the help, below their heading.
pub(crate) const AUTOMATIC: (&str, &[&Setting]) = (
    "What the leader does by itself",
    &[
        &AUTO,
        &AUTO_INTERVAL,
        &AUTO_LASTING,
        &AUTO_COOL_DOWN,
        &AUTO_REST,
        &AUTO_MIN_SHARDS,
        &SPLIT_BYTES,
        &SPLIT_ROWS,
        &SPLIT_REQUESTS,
        &SPLIT_CPU,
        &SPLIT_MIN_ROWS,
        &MERGE_BYTES,
        &MERGE_ROWS,
        &MERGE_REQUESTS,
        &MERGE_CPU,
    ],
);
