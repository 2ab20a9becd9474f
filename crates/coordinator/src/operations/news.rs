//! What happens to operations, as people and metrics get to know it.

use std::collections::BTreeMap;

use shardwright_elastic::{Notice as News, workflow::Report};
use shardwright_topology::OperationId;

use crate::core::Notice;

/// Whether something is told: what fails again in the same way is not.
pub(super) fn is_told(news: &News, failures: &mut BTreeMap<OperationId, String>) -> bool {
    match news {
        News::Report {
            operation,
            report: Report::Failed { error },
        } => {
            let before = failures.insert(operation.clone(), error.clone());
            before.as_ref() != Some(error)
        }
        News::Phase { operation, .. } | News::Collected { operation } => {
            failures.remove(operation);
            true
        }
        _ => true,
    }
}

/// What to tell; of what no leader's manager does, nothing.
pub(super) fn notice(news: News) -> Option<Notice> {
    Some(match news {
        News::Begun {
            operation,
            kind,
            reason,
        } => Notice::OperationBegun {
            operation,
            what: kind,
            reason,
        },
        News::Phase { operation, phase } => Notice::OperationPhase { operation, phase },
        News::Report { operation, report } => match report {
            Report::HeldBack { ahead } => Notice::WritersHeldBack { operation, ahead },
            Report::Failed { error } => Notice::OperationRetried { operation, error },
            Report::Aborting { reason } => Notice::OperationAborting { operation, reason },
            Report::Phase(_) => return None,
        },
        News::Collected { operation } => Notice::OperationCollected { operation },
        // Nobody has it act by itself.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use shardwright_topology::Phase;

    use super::*;

    #[test]
    fn what_fails_again_in_the_same_way_is_told_once_in_a_phase() {
        let operation = OperationId::new("op-1").unwrap();
        let mut failures = BTreeMap::new();
        let mut tells = |error: &str| {
            let report = Report::Failed {
                error: error.to_owned(),
            };
            let operation = operation.clone();
            is_told(&News::Report { operation, report }, &mut failures)
        };
        assert!(tells("no answer"));
        assert!(!tells("no answer"));
        assert!(tells("another one"));
        let (operation, phase) = (operation.clone(), Phase::Copying);
        assert!(is_told(&News::Phase { operation, phase }, &mut failures));
        assert!(failures.is_empty());
    }
}
