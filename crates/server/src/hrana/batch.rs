//! Batches: statements of which each may depend on what those before it have come to.

use super::{
    condition::{NoSuchStep, StepEnd},
    control::Control,
    error::StatementError,
    reply::{BatchResult, Room},
    request::{Batch, Step},
    stream::Stream,
};
use crate::gateway::Client;

impl Stream {
    /// Runs a batch. Nothing of it is run if one of its conditions cannot be.
    pub(super) async fn batch(
        &mut self,
        client: &Client,
        batch: &Batch,
        room: &mut Room,
    ) -> Result<BatchResult, StatementError> {
        check(&batch.steps)?;
        let mut ends = Vec::with_capacity(batch.steps.len());
        let mut results = BatchResult::default();
        for (number, step) in batch.steps.iter().enumerate() {
            if !is_met(step, &ends, !self.has_transaction())? {
                ends.push(StepEnd::Skipped);
                results.step_results.push(None);
                results.step_errors.push(None);
                continue;
            }
            let is_all = self.has_transaction() && self.commits_next(batch, number, &ends)?;
            let ran = self.execute(client, step.stmt.clone(), is_all, room).await;
            ends.push(match &ran {
                Ok(_) => StepEnd::Ok,
                Err(_) => StepEnd::Error,
            });
            let (result, error) = match ran {
                Ok(result) => (Some(result), None),
                Err(error) => (None, Some(error)),
            };
            results.step_results.push(result);
            results.step_errors.push(error);
        }
        Ok(results)
    }

    /// Whether the next step that is run is COMMIT, if this one succeeds.
    fn commits_next(
        &self,
        batch: &Batch,
        number: usize,
        ends: &[StepEnd],
    ) -> Result<bool, NoSuchStep> {
        let mut ends = ends.to_vec();
        ends.push(StepEnd::Ok);
        for step in &batch.steps[number + 1..] {
            if is_met(step, &ends, false)? {
                let sql = self.statement(&step.stmt.text);
                let control = sql.ok().and_then(Control::of);
                return Ok(control == Some(Control::Commit));
            }
            ends.push(StepEnd::Skipped);
        }
        Ok(false)
    }
}

/// Refuses conditions about steps that come later or not at all.
fn check(steps: &[Step]) -> Result<(), NoSuchStep> {
    let ends = vec![StepEnd::Skipped; steps.len()];
    for (number, step) in steps.iter().enumerate() {
        is_met(step, &ends[..number], false)?;
    }
    Ok(())
}

fn is_met(step: &Step, ends: &[StepEnd], is_autocommit: bool) -> Result<bool, NoSuchStep> {
    match &step.condition {
        Some(condition) => condition.is_met(ends, is_autocommit),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the JavaScript client writes them.
    const TRANSACTION: &str = r#"{"steps":[
        {"stmt":{"sql":"BEGIN IMMEDIATE"}},
        {"condition":{"type":"ok","step":0},"stmt":{"sql":"INSERT INTO t VALUES (1)"}},
        {"condition":{"type":"ok","step":1},"stmt":{"sql":"INSERT INTO t VALUES (2)"}},
        {"condition":{"type":"ok","step":2},"stmt":{"sql":"COMMIT"}},
        {"condition":{"type":"not","cond":{"type":"ok","step":3}},"stmt":{"sql":"ROLLBACK"}}]}"#;

    #[test]
    fn the_last_statement_before_a_commit_is_found() {
        let batch: Batch = serde_json::from_str(TRANSACTION).unwrap();
        let stream = Stream::default();
        let ok = [StepEnd::Ok; 5];
        let commits: Vec<bool> = (0..5)
            .map(|number| stream.commits_next(&batch, number, &ok[..number]).unwrap())
            .collect();
        assert_eq!(commits, [false, false, true, false, false]);
    }

    #[test]
    fn a_condition_about_a_later_step_refuses_the_batch() {
        let mut batch: Batch = serde_json::from_str(TRANSACTION).unwrap();
        assert!(check(&batch.steps).is_ok());
        batch.steps.swap(0, 1);
        assert!(check(&batch.steps).is_err());
    }
}
