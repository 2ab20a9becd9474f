//! The health report: what answers, and what an HTTP endpoint says of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ShardCount, Totals};
use crate::{
    ShardedDatabase,
    error::Error,
    shards::{Call, Place},
};

/// The largest shard over the average, below which the distribution is healthy.
const EVEN_BELOW: f64 = 2.0;

/// The largest shard over the average, from which on the whole is degraded.
const UNEVEN_FROM: f64 = 3.0;

/// The check of the distribution.
const DISTRIBUTION: &str = "distribution";

/// What answers and what does not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// All checks together.
    pub overall: Overall,
    /// When it was made, in milliseconds since 1970, as the caller says.
    pub timestamp: u64,
    /// The registry, the catalog and each shard by name, and `distribution`.
    pub checks: BTreeMap<String, Check>,
    /// What the largest shard has over the average; `None` if no shard has anything, or one does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution_ratio: Option<f64>,
}

/// All checks together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// Everything answers, and no shard has three times the average.
    Healthy,
    /// Everything answers, and a shard has three times the average or more.
    Degraded,
    /// Something does not answer.
    Unhealthy,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// It is well.
    Healthy,
    /// It answers and is not as it should be.
    Degraded,
    /// It does not answer.
    Unhealthy,
    /// It could not be found out.
    Unknown,
}

impl HealthReport {
    /// The report of who answers and what the shards have; `None` if that could not be counted.
    #[must_use]
    pub fn of(
        answers: impl IntoIterator<Item = (String, bool)>,
        counts: Option<&[ShardCount]>,
        now: u64,
    ) -> Self {
        let mut overall = Overall::Healthy;
        let mut checks = BTreeMap::new();
        for (name, answers) in answers {
            let check = if answers {
                Check::Healthy
            } else {
                overall = Overall::Unhealthy;
                Check::Unhealthy
            };
            checks.insert(name, check);
        }
        let totals = counts.map(Totals::of);
        let some = totals.filter(|totals| totals.all > 0);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a ratio of counts needs no more than 52 bits"
        )]
        let distribution_ratio = some.map(|totals| totals.most as f64 / totals.average);
        let distribution = match (totals, distribution_ratio) {
            (None, _) => Some(Check::Unknown),
            // Nothing cannot be spread unevenly.
            (Some(_), None) => None,
            (Some(_), Some(ratio)) if ratio < EVEN_BELOW => Some(Check::Healthy),
            (Some(_), Some(_)) => Some(Check::Degraded),
        };
        checks.extend(distribution.map(|check| (DISTRIBUTION.to_owned(), check)));
        if distribution_ratio.is_some_and(|ratio| ratio >= UNEVEN_FROM) {
            overall = overall.max(Overall::Degraded);
        }
        Self {
            overall,
            timestamp: now,
            checks,
            distribution_ratio,
        }
    }

    /// The HTTP status of the report: 200, 206 if degraded, 503 if unhealthy.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.overall {
            Overall::Healthy => 200,
            Overall::Degraded => 206,
            Overall::Unhealthy => 503,
        }
    }
}

impl ShardedDatabase {
    /// Asks the registry, the catalog and every shard whether they answer, and counts the rows of each shard. `now` is the time
    /// that the report says, in milliseconds since 1970. What does not answer is in the report and no error.
    #[must_use]
    #[doc(alias = "performHealthChecks")]
    pub fn check_health(&self, now: u64) -> HealthReport {
        let places = self.places();
        let ask = |place: Place| -> Result<(), Error> {
            let found = places.query_row(
                place,
                Call::new("SELECT 1 FROM main.sqlite_schema", ()),
                |_| (),
            );
            found.map(drop)
        };
        let mut answers = vec![("registry".to_owned(), self.registry_answers())];
        for place in places.all() {
            answers.push((places.name(place).to_owned(), ask(place).is_ok()));
        }
        let counts = self.shard_counts(now);
        HealthReport::of(answers, counts.as_deref().ok(), now)
    }

    /// The rows of each shard, for a [`Dashboard`](super::Dashboard) or a [`Balance`](super::Balance).
    ///
    /// # Errors
    /// When a shard does not answer.
    pub fn shard_counts(&self, now: u64) -> Result<Vec<ShardCount>, Error> {
        let stats = self.shard_stats()?.into_iter();
        Ok(stats
            .map(|shard| ShardCount {
                binding: shard.name,
                count: shard.rows,
                last_updated: now,
            })
            .collect())
    }
}
