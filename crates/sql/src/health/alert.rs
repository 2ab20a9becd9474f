//! What a webhook is told.

use serde::{Deserialize, Serialize};

use super::{HealthReport, Overall};

/// The largest shard over the average, above which the imbalance is severe.
const SEVERE_ABOVE: f64 = 5.0;

/// Something to warn of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Who says so: always `shardwright`.
    pub service: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is the matter.
    pub message: String,
    /// When, in milliseconds since 1970: the time of the report.
    pub timestamp: u64,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, and will not for ever.
    Warning,
    /// Something does not work.
    Critical,
}

impl HealthReport {
    /// What the report gives reason to warn of: that the whole is unhealthy or degraded, and that a shard has more than five times the
    /// average. As JSON, each is the body that CollegeDB's document sends to a webhook.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        let alert = |severity, message| Alert {
            service: "shardwright".to_owned(),
            severity,
            message,
            timestamp: self.timestamp,
        };
        let checks = serde_json::to_string(&self.checks).unwrap_or_default();
        let mut alerts = Vec::new();
        match self.overall {
            Overall::Healthy => {}
            Overall::Degraded => {
                alerts.push(alert(
                    Severity::Warning,
                    format!("System degraded: {checks}"),
                ));
            }
            Overall::Unhealthy => {
                alerts.push(alert(
                    Severity::Critical,
                    format!("System unhealthy: {checks}"),
                ));
            }
        }
        if let Some(ratio) = self
            .distribution_ratio
            .filter(|ratio| *ratio > SEVERE_ABOVE)
        {
            let message = format!("Severe shard imbalance detected: {ratio:.2}x the average");
            alerts.push(alert(Severity::Warning, message));
        }
        alerts
    }
}
