//! The settings of the processes: each is a flag, an environment variable and a key of a TOML file.
//!
//! A flag wins over the variable, the variable over the file, and the file over the default. One file serves all the processes of a
//! host: a process passes over the keys that only others take.

mod automatic;
mod error;
mod file;
mod given;
mod quantity;
mod resolved;

pub(crate) use self::{
    automatic::{
        AUTO, AUTO_COOL_DOWN, AUTO_INTERVAL, AUTO_LASTING, AUTO_MIN_SHARDS, AUTO_REST, AUTOMATIC,
        MERGE_BYTES, MERGE_CPU, MERGE_REQUESTS, MERGE_ROWS, SPLIT_BYTES, SPLIT_CPU, SPLIT_MIN_ROWS,
        SPLIT_REQUESTS, SPLIT_ROWS,
    },
    error::SettingError,
    file::File,
    given::{Family, Given},
    quantity::{Percent, Size},
    resolved::{Settings, Source, invalid},
};

/// One setting, under one name everywhere.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The name of the flag and the key of the file.
    pub(crate) name: &'static str,
    /// The environment variable.
    pub(crate) variable: &'static str,
    /// What stands for the value in the help; a switch has none.
    value: Option<&'static str>,
    help: &'static str,
    /// What holds where nothing is given.
    pub(crate) default: Option<&'static str>,
}

/// The variable that names the file.
const CONFIG_VARIABLE: &str = "SHARDWRIGHT_CONFIG";

pub(crate) const ADVERTISE: Setting = Setting {
    name: "advertise",
    variable: "SHARDWRIGHT_ADVERTISE",
    value: Some("URL"),
    help: "The URL under which others reach this process; by default http:// and the address that it listens on",
    default: None,
};

pub(crate) const ADVERTISE_PEERS: Setting = Setting {
    name: "advertise-peers",
    variable: "SHARDWRIGHT_ADVERTISE_PEERS",
    value: Some("HOST"),
    help: "The host, or host and port, at which other nodes find this one; by default that of --listen-peers",
    default: None,
};

pub(crate) const ALLOW_SHORT_LEASES: Setting = Setting {
    name: "allow-short-leases",
    variable: "SHARDWRIGHT_ALLOW_SHORT_LEASES",
    value: None,
    help: "Accept a heartbeat time-out below 10s on a NATS registry, where losing a server can stop writes for 8s",
    default: Some("false"),
};

pub(crate) const BOOTSTRAP_WAIT: Setting = Setting {
    name: "bootstrap-wait",
    variable: "SHARDWRIGHT_BOOTSTRAP_WAIT",
    value: Some("DURATION"),
    help: "How long a new cluster waits for as many nodes as the replication factor asks for",
    default: Some("30s"),
};

pub(crate) const BUCKET: Setting = Setting {
    name: "bucket",
    variable: "SHARDWRIGHT_BUCKET",
    value: Some("NAME"),
    help: "The key-value bucket of a NATS registry",
    default: Some("shardwright"),
};

pub(crate) const CHECK_INTERVAL: Setting = Setting {
    name: "check-interval",
    variable: "SHARDWRIGHT_CHECK_INTERVAL",
    value: Some("DURATION"),
    help: "How often each worker is pinged",
    default: Some("5s"),
};

pub(crate) const COORDINATOR: Setting = Setting {
    name: "coordinator",
    variable: "SHARDWRIGHT_COORDINATOR",
    value: Some("URL[,URL]"),
    help: "The coordinators; the next is tried where one does not answer",
    default: Some("http://127.0.0.1:7557"),
};

/// The same for whoever has the registry to ask.
pub(crate) const COORDINATOR_OR_REGISTRY: Setting = Setting {
    help: "The coordinators; by default those that the registry names, whichever they are at the time",
    default: None,
    ..COORDINATOR
};

pub(crate) const DATA: Setting = Setting {
    name: "data",
    variable: "SHARDWRIGHT_DATA",
    value: Some("DIR"),
    help: "The directory in which a node keeps its copies of shards, made if it is not there; one node's alone",
    default: None,
};

/// The same for a whole cluster in one process.
pub(crate) const DATA_OF_DEV: Setting = Setting {
    help: "The directory in which everything is kept, made if it is not there",
    default: Some("shardwright-dev"),
    ..DATA
};

/// For tests alone.
pub(crate) const HALT_AT: Setting = Setting {
    name: "halt-at",
    variable: "SHARDWRIGHT_HALT_AT",
    value: Some("GAP"),
    help: "For tests: stand still between two steps of an operation, such as split/sealed",
    default: None,
};

pub(crate) const HEARTBEAT_TIMEOUT: Setting = Setting {
    name: "heartbeat-timeout",
    variable: "SHARDWRIGHT_HEARTBEAT_TIMEOUT",
    value: Some("DURATION"),
    help: "How long after its last sign of life a process counts as down",
    default: Some("15s"),
};

pub(crate) const ID: Setting = Setting {
    name: "id",
    variable: "SHARDWRIGHT_ID",
    value: Some("NAME"),
    help: "The name of this process in the cluster",
    default: None,
};

pub(crate) const LISTEN: Setting = Setting {
    name: "listen",
    variable: "SHARDWRIGHT_LISTEN",
    value: Some("ADDR"),
    help: "The address and port to listen on, a loopback one unless there is a token; port 0 takes a free one",
    default: None,
};

pub(crate) const LISTEN_PEERS: Setting = Setting {
    name: "listen-peers",
    variable: "SHARDWRIGHT_LISTEN_PEERS",
    value: Some("ADDR"),
    help: "The address and port at which a node listens for other nodes; by default a free port of the address of --listen",
    default: None,
};

pub(crate) const LOG: Setting = Setting {
    name: "log",
    variable: "SHARDWRIGHT_LOG",
    value: Some("FILTER"),
    help: "What is logged to standard error, as in RUST_LOG: warn, info, shardwright_coordinator=debug",
    default: None,
};

/// The same for a process whose output is for a person at a terminal.
pub(crate) const LOG_OF_DEV: Setting = Setting {
    default: Some("warn"),
    ..LOG
};

pub(crate) const NATS_CREDS: Setting = Setting {
    name: "nats-creds",
    variable: "SHARDWRIGHT_NATS_CREDS",
    value: Some("FILE"),
    help: "The credentials file for a NATS registry",
    default: None,
};

pub(crate) const OPERATION_GRACE: Setting = Setting {
    name: "operation-grace",
    variable: "SHARDWRIGHT_OPERATION_GRACE",
    value: Some("DURATION"),
    help: "How long the old shards are kept after a split or a merge",
    default: Some("5s"),
};

pub(crate) const OPERATION_RETENTION: Setting = Setting {
    name: "operation-retention",
    variable: "SHARDWRIGHT_OPERATION_RETENTION",
    value: Some("DURATION"),
    help: "How long splits, merges and moves are remembered after their end; longer than a coordinator may stand still",
    default: Some("1day"),
};

pub(crate) const REGION: Setting = Setting {
    name: "region",
    variable: "SHARDWRIGHT_REGION",
    value: Some("NAME"),
    help: "The region that this node is in",
    default: None,
};

pub(crate) const REGISTRY: Setting = Setting {
    name: "registry",
    variable: "SHARDWRIGHT_REGISTRY",
    value: Some("REGISTRY"),
    help: "Where the shard map is kept: memory:, sqlite:PATH or nats://HOST:PORT[,HOST:PORT]",
    default: None,
};

pub(crate) const REPLICAS: Setting = Setting {
    name: "replicas",
    variable: "SHARDWRIGHT_REPLICAS",
    value: Some("N"),
    help: "How many copies of each partition the workers serve, the primary included",
    default: Some("1"),
};

pub(crate) const REPLICATION_FACTOR: Setting = Setting {
    name: "replication-factor",
    variable: "SHARDWRIGHT_REPLICATION_FACTOR",
    value: Some("N"),
    help: "How many copies of each shard of the keyspace main there are, the primary included",
    default: Some("3"),
};

pub(crate) const SHARDER: Setting = Setting {
    name: "sharder",
    variable: "SHARDWRIGHT_SHARDER",
    value: Some("POLICY"),
    help: "The policy that places shards on nodes: stealing, zones, regions or ring",
    default: Some("stealing"),
};

pub(crate) const SHARDS: Setting = Setting {
    name: "shards",
    variable: "SHARDWRIGHT_SHARDS",
    value: Some("N"),
    help: "How many shards the keyspace main of a new cluster gets",
    default: Some("8"),
};

pub(crate) const STREAM_IDLE: Setting = Setting {
    name: "stream-idle",
    variable: "SHARDWRIGHT_STREAM_IDLE",
    value: Some("DURATION"),
    help: "How long a stream of a libSQL client waits for its next request",
    default: Some("30s"),
};

pub(crate) const TOKEN_FILE: Setting = Setting {
    name: "token-file",
    variable: "SHARDWRIGHT_TOKEN_FILE",
    value: Some("FILE"),
    help: "A file with the cluster's token, which every request then has to carry",
    default: None,
};

pub(crate) const TRANSACTION_IDLE: Setting = Setting {
    name: "transaction-idle",
    variable: "SHARDWRIGHT_TRANSACTION_IDLE",
    value: Some("DURATION"),
    help: "How long a stream of a libSQL client waits for its next request while it has a transaction open",
    default: Some("5s"),
};

pub(crate) const ZONE: Setting = Setting {
    name: "zone",
    variable: "SHARDWRIGHT_ZONE",
    value: Some("NAME"),
    help: "The zone that this node is in",
    default: None,
};

/// Every setting, in the order of the names.
pub(crate) const ALL: &[&Setting] = &[
    &ADVERTISE,
    &ADVERTISE_PEERS,
    &ALLOW_SHORT_LEASES,
    &AUTO,
    &AUTO_COOL_DOWN,
    &AUTO_INTERVAL,
    &AUTO_LASTING,
    &AUTO_MIN_SHARDS,
    &AUTO_REST,
    &BOOTSTRAP_WAIT,
    &BUCKET,
    &CHECK_INTERVAL,
    &COORDINATOR,
    &DATA,
    &HALT_AT,
    &HEARTBEAT_TIMEOUT,
    &ID,
    &LISTEN,
    &LISTEN_PEERS,
    &LOG,
    &MERGE_BYTES,
    &MERGE_CPU,
    &MERGE_REQUESTS,
    &MERGE_ROWS,
    &NATS_CREDS,
    &OPERATION_GRACE,
    &OPERATION_RETENTION,
    &REGION,
    &REGISTRY,
    &REPLICAS,
    &REPLICATION_FACTOR,
    &SHARDER,
    &SHARDS,
    &SPLIT_BYTES,
    &SPLIT_CPU,
    &SPLIT_MIN_ROWS,
    &SPLIT_REQUESTS,
    &SPLIT_ROWS,
    &STREAM_IDLE,
    &TOKEN_FILE,
    &TRANSACTION_IDLE,
    &ZONE,
];

/// The environment variables of all settings.
pub(crate) fn variables() -> impl Iterator<Item = &'static str> {
    let settings = ALL.iter().map(|setting| setting.variable);
    settings.chain([CONFIG_VARIABLE])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_the_name_in_capitals() {
        for setting in ALL {
            let capitals = setting.name.to_uppercase().replace('-', "_");
            assert_eq!(setting.variable, format!("SHARDWRIGHT_{capitals}"));
        }
    }

    #[test]
    fn the_manual_has_a_row_for_each_setting() {
        let manual = include_str!("../../../docs/operations.md");
        for setting in ALL {
            let default = setting.default.map(|default| format!("`{default}` "));
            let row = format!("| `{}` | {}|", setting.name, default.unwrap_or_default());
            assert!(manual.contains(&row), "docs/operations.md lacks {row:?}");
        }
    }

    #[test]
    fn the_settings_are_in_order_and_once() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
