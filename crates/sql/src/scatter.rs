//! The scattering tier: every shard answers for its own rows, and the answers are put together as they come.
//!
//! The shards work at the same time, each a few batches ahead at most, and stop when there are enough rows. So what a statement
//! holds in memory does not depend on how many rows the tables have.

mod combine;
mod compare;
mod feed;
mod functions;
mod merge;

use std::{ops::ControlFlow, rc::Rc};

use shardwright_store::{Params, Row};

use self::{feed::Feed, merge::Merge};
use crate::{
    database::Limits,
    error::Error,
    meter::Meter,
    plan::{ScatterPlan, Window},
    shards::{Fragment, Place, Shards},
};

/// What a scattered statement has to work with.
#[derive(Debug)]
pub(crate) struct ScatterRequest {
    pub(crate) shards: Rc<dyn Shards>,
    /// The places to ask.
    pub(crate) places: Vec<Place>,
    pub(crate) window: Window,
    pub(crate) limits: Limits,
}

/// Runs a SELECT and shows its rows to `visit` until that breaks.
pub(crate) fn query(
    plan: &ScatterPlan,
    params: &Params<'_>,
    request: ScatterRequest,
    visit: &mut dyn FnMut(&Row<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let ScatterRequest {
        shards,
        places,
        window,
        limits,
    } = request;
    let meter = Meter::start(limits);
    let fragment = Fragment {
        sql: plan.fragment.clone(),
        params: plan.values(params, window)?,
        named: Vec::new(),
    };
    // Snapshots may end with the last who holds them, and the sources read them.
    let _held = Rc::clone(&shards);
    let sources = shards.scatter(&places, &fragment, meter.time())?;
    let feeds: Vec<Feed> = sources.into_iter().map(Feed::new).collect();
    if let Some(combine) = &plan.combine {
        return combine::show(combine, &plan.originals(params)?, feeds, &meter, visit);
    }
    let merge = Merge::new(feeds, &plan.order, plan.hidden, &meter);
    merge.show(window, visit)
}

#[cfg(test)]
mod tests;
