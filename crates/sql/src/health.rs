//! Monitoring: how evenly rows are spread over shards, whether each shard answers, and what to warn of.
//!
//! [`ShardedDatabase::check_health`](crate::ShardedDatabase::check_health) asks every shard and makes a [`HealthReport`], whose
//! [status](HealthReport::status) is what an HTTP endpoint answers and whose [alerts](HealthReport::alerts) are what a webhook
//! is sent. [`Dashboard`] and [`Balance`] are made of counts alone, with the time given by the caller, so that they serve for
//! counts of any origin. As JSON, all have the field names of CollegeDB's document.
//!
//! ```
//! use shardwright_sql::health::{Dashboard, ShardCount};
//!
//! let count = |binding: &str, count| ShardCount { binding: binding.into(), count, last_updated: 1_000 };
//! let dashboard = Dashboard::of(&[count("db-east", 100), count("db-west", 160)], true, 2_000);
//! assert_eq!((dashboard.total_keys, dashboard.distribution_ratio), (260, 1.6));
//! assert!(!dashboard.is_balanced);
//! ```

mod alert;
mod balance;
mod dashboard;
mod report;

use serde::{Deserialize, Serialize};

pub use self::{
    alert::{Alert, Severity},
    balance::Balance,
    dashboard::{Dashboard, ShardDetail},
    report::{Check, HealthReport, Overall},
};

/// How much a shard has, and when that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardCount {
    /// The shard.
    pub binding: String,
    /// Its rows, or whatever else is counted of every shard.
    pub count: u64,
    /// When it was counted, in milliseconds since 1970.
    pub last_updated: u64,
}

/// How much all shards have, and the largest of them, and the average, which is 0 without shards.
#[derive(Debug, Clone, Copy)]
struct Totals {
    all: u64,
    most: u64,
    least: u64,
    average: f64,
}

impl Totals {
    fn of(counts: &[ShardCount]) -> Self {
        let values = || counts.iter().map(|shard| shard.count);
        let all = values().fold(0, u64::saturating_add);
        Self {
            all,
            most: values().max().unwrap_or(0),
            least: values().min().unwrap_or(0),
            average: ratio(all, counts.len() as u64),
        }
    }
}

/// One count over another; 0 over nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio of counts needs no more than 52 bits"
)]
fn ratio(one: u64, other: u64) -> f64 {
    if other == 0 {
        0.0
    } else {
        one as f64 / other as f64
    }
}

#[cfg(test)]
mod tests;
