//! The conditions of a batch.

use super::request::Condition;

/// What a step of a batch has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepEnd {
    Ok,
    Error,
    /// Its condition was not met.
    Skipped,
}

/// A condition about a step that does not come before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the condition of a step names step {0}, which does not come before it")]
pub(super) struct NoSuchStep(u32);

impl Condition {
    /// Whether it is met after these steps.
    pub(super) fn is_met(&self, ends: &[StepEnd], is_autocommit: bool) -> Result<bool, NoSuchStep> {
        let end = |step: u32| {
            let end = usize::try_from(step).ok().and_then(|step| ends.get(step));
            end.copied().ok_or(NoSuchStep(step))
        };
        Ok(match self {
            Self::Ok { step } => end(*step)? == StepEnd::Ok,
            Self::Error { step } => end(*step)? == StepEnd::Error,
            Self::Not { cond } => !cond.is_met(ends, is_autocommit)?,
            Self::And { conds } => {
                let mut all = true;
                for cond in conds {
                    all &= cond.is_met(ends, is_autocommit)?;
                }
                all
            }
            Self::Or { conds } => {
                let mut any = false;
                for cond in conds {
                    any |= cond.is_met(ends, is_autocommit)?;
                }
                any
            }
            Self::IsAutocommit => is_autocommit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: [StepEnd; 3] = [StepEnd::Ok, StepEnd::Error, StepEnd::Skipped];

    #[track_caller]
    fn check(condition: &str, is_autocommit: bool, expect: Result<bool, NoSuchStep>) {
        let condition: Condition = serde_json::from_str(condition).unwrap();
        assert_eq!(condition.is_met(&ENDS, is_autocommit), expect);
    }

    #[test]
    fn a_step_that_was_not_run_is_neither_ok_nor_an_error() {
        for (step, ok, error) in [(0, true, false), (1, false, true), (2, false, false)] {
            check(&format!(r#"{{"type":"ok","step":{step}}}"#), false, Ok(ok));
            check(
                &format!(r#"{{"type":"error","step":{step}}}"#),
                false,
                Ok(error),
            );
        }
    }

    #[test]
    fn conditions_are_combined() {
        let ok = r#"{"type":"ok","step":0}"#;
        let autocommit = r#"{"type":"is_autocommit"}"#;
        for is_autocommit in [false, true] {
            let both = format!(r#"{{"type":"and","conds":[{ok},{autocommit}]}}"#);
            check(&both, is_autocommit, Ok(is_autocommit));
            let either = format!(r#"{{"type":"or","conds":[{ok},{autocommit}]}}"#);
            check(&either, is_autocommit, Ok(true));
            let not = format!(r#"{{"type":"not","cond":{autocommit}}}"#);
            check(&not, is_autocommit, Ok(!is_autocommit));
        }
        check(r#"{"type":"and","conds":[]}"#, false, Ok(true));
        check(r#"{"type":"or","conds":[]}"#, false, Ok(false));
    }

    #[test]
    fn a_condition_is_about_steps_before_it() {
        for step in [3, u32::MAX] {
            let condition = format!(r#"{{"type":"not","cond":{{"type":"ok","step":{step}}}}}"#);
            check(&condition, false, Err(NoSuchStep(step)));
        }
    }
}
