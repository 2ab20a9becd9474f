//! The thresholds of monitoring, and a shard that is broken.

use serde_json::json;

use super::*;
use crate::{CreateOptions, ShardedDatabase};

fn counts(counts: &[u64]) -> Vec<ShardCount> {
    let numbered = counts.iter().enumerate();
    numbered
        .map(|(number, count)| ShardCount {
            binding: format!("db-{number}"),
            count: *count,
            last_updated: 1_000_000,
        })
        .collect()
}

#[test]
fn a_dashboard_has_the_fields_and_thresholds_of_the_document() {
    let dashboard = Dashboard::of(&counts(&[100, 149]), true, 1_000_000 + 300_000);
    let expected = json!({
        "healthy": true, "totalShards": 2, "totalKeys": 249, "avgKeysPerShard": 125,
        "distributionRatio": 1.49, "isBalanced": true, "staleShards": 0,
        "shardDetails": [
            { "binding": "db-0", "count": 100, "lastUpdated": 1_000_000, "loadPercentage": 40, "isStale": false },
            { "binding": "db-1", "count": 149, "lastUpdated": 1_000_000, "loadPercentage": 60, "isStale": false },
        ],
    });
    assert_eq!(serde_json::to_value(&dashboard).unwrap(), expected);
    let later = Dashboard::of(&counts(&[100, 150]), true, 1_000_000 + 300_001);
    assert_eq!((later.is_balanced, later.stale_shards), (false, 2));
    // Where the document's own code divides by zero.
    let empty = Dashboard::of(&counts(&[0, 0]), false, 0);
    assert_eq!(
        (
            empty.distribution_ratio,
            empty.shard_details[0].load_percentage
        ),
        (0.0, 0)
    );
    let one_has_none = Dashboard::of(&counts(&[0, 7]), true, 0);
    assert_eq!(
        (one_has_none.distribution_ratio, one_has_none.is_balanced),
        (7.0, false)
    );
    assert_eq!(Dashboard::of(&[], true, 0).avg_keys_per_shard, 0);
}

#[test]
fn shards_that_differ_from_the_average_by_more_than_a_fifth_are_named() {
    let even = Balance::of(&counts(&[80, 120]), 1_000_000 + 3_600_000);
    assert!(even.balance && even.fresh_stats);
    let uneven = Balance::of(&counts(&[79, 121, 100]), 1_000_000 + 3_600_001);
    assert_eq!(uneven.imbalanced, ["db-0", "db-1"]);
    assert!(!uneven.balance && !uneven.fresh_stats);
    assert!(Balance::of(&[], 0).balance);
}

#[test]
fn the_status_follows_from_what_answers_and_how_even_shards_are() {
    let report = |answers: bool, shards: &[u64]| {
        let asked = [("registry".to_owned(), true), ("db-0".to_owned(), answers)];
        HealthReport::of(asked, Some(&counts(shards)), 5)
    };
    let of = |report: &HealthReport| {
        let severities: Vec<Severity> =
            report.alerts().iter().map(|alert| alert.severity).collect();
        (
            report.status(),
            report.checks.get("distribution").copied(),
            severities,
        )
    };
    use {Check::*, Severity::*};
    assert_eq!(of(&report(true, &[10, 10])), (200, Some(Healthy), vec![]));
    assert_eq!(of(&report(true, &[0, 0])), (200, None, vec![]));
    assert_eq!(
        of(&report(true, &[50, 10, 10])),
        (200, Some(Degraded), vec![])
    );
    assert_eq!(
        of(&report(true, &[30, 0, 0])),
        (206, Some(Degraded), vec![Warning])
    );
    let severe = report(true, &[60, 0, 0, 0, 0, 0]);
    assert_eq!(of(&severe), (206, Some(Degraded), vec![Warning, Warning]));
    assert_eq!(
        of(&report(false, &[30, 0, 0])),
        (503, Some(Degraded), vec![Critical])
    );
    let uncounted = HealthReport::of([("db-0".to_owned(), false)], None, 5);
    assert_eq!(of(&uncounted), (503, Some(Unknown), vec![Critical]));
    let expected = json!({
        "overall": "unhealthy", "timestamp": 5, "checks": { "db-0": "unhealthy", "distribution": "unknown" },
    });
    assert_eq!(serde_json::to_value(&uncounted).unwrap(), expected);
    let alert = serde_json::to_value(&uncounted.alerts()[0]).unwrap();
    assert_eq!(
        (&alert["severity"], &alert["timestamp"]),
        (&json!("critical"), &json!(5))
    );
}

#[test]
fn a_shard_that_does_not_answer_is_in_the_report() {
    let directory = tempfile::tempdir().unwrap();
    let create = CreateOptions {
        shards: 2,
        ..CreateOptions::default()
    };
    let db = ShardedDatabase::create(directory.path().join("shop"), &create).unwrap();
    db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY)", ())
        .unwrap();
    for id in 0..64 {
        db.execute(&format!("INSERT INTO users VALUES ({id})"), ())
            .unwrap();
    }
    let well = db.check_health(1);
    assert_eq!((well.status(), well.checks.len()), (200, 5), "{well:?}");
    assert_eq!(
        db.shard_counts(1)
            .unwrap()
            .iter()
            .map(|shard| shard.count)
            .sum::<u64>(),
        64
    );
    db.close().unwrap();

    let path = directory.path().join("shop/shard-1.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let read = crate::Options {
        access: crate::Access::ReadOnly,
        ..crate::Options::default()
    };
    let db = ShardedDatabase::open(directory.path().join("shop"), &read).unwrap();
    bytes[100..].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let ill = db.check_health(2);
    assert_eq!(
        (ill.status(), ill.checks["shard-1"]),
        (503, Check::Unhealthy),
        "{ill:?}"
    );
    assert_eq!(ill.checks["shard-0"], Check::Healthy);
    assert_eq!(ill.checks["distribution"], Check::Unknown);
}
