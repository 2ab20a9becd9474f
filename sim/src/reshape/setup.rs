//! How patient everybody is, and what the keyspace holds.

use std::time::Duration;

use shardwright_elastic::{Batch, Settings};
use shardwright_quorum::log;
use shardwright_registry::KeyspaceRecord;
use shardwright_topology::KeyspaceName;

use super::{Missing, SCHEMA, TABLE, TIMEOUT};

/// How patient and how greedy the copies are.
pub(super) fn settings() -> log::Settings {
    log::Settings {
        heartbeat: Duration::from_millis(200),
        resend: Duration::from_millis(250),
        lease: Duration::from_millis(600),
        drift_ppm: 50_000,
        window: 3,
        waiting_max: 20,
        waiting_bytes: 1 << 16,
        retain: 6,
        retain_max: 60,
        retain_bytes: 1 << 15,
        trim_step: 4,
    }
}

/// What the keyspace says of its tables.
pub(super) fn keyspace_record(keyspace: &KeyspaceName) -> KeyspaceRecord {
    let object = |table: &str, sql: &str| serde_json::json!({ "kind": "table", "name": table, "table": table, "sql": sql });
    let mut record = KeyspaceRecord::new(keyspace.clone());
    record.schema = serde_json::json!({
        "objects": [object(TABLE, SCHEMA[0]), object("whole", SCHEMA[1])],
        "declarations": {
            TABLE: { "kind": "sharded", "shard_key": "k" },
            "whole": { "kind": "reference" },
        },
        "encoding": "UTF-8",
        "user_version": 0,
        "application_id": 0,
    });
    record
}

/// How operations go about their work. What makes a rule matter lasts, so that its absence is noticed soon.
pub(super) fn elastic_settings(is_compared_twice: bool, missing: Option<Missing>) -> Settings {
    Settings {
        batch: Batch {
            rows: 4,
            bytes: 1 << 12,
        },
        lag_max: 3,
        calm: match missing {
            Some(Missing::RecordsOfItsOwn) => TIMEOUT / 2,
            _ => TIMEOUT / 40,
        },
        poll: TIMEOUT / 20,
        retry: TIMEOUT / 10,
        call_timeout: TIMEOUT * 2,
        seal_max: TIMEOUT * 2,
        patience: TIMEOUT * 4,
        grace: match missing {
            Some(Missing::SealEndsReads) => TIMEOUT * 4,
            _ => TIMEOUT / 2,
        },
        retention: TIMEOUT * 3,
        verify_sealed_rows: if is_compared_twice { 1_000 } else { 0 },
        ..Settings::default()
    }
}
