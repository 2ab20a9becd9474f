//! `replication`: SQLite on several nodes, against SQLite on one.

mod capture;
mod group_commit;
mod idle;
mod insert;
mod rows;

use crate::{
    copies,
    harness::{Suite, directory},
};

/// Does the part of a process that another one has started for these cases.
pub(crate) fn hold() -> Option<anyhow::Result<()>> {
    copies::hold::<insert::Copy>().or_else(idle::hold)
}

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let directory = directory()?;
    // What is set up for some cases takes longer than others take altogether.
    let wants = |suite: &Suite, cases: &[&str]| cases.iter().any(|case| suite.wants(case));
    if wants(suite, &insert::CASES) {
        insert::run(suite, &directory.path().join("insert"))?;
    }
    capture::run(suite, &directory.path().join("capture"))?;
    if wants(suite, &idle::CASES) {
        idle::run(suite, &directory.path().join("idle"))?;
    }
    Ok(())
}
