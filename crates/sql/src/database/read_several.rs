//! Reading rows of several shards.

use shardwright_store::{Params, Row};

use super::{ReadLevel, ShardedDatabase, collect::Collected, state::State};
use crate::{
    answer::Tier,
    error::Error,
    gather::GatherRequest,
    plan::{ReadPlan, ReadTarget, Window},
    scatter::{self, ScatterRequest},
    shards::Place,
};

impl ShardedDatabase {
    /// Runs a read on several places. Returns their names, the way that it went, and why.
    pub(super) fn read_several(
        &self,
        state: &State,
        plan: &ReadPlan,
        params: &Params<'_>,
        target: ReadTarget,
        level: ReadLevel,
        collected: &mut Collected,
    ) -> Result<(Vec<String>, Tier, String), Error> {
        let reason = match target {
            ReadTarget::Scatter {
                shards,
                window,
                reason,
            } => {
                let places = shards.into_iter().map(Place::Shard).collect();
                match self.scatter(plan, params, places, window, level, collected) {
                    Ok(places) => return Ok((places, Tier::Scatter, reason.to_string())),
                    // SQLite has the last word on what is wrong with the statement, and on sums that nearly cancel.
                    Err(error) if error.code() == "SQL_ERROR" => {
                        *collected = Collected::within(self.limits());
                        reason
                    }
                    Err(error) => return Err(error),
                }
            }
            ReadTarget::Gather { reason, .. } => reason,
            ReadTarget::One(_) | ReadTarget::SchemaCopy => {
                unreachable!("the caller has matched the target")
            }
        };
        let request = GatherRequest {
            shards: self.snapshots_at(level)?,
            routing: state.owned_routing(self.has_directory()),
            pins: plan.pins(params)?,
            limits: self.limits(),
        };
        let keep = |row: &Row<'_>| collected.keep(row);
        let gathered = state
            .gather
            .query(&plan.gather_sql, params, request, keep)?;
        Ok((
            self.names(&gathered.places),
            Tier::Gather,
            reason.to_string(),
        ))
    }

    fn scatter(
        &self,
        plan: &ReadPlan,
        params: &Params<'_>,
        places: Vec<Place>,
        window: Window,
        level: ReadLevel,
        collected: &mut Collected,
    ) -> Result<Vec<String>, Error> {
        let names = self.names(&places);
        let scatter = plan.scatter().expect("the target was decided from it");
        let request = ScatterRequest {
            shards: self.snapshots_at(level)?,
            places,
            window,
            limits: self.limits(),
        };
        scatter::query(scatter, params, request, &mut |row| collected.keep(row))?;
        Ok(names)
    }

    fn names(&self, places: &[Place]) -> Vec<String> {
        let names = places.iter().map(|place| self.inner.places.name(*place));
        names.map(str::to_owned).collect()
    }
}
